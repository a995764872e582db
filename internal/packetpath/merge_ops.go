package packetpath

import "github.com/ctaudit/ctaudit/internal/netfilter"

// pattern is the steps of a native rule, of which one comparison's value varies from rule to rule.
type pattern struct {
	ops netfilter.Ops
	op  int // the step that varies
	at  int // the condition that it became
	set ivset
}

// newPattern finds the one step in which two rules differ, and the condition that it became.
func newPattern(r *crule, a, b netfilter.Ops) (pattern, bool) {
	g := mergeable(r)
	p := pattern{ops: a, op: -1, at: -1}
	if g == nil || len(a) != len(b) {
		return p, false
	}
	for i := range a {
		if sameStep(a[i], b[i]) {
			continue
		}
		if p.op >= 0 || !varies(a[i], b[i]) {
			return p, false
		}
		p.op = i
	}
	if p.op < 0 {
		return p, false
	}
	m := a[p.op].(netfilter.Match)
	for i := range g.atoms {
		if x := &g.atoms[i]; x.kind == atomDim && x.field == m.Fields[0].Field && equalSets(x.set, ivset(m.In)) {
			if p.at >= 0 {
				return p, false
			}
			p.at, p.set = i, x.set
		}
	}
	return p, p.at >= 0
}

// value returns the varying value of another rule that is the same but for it.
func (p *pattern) value(r *netfilter.Rule) (netfilter.Interval, bool) {
	if len(r.Ops) != len(p.ops) {
		return netfilter.Interval{}, false
	}
	for i := range p.ops {
		if i == p.op {
			if !varies(p.ops[i], r.Ops[i]) {
				return netfilter.Interval{}, false
			}
		} else if !sameStep(p.ops[i], r.Ops[i]) {
			return netfilter.Interval{}, false
		}
	}
	return r.Ops[p.op].(netfilter.Match).In[0], true
}

// plain reports a comparison of one whole field with one interval.
func plain(m *netfilter.Match) bool {
	return len(m.Fields) == 1 && m.Fields[0].Mask == nil && m.Fields[0].Xor == nil && len(m.In) == 1 && m.Set == "" &&
		m.In[0].From.Cmp(m.In[0].To) <= 0
}

// varies reports whether two steps compare the same field, uninverted, with one interval each.
func varies(a, b netfilter.Op) bool {
	x, ok := a.(netfilter.Match)
	y, ok2 := b.(netfilter.Match)
	return ok && ok2 && plain(&x) && plain(&y) && !x.Invert && !y.Invert && x.Fields[0].Field == y.Fields[0].Field
}

// sameStep reports whether two steps are equal, as far as runs have such steps.
func sameStep(a, b netfilter.Op) bool {
	switch x := a.(type) {
	case netfilter.Verdict:
		y, ok := b.(netfilter.Verdict)
		return ok && x == y
	case netfilter.Stmt:
		y, ok := b.(netfilter.Stmt)
		return ok && x == y
	case netfilter.Match:
		y, ok := b.(netfilter.Match)
		return ok && plain(&x) && plain(&y) && x.Invert == y.Invert && x.Fields[0].Field == y.Fields[0].Field && x.In[0] == y.In[0]
	}
	return false
}
