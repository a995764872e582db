package xtables

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// conditions appends one Ext for each option.
func (p *parser) conditions(name string) bool {
	if p.nopts == 0 {
		p.ops = append(p.ops, netfilter.Ext{Name: name})
	}
	for i := range p.nopts {
		o := &p.opts[i]
		p.ops = append(p.ops, netfilter.Ext{Name: name, Args: p.cut(o.from, o.to), Invert: o.invert})
	}
	return true
}

// predicate appends one Ext for the whole module. It declines when another option than a main one is inverted.
func (p *parser) predicate(name, main string) bool {
	inverted := -1
	for i := range p.nopts {
		o := &p.opts[i]
		if !o.invert {
			continue
		}
		if inverted >= 0 || !strings.Contains(" "+main+" ", " "+o.name+" ") {
			return false
		}
		inverted = i
	}
	p.ops = append(p.ops, netfilter.Ext{Name: name, Args: p.withoutBang(inverted), Invert: inverted >= 0})
	return true
}

// withoutBang returns the text of all options, without the "!" in front of the one inverted (-1: none).
func (p *parser) withoutBang(inverted int) string {
	if p.nopts == 0 {
		return ""
	}
	first, last := p.opts[0].from, p.opts[p.nopts-1].to
	if inverted <= 0 {
		return p.cut(first, last)
	}
	return p.cut(first, p.opts[inverted-1].to) + " " + p.cut(p.opts[inverted].from, last)
}

// owner reads the owner match. A packet without a socket passes exactly the inverted conditions, so each is one of its
// own; --suppl-groups belongs to the group. Source: net/netfilter/xt_owner.c, owner_mt().
func (p *parser) owner() bool {
	if p.nopts == 0 {
		return false
	}
	for i := range p.nopts {
		o := &p.opts[i]
		if o.name == "--suppl-groups" {
			return false
		}
		p.ops = append(p.ops, netfilter.Ext{Name: "owner", Args: p.cut(o.from, o.to), Invert: o.invert})
	}
	return true
}

// rpfilter reads the reverse path filter match, whose inversion is an option of its own and exact.
// Source: net/ipv4/netfilter/ipt_rpfilter.c, rpfilter_mt().
func (p *parser) rpfilter() bool {
	e := netfilter.Ext{Name: "rpfilter"}
	for i := range p.nopts {
		o := &p.opts[i]
		switch {
		case o.invert || o.args > 0:
			return false
		case o.name == "--invert":
			e.Invert = true
		case e.Args == "":
			e.Args = o.name
		default:
			e.Args += " " + o.name
		}
	}
	p.ops = append(p.ops, e)
	return true
}

// socket reads the socket match. --restore-skmark writes the packet mark when the socket is found.
// Source: net/netfilter/xt_socket.c, socket_match().
func (p *parser) socket() bool {
	restore := false
	for i := range p.nopts {
		o := &p.opts[i]
		if o.invert || o.args > 0 {
			return false
		}
		restore = restore || o.name == "--restore-skmark"
	}
	p.ops = append(p.ops, netfilter.Ext{Name: "socket", Args: p.withoutBang(-1)})
	if restore {
		p.ops = append(p.ops, computedMark())
	}
	return true
}

func computedMark() netfilter.Op {
	return netfilter.Assign{Field: netfilter.Mark, From: Computed, And: netfilter.Num(0xffffffff)}
}
