package xtables

import "github.com/ctaudit/ctaudit/internal/netfilter"

// option is one option of a match or target with its values.
type option struct {
	name      string // "--dport"
	arg, arg2 string // its first two values
	args      int    // how many it has
	invert    bool
	from, to  int // its place in the rule, name to last value; the "!" stands before from
}

// options gathers the options up to the next option of the rule itself, or all that is left for a target.
func (p *parser) options(target bool) {
	p.nopts, p.stray = 0, false
	for {
		back := p.lex.i
		t, ok := p.lex.next()
		invert := ok && t.is("!")
		if invert {
			t, ok = p.lex.next()
		}
		switch {
		case !ok:
			p.stray = p.stray || invert
			return
		case t.short() && !target:
			p.lex.i = back
			return
		case !t.long():
			p.stray = true
		case p.nopts == len(p.opts):
			p.stray = true
			p.option(t, invert, target)
		default:
			p.opts[p.nopts] = p.option(t, invert, target)
			p.nopts++
		}
	}
}

func (p *parser) option(name token, invert, target bool) option {
	o := option{name: name.text, invert: invert, from: name.from, to: name.to}
	for fixed := values(name.text); fixed < 0 || o.args < fixed; o.args++ {
		back := p.lex.i
		t, ok := p.lex.next()
		if !ok {
			break
		}
		if fixed < 0 && (t.long() || t.is("!") || t.short() && !target) {
			p.lex.i = back
			break
		}
		switch o.args {
		case 0:
			o.arg = t.text
		case 1:
			o.arg2 = t.text
		}
		o.to = t.to
	}
	return o
}

// values returns how many values an option has when one of them is free text, which may look like an option; -1 for the
// others, whose values end where the next option begins.
func values(name string) int {
	switch name {
	case "--comment", "--string", "--hex-string", "--helper", "--path", "--name", "--hashlimit-name", "--nfacct-name",
		"--genre", "--bytecode", "--object-pinned", "--u32", "--label", "--rateest", "--rateest1", "--rateest2",
		"--physdev-in", "--physdev-out":
		return 1
	case "--match-set", "--tcp-flags":
		return 2
	}
	return -1
}

// module reads one match, its name read already. What it does not understand of it makes it an Ext as a whole.
func (p *parser) module(name string) {
	from, n := p.lex.i, len(p.ops)
	p.options(false)
	if p.stray || !p.match(name) {
		p.ops = append(p.ops[:n], netfilter.Ext{Name: name, Args: p.cut(from, p.lex.i)})
	}
}

// match appends the steps of the gathered options. It is false when it does not know the module or one of its values.
func (p *parser) match(name string) bool {
	switch name {
	case "comment":
		return true
	case "conntrack", "state":
		return p.conntrack()
	case "tcp", "udp", "udplite", "sctp", "dccp":
		return p.transport(name)
	case "addrtype":
		return p.addrtype()
	case "owner":
		return p.owner()
	case "rpfilter":
		return p.rpfilter()
	case "socket":
		return p.socket()
	}
	if comparisons(name) {
		return p.compare(name)
	}
	switch conditions, main := extKind(name); {
	case conditions:
		return p.conditions(name)
	case main != "":
		return p.predicate(name, main)
	}
	return false
}

// comparisons reports whether a module's options only compare fields, each on its own.
func comparisons(name string) bool {
	switch name {
	case "multiport", "iprange", "mark", "pkttype", "length", "ttl", "hl", "dscp", "tos", "ecn", "devgroup":
		return true
	}
	return false
}

// compare appends the steps of one option after the other. The calls are direct, so that the parser stays on the stack.
func (p *parser) compare(name string) bool {
	for i := range p.nopts {
		o, ok := &p.opts[i], false
		switch name {
		case "multiport":
			ok = p.multiport(o)
		case "iprange":
			ok = p.iprange(o)
		case "mark":
			ok = p.markMatch(o)
		case "pkttype":
			ok = p.pktType(o)
		case "length":
			ok = p.length(o)
		case "ttl", "hl":
			ok = p.ttl(o)
		case "dscp":
			ok = p.dscp(o)
		case "tos":
			ok = p.tos(o)
		case "ecn":
			ok = p.ecn(o)
		case "devgroup":
			ok = p.devgroup(o)
		}
		if !ok {
			return false
		}
	}
	return p.nopts > 0
}

// extKind sorts the modules that stay an Ext and whose inversion is exact: conditions says that each option is a condition
// of its own; main names the options, joined by spaces, that stand for the whole module and carry its inversion.
// Modules in neither list keep their text whole, inversion included.
func extKind(name string) (conditions bool, main string) {
	switch name {
	case "physdev", "esp", "ah", "icmp", "icmp6", "icmpv6", "realm", "tcpmss", "helper", "cpu", "connmark":
		return true, ""
	case "set":
		return false, "--match-set --set"
	case "recent":
		return false, "--set --rcheck --update --remove"
	case "string":
		return false, "--string --hex-string"
	case "u32":
		return false, "--u32"
	case "quota":
		return false, "--quota"
	case "statistic":
		return false, "--probability --every"
	case "connlimit":
		return false, "--connlimit-above --connlimit-upto"
	case "connbytes":
		return false, "--connbytes"
	case "connlabel":
		return false, "--label"
	}
	return false, ""
}
