package packetpath

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Long lists of iptables rules differ in one word: a block list's addresses, a firewall's ports. Such a run is recognised
// by its text: the first rule is parsed in full, and of the others only that word, which is fast enough for a hundred
// thousand of them.

// minRun is how many rules make a run worth looking for.
const minRun = 4

// run compiles the first of the rules, with those after it that differ from it in one word only, and returns how many that
// are.
func (c *compiler) run(rules []*netfilter.Rule) (*crule, int) {
	first := c.rule(rules[0])
	if first == nil || len(rules) < minRun {
		return first, 1
	}
	if rules[0].Ops != nil {
		if p, ok := newPattern(first, rules[0].Ops, rules[1].Ops); ok {
			return first, extend(first, rules, p.value, member{rules[0], p.set}, p.at)
		}
		return first, 1
	}
	if t, ok := newTemplate(first, rules[0].Text, rules[1].Text); ok && rules[1].Ops == nil {
		return first, extend(first, rules, t.value, member{rules[0], t.set}, t.at)
	}
	return first, 1
}

// extend takes the rules that follow the pattern into the run and returns how many rules that makes.
func extend(first *crule, rules []*netfilter.Rule, value func(*netfilter.Rule) (netfilter.Interval, bool), head member, at int) int {
	n := 1
	for ; n < len(rules); n++ {
		in, ok := value(rules[n])
		if !ok {
			break
		}
		if n == 1 {
			first.run = append(make([]member, 0, len(rules)), head)
			first.runAt = at
		}
		first.run = append(first.run, member{rules[n], ivset{in}})
	}
	return n
}

// template is a rule's text around the one word that varies.
type template struct {
	before, after string
	port          bool
	at            int // the condition that the word became
	set           ivset
}

// newTemplate finds the word in which two rules differ, and makes sure that we read it as the parser did.
func newTemplate(r *crule, a, b string) (template, bool) {
	g := mergeable(r)
	if g == nil || a == b {
		return template{}, false
	}
	from := 0
	for from < len(a) && from < len(b) && a[from] == b[from] {
		from++
	}
	from = strings.LastIndexByte(a[:from], ' ') + 1
	to := strings.IndexByte(a[from:], ' ')
	if to < 0 || from < 3 {
		return template{}, false
	}
	t := template{before: a[:from], after: a[from+to:]}
	if !t.option() {
		return template{}, false
	}
	in, ok := t.word(a[from : from+to])
	if !ok {
		return template{}, false
	}
	t.at = -1
	for i := range g.atoms {
		x := &g.atoms[i]
		if x.kind == atomDim && t.reads(x) && equalSets(x.set, ivset{in}) {
			if t.at >= 0 {
				return template{}, false
			}
			t.at, t.set = i, x.set
		}
	}
	return t, t.at >= 0
}

// option reads the option before the word; an inverted one makes no run.
func (t *template) option() bool {
	head := strings.TrimSuffix(t.before, " ")
	i := strings.LastIndexByte(head, ' ')
	if strings.HasSuffix(head[:max(i, 0)], "!") {
		return false
	}
	switch head[i+1:] {
	case "-s", "-d":
	case "--sport", "--dport":
		t.port = true
	default:
		return false
	}
	return true
}

// reads reports whether the condition is what the option compares.
func (t *template) reads(a *atom) bool {
	head := strings.TrimSuffix(t.before, " ")
	switch head[strings.LastIndexByte(head, ' ')+1:] {
	case "-s":
		return a.field == netfilter.IPSaddr || a.field == netfilter.IP6Saddr
	case "-d":
		return a.field == netfilter.IPDaddr || a.field == netfilter.IP6Daddr
	case "--sport":
		return a.field == netfilter.Sport
	}
	return a.field == netfilter.Dport
}

// value returns the word's value in another rule of the run.
func (t *template) value(r *netfilter.Rule) (netfilter.Interval, bool) {
	s := r.Text
	if r.Ops != nil || len(s) <= len(t.before)+len(t.after) || s[:len(t.before)] != t.before || s[len(s)-len(t.after):] != t.after {
		return netfilter.Interval{}, false
	}
	return t.word(s[len(t.before) : len(s)-len(t.after)])
}

// word reads an address, with or without a prefix length, or a port or port range.
func (t *template) word(s string) (netfilter.Interval, bool) {
	if strings.IndexByte(s, ' ') >= 0 {
		return netfilter.Interval{}, false
	}
	if t.port {
		return portWord(s)
	}
	if strings.IndexByte(s, '/') < 0 {
		a, err := netip.ParseAddr(s)
		return netfilter.Exactly(netfilter.Addr(a)), err == nil && a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Masked() != p {
		return netfilter.Interval{}, false
	}
	return netfilter.Prefix(p), true
}

func portWord(s string) (netfilter.Interval, bool) {
	a, b, two := strings.Cut(s, ":")
	from, err := strconv.ParseUint(a, 10, 16)
	if !two {
		return netfilter.Nums(from, from), err == nil
	}
	to, err2 := strconv.ParseUint(b, 10, 16)
	return netfilter.Nums(from, to), err == nil && err2 == nil && from <= to
}
