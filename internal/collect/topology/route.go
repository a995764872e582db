package topology

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func internet(family uint8) bool { return family == unix.AF_INET || family == unix.AF_INET6 }

func familyName(family uint8) netfilter.Family {
	if family == unix.AF_INET6 {
		return netfilter.IP6
	}
	return netfilter.IP
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// parseRoute reads an RTM_NEWROUTE: struct rtmsg (family, dst_len, src_len, tos, table, protocol, scope, type, flags) and
// RTA_* attributes. Cached entries (RTM_F_CLONED) and other families (MPLS, multicast routing) are not ours.
// Source: net/ipv4/fib_semantics.c, fib_dump_info(), and net/ipv6/route.c, rt6_fill_node(), Linux 6.18.
func parseRoute(m message) (snapshot.Route, bool, error) {
	var r snapshot.Route
	var dst, gateway, source netip.Addr
	var hops []hop
	err := m.attributes(unix.SizeofRtMsg, func(ad *netlink.AttributeDecoder) {
		if !internet(m.body[0]) {
			return
		}
		switch ad.Type() {
		case unix.RTA_DST:
			address(ad, &dst)
		case unix.RTA_GATEWAY:
			address(ad, &gateway)
		case unix.RTA_VIA:
			via(ad, &gateway)
		case unix.RTA_PREFSRC:
			address(ad, &source)
		case unix.RTA_OIF:
			r.Links = append(r.Links, ad.Uint32())
		case unix.RTA_PRIORITY:
			r.Metric = ad.Uint32()
		case unix.RTA_TABLE:
			r.Table = ad.Uint32()
		case unix.RTA_MULTIPATH:
			ad.Do(func(b []byte) (err error) { hops, err = parseHops(b); return err })
		}
	})
	if err != nil {
		return r, false, err
	}
	flags := binary.NativeEndian.Uint32(m.body[8:])
	if !internet(m.body[0]) || flags&unix.RTM_F_CLONED != 0 {
		return r, false, nil
	}
	for _, h := range hops {
		r.Links = append(r.Links, h.link)
		if !gateway.IsValid() {
			gateway = h.gateway
		}
	}
	p, err := prefix(m.body[0], dst, m.body[1])
	if err != nil {
		return r, false, err
	}
	if r.Table == 0 {
		r.Table = uint32(m.body[4])
	}
	r.Family, r.Type, r.Dst = familyName(m.body[0]), routeType(m.body[7]), p.String()
	r.Gateway, r.Source = text(gateway), text(source)
	slices.Sort(r.Links)
	r.Links = slices.Compact(r.Links)
	return r, true, nil
}

// hop is one next hop of a multipath route.
type hop struct {
	link    uint32
	gateway netip.Addr
}

// parseHops reads RTA_MULTIPATH: struct rtnexthop (length, flags, hops, index; 8 bytes) with attributes, padded to 4.
func parseHops(b []byte) ([]hop, error) {
	var hops []hop
	for len(b) > 0 {
		if len(b) < unix.SizeofRtNexthop {
			return nil, fmt.Errorf("next hop cut after %d bytes", len(b))
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtNexthop || length > len(b) {
			return nil, fmt.Errorf("next hop of length %d with %d bytes left", length, len(b))
		}
		h := hop{link: binary.NativeEndian.Uint32(b[4:])}
		err := message{body: b[:length]}.attributes(unix.SizeofRtNexthop, func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case unix.RTA_GATEWAY:
				address(ad, &h.gateway)
			case unix.RTA_VIA:
				via(ad, &h.gateway)
			}
		})
		if err != nil {
			return nil, err
		}
		hops = append(hops, h)
		b = b[min(len(b), (length+3)&^3):]
	}
	return hops, nil
}

// via reads struct rtvia: a family (2 bytes) and an address of that family, for an IPv4 route through an IPv6 gateway.
func via(ad *netlink.AttributeDecoder, a *netip.Addr) {
	ad.Do(func(b []byte) error {
		var ok bool
		if len(b) >= 2 {
			*a, ok = netip.AddrFromSlice(b[2:])
		}
		if !ok {
			return fmt.Errorf("via of %d bytes", len(b))
		}
		return nil
	})
}

// routeType names an RTN_* as the ip tool does.
func routeType(n uint8) string {
	names := [...]string{
		"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable",
		"prohibit", "throw", "nat",
	}
	if int(n) < len(names) {
		return names[n]
	}
	return number(uint32(n))
}

func sortRoutes(routes []snapshot.Route) {
	slices.SortFunc(routes, func(a, b snapshot.Route) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Dst, b.Dst),
			cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Type, b.Type), slices.Compare(a.Links, b.Links),
			cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Source, b.Source))
	})
}
