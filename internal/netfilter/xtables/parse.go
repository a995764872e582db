package xtables

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Unparsed names the Ext and Stmt that stand for what was not understood: the Ext may match, the Stmt may do anything.
const Unparsed = "unparsed"

// Computed is an Assign's From when only the running kernel knows the value: HMARK's hash, a mark kept in an ipset, a
// socket's mark.
const Computed netfilter.Field = "computed"

// maxRule bounds the text of one rule. The kernel's largest rule, 64 KiB of blob, prints shorter.
const maxRule = 1 << 18

// Ops returns what the rule does: r.Ops when its reader decoded them, else its text, parsed. It never fails: a rule that
// does not parse becomes an Ext and a Stmt named [Unparsed], so that it may match and may do anything; [Parse] tells why.
func Ops(t *netfilter.Table, r *netfilter.Rule) netfilter.Ops {
	if r.Ops != nil || !t.Backend.XTables() {
		return r.Ops
	}
	ops, err := Parse(t.Family, r.Text)
	if err != nil {
		return unparsed(r.Text)
	}
	return ops
}

func unparsed(text string) netfilter.Ops {
	return netfilter.Ops{netfilter.Ext{Name: Unparsed, Args: text}, netfilter.Stmt{Name: Unparsed, Args: text}}
}

// Parse reads one rule of a table of the family ([netfilter.IP] or [netfilter.IP6]): a line of iptables-save without its
// counters and its "-A CHAIN". A rule without a target yields no verdict. The error names the word that it stopped at.
func Parse(family netfilter.Family, text string) (netfilter.Ops, error) {
	if family != netfilter.IP && family != netfilter.IP6 {
		return nil, fmt.Errorf("parse rule: family %s has no iptables rules", family)
	}
	if len(text) > maxRule {
		return nil, fmt.Errorf("parse rule: %d bytes are more than any rule has", len(text))
	}
	p := parser{lex: lexer{s: text}, v6: family == netfilter.IP6, proto: -1, ops: make(netfilter.Ops, 0, 4)}
	if err := p.rule(); err != nil {
		return nil, fmt.Errorf("parse rule: %w", err)
	}
	return p.ops, nil
}

type parser struct {
	lex   lexer
	v6    bool
	proto int // the rule's -p, -1 when it has none or an inverted one
	ops   netfilter.Ops
	iv    []netfilter.Interval // room for the rule's intervals, handed out by interval
	opts  [16]option           // of the match or target being read: an array, so that the parser stays on the stack
	nopts int                  // how many of them
	stray bool                 // it has words that belong to no option, or too many options
}

func (p *parser) rule() error {
	for {
		t, ok := p.lex.next()
		if !ok {
			return p.lex.err
		}
		invert := t.is("!")
		if invert {
			t, ok = p.lex.next()
		}
		if !ok || !t.short() {
			return fmt.Errorf("%.40q: no option of a rule", t.text)
		}
		if t.text == "-j" || t.text == "-g" {
			if invert {
				return errors.New("! in front of a target")
			}
			return p.target(t.text == "-g")
		}
		if err := p.step(t.text[1], invert); err != nil {
			return fmt.Errorf("%s: %w", t.text, err)
		}
	}
}

// step reads one condition: the letter is the option's.
func (p *parser) step(letter byte, invert bool) error {
	if letter == 'f' {
		return p.fragment(invert)
	}
	v, ok := p.lex.next()
	if !ok {
		return errors.New("no value")
	}
	switch letter {
	case 'm':
		if invert {
			return errors.New("! in front of a match")
		}
		p.module(v.text)
		return p.lex.err
	case 's', 'd':
		return p.address(letter == 's', v.text, invert)
	case 'i', 'o':
		return p.iface(letter == 'i', v.text, invert)
	case 'p':
		return p.protocol(v.text, invert)
	}
	_, ok = p.lex.next() // -c packets bytes
	if !ok || invert {
		return errors.New("counters are two numbers")
	}
	return nil
}

// push appends a match of one operand with the intervals.
func (p *parser) push(fields []netfilter.Operand, in []netfilter.Interval, invert bool) {
	p.ops = append(p.ops, netfilter.Match{Fields: fields, In: in, Invert: invert})
}

// exactly appends a match of one value.
func (p *parser) exactly(fields []netfilter.Operand, v netfilter.Value, invert bool) {
	p.push(fields, p.interval(v, v), invert)
}

// masked appends "operand & mask == v".
func (p *parser) masked(f netfilter.Field, mask, v netfilter.Value, invert bool) {
	p.exactly([]netfilter.Operand{{Field: f, Mask: &mask}}, v, invert)
}

// interval returns a list of one interval. Two share an allocation: most rules have an address and a port.
func (p *parser) interval(from, to netfilter.Value) []netfilter.Interval {
	if len(p.iv) == cap(p.iv) {
		p.iv = make([]netfilter.Interval, 0, 2)
	}
	p.iv = append(p.iv, netfilter.Interval{From: from, To: to})
	n := len(p.iv)
	return p.iv[n-1 : n : n]
}

// cut returns the rule's text between two places, spaces trimmed.
func (p *parser) cut(from, to int) string { return strings.Trim(p.lex.s[from:to], " \t") }
