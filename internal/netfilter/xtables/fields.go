package xtables

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// transport reads tcp, udp, udplite, sctp and dccp. The kernel loads them only behind the -p of their protocol
// (net/netfilter/x_tables.c, xt_check_match), so ports never need a guard of their own.
func (p *parser) transport(name string) bool {
	if n, _ := protocolNumber(name); p.proto != int(n) {
		return false
	}
	for i := range p.nopts {
		if o := &p.opts[i]; !p.port(o) && !p.tcpFlags(o) {
			if !transportExt(o.name) {
				return false
			}
			p.ops = append(p.ops, netfilter.Ext{Name: name, Args: p.cut(o.from, o.to), Invert: o.invert})
		}
	}
	return true
}

// transportExt lists the independent conditions of the transport matches that no field describes.
func transportExt(option string) bool {
	return option == "--tcp-option" || option == "--chunk-types" || option == "--dccp-types" || option == "--dccp-option"
}

func (p *parser) port(o *option) bool {
	operand := opndDport
	switch o.name {
	case "--sport", "--source-port":
		operand = opndSport
	case "--dport", "--destination-port":
	default:
		return false
	}
	from, to, ok := span(o.arg, 16)
	if !ok || o.args != 1 {
		return false
	}
	p.push(operand, p.interval(netfilter.Num(from), netfilter.Num(to)), o.invert)
	return true
}

// tcpFlags reads "--tcp-flags MASK COMP" and --syn. Source: net/netfilter/xt_tcpudp.c, tcp_mt().
func (p *parser) tcpFlags(o *option) bool {
	switch {
	case o.name == "--syn" && o.args == 0:
		p.masked(netfilter.TCPFlags, netfilter.Num(1|2|4|16), netfilter.Num(2), o.invert)
		return true
	case o.name != "--tcp-flags" || o.args != 2:
		return false
	}
	mask, ok := flagBits(o.arg)
	comp, ok2 := flagBits(o.arg2)
	if ok && ok2 {
		p.masked(netfilter.TCPFlags, netfilter.Num(mask), netfilter.Num(comp), o.invert)
	}
	return ok && ok2
}

func flagBits(list string) (bits uint64, ok bool) {
	for name := range strings.SplitSeq(list, ",") {
		i := strings.Index("FIN,SYN,RST,PSH,ACK,URG,ECE,CWR,ALL,NONE", name)
		switch {
		case name == "ALL":
			bits |= 63
		case name == "NONE":
		case len(name) != 3 || i < 0 || i >= 32 || i%4 != 0:
			return 0, false
		default:
			bits |= 1 << (i / 4)
		}
	}
	return bits, true
}

// multiport reads the port lists. "--ports" compares both ports: inverted, that is two conditions; plain, it is an "or",
// which only an Ext can be. Source: net/netfilter/xt_multiport.c, ports_match_v1().
func (p *parser) multiport(o *option) bool {
	switch p.proto {
	case 6, 17, 136, 132, 33:
	default:
		return false
	}
	in, ok := portList(o.arg)
	if !ok || o.args != 1 {
		return false
	}
	switch {
	case o.name == "--sports" || o.name == "--source-ports":
		p.push(opndSport, in, o.invert)
	case o.name == "--dports" || o.name == "--destination-ports":
		p.push(opndDport, in, o.invert)
	case o.name == "--ports" && o.invert:
		p.push(opndSport, in, true)
		p.push(opndDport, in, true)
	case o.name == "--ports":
		p.ops = append(p.ops, netfilter.Ext{Name: "multiport", Args: p.cut(o.from, o.to)})
	default:
		return false
	}
	return true
}

func portList(list string) ([]netfilter.Interval, bool) {
	in := make([]netfilter.Interval, 0, 1+strings.Count(list, ","))
	for s := range strings.SplitSeq(list, ",") {
		from, to, ok := span(s, 16)
		if !ok {
			return nil, false
		}
		in = append(in, netfilter.Nums(from, to))
	}
	return in, true
}

func (p *parser) iprange(o *option) bool {
	a, b, two := strings.Cut(o.arg, "-")
	from, ok := p.addr(a)
	to := from
	if two && ok {
		to, ok = p.addr(b)
	}
	if !ok || o.args != 1 || to.Cmp(from) < 0 || o.name != "--src-range" && o.name != "--dst-range" {
		return false
	}
	p.push(p.addressOperand(o.name == "--src-range"), p.interval(from, to), o.invert)
	return true
}

// markMatch reads the packet mark. Source: net/netfilter/xt_mark.c, mark_mt().
func (p *parser) markMatch(o *option) bool {
	v, mask, ok := valueMask(o.arg)
	if !ok || o.args != 1 || o.name != "--mark" {
		return false
	}
	p.maskedWhole(netfilter.Mark, 0xffffffff, [2]uint64{v, mask}, o.invert)
	return true
}

// maskedWhole appends "field & mask == value", without the mask when it is the whole field.
func (p *parser) maskedWhole(f netfilter.Field, whole uint64, valueMask [2]uint64, invert bool) {
	v := netfilter.Num(valueMask[0])
	if valueMask[1] == whole {
		p.exactly([]netfilter.Operand{{Field: f}}, v, invert)
		return
	}
	p.masked(f, netfilter.Num(valueMask[1]), v, invert)
}

// pktType reads the link-layer packet type (PACKET_*, include/uapi/linux/if_packet.h).
func (p *parser) pktType(o *option) bool {
	n, ok := number(o.arg, 8)
	switch o.arg {
	case "unicast", "host":
		n, ok = 0, true
	case "broadcast", "bcast":
		n, ok = 1, true
	case "multicast", "mcast":
		n, ok = 2, true
	}
	if !ok || o.args != 1 || o.name != "--pkt-type" {
		return false
	}
	p.exactly([]netfilter.Operand{{Field: netfilter.PktType}}, netfilter.Num(n), o.invert)
	return true
}

// length reads the packet's length with its IP header. Source: net/netfilter/xt_length.c.
func (p *parser) length(o *option) bool {
	from, to, ok := span(o.arg, 16)
	if !ok || o.args != 1 || o.name != "--length" {
		return false
	}
	p.push([]netfilter.Operand{{Field: netfilter.Length}}, p.interval(netfilter.Num(from), netfilter.Num(to)), o.invert)
	return true
}
