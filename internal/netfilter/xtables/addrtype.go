package xtables

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// The address types, as bits 1 << RTN_* (include/uapi/linux/rtnetlink.h).
const (
	typeUnspec = 1 << iota
	typeUnicast
	typeLocal
	typeBroadcast
	typeAnycast
	typeMulticast
	typeBlackhole
	typeUnreachable
	typeProhibit
	typeThrow
	typeNAT
	typeXResolve
)

// addrtype reads --src-type and --dst-type, two conditions. With --limit-iface-in or -out the routing table is asked
// about one interface only, which no field says: each becomes an Ext with the limit in its text.
// Source: net/netfilter/xt_addrtype.c, addrtype_mt_v1().
func (p *parser) addrtype() bool {
	limit, types := "", 0
	for i := range p.nopts {
		o := &p.opts[i]
		switch o.name {
		case "--limit-iface-in", "--limit-iface-out":
			limit += " " + o.name
			if o.args > 0 || o.invert {
				return false
			}
		case "--src-type", "--dst-type":
			types++
		default:
			return false
		}
	}
	for i := range p.nopts {
		o := &p.opts[i]
		if strings.HasPrefix(o.name, "--limit") {
			continue
		}
		if limit != "" || !p.addrtypes(o) {
			p.ops = append(p.ops, netfilter.Ext{Name: "addrtype", Args: p.cut(o.from, o.to) + limit, Invert: o.invert})
		}
	}
	return types > 0
}

func (p *parser) addrtypes(o *option) bool {
	bits, ok := typeBits(o.arg)
	if !ok || o.args != 1 {
		return false
	}
	source := o.name == "--src-type"
	if p.v6 {
		return p.addrtypes6(source, bits, o.invert)
	}
	p.fibTypes(source, bits, o.invert)
	return true
}

func typeBits(list string) (bits uint, ok bool) {
	for name := range strings.SplitSeq(list, ",") {
		switch name {
		case "UNSPEC":
			bits |= typeUnspec
		case "UNICAST":
			bits |= typeUnicast
		case "LOCAL":
			bits |= typeLocal
		case "BROADCAST":
			bits |= typeBroadcast
		case "ANYCAST":
			bits |= typeAnycast
		case "MULTICAST":
			bits |= typeMulticast
		case "BLACKHOLE":
			bits |= typeBlackhole
		case "UNREACHABLE":
			bits |= typeUnreachable
		case "PROHIBIT":
			bits |= typeProhibit
		case "THROW":
			bits |= typeThrow
		case "NAT":
			bits |= typeNAT
		case "XRESOLVE":
			bits |= typeXResolve
		default:
			return 0, false
		}
	}
	return bits, true
}

// fibTypes appends a comparison of the address's route type with the types in bits.
func (p *parser) fibTypes(source bool, bits uint, invert bool) {
	field := netfilter.FIBDaddrType
	if source {
		field = netfilter.FIBSaddrType
	}
	var in []netfilter.Interval
	for n := range uint64(12) {
		if bits&(1<<n) != 0 {
			in = append(in, netfilter.Nums(n, n))
		}
	}
	p.push([]netfilter.Operand{{Field: field}}, in, invert)
}

// addrtypes6 is IPv6's meaning of the list: UNSPEC, UNICAST and MULTICAST are classes of the address itself that must all
// apply, and UNICAST includes the node's own addresses; LOCAL, ANYCAST and UNREACHABLE are looked up, any of them.
// Source: net/netfilter/xt_addrtype.c, match_type6(); net/ipv6/addrconf_core.c, __ipv6_addr_type().
func (p *parser) addrtypes6(source bool, bits uint, invert bool) bool {
	const fib = typeLocal | typeAnycast | typeUnreachable
	operand := p.addressOperand(source)
	switch {
	case bits&^fib == 0:
		p.fibTypes(source, bits, invert)
	case bits == typeUnspec:
		p.exactly(operand, netfilter.Value{}, invert)
	case bits == typeMulticast:
		p.push(operand, p.interval(netfilter.Value{Hi: 0xff << 56}, p.ones()), invert)
	case bits == typeUnicast:
		p.push(operand, unicast6(), invert)
	default:
		return false
	}
	return true
}

// unicast6 is all but "::", the IPv4-mapped addresses (::ffff:0:0/96) and multicast (ff00::/8).
func unicast6() []netfilter.Interval {
	return []netfilter.Interval{
		netfilter.Nums(1, 0xfffe_ffffffff),
		{From: netfilter.Num(0x1_0000_00000000), To: netfilter.Value{Hi: 0xfeffffff_ffffffff, Lo: ^uint64(0)}},
	}
}
