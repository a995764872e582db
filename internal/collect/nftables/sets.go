package nftables

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// MaxElements is how many elements of one set are kept; a larger set is Incomplete.
const MaxElements = 262144

// Set flags: enum nft_set_flags, include/uapi/linux/netfilter/nf_tables.h, Linux 6.18.
const (
	setInterval = 0x4
	setMap      = 0x8
	setEval     = 0x20
	setObject   = 0x40
	typeVerdict = 0xffffff00 // NFT_DATA_VERDICT
)

// dataType is one of nft's data types: name, bytes (0: as long as the key) and byte order in a set without intervals.
type dataType struct {
	name  string
	size  int
	order order
}

// dataTypes is nft's enum datatypes (include/datatype.h, nftables 1.0.6), by number. The kernel stores the number only.
var dataTypes = sync.OnceValue(func() []dataType {
	h, n, s := hostEndian, networkOrder, leftAligned
	return []dataType{
		{"", 0, n},
		{"verdict", 0, n},
		{"nf_proto", 1, h},
		{"bitmask", 0, h},
		{"integer", 0, n},
		{"string", 0, s},
		{"ll_addr", 0, n},
		{"ipv4_addr", 4, n},
		{"ipv6_addr", 16, n},
		{"ether_addr", 6, n},
		{"ether_type", 2, n},
		{"arp_op", 2, n},
		{"inet_proto", 1, n},
		{"inet_service", 2, n},
		{"icmp_type", 1, n},
		{"tcp_flag", 1, n},
		{"dccp_pkttype", 1, n},
		{"mh_type", 1, n},
		{"time", 8, h},
		{"mark", 4, h},
		{"iface_index", 4, h},
		{"iface_type", 2, h},
		{"realm", 4, h},
		{"classid", 4, h},
		{"uid", 4, h},
		{"gid", 4, h},
		{"ct_state", 4, h},
		{"ct_dir", 1, h},
		{"ct_status", 4, h},
		{"icmpv6_type", 1, n},
		{"ct_label", 16, h},
		{"pkt_type", 1, h},
		{"icmp_code", 1, n},
		{"icmpv6_code", 1, n},
		{"icmpx_code", 1, n},
		{"devgroup", 4, h},
		{"dscp", 1, n},
		{"ecn", 1, n},
		{"fib_addrtype", 4, h},
		{"boolean", 1, h},
		{"ct_event", 4, h},
		{"ifname", 16, s},
		{"igmp_type", 1, n},
		{"time", 8, h},
		{"hour", 4, h},
		{"day", 1, h},
		{"cgroupsv2", 8, h},
	}
})

// setInfo is a set and how to read its keys.
type setInfo struct {
	set      *nf.Set
	keyLen   int
	data     int // bytes of a map's data
	types    []dataType
	dataType dataType
	interval bool
	ends     []endpoint // of a set of intervals over one field, until all elements are in
	count    int
	done     bool

	// Of the text reader: the elements of a set without types, which the first rule that uses it tells (settle).
	late     []rawElement
	infer    bool
	listed   bool // --debug printed it
	declared bool // the JSON has it
	objects  bool // it maps to objects
}

// endpoint is one element of an interval set as the kernel keeps it: intervals are half-open, and the end is an element.
type endpoint struct {
	key     nf.Value
	end     bool
	element nf.Element
}

func (s *setInfo) dataLen() int {
	if s == nil || s.data == 0 {
		return 4
	}
	return s.data
}

// agrees reports whether the i-th field of the set's key is kept in the byte order that a register has.
func (s *setInfo) agrees(i int, l *load) bool {
	return i < len(s.types) && (l.size == 1 || s.types[i].order == l.order || s.types[i].size == 0 && l.order != hostEndian)
}

// parseSet reads NFT_MSG_NEWSET: NAME 2, FLAGS 3, KEY_TYPE 4, KEY_LEN 5, DATA_TYPE 6, DATA_LEN 7, DESC 9, USERDATA 13.
func (p *parser) parseSet(a *attrs) *setInfo {
	flags := a.u32(3)
	s := &setInfo{
		set:    &nf.Set{Name: p.shared.text(a.at[2]), Map: flags&setMap != 0, Dynamic: flags&setEval != 0},
		keyLen: int(a.u32(5)), data: int(a.u32(7)), interval: flags&setInterval != 0,
	}
	s.set.Verdicts = s.set.Map && a.u32(6) == typeVerdict
	s.types = p.types(a.u32(4), s.keyLen, fieldLengths(a.at[9]))
	if s.types == nil {
		s.set.Incomplete = fmt.Sprintf("its keys of type %#x and %d bytes are not understood", a.u32(4), s.keyLen)
	}
	if o, ok := keyOrder(a.at[13]); ok && len(s.types) == 1 && s.types[0].order != leftAligned {
		s.types[0].order = o
	}
	if s.interval && len(s.types) == 1 || s.interval && fieldLengths(a.at[9]) != nil {
		for i := range s.types { // ordered keys are kept in network byte order
			if s.types[i].order == hostEndian {
				s.types[i].order = networkOrder
			}
		}
	}
	for _, t := range s.types {
		s.set.Types = append(s.set.Types, t.name)
	}
	if s.set.Map && !s.set.Verdicts {
		d := p.types(a.u32(6), s.data, nil)
		if len(d) == 1 {
			s.dataType = d[0]
		}
		for _, t := range d {
			s.set.DataTypes = append(s.set.DataTypes, t.name)
		}
	}
	return s
}

// keyOrder reads the byte order of a set's keys from its user data: type 0 of libnftnl's set udata, 1 host, 2 network.
func keyOrder(b []byte) (order, bool) {
	for len(b) >= 2 {
		typ, n := b[0], int(b[1])
		if 2+n > len(b) {
			break
		}
		if v := b[2 : 2+n]; typ == 0 && n == 4 {
			switch binary.NativeEndian.Uint32(v) {
			case 1:
				return hostEndian, true
			case 2:
				return networkOrder, true
			}
		}
		b = b[2+n:]
	}
	return 0, false
}

// fieldLengths reads NFTA_SET_DESC_CONCAT (2): a list of NFTA_SET_FIELD_LEN (1), in bytes.
func fieldLengths(desc []byte) (out []int) {
	list := nested(desc, 2)
	for {
		_, elem, rest, ok, _ := nextAttr(list)
		if !ok || len(out) > 16 {
			return out
		}
		out = append(out, int(be32(nested(elem, 1))))
		list = rest
	}
}

// types splits a key type into its fields: nft packs the types of a concatenation 6 bits each, the first one highest.
func (p *parser) types(packed uint32, length int, lengths []int) []dataType {
	var out []dataType
	for shift := 30; shift >= 0; shift -= 6 {
		id := int(packed >> shift & 0x3f)
		if id == 0 && len(out) == 0 {
			continue
		}
		if id >= len(p.dataTypes) {
			return nil
		}
		out = append(out, p.dataTypes[id])
	}
	if len(out) == 0 {
		out = []dataType{{"integer", 0, networkOrder}}
	}
	used := 0
	for i := range out {
		if len(lengths) == len(out) {
			out[i].size = lengths[i]
		}
		if len(out) == 1 {
			out[i].size = length
		}
		if out[i].size == 0 {
			return nil
		}
		used += align4(out[i].size)
	}
	if used != align4(length) {
		return nil
	}
	return out
}

// addElements reads NFTA_SET_ELEM_LIST_ELEMENTS. It returns a reason when the bytes are garbled.
func (p *parser) addElements(s *setInfo, list []byte) string {
	for {
		_, elem, rest, ok, bad := nextAttr(list)
		if !ok {
			if bad {
				return "its elements are garbled"
			}
			return ""
		}
		list = rest
		if s.count++; s.count > 2*MaxElements {
			return fmt.Sprintf("it has more than %d elements", MaxElements)
		}
		if !p.a.parse(elem) {
			return "its elements are garbled"
		}
		if why := p.addElement(s, &p.a); why != "" {
			return why
		}
	}
}

// addElement reads one element: KEY 1, DATA 2, FLAGS 3 (1 end of an interval, 2 catch-all), OBJREF 9, KEY_END 10.
func (p *parser) addElement(s *setInfo, a *attrs) string {
	flags := a.u32(3)
	e, why := p.elementData(s, a)
	if why != "" {
		return why
	}
	if flags&2 != 0 {
		s.set.CatchAll = &e
		return ""
	}
	key := nested(a.at[1], dataValue)
	if len(key) < s.keyLen || s.keyLen == 0 {
		return "its elements are garbled"
	}
	if s.interval && len(s.types) == 1 && !a.has(10) {
		s.ends = append(s.ends, endpoint{number(key[:s.keyLen], s.types[0].order), flags&1 != 0, e})
		return ""
	}
	end := key
	if a.has(10) {
		if end = nested(a.at[10], dataValue); len(end) < s.keyLen {
			return "its elements are garbled"
		}
	}
	return p.addKeys(s, e, key, end)
}

// addKeys appends an element whose key reaches from key to end, field by field.
func (p *parser) addKeys(s *setInfo, e nf.Element, key, end []byte) string {
	if len(s.set.Elements) >= MaxElements {
		return fmt.Sprintf("it has more than %d elements", MaxElements)
	}
	e.Key = p.shared.intervalRun(len(s.types))
	at := 0
	for i, t := range s.types {
		e.Key[i] = nf.Interval{From: number(key[at:at+t.size], t.order), To: number(end[at:at+t.size], t.order)}
		at += align4(t.size)
	}
	s.set.Elements = append(s.set.Elements, e)
	return ""
}

func (p *parser) elementData(s *setInfo, a *attrs) (e nf.Element, why string) {
	switch {
	case !a.has(2):
	case s.set.Verdicts:
		v, ok := p.shared.decodeVerdict(nested(a.at[2], dataVerdict))
		if !ok {
			return e, "a verdict in it is not understood"
		}
		e.Verdict = p.shared.verdictPtr(v)
	default:
		b := nested(a.at[2], dataValue)
		e.Data = p.mapData(s, b)
	}
	return e, ""
}

// mapData splits a map's data into its fields; data of an unknown layout is one number.
func (p *parser) mapData(s *setInfo, b []byte) []nf.Value {
	if len(s.set.DataTypes) <= 1 {
		return []nf.Value{number(b, s.dataType.order)}
	}
	var out []nf.Value
	at := 0
	for _, name := range s.set.DataTypes {
		i := slices.IndexFunc(p.dataTypes, func(t dataType) bool { return t.name == name })
		t := p.dataTypes[i]
		if at+t.size > len(b) {
			break
		}
		out = append(out, number(b[at:at+t.size], t.order))
		at += align4(t.size)
	}
	return out
}

// finish joins the starts and ends of an interval set, and sorts: the kernel keeps elements by hash.
func (s *setInfo) finish() {
	if s.done {
		return
	}
	s.done = true
	s.join()
	slices.SortStableFunc(s.set.Elements, compareElements)
}

func (s *setInfo) join() {
	slices.SortStableFunc(s.ends, func(a, b endpoint) int {
		if c := a.key.Cmp(b.key); c != 0 {
			return c
		}
		switch { // an end before a start
		case a.end == b.end:
			return 0
		case a.end:
			return -1
		}
		return 1
	})
	for i, e := range s.ends {
		if e.end {
			continue
		}
		if len(s.set.Elements) >= MaxElements {
			s.set.Incomplete = fmt.Sprintf("it has more than %d elements", MaxElements)
			break
		}
		to := s.top()
		if i+1 < len(s.ends) {
			to = s.ends[i+1].key.Prev()
		}
		e.element.Key = []nf.Interval{{From: e.key, To: to}}
		s.set.Elements = append(s.set.Elements, e.element)
	}
	s.ends = nil
}

// top is the highest value of the only field.
func (s *setInfo) top() nf.Value {
	if s.keyLen >= 16 {
		return nf.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	}
	return shl(nf.Num(1), 8*s.keyLen).Prev()
}
