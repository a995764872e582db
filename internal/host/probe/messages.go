package probe

import (
	"errors"
	"unicode/utf8"
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

	nested = 1 << 15 // NLA_F_NESTED, in the type of an attribute of attributes

	flagUp, flagLoopback = 1, 8
	ruleInvert           = 2
)

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

// arpType is the number of a name among the hardware types that collectors know. ip -N prints numbers.
func arpType(name string) (uint32, bool) {
	switch name {
	case "ether":
		return 1, true
	case "infiniband":
		return 32, true
	case "can":
		return 280, true
	case "ppp":
		return 512, true
	case "rawip":
		return 519, true
	case "ipip":
		return 768, true
	case "tunnel6":
		return 769, true
	case "loopback":
		return 772, true
	case "sit":
		return 776, true
	case "gre":
		return 778, true
	case "ieee802.11":
		return 801, true
	case "gre6":
		return 823, true
	case "netlink":
		return 824, true
	case "6lowpan":
		return 825, true
	case "none":
		return 0xfffe, true
	case "void":
		return 0xffff, true
	}
	return 0, false
}

func linkGroup(name string) (uint32, bool) { return 0, name == "default" || name == "" }

func (d *dumps) linkMessage(b []byte, l ipLink) ([]byte, error) { return linkMessage(b, l, d.index) }

func linkMessage(b []byte, l ipLink, index map[string]uint32) ([]byte, error) {
	if !utf8.ValidString(l.Name) || l.Name == "" || l.Index == 0 {
		return nil, errors.New("a link without a name or number")
	}
	typ, err := l.Type.value("link type", arpType)
	if err != nil {
		typ = 0xffff // ARPHRD_VOID: a name that is in no table of ours is no kind that matters
	}
	fixed := new([16]byte)[:] // struct ifinfomsg
	native.PutUint16(fixed[2:], uint16(typ))
	native.PutUint32(fixed[4:], l.Index)
	native.PutUint32(fixed[8:], l.flags())
	group, err := l.Group.value("link group", linkGroup)
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
	m := begin(b, newLink, fixed)
	m.text(iflaName, l.Name)
	m.uint32(iflaGroup, group)
	if master != 0 {
		m.uint32(iflaMaster, master)
	}
	l.attributes(&m, lower)
	return m.end()
}

func (l ipLink) attributes(m *message, lower uint32) {
	if lower != 0 {
		m.uint32(iflaLink, lower)
	}
	if l.NetnsID != nil {
		if id, err := l.NetnsID.value("", nil); err == nil {
			m.uint32(iflaNetnsID, id)
		} // "unknown" is a namespace without an id: no link of another leads there
	}
	if l.Info != nil && l.Info.Kind != "" {
		start := m.open(nested | iflaInfo)
		m.text(iflaInfoKind, l.Info.Kind)
		m.close(start)
	}
	if l.XDP != nil && l.XDP.program() != 0 {
		start := m.open(nested | iflaXDP)
		m.uint32(iflaXDPProgram, l.XDP.program())
		m.close(start)
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

func addressScope(name string) (uint32, bool) {
	switch name {
	case "global":
		return 0, true
	case "site":
		return 200, true
	case "link":
		return 253, true
	case "host":
		return 254, true
	case "nowhere":
		return 255, true
	}
	return 0, false
}

// addressMessage appends nothing for an address of a family that nobody asks about.
func addressMessage(b []byte, a ipAddress, link uint32) ([]byte, error) {
	family := byte(familyIP4)
	switch a.Family {
	case "inet":
	case "inet6":
		family = familyIP6
	default:
		return b, nil
	}
	scope, err := a.Scope.value("scope", addressScope)
	if err != nil {
		return nil, err
	}
	fixed := new([8]byte)[:] // struct ifaddrmsg
	fixed[0], fixed[1], fixed[3] = family, a.Bits, byte(scope)
	native.PutUint32(fixed[4:], link)
	local, peer := a.Local, a.Peer
	if peer == "" {
		peer = local
		if family == familyIP6 {
			local = ""
		}
	}
	m := begin(b, newAddress, fixed)
	for _, v := range [...]struct {
		typ  uint16
		text string
	}{{ifaAddress, peer}, {ifaLocal, local}, {ifaBroadcast, a.Broadcast}} {
		if v.text == "" {
			continue
		}
		ip, err := addr(v.text, family)
		if err != nil {
			return nil, err
		}
		m.addr(v.typ, ip)
	}
	if a.Label != "" {
		m.text(ifaLabel, a.Label)
	}
	return m.end()
}
