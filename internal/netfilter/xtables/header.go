package xtables

import (
	"errors"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// What rules compare most: shared, because a kube-proxy node has a hundred thousand rules.
var (
	opndSaddr  = []netfilter.Operand{{Field: netfilter.IPSaddr}}
	opndDaddr  = []netfilter.Operand{{Field: netfilter.IPDaddr}}
	opndSaddr6 = []netfilter.Operand{{Field: netfilter.IP6Saddr}}
	opndDaddr6 = []netfilter.Operand{{Field: netfilter.IP6Daddr}}
	opndIn     = []netfilter.Operand{{Field: netfilter.IIFName}}
	opndOut    = []netfilter.Operand{{Field: netfilter.OIFName}}
	opndProto  = []netfilter.Operand{{Field: netfilter.L4Proto}}
	opndSport  = []netfilter.Operand{{Field: netfilter.Sport}}
	opndDport  = []netfilter.Operand{{Field: netfilter.Dport}}

	stepTCP netfilter.Op = netfilter.Match{Fields: opndProto, In: []netfilter.Interval{netfilter.Nums(6, 6)}}
	stepUDP netfilter.Op = netfilter.Match{Fields: opndProto, In: []netfilter.Interval{netfilter.Nums(17, 17)}}
)

func (p *parser) addressOperand(source bool) []netfilter.Operand {
	switch {
	case source && p.v6:
		return opndSaddr6
	case source:
		return opndSaddr
	case p.v6:
		return opndDaddr6
	}
	return opndDaddr
}

// address reads -s and -d. The kernel compares (address & mask) with the value as it stands, so host bits in the value
// make a match that never is; the tools clear them before they load a rule.
// Source: net/ipv4/netfilter/ip_tables.c, ip_packet_match(); ip6_tables.c, ip6_packet_match().
func (p *parser) address(source bool, s string, invert bool) error {
	a, m, two := strings.Cut(s, "/")
	v, ok := p.addr(a)
	mask := p.ones()
	if two && ok {
		mask, ok = p.mask(m)
	}
	if !ok {
		return errors.New("not an address of this family")
	}
	operand := p.addressOperand(source)
	host := p.ones().And(mask.Not())
	if contiguous := host.And(host.Next()) == (netfilter.Value{}); contiguous && v.And(host) == (netfilter.Value{}) {
		p.push(operand, p.interval(v, v.Or(host)), invert)
		return nil
	}
	p.masked(operand[0].Field, mask, v, invert)
	return nil
}

// iface reads -i and -o. Only a trailing '+' is a pattern; '*' is an ordinary letter to iptables.
func (p *parser) iface(in bool, s string, invert bool) error {
	name := strings.TrimSuffix(s, "+")
	if s == "" || len(name) > 15 {
		return errors.New("not an interface name")
	}
	v := netfilter.Name(name)
	to := v
	if name != s {
		to = v.Or(hostBits(uint64(8 * (16 - len(name)))))
	}
	operand := opndOut
	if in {
		operand = opndIn
	}
	p.push(operand, p.interval(v, to), invert)
	return nil
}

// protocol reads -p. "all" and 0 compare nothing.
func (p *parser) protocol(s string, invert bool) error {
	n, ok := protocolNumber(s)
	switch {
	case !ok:
		return errors.New("not a protocol that is known by this name")
	case n == 0 && invert:
		return errors.New("! all matches no packet, and no kernel loads it")
	case n == 0:
		return nil
	}
	if !invert {
		p.proto = int(n)
	}
	switch {
	case invert || n != 6 && n != 17:
		p.exactly(opndProto, netfilter.Num(n), invert)
	case n == 6:
		p.ops = append(p.ops, stepTCP)
	default:
		p.ops = append(p.ops, stepUDP)
	}
	return nil
}

// fragment reads -f: second and further fragments, those with an offset. IPv6 has no such option.
func (p *parser) fragment(invert bool) error {
	if p.v6 {
		return errors.New("no option of ip6tables")
	}
	p.masked(netfilter.FragOff, netfilter.Num(0x1fff), netfilter.Value{}, !invert)
	return nil
}
