package xtables

import (
	"errors"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// The commonest ends of a rule, shared.
var (
	endAccept netfilter.Op = netfilter.Verdict{Kind: netfilter.Accept}
	endDrop   netfilter.Op = netfilter.Verdict{Kind: netfilter.Drop}
	endReturn netfilter.Op = netfilter.Verdict{Kind: netfilter.Return}
)

// target reads what follows -j or -g: it is the end of every rule.
func (p *parser) target(isGoto bool) error {
	t, ok := p.lex.next()
	if !ok {
		return errors.New("no target's name")
	}
	from := p.lex.i
	p.options(true)
	if p.lex.err != nil {
		return p.lex.err
	}
	args := p.cut(from, len(p.lex.s))
	if isGoto {
		if args != "" {
			return errors.New("words behind the chain of -g")
		}
		p.ops = append(p.ops, netfilter.Verdict{Kind: netfilter.Goto, Chain: t.text})
		return nil
	}
	n := len(p.ops)
	if p.stray || !p.act(t.text, args) {
		p.ops = append(p.ops[:n], netfilter.Stmt{Name: Unparsed, Args: p.cut(t.from, len(p.lex.s))})
	}
	return nil
}

// act appends what a target does. It is false when an option or value of the target is not known.
func (p *parser) act(name, args string) bool {
	if stmt, known := statement(name); known {
		return p.statement(stmt, name, args)
	}
	switch name {
	case "REJECT":
		return p.reject()
	case "NFQUEUE":
		return p.queue()
	}
	if args != "" {
		return false // neither a chain nor a target that we know
	}
	switch name {
	case "ACCEPT":
		p.ops = append(p.ops, endAccept)
	case "DROP":
		p.ops = append(p.ops, endDrop)
	case "RETURN":
		p.ops = append(p.ops, endReturn)
	case "QUEUE":
		p.ops = append(p.ops, netfilter.Verdict{Kind: netfilter.Queue, Queue: "0"})
	default:
		p.ops = append(p.ops, netfilter.Verdict{Kind: netfilter.Jump, Chain: name})
	}
	return true
}

// reject reads REJECT; old versions leave the default out.
func (p *parser) reject() bool {
	with := "icmp-port-unreachable"
	if p.v6 {
		with = "icmp6-port-unreachable"
	}
	for i := range p.nopts {
		o := &p.opts[i]
		if o.name != "--reject-with" || o.args != 1 || o.invert {
			return false
		}
		with = o.arg
	}
	if with == "tcp-rst" {
		with = "tcp-reset"
	}
	p.ops = append(p.ops, netfilter.Verdict{Kind: netfilter.Reject, With: with})
	return true
}

// queue reads NFQUEUE. A range of queues is written as nft writes it, "0-3".
func (p *parser) queue() bool {
	v := netfilter.Verdict{Kind: netfilter.Queue, Queue: "0"}
	for i := range p.nopts {
		o := &p.opts[i]
		switch {
		case o.name == "--queue-bypass" && o.args == 0:
			v.Bypass = true
		case o.name == "--queue-cpu-fanout" && o.args == 0:
		case o.name == "--queue-num" && o.args == 1:
			if _, ok := number(o.arg, 16); !ok {
				return false
			}
			v.Queue = o.arg
		case o.name == "--queue-balance" && o.args == 1:
			from, to, ok := span(o.arg, 16)
			if !ok {
				return false
			}
			v.Queue = decimal(from) + "-" + decimal(to)
		default:
			return false
		}
	}
	p.ops = append(p.ops, v)
	return true
}
