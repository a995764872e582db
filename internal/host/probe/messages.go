package probe

import (
	"encoding/binary"
	"errors"
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
