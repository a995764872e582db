package probe

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// ipHop is where a route leads.
type ipHop struct {
	Dev     string `json:"dev"`
	Gateway string `json:"gateway"`
	Via     *struct {
		Family string `json:"family"`
		Host   string `json:"host"`
	} `json:"via"`
}

// ipRoute is a route as "ip -j -d route" prints it. Source: iproute2 6.1, ip/iproute.c, print_route().
type ipRoute struct {
	ipHop
	Type   number  `json:"type"`
	Dst    string  `json:"dst"`
	Table  number  `json:"table"`
	Source string  `json:"prefsrc"`
	Metric uint32  `json:"metric"`
	Hops   []ipHop `json:"nexthops"`
}

func routingTable(name string) (uint32, bool) {
	switch name {
	case "", "main":
		return 254, true
	case "local":
		return 255, true
	case "default":
		return 253, true
	case "unspec":
		return 0, true
	}
	return 0, false
}

func routeType(name string) (uint32, bool) {
	if name == "" {
		return 1, true
	}
	i := slices.Index([]string{
		"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw", "nat",
	}, name)
	return uint32(max(i, 0)), i >= 0
}

func (d *dumps) routeMessage(b []byte, r ipRoute, family byte) ([]byte, error) {
	table, err := r.Table.value("routing table", routingTable)
	if err != nil {
		return nil, err
	}
	typ, err := r.Type.value("route type", routeType)
	if err != nil {
		return nil, err
	}
	dst, err := prefix(r.Dst, family)
	if err != nil {
		return nil, err
	}
	var source netip.Addr
	if r.Source != "" {
		if source, err = addr(r.Source, family); err != nil {
			return nil, err
		}
	}
	hops, err := d.hops(r, family)
	if err != nil {
		return nil, err
	}
	fixed := new([12]byte)[:] // struct rtmsg
	fixed[0], fixed[1], fixed[7] = family, byte(dst.Bits()), byte(typ)
	if table < 256 {
		fixed[4] = byte(table)
	}
	m := begin(b, newRoute, fixed)
	m.uint32(rtaTable, table)
	if dst.Bits() > 0 {
		m.addr(rtaDst, dst.Addr())
	}
	if r.Metric != 0 {
		m.uint32(rtaPriority, r.Metric)
	}
	if source.IsValid() {
		m.addr(rtaPrefSrc, source)
	}
	if hops[0].link != 0 {
		m.uint32(rtaOIF, hops[0].link)
	}
	hops[0].gateway(&m)
	if len(hops) > 1 {
		m.multipath(hops[1:])
	}
	return m.end()
}

// hops are the route's own next hop, which may be none, and those of a multipath route.
func (d *dumps) hops(r ipRoute, family byte) ([]hop, error) {
	hops := make([]hop, len(r.Hops)+1)
	for i := range hops {
		h := &r.ipHop
		if i > 0 {
			h = &r.Hops[i-1]
		}
		var err error
		if hops[i], err = d.hop(*h, family); err != nil {
			return nil, fmt.Errorf("route to %.60s: %w", r.Dst, err)
		}
	}
	return hops, nil
}

// hop is a next hop in the kernel's terms: a link, and an address of the route's family or (via) of any.
type hop struct {
	link      uint32
	addr, via netip.Addr
}

func (d *dumps) hop(h ipHop, family byte) (hop, error) {
	link, err := optionalLink(d.index, h.Dev)
	if err != nil {
		return hop{}, err
	}
	out := hop{link: link}
	if h.Gateway != "" {
		if out.addr, err = addr(h.Gateway, family); err != nil {
			return out, err
		}
	}
	if h.Via != nil {
		other := byte(familyIP6)
		if h.Via.Family == "inet" {
			other = familyIP4
		}
		if out.via, err = addr(h.Via.Host, other); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (h hop) gateway(m *message) {
	if h.addr.IsValid() {
		m.addr(rtaGateway, h.addr)
	}
	if h.via.IsValid() { // struct rtvia: family, then the address
		family := uint16(familyIP6)
		if h.via.Is4() {
			family = familyIP4
		}
		start := m.open(rtaVia)
		m.b = appendAddr(native.AppendUint16(m.b, family), h.via)
		m.close(start)
	}
}

// multipath is one struct rtnexthop (length, flags, hops, index) with attributes for each hop.
func (m *message) multipath(hops []hop) {
	all := m.open(rtaMultipath)
	for _, h := range hops {
		start := len(m.b)
		m.b = native.AppendUint16(m.b, 0)
		m.b = append(m.b, 0, 0)
		m.b = native.AppendUint32(m.b, h.link)
		h.gateway(m)
		native.PutUint16(m.b[start:], uint16(len(m.b)-start))
	}
	m.close(all)
}

// ipRule is a policy rule as "ip -j -d rule" prints it. Source: iproute2 6.1, ip/iprule.c, print_rule().
type ipRule struct {
	Priority uint32  `json:"priority"`
	Not      json0   `json:"not"`
	Src      string  `json:"src"`
	SrcBits  *uint8  `json:"srclen"`
	Dst      string  `json:"dst"`
	DstBits  *uint8  `json:"dstlen"`
	Mark     *number `json:"fwmark"`
	Mask     *number `json:"fwmask"`
	In       string  `json:"iif"`
	Table    *number `json:"table"`
	L3MDev   json0   `json:"l3mdev"`
	Goto     *number `json:"goto"`
	Nop      json0   `json:"nop"`
	Action   number  `json:"action"`
}

// json0 is a key that is there or not, whatever its value: null, often.
type json0 bool

// UnmarshalJSONFrom is called for null, too.
func (p *json0) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*p = true
	return dec.SkipValue()
}

// ruleAction is FR_ACT_*; ip prints some of them under the names of route types with the same numbers.
func ruleAction(name string) (uint32, bool) {
	switch name {
	case "blackhole":
		return 6, true
	case "unreachable":
		return 7, true
	case "prohibit":
		return 8, true
	}
	return 0, false
}

// action is the FR_ACT_* of a rule: a lookup (1), goto (2), nop (3), or one that says itself.
func (r ipRule) action() (uint32, error) {
	switch {
	case r.Table != nil, bool(r.L3MDev):
		return 1, nil
	case r.Goto != nil:
		return 2, nil
	case bool(r.Nop):
		return 3, nil
	}
	return r.Action.value("rule action", ruleAction)
}

func ruleMessage(b []byte, r ipRule, family byte) ([]byte, error) {
	action, err := r.action()
	if err != nil {
		return nil, err
	}
	src, err := selector(r.Src, r.SrcBits, family)
	if err != nil {
		return nil, err
	}
	dst, err := selector(r.Dst, r.DstBits, family)
	if err != nil {
		return nil, err
	}
	numbers, err := r.numbers()
	if err != nil {
		return nil, err
	}
	fixed := new([12]byte)[:] // struct fib_rule_hdr
	fixed[0], fixed[1], fixed[2], fixed[7] = family, dst.bits, src.bits, byte(action)
	if t := numbers[0].value; t < 256 {
		fixed[4] = byte(t)
	}
	if r.Not {
		native.PutUint32(fixed[8:], ruleInvert)
	}
	m := begin(b, newRule, fixed)
	m.uint32(fraPriority, r.Priority)
	for _, n := range numbers {
		if n.there {
			m.uint32(n.typ, n.value)
		}
	}
	if src.addr.IsValid() {
		m.addr(fraSrc, src.addr)
	}
	if dst.addr.IsValid() {
		m.addr(fraDst, dst.addr)
	}
	if r.In != "" {
		m.text(fraIIF, r.In)
	}
	if r.L3MDev {
		m.uint8(fraL3MDev, 1)
	}
	return m.end()
}

// ruleNumber is an attribute that a rule may have.
type ruleNumber struct {
	typ   uint16
	value uint32
	there bool
}

// numbers are table, mark and mask. A mark without a mask is compared whole.
func (r ipRule) numbers() ([3]ruleNumber, error) {
	out := [3]ruleNumber{{typ: fraTable}, {typ: fraMark}, {typ: fraMask}}
	for i, n := range [...]*number{r.Table, r.Mark, r.Mask} {
		if n == nil {
			continue
		}
		v, err := n.value("routing rule", routingTable)
		if err != nil {
			return out, err
		}
		out[i].value, out[i].there = v, true
	}
	if r.Mark != nil && !out[2].there {
		out[2].value, out[2].there = 0xffffffff, true
	}
	return out, nil
}

// chosen is a source or destination that a rule selects.
type chosen struct {
	addr netip.Addr
	bits uint8
}

func selector(s string, bits *uint8, family byte) (chosen, error) {
	if s == "" || s == "all" {
		return chosen{}, nil
	}
	p, err := prefix(s, family)
	if err != nil {
		return chosen{}, err
	}
	c := chosen{addr: p.Addr(), bits: uint8(p.Bits())}
	if bits != nil {
		c.bits = *bits
	}
	return c, nil
}

// ipQdisc is a queueing discipline as "tc -j qdisc" prints it.
type ipQdisc struct {
	Kind string `json:"kind"`
	Dev  string `json:"dev"`
}

func (d *dumps) qdiscMessage(b []byte, q ipQdisc) ([]byte, error) {
	link, err := d.link(q.Dev)
	if err != nil {
		return nil, err
	}
	fixed := new([20]byte)[:] // struct tcmsg
	native.PutUint32(fixed[4:], link)
	m := begin(b, newQdisc, fixed)
	m.text(tcaKind, q.Kind)
	return m.end()
}
