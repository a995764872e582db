package probe

import (
	"fmt"

	"github.com/mdlayher/netlink"
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

func tables() map[string]uint32 {
	return map[string]uint32{"": 254, "main": 254, "local": 255, "default": 253, "unspec": 0}
}

func routeTypes() map[string]uint32 {
	return map[string]uint32{
		"": 1, "unspec": 0, "unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5, "blackhole": 6,
		"unreachable": 7, "prohibit": 8, "throw": 9, "nat": 10,
	}
}

func (d *dumps) routeMessage(r ipRoute, family byte) ([]byte, error) {
	table, err := r.Table.value("routing table", tables())
	if err != nil {
		return nil, err
	}
	typ, err := r.Type.value("route type", routeTypes())
	if err != nil {
		return nil, err
	}
	dst, err := prefix(r.Dst, family)
	if err != nil {
		return nil, err
	}
	raw, err := addresses(map[uint16]string{rtaPrefSrc: r.Source}, family)
	if err != nil {
		return nil, err
	}
	hops, err := d.hops(r, family)
	if err != nil {
		return nil, err
	}
	fixed := make([]byte, 12) // struct rtmsg
	fixed[0], fixed[1], fixed[7] = family, byte(dst.Bits()), byte(typ)
	if table < 256 {
		fixed[4] = byte(table)
	}
	return message(newRoute, fixed, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(rtaTable, table)
		if dst.Bits() > 0 {
			ae.Bytes(rtaDst, dst.Addr().AsSlice())
		}
		if r.Metric != 0 {
			ae.Uint32(rtaPriority, r.Metric)
		}
		if raw[rtaPrefSrc] != nil {
			ae.Bytes(rtaPrefSrc, raw[rtaPrefSrc])
		}
		if hops[0].link != 0 {
			ae.Uint32(rtaOIF, hops[0].link)
		}
		hops[0].gateway(ae)
		if len(hops) > 1 {
			ae.Do(rtaMultipath, func() ([]byte, error) { return multipath(hops[1:]) })
		}
	})
}

// hops are the route's own next hop, which may be none, and those of a multipath route.
func (d *dumps) hops(r ipRoute, family byte) ([]hop, error) {
	hops := make([]hop, 0, len(r.Hops)+1)
	for _, h := range append([]ipHop{r.ipHop}, r.Hops...) {
		one, err := d.hop(h, family)
		if err != nil {
			return nil, fmt.Errorf("route to %.60s: %w", r.Dst, err)
		}
		hops = append(hops, one)
	}
	return hops, nil
}

// hop is a next hop in the kernel's terms: a link, and an address of the route's family or (via) of the other.
type hop struct {
	link uint32
	addr []byte
	via  []byte // struct rtvia: family, then the address
}

func (d *dumps) hop(h ipHop, family byte) (hop, error) {
	link, err := optionalLink(d.index, h.Dev)
	if err != nil {
		return hop{}, err
	}
	out := hop{link: link}
	if h.Gateway != "" {
		a, err := addr(h.Gateway, family)
		if err != nil {
			return out, err
		}
		out.addr = a.AsSlice()
	}
	if h.Via != nil {
		other := byte(familyIP6)
		if h.Via.Family == "inet" {
			other = familyIP4
		}
		a, err := addr(h.Via.Host, other)
		if err != nil {
			return out, err
		}
		out.via = append(native.AppendUint16(nil, uint16(other)), a.AsSlice()...)
	}
	return out, nil
}

func (h hop) gateway(ae *netlink.AttributeEncoder) {
	if h.addr != nil {
		ae.Bytes(rtaGateway, h.addr)
	}
	if h.via != nil {
		ae.Bytes(rtaVia, h.via)
	}
}

// multipath is one struct rtnexthop (length, flags, hops, index) with attributes for each hop.
func multipath(hops []hop) ([]byte, error) {
	var b []byte
	for _, h := range hops {
		ae := netlink.NewAttributeEncoder()
		h.gateway(ae)
		attrs, err := ae.Encode()
		if err != nil {
			return nil, err
		}
		b = native.AppendUint16(b, uint16(8+len(attrs)))
		b = append(b, 0, 0)
		b = native.AppendUint32(b, h.link)
		b = append(b, attrs...)
	}
	return b, nil
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

// UnmarshalJSON is called for null, too.
func (p *json0) UnmarshalJSON([]byte) error { *p = true; return nil }

// ruleActions are FR_ACT_*; ip prints some of them under the names of route types with the same numbers.
func ruleActions() map[string]uint32 {
	return map[string]uint32{"blackhole": 6, "unreachable": 7, "prohibit": 8}
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
	return r.Action.value("rule action", ruleActions())
}

func ruleMessage(r ipRule, family byte) ([]byte, error) {
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
	numbers := map[uint16]uint32{fraPriority: r.Priority}
	if err := r.numbers(numbers); err != nil {
		return nil, err
	}
	fixed := make([]byte, 12) // struct fib_rule_hdr
	fixed[0], fixed[1], fixed[2], fixed[7] = family, dst.bits, src.bits, byte(action)
	if t := numbers[fraTable]; t < 256 {
		fixed[4] = byte(t)
	}
	if r.Not {
		native.PutUint32(fixed[8:], ruleInvert)
	}
	return message(newRule, fixed, func(ae *netlink.AttributeEncoder) {
		for _, t := range []uint16{fraPriority, fraTable, fraMark, fraMask} {
			if v, ok := numbers[t]; ok {
				ae.Uint32(t, v)
			}
		}
		if src.addr != nil {
			ae.Bytes(fraSrc, src.addr)
		}
		if dst.addr != nil {
			ae.Bytes(fraDst, dst.addr)
		}
		if r.In != "" {
			ae.String(fraIIF, r.In)
		}
		if r.L3MDev {
			ae.Uint8(fraL3MDev, 1)
		}
	})
}

// numbers adds table, mark and mask. A mark without a mask is compared whole.
func (r ipRule) numbers(to map[uint16]uint32) error {
	for t, n := range map[uint16]*number{fraTable: r.Table, fraMark: r.Mark, fraMask: r.Mask} {
		if n == nil {
			continue
		}
		v, err := n.value("routing rule", tables())
		if err != nil {
			return err
		}
		to[t] = v
	}
	if _, ok := to[fraMask]; r.Mark != nil && !ok {
		to[fraMask] = 0xffffffff
	}
	return nil
}

// chosen is a source or destination that a rule selects.
type chosen struct {
	addr []byte
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
	c := chosen{addr: p.Addr().AsSlice(), bits: uint8(p.Bits())}
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

func (d *dumps) qdiscMessage(q ipQdisc) ([]byte, error) {
	link, err := d.link(q.Dev)
	if err != nil {
		return nil, err
	}
	fixed := make([]byte, 20) // struct tcmsg
	native.PutUint32(fixed[4:], link)
	return message(newQdisc, fixed, func(ae *netlink.AttributeEncoder) { ae.String(tcaKind, q.Kind) })
}
