package topology

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// parseLink reads an RTM_NEWLINK: struct ifinfomsg (family, type, index, flags, change) and IFLA_* attributes. A veth's or
// netkit's IFLA_LINK is the index of its other end, in the namespace that IFLA_LINK_NETNSID names (ours when absent);
// for other kinds it is the device below, which is not kept.
// Source: net/core/rtnetlink.c, rtnl_fill_ifinfo(), Linux 6.18.
func parseLink(m message) (snapshot.Link, bool, error) {
	var l snapshot.Link
	var lower uint32
	var namespace *int32
	err := m.attributes(unix.SizeofIfInfomsg, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_GROUP:
			l.Group = ad.Uint32()
		case unix.IFLA_MASTER:
			l.Master = ad.Uint32()
		case unix.IFLA_LINK:
			lower = ad.Uint32()
		case unix.IFLA_LINK_NETNSID:
			id := ad.Int32()
			namespace = &id
		case unix.IFLA_LINKINFO:
			ad.Nested(nested(func(ad *netlink.AttributeDecoder) {
				if ad.Type() == unix.IFLA_INFO_KIND {
					l.Kind = ad.String()
				}
			}))
		case unix.IFLA_XDP:
			ad.Nested(nested(func(ad *netlink.AttributeDecoder) { xdp(ad, &l.XDP) }))
		}
	})
	if err != nil {
		return l, false, err
	}
	l.Type = binary.NativeEndian.Uint16(m.body[2:])
	l.Index = binary.NativeEndian.Uint32(m.body[4:])
	flags := binary.NativeEndian.Uint32(m.body[8:])
	l.Up, l.Loopback = flags&unix.IFF_UP != 0, flags&unix.IFF_LOOPBACK != 0
	if l.Kind == "veth" || l.Kind == "netkit" {
		l.Peer, l.PeerNS = lower, namespace
	}
	return l, true, nil
}

func nested(f func(*netlink.AttributeDecoder)) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			f(ad)
		}
		return ad.Err()
	}
}

// xdp keeps a program id. With programs in several modes the kernel sends no IFLA_XDP_PROG_ID, but one id for each mode.
// Source: net/core/rtnetlink.c, rtnl_xdp_fill(), Linux 6.18.
func xdp(ad *netlink.AttributeDecoder, id *uint32) {
	switch ad.Type() {
	case unix.IFLA_XDP_PROG_ID, unix.IFLA_XDP_DRV_PROG_ID, unix.IFLA_XDP_SKB_PROG_ID, unix.IFLA_XDP_HW_PROG_ID:
		if n := ad.Uint32(); *id == 0 {
			*id = n
		}
	}
}

// qdisc is a queueing discipline that packets coming in pass: filters hang there that no ruleset shows.
type qdisc struct {
	link uint32
	kind string
}

// sizeofTcmsg is struct tcmsg: family and 3 bytes of padding, index, handle, parent, info.
const sizeofTcmsg = 20

// parseQdisc reads an RTM_NEWQDISC: struct tcmsg and TCA_* attributes.
// Only the kinds that run filters outside netfilter are ours. Source: include/uapi/linux/rtnetlink.h, Linux 6.18.
func parseQdisc(m message) (qdisc, bool, error) {
	var q qdisc
	err := m.attributes(sizeofTcmsg, func(ad *netlink.AttributeDecoder) {
		if ad.Type() == unix.TCA_KIND {
			q.kind = ad.String()
		}
	})
	if err != nil {
		return q, false, err
	}
	q.link = binary.NativeEndian.Uint32(m.body[4:])
	return q, q.kind == "clsact" || q.kind == "ingress", nil
}

// joinQdiscs notes each qdisc at its link. Whether filters hang in it is another dump, so it reads "may".
func joinQdiscs(links []snapshot.Link, qdiscs []qdisc) {
	kinds := map[uint32][]string{}
	for _, q := range qdiscs {
		kinds[q.link] = append(kinds[q.link], q.kind+" qdisc, may carry filters")
	}
	for i := range links {
		programs := kinds[links[i].Index]
		slices.Sort(programs)
		links[i].TCPrograms = slices.Compact(programs)
	}
}

// parseAddress reads an RTM_NEWADDR: struct ifaddrmsg (family, prefix length, flags, scope, index) and IFA_* attributes.
// IFA_LOCAL is our own address; on a point-to-point link IFA_ADDRESS is the other end's. IPv6 sends IFA_ADDRESS alone.
// Source: net/ipv4/devinet.c, inet_fill_ifaddr(), and net/ipv6/addrconf.c, inet6_fill_ifaddr(), Linux 6.18.
func parseAddress(m message) (snapshot.Address, bool, error) {
	var a snapshot.Address
	var local, other, broadcast netip.Addr
	err := m.attributes(unix.SizeofIfAddrmsg, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.IFA_LOCAL:
			address(ad, &local)
		case unix.IFA_ADDRESS:
			address(ad, &other)
		case unix.IFA_BROADCAST:
			address(ad, &broadcast)
		}
	})
	if err != nil {
		return a, false, err
	}
	family := m.body[0]
	if !internet(family) {
		return a, false, nil
	}
	if !local.IsValid() {
		local = other
	}
	p, err := prefix(family, local, m.body[1])
	if err != nil {
		return a, false, err
	}
	a = snapshot.Address{
		Link: binary.NativeEndian.Uint32(m.body[4:]), Prefix: p.String(), Broadcast: text(broadcast), Scope: scope(m.body[3]),
	}
	return a, true, nil
}

// scope names an RT_SCOPE_* as the ip tool does.
func scope(n uint8) string {
	switch n {
	case unix.RT_SCOPE_UNIVERSE:
		return "global"
	case unix.RT_SCOPE_SITE:
		return "site"
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	case unix.RT_SCOPE_NOWHERE:
		return "nowhere"
	}
	return number(uint32(n))
}

func sortLinks(links []snapshot.Link) {
	slices.SortFunc(links, func(a, b snapshot.Link) int { return cmp.Compare(a.Index, b.Index) })
}

func sortAddresses(addresses []snapshot.Address) {
	slices.SortFunc(addresses, func(a, b snapshot.Address) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Prefix, b.Prefix), cmp.Compare(a.Scope, b.Scope))
	})
}
