package xtables

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// ttl reads ttl and hl (IPv6's hop limit). Source: net/netfilter/xt_hl.c.
func (p *parser) ttl(o *option) bool {
	n, ok := number(o.arg, 8)
	if !ok || o.args != 1 {
		return false
	}
	operand := []netfilter.Operand{{Field: netfilter.TTL}}
	switch strings.TrimPrefix(strings.TrimPrefix(o.name, "--ttl"), "--hl") {
	case "-eq", "":
		p.exactly(operand, netfilter.Num(n), o.invert)
	case "-lt": // 0 to n-1, as the opposite of n to 255: right for 0, too
		p.push(operand, p.interval(netfilter.Num(n), netfilter.Num(255)), !o.invert)
	case "-gt":
		p.push(operand, p.interval(netfilter.Num(0), netfilter.Num(n)), !o.invert)
	default:
		return false
	}
	return true
}

// dscp reads the upper six bits of the TOS byte. Source: net/netfilter/xt_dscp.c.
func (p *parser) dscp(o *option) bool {
	n, ok := number(o.arg, 6)
	if !ok || o.args != 1 || o.name != "--dscp" {
		return false
	}
	p.exactly([]netfilter.Operand{{Field: netfilter.DSCP}}, netfilter.Num(n), o.invert)
	return true
}

func (p *parser) tos(o *option) bool {
	v, mask, ok := valueMask(o.arg)
	if !strings.Contains(o.arg, "/") {
		mask = 0xff
	}
	if !ok || v > 0xff || mask > 0xff || o.args != 1 || o.name != "--tos" {
		return false
	}
	p.maskedWhole(netfilter.TOS, 0xff, [2]uint64{v, mask}, o.invert)
	return true
}

// ecn reads the ECN bits; those of TCP are loaded behind -p tcp only. Source: net/netfilter/xt_ecn.c.
func (p *parser) ecn(o *option) bool {
	switch {
	case o.name == "--ecn-tcp-cwr" && o.args == 0 && p.proto == 6:
		p.masked(netfilter.TCPFlags, netfilter.Num(128), netfilter.Num(128), o.invert)
	case o.name == "--ecn-tcp-ece" && o.args == 0 && p.proto == 6:
		p.masked(netfilter.TCPFlags, netfilter.Num(64), netfilter.Num(64), o.invert)
	case o.name == "--ecn-ip-ect" && o.args == 1:
		n, ok := number(o.arg, 2)
		p.masked(netfilter.TOS, netfilter.Num(3), netfilter.Num(n), o.invert)
		return ok
	default:
		return false
	}
	return true
}

// devgroup reads the interface groups. Both sides are masked. Source: net/netfilter/xt_devgroup.c, devgroup_mt().
func (p *parser) devgroup(o *option) bool {
	field := netfilter.IIFGroup
	switch o.name {
	case "--dst-group":
		field = netfilter.OIFGroup
	case "--src-group":
	default:
		return false
	}
	v, mask, ok := valueMask(o.arg)
	if o.arg == "default" { // the one name of /etc/iproute2/group that every machine has
		v, mask, ok = 0, 0xffffffff, true
	}
	if !ok || o.args != 1 {
		return false
	}
	p.maskedWhole(field, 0xffffffff, [2]uint64{v & mask, mask}, o.invert)
	return true
}
