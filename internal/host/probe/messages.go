package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/mdlayher/netlink"
)

// Messages, attributes and flags of rtnetlink (Linux 6.18: include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, if.h,
// fib_rules.h, if_arp.h), as far as collectors read them. The unix package has them on Linux only.
const (
	newLink, newAddress, newRoute, newRule, newQdisc = 16, 20, 24, 32, 36

	familyIP4, familyIP6 = 2, 10

	iflaName, iflaLink, iflaMaster, iflaInfo, iflaGroup, iflaNetnsID, iflaXDP = 3, 5, 10, 18, 27, 37, 43
	iflaInfoKind, iflaXDPProgram                                              = 1, 4
	ifaAddress, ifaLocal, ifaLabel, ifaBroadcast                              = 1, 2, 3, 4
	rtaDst, rtaOIF, rtaGateway, rtaPriority, rtaPrefSrc, rtaMultipath         = 1, 4, 5, 6, 7, 9
	rtaTable, rtaVia                                                          = 15, 18
	fraDst, fraSrc, fraIIF, fraPriority, fraMark                              = 1, 2, 3, 6, 10
	fraTable, fraMask, fraL3MDev                                              = 15, 16, 19
	tcaKind                                                                   = 1

	flagUp, flagLoopback = 1, 8
	ruleInvert           = 2
)

var native = binary.NativeEndian

// message puts a header before a fixed part and attributes.
func message(typ uint16, fixed []byte, attributes func(*netlink.AttributeEncoder)) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	attributes(ae)
	attrs, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	size := 16 + len(fixed) + len(attrs)
	b := make([]byte, 16, (size+3)&^3)
	native.PutUint32(b, uint32(size))
	native.PutUint16(b[4:], typ)
	native.PutUint16(b[6:], uint16(netlink.Multi))
	b = append(append(b, fixed...), attrs...)
	return b[:cap(b)], nil
}

// ipLink is a link as "ip -j -d addr" prints it. Source: iproute2 6.1, ip/ipaddress.c, print_linkinfo().
type ipLink struct {
	Index     uint32      `json:"ifindex"`
	Name      string      `json:"ifname"`
	Lower     *string     `json:"link"`       // the other end, or the device below, in this namespace
	LowerAt   *uint32     `json:"link_index"` // the same where it is in another
	NetnsID   *number     `json:"link_netnsid"`
	Master    string      `json:"master"`
	Group     number      `json:"group"`
	Type      number      `json:"link_type"`
	Flags     []string    `json:"flags"`
	Info      *ipInfo     `json:"linkinfo"`
	XDP       *ipXDP      `json:"xdp"`
	Addresses []ipAddress `json:"addr_info"`
}

type ipInfo struct {
	Kind string `json:"info_kind"`
}

type ipXDP struct {
	Prog     *ipProg  `json:"prog"`
	Attached []ipProg `json:"attached"`
}

type ipProg struct {
	ID   uint32  `json:"id"`
	Prog *ipProg `json:"prog"`
}

// program is the id of a program, of whatever mode.
func (x *ipXDP) program() uint32 {
	if x.Prog != nil {
		return x.Prog.ID
	}
	for _, p := range x.Attached {
		if p.Prog != nil {
			return p.Prog.ID
		}
		if p.ID != 0 {
			return p.ID
		}
	}
	return 0
}

// arpTypes are the names of hardware types that collectors know. ip -N prints numbers.
func arpTypes() map[string]uint32 {
	return map[string]uint32{
		"ether": 1, "infiniband": 32, "ppp": 512, "ipip": 768, "tunnel6": 769, "loopback": 772, "sit": 776, "gre": 778,
		"ieee802.11": 801, "gre6": 823, "netlink": 824, "6lowpan": 825, "rawip": 519, "void": 0xffff, "none": 0xfffe, "can": 280,
	}
}

func (d *dumps) linkMessage(l ipLink) ([]byte, error) { return linkMessage(l, d.index) }

func linkMessage(l ipLink, index map[string]uint32) ([]byte, error) {
	if !utf8.ValidString(l.Name) || l.Name == "" || l.Index == 0 {
		return nil, errors.New("a link without a name or number")
	}
	typ, err := l.Type.value("link type", arpTypes())
	if err != nil {
		typ = 0xffff // ARPHRD_VOID: a name that is in no table of ours is no kind that matters
	}
	fixed := make([]byte, 16) // struct ifinfomsg
	native.PutUint16(fixed[2:], uint16(typ))
	native.PutUint32(fixed[4:], l.Index)
	native.PutUint32(fixed[8:], l.flags())
	group, err := l.Group.value("link group", map[string]uint32{"default": 0, "": 0})
	if err != nil {
		return nil, err
	}
	master, err := optionalLink(index, l.Master)
	if err != nil {
		return nil, err
	}
	lower, err := l.lower(index)
	if err != nil {
		return nil, err
	}
	return message(newLink, fixed, func(ae *netlink.AttributeEncoder) {
		ae.String(iflaName, l.Name)
		ae.Uint32(iflaGroup, group)
		if master != 0 {
			ae.Uint32(iflaMaster, master)
		}
		l.attributes(ae, lower)
	})
}

func (l ipLink) attributes(ae *netlink.AttributeEncoder, lower uint32) {
	if lower != 0 {
		ae.Uint32(iflaLink, lower)
	}
	if l.NetnsID != nil {
		if id, err := l.NetnsID.value("", nil); err == nil {
			ae.Int32(iflaNetnsID, int32(id))
		} // "unknown" is a namespace without an id: no link of another leads there
	}
	if l.Info != nil && l.Info.Kind != "" {
		ae.Nested(iflaInfo, func(ae *netlink.AttributeEncoder) error {
			ae.String(iflaInfoKind, l.Info.Kind)
			return nil
		})
	}
	if l.XDP != nil && l.XDP.program() != 0 {
		ae.Nested(iflaXDP, func(ae *netlink.AttributeEncoder) error {
			ae.Uint32(iflaXDPProgram, l.XDP.program())
			return nil
		})
	}
}

func (l ipLink) flags() uint32 {
	var f uint32
	for _, name := range l.Flags {
		switch name {
		case "UP":
			f |= flagUp
		case "LOOPBACK":
			f |= flagLoopback
		}
	}
	return f
}

// lower is the number of the other end or the device below, 0 when there is none.
func (l ipLink) lower(index map[string]uint32) (uint32, error) {
	if l.LowerAt != nil {
		return *l.LowerAt, nil
	}
	if l.Lower == nil {
		return 0, nil
	}
	return optionalLink(index, *l.Lower)
}

func optionalLink(index map[string]uint32, name string) (uint32, error) {
	if name == "" || name == "none" {
		return 0, nil
	}
	return linkIn(index, name)
}

// ipAddress is an address as "ip -j addr" prints it. Source: iproute2 6.1, ip/ipaddress.c, print_addrinfo().
type ipAddress struct {
	Family    string `json:"family"`
	Local     string `json:"local"`
	Peer      string `json:"address"`
	Bits      uint8  `json:"prefixlen"`
	Broadcast string `json:"broadcast"`
	Scope     number `json:"scope"`
	Label     string `json:"label"`
}

func scopes() map[string]uint32 {
	return map[string]uint32{"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
}

func addressMessage(a ipAddress, link uint32) ([]byte, error) {
	family := byte(familyIP4)
	switch a.Family {
	case "inet":
	case "inet6":
		family = familyIP6
	default:
		return nil, nil
	}
	scope, err := a.Scope.value("scope", scopes())
	if err != nil {
		return nil, err
	}
	fixed := make([]byte, 8) // struct ifaddrmsg
	fixed[0], fixed[1], fixed[3] = family, a.Bits, byte(scope)
	native.PutUint32(fixed[4:], link)
	values := map[uint16]string{ifaLocal: a.Local, ifaAddress: a.Peer, ifaBroadcast: a.Broadcast}
	if a.Peer == "" {
		values[ifaAddress] = a.Local
	}
	if family == familyIP6 && a.Peer == "" {
		delete(values, ifaLocal)
	}
	raw, err := addresses(values, family)
	if err != nil {
		return nil, err
	}
	return message(newAddress, fixed, func(ae *netlink.AttributeEncoder) {
		for _, t := range []uint16{ifaAddress, ifaLocal, ifaBroadcast} {
			if raw[t] != nil {
				ae.Bytes(t, raw[t])
			}
		}
		if a.Label != "" {
			ae.String(ifaLabel, a.Label)
		}
	})
}

// addresses are the bytes of those that are there.
func addresses(values map[uint16]string, family byte) (map[uint16][]byte, error) {
	raw := map[uint16][]byte{}
	for t, s := range values {
		if s == "" {
			continue
		}
		a, err := addr(s, family)
		if err != nil {
			return nil, err
		}
		raw[t] = a.AsSlice()
	}
	return raw, nil
}

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
	hops := make([]hop, 0, len(r.Hops)+1)
	for _, h := range append([]ipHop{r.ipHop}, r.Hops...) {
		one, err := d.hop(h, family)
		if err != nil {
			return nil, fmt.Errorf("route to %.60s: %w", r.Dst, err)
		}
		hops = append(hops, one)
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
