package nftables

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// typed makes a set of the JSON. Its types stay nil when one of them has no size of its own ("integer", which nft writes
// for typeof): the first rule that looks something up in it says what they are.
//
// nft 1.0.6 leaves the flag dynamic out; a set that a rule adds to is dynamic all the same (walker.dynset).
func (r *textReader) typed(o *textObject, isMap bool) *setInfo {
	p := r.parser
	flags, _ := stringList(o.Flags)
	s := &setInfo{set: &nf.Set{Name: p.shared.text([]byte(o.Name))}, interval: slices.Contains(flags, "interval"), declared: true}
	s.set.Dynamic = slices.Contains(flags, "dynamic")
	s.types = p.typesNamed(o.Type)
	for i, t := range s.types {
		s.keyLen += align4(t.size)
		if len(s.types) == 1 {
			s.keyLen = t.size
		}
		if s.interval && t.order == hostEndian {
			s.types[i].order = networkOrder
		}
		s.set.Types = append(s.set.Types, t.name)
	}
	if isMap {
		r.mapTypes(s, o.Map)
	}
	return s
}

// mapTypes reads what a map maps to: "verdict", types, or the kind of its objects.
func (r *textReader) mapTypes(s *setInfo, v jsontext.Value) {
	names, _ := stringList(v)
	if len(names) == 1 && names[0] == "verdict" {
		s.set.Map, s.set.Verdicts = true, true
		return
	}
	if len(names) == 1 && isObjectKind(names[0]) {
		return
	}
	s.set.Map = true
	for _, t := range r.parser.typesNamed(v) {
		s.data += align4(t.size)
		s.dataType = t
		s.set.DataTypes = append(s.set.DataTypes, t.name)
	}
	if len(s.set.DataTypes) == 1 {
		s.data = s.dataType.size
	}
}

func isObjectKind(name string) bool {
	for n := range uint32(32) {
		if n > 0 && objectKind(n) == name {
			return true
		}
	}
	return false
}

// typesNamed finds types by their names; nil when one is not known or has no size of its own. nft writes a map's
// concatenated data as one string: "ipv4_addr . inet_service".
func (p *parser) typesNamed(v jsontext.Value) []dataType {
	names, err := stringList(v)
	if err != nil {
		return nil
	}
	if len(names) == 1 {
		names = strings.Split(names[0], " . ")
	}
	var out []dataType
	for _, name := range names {
		i := slices.IndexFunc(p.dataTypes, func(t dataType) bool { return t.name == name && t.size > 0 })
		if i < 0 {
			return nil
		}
		out = append(out, p.dataTypes[i])
	}
	return out
}

// rawElement is an element as nft prints it: "element KEY [- KEY]  : DATA FLAGS [end]", where a key is words of 4 bytes
// (nftnl_set_elem_snprintf_default, libnftnl 1.2.4).
type rawElement struct {
	key, end []byte
	data     []byte // of a map of values
	verdict  *nf.Verdict
	flags    uint32
}

// elements reads a set's lines. Those of a set without types are kept until a rule tells them.
func (r *textReader) elements(t *tableInfo, s *setInfo, body []byte) {
	var late []rawElement
	for len(body) > 0 {
		var line []byte
		if line, body = nextLine(body); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e, ok := parseElement(line)
		why := "nft prints an element in a form that is not understood"
		if s.count++; s.count > 2*MaxElements {
			ok, why = false, fmt.Sprintf("it has more than %d elements", MaxElements)
		}
		if ok && s.types == nil {
			late = append(late, e)
			continue
		}
		if ok {
			why = r.parser.addRaw(s, &e)
		}
		if why != "" {
			s.types = nil
			r.parser.partSet(t, s, why)
			return
		}
	}
	if s.types == nil {
		s.late = late
		s.infer = true
	}
}

// parseElement reads one line. The comment of an element stands behind it, escaped.
func parseElement(line []byte) (e rawElement, ok bool) {
	text, _, _ := strings.Cut(string(line), " userdata = {")
	c := &cursor{words: strings.Fields(text)}
	if !c.is("element") {
		return e, false
	}
	if e.key = c.plainWords(); c.is("-") {
		e.end = c.plainWords()
	}
	if !c.is(":") {
		return e, false
	}
	rest := c.words
	if len(rest) < 2 || rest[len(rest)-1] != "[end]" {
		return e, false
	}
	flags := &cursor{words: rest[len(rest)-2 : len(rest)-1]}
	e.flags = uint32(flags.number())
	c.words = rest[:len(rest)-2]
	if len(c.words) > 0 && !isHexWord(c.words[0]) {
		v, known := c.verdict()
		e.verdict = &v
		return e, known && c.done() && flags.done()
	}
	e.data = c.plainWords()
	return e, c.done() && flags.done() && e.flags <= 3
}

// addRaw adds an element of a set whose types are known.
func (p *parser) addRaw(s *setInfo, raw *rawElement) string {
	e := nf.Element{}
	switch {
	case s.set.Verdicts && raw.verdict != nil:
		e.Verdict = p.shared.verdictPtr(*raw.verdict)
	case raw.flags&1 != 0 && raw.verdict == nil && len(raw.data) == 0: // the end of an interval
	case s.set.Verdicts || raw.verdict != nil:
		return "a verdict in it is not understood"
	case s.set.Map && len(raw.data) >= s.data:
		e.Data = p.mapData(s, raw.data[:s.dataLen()])
	}
	if raw.flags&2 != 0 {
		s.set.CatchAll = &e
		return ""
	}
	fits := s.keyLen > 0 && len(raw.key) == align4(s.keyLen) && (raw.end == nil || len(raw.end) == len(raw.key))
	if !fits || padded(s, raw.key) || padded(s, raw.end) {
		return "nft prints its elements in a form that is not understood"
	}
	if s.interval && len(s.types) == 1 && raw.end == nil {
		s.ends = append(s.ends, endpoint{number(raw.key[:s.keyLen], s.types[0].order), raw.flags&1 != 0, e})
		return ""
	}
	if raw.end == nil {
		raw.end = raw.key
	}
	return p.addKeys(s, e, raw.key, raw.end)
}

// padded reports whether something stands in the bytes behind a key's fields: then they are not what they are taken for.
func padded(s *setInfo, key []byte) bool {
	if key == nil {
		return false
	}
	at := 0
	for _, t := range s.types {
		end := at + align4(t.size)
		if end > len(key) || slices.ContainsFunc(key[at+t.size:end], func(b byte) bool { return b != 0 }) {
			return true
		}
		at = end
	}
	return false
}

// settle gives a set without types those of the registers that a rule looks up in it: the kernel compares bytes, so its
// keys are in the registers' order, whatever nft believes of them.
func (w *walker) settle(s *setInfo, sreg uint32, verdicts bool) {
	if s == nil || !s.infer {
		return
	}
	s.infer = false
	length := 0
	for _, e := range s.late {
		if e.flags&2 == 0 {
			length = len(e.key)
		}
	}
	types, ok := w.typesOf(sreg, length)
	if !ok || !s.declared && s.mayCover() && !w.plainKeys {
		s.late = nil
		return // it stays incomplete
	}
	s.types, s.set.Incomplete = types, ""
	s.keyLen = 0
	for _, t := range types {
		s.keyLen += align4(t.size)
		s.set.Types = append(s.set.Types, t.name)
	}
	if len(types) == 1 {
		s.keyLen = types[0].size
	}
	s.interval = s.interval || slices.ContainsFunc(s.late, func(e rawElement) bool { return e.flags&1 != 0 })
	for i := range types {
		if s.interval && types[i].order == hostEndian {
			types[i].order = networkOrder // in which nft puts the registers first
		}
	}
	w.mapOf(s, verdicts)
	for i := range s.late {
		if why := w.parser.addRaw(s, &s.late[i]); why != "" {
			s.set.Incomplete = why
			break
		}
	}
	s.late = nil
}

// mapOf tells what a map without types maps to.
func (w *walker) mapOf(s *setInfo, verdicts bool) {
	data := 0
	for _, e := range s.late {
		data = max(data, len(e.data))
	}
	if s.set.Map = verdicts || data > 0; s.set.Map {
		s.set.Verdicts = verdicts
	}
	if data == 0 || verdicts {
		return
	}
	s.dataType, s.data = dataType{"integer", data, networkOrder}, data
	types := w.parser.typesNamed(jsontext.Value(`"` + w.wanted + `"`))
	size := 0
	for _, t := range types {
		size += align4(t.size)
	}
	if size != data {
		return
	}
	s.dataType = types[0]
	if len(types) == 1 {
		s.data = types[0].size
	}
	for _, t := range types {
		s.set.DataTypes = append(s.set.DataTypes, t.name)
	}
}

// mayCover reports whether a set of single keys may be one of intervals that cover everything: their starts alone would
// stand there, and the first is zero.
func (s *setInfo) mayCover() bool {
	zero, ends := false, false
	for _, e := range s.late {
		zero = zero || e.flags&2 == 0 && len(bytes.Trim(e.key, "\x00")) == 0
		ends = ends || e.flags&1 != 0 || e.end != nil
	}
	return zero && !ends
}

// typesOf returns the types of the registers from sreg on that fill length bytes; of one register when length is 0.
func (w *walker) typesOf(sreg uint32, length int) (out []dataType, ok bool) {
	start, ok := word(sreg)
	if !ok {
		return nil, false
	}
	for used := 0; used < length || used == 0; {
		l := w.regs.word(start + used/4)
		if l.size == 0 || l.imm != nil {
			return nil, false
		}
		order := l.order
		if l.opaque != nil { // numgen and hashes are numbers of the machine
			order = hostEndian
		}
		out = append(out, dataType{typeName(l), l.size, order})
		used += align4(l.size)
		if used > length && length > 0 {
			return nil, false
		}
	}
	return out, true
}

// typeName is nft's name for the type of what a register holds; "integer" where it has none.
func typeName(l *load) string {
	if len(l.slices) != 1 || l.opaque != nil {
		return "integer"
	}
	f := string(l.slices[0].field)
	for _, t := range [...]struct{ prefix, name string }{
		{"ct.original.", ""}, {"ct.reply.", ""}, {"ct.", ""},
	} {
		f = strings.TrimPrefix(f, t.prefix)
	}
	switch f {
	case "ip.saddr", "ip.daddr", "rt.ip.nexthop", "arp.saddr.ip", "arp.daddr.ip":
		return "ipv4_addr"
	case "ip6.saddr", "ip6.daddr", "rt.ip6.nexthop":
		return "ipv6_addr"
	case "th.sport", "th.dport", "proto-src", "proto-dst":
		return "inet_service"
	case "meta.l4proto", "protocol", "ip6.nexthdr":
		return "inet_proto"
	case "meta.iifname", "meta.oifname", "meta.ibrname", "meta.obrname", "meta.sdifname", "meta.iifkind", "meta.oifkind":
		return "ifname"
	case "meta.iif", "meta.oif", "meta.sdif":
		return "iface_index"
	case "meta.iiftype", "meta.oiftype":
		return "iface_type"
	case "meta.mark", "mark", "socket.mark":
		return "mark"
	case "meta.iifgroup", "meta.oifgroup":
		return "devgroup"
	case "meta.pkttype":
		return "pkt_type"
	case "meta.nfproto", "l3proto":
		return "nf_proto"
	case "meta.protocol", "ether.type", "vlan.type":
		return "ether_type"
	case "ether.saddr", "ether.daddr":
		return "ether_addr"
	case "meta.skuid":
		return "uid"
	case "meta.skgid":
		return "gid"
	case "meta.priority":
		return "classid"
	case "meta.rtclassid", "rt.classid":
		return "realm"
	case "state":
		return "ct_state"
	case "direction":
		return "ct_dir"
	case "status":
		return "ct_status"
	case "label":
		return "ct_label"
	case "tcp.flags":
		return "tcp_flag"
	case "icmp.type":
		return "icmp_type"
	case "icmpv6.type":
		return "icmpv6_type"
	case "icmp.code":
		return "icmp_code"
	case "icmpv6.code":
		return "icmpv6_code"
	case "igmp.type":
		return "igmp_type"
	case "arp.operation":
		return "arp_op"
	case "ip.dscp", "ip6.dscp":
		return "dscp"
	case "ip.ecn", "ip6.ecn":
		return "ecn"
	case "meta.hour":
		return "hour"
	case "meta.day":
		return "day"
	case "meta.time", "expiration":
		return "time"
	}
	if strings.HasPrefix(f, "fib.") && strings.HasSuffix(f, ".type") {
		return "fib_addrtype"
	}
	return "integer"
}

// plainWords reads words of 4 bytes without 0x in front.
func (c *cursor) plainWords() (out []byte) {
	for len(c.words) > 0 && isHexWord(c.words[0]) {
		out = appendWord(out, c.words[0])
		c.words = c.words[1:]
	}
	return out
}

// appendWord appends the bytes of a word as a machine with the lowest byte first has them in memory.
func appendWord(b []byte, hex string) []byte {
	var v uint32
	for _, d := range []byte(hex) {
		switch {
		case d <= '9':
			v = v<<4 | uint32(d-'0')
		default:
			v = v<<4 | uint32(d-'a'+10)
		}
	}
	return binary.LittleEndian.AppendUint32(b, v)
}

func isHexWord(s string) bool {
	if len(s) != 8 {
		return false
	}
	for _, d := range []byte(s) {
		if !(d >= '0' && d <= '9' || d >= 'a' && d <= 'f') {
			return false
		}
	}
	return true
}
