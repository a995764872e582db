package xtables

import (
	"strconv"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// statement returns the name of a target that is neither a verdict nor a chain, in nft's words where nft has the same
// thing. A name that is in no list here is a chain's.
func statement(target string) (name string, known bool) {
	switch target {
	case "MARK":
		return "mark", true
	case "LOG", "NFLOG":
		return "log", true
	case "MASQUERADE":
		return "masquerade", true
	case "SNAT", "SAME":
		return "snat", true
	case "DNAT":
		return "dnat", true
	case "REDIRECT":
		return "redirect", true
	case "CONNMARK":
		return "connmark", true
	case "CT":
		return "ct", true
	case "NOTRACK":
		return "notrack", true
	case "TEE":
		return "dup", true
	case "TPROXY":
		return "tproxy", true
	case "TCPMSS":
		return "tcpmss", true
	case "SYNPROXY":
		return "synproxy", true
	}
	return plainStatement(target)
}

// plainStatement lists the targets that keep their own name.
func plainStatement(target string) (name string, known bool) {
	switch target {
	case "NETMAP":
		return "netmap", true
	case "ULOG":
		return "ulog", true
	case "AUDIT":
		return "audit", true
	case "TRACE":
		return "trace", true
	case "CONNSECMARK":
		return "connsecmark", true
	case "SECMARK":
		return "secmark", true
	case "TCPOPTSTRIP":
		return "tcpoptstrip", true
	case "CHECKSUM":
		return "checksum", true
	case "CLASSIFY":
		return "classify", true
	case "DSCP":
		return "dscp", true
	case "TOS":
		return "tos", true
	case "TTL":
		return "ttl", true
	case "HL":
		return "hl", true
	case "HMARK":
		return "hmark", true
	case "IDLETIMER":
		return "idletimer", true
	case "LED":
		return "led", true
	case "RATEEST":
		return "rateest", true
	case "SET":
		return "set", true
	case "ECN":
		return "ecn", true
	case "DNPT":
		return "dnpt", true
	case "SNPT":
		return "snpt", true
	case "CLUSTERIP":
		return "clusterip", true
	case "MIRROR":
		return "mirror", true
	case "FLOWOFFLOAD":
		return "flow", true
	}
	return "", false
}

// statement appends a target's Stmt, and what it writes to the fields that matches read.
func (p *parser) statement(stmt, target, args string) bool {
	switch target {
	case "MARK":
		return p.setMark()
	case "CT":
		for i := range p.nopts {
			if p.opts[i].name == "--notrack" {
				p.ops = append(p.ops, netfilter.Stmt{Name: "notrack"})
				return p.nopts == 1
			}
		}
	}
	p.ops = append(p.ops, netfilter.Stmt{Name: stmt, Args: args})
	switch target {
	case "HMARK":
		p.ops = append(p.ops, computedMark())
	case "SET":
		if p.has("--map-mark") {
			p.ops = append(p.ops, computedMark())
		}
	case "TTL", "HL":
		p.writes(netfilter.TTL)
	case "TOS":
		p.writes(netfilter.TOS)
		p.writes(netfilter.DSCP)
	case "DSCP":
		p.writes(netfilter.DSCP)
		p.writes(netfilter.TOS)
	case "CLASSIFY":
		p.writes(netfilter.Priority)
	case "ECN":
		p.writes(netfilter.TOS)
		p.writes(netfilter.TCPFlags)
	}
	return true
}

func (p *parser) has(name string) bool {
	for i := range p.nopts {
		if p.opts[i].name == name {
			return true
		}
	}
	return false
}

// writes says that a field holds something else from here on.
func (p *parser) writes(f netfilter.Field) {
	all := netfilter.Num(1<<f.Bits() - 1)
	p.ops = append(p.ops, netfilter.Assign{Field: f, From: Computed, And: all})
}

// setMark reads MARK: mark = (mark & ~mask) ^ value. iptables-save prints --set-xmark; the other forms, which revision 0
// and 1 of the target print, mean the same with other masks. Source: net/netfilter/xt_mark.c, mark_tg().
func (p *parser) setMark() bool {
	if p.nopts != 1 || p.opts[0].args != 1 || p.opts[0].invert {
		return false
	}
	v, mask, ok := valueMask(p.opts[0].arg)
	switch p.opts[0].name {
	case "--set-xmark":
	case "--set-mark":
		mask |= v
	case "--and-mark":
		v, mask = 0, ^v&0xffffffff
	case "--or-mark":
		mask = v
	case "--xor-mark":
		mask = 0
	default:
		return false
	}
	keep := netfilter.Num(^mask & 0xffffffff)
	p.ops = append(p.ops, netfilter.Assign{Field: netfilter.Mark, And: keep, Xor: netfilter.Num(v)})
	return ok
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
