package packetpath

import (
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// join appends a rule to a chain, or merges it into the last one when both do the same to sets that differ in one
// dimension only.
func (c *compiler) join(rules []*crule, r *crule) []*crule {
	if n := len(rules); n > 0 {
		if a, b := mergeable(rules[n-1]), mergeable(r); r.run == nil && a != nil && b != nil && sameVerdict(rules[n-1], r) {
			if d := oneDiffers(a, b); d >= 0 && (rules[n-1].run == nil || rules[n-1].runAt == d) {
				merge(rules[n-1], r, d)
				return rules
			}
		}
	}
	return append(rules, r)
}

// mergeable returns the rule's conditions when it is nothing but conditions and a final verdict.
func mergeable(r *crule) *group {
	if len(r.steps) != 2 || r.steps[0].do != doMatch || r.steps[1].do != doVerdict {
		return nil
	}
	switch r.steps[1].verdict.Kind {
	case netfilter.Accept, netfilter.Drop, netfilter.Reject, netfilter.Return:
		return r.steps[0].group
	}
	return nil
}

func sameVerdict(a, b *crule) bool { return a.steps[1].verdict == b.steps[1].verdict }

// oneDiffers returns the place of the only condition in which two groups differ, when that is a dimension; else -1.
func oneDiffers(a, b *group) int {
	if len(a.atoms) != len(b.atoms) {
		return -1
	}
	at := -1
	for i := range a.atoms {
		x, y := &a.atoms[i], &b.atoms[i]
		if sameAtom(x, y) {
			continue
		}
		if at >= 0 || x.kind != atomDim || y.kind != atomDim || x.field != y.field {
			return -1
		}
		at = i
	}
	return at
}

// sameAtom is conservative: atoms that it cannot compare differ. Undecided predicates never merge: each is asked anew.
func sameAtom(x, y *atom) bool {
	if x.kind != y.kind || x.field != y.field || x.invert != y.invert {
		return false
	}
	switch x.kind {
	case atomDim:
		return equalSets(x.set, y.set)
	case atomFlags:
		return x.flags == y.flags
	case atomValue:
		return x.mask == y.mask && x.xor == y.xor && equalSets(x.set, y.set)
	case atomXt:
		return x.text == y.text
	}
	return false
}

// merge adds the second rule's values to the first. The sets are joined when the chain is complete: see close.
func merge(into, r *crule, at int) {
	if into.run == nil {
		into.run = []member{{into.rule, into.steps[0].group.atoms[at].set}}
		into.runAt = at
	}
	into.run = append(into.run, member{r.rule, r.steps[0].group.atoms[at].set})
}

// close makes a run's condition the union of its members'.
func (r *crule) close() {
	if r.run == nil {
		return
	}
	var list []netfilter.Interval
	for _, m := range r.run {
		list = append(list, m.set...)
	}
	r.steps[0].group.atoms[r.runAt].set = newSet(list)
}

// at returns the rule of a merged run that a packet meets; reset: the packet is the RST, p the one that provoked it.
func (r *crule) at(p *point, reset bool) *netfilter.Rule {
	if r.run == nil {
		return r.rule
	}
	d := r.steps[0].group.atoms[r.runAt].dim
	if reset {
		v := view{reset: true}
		m, ok := v.mapped(d)
		if !ok {
			return r.rule
		}
		d = m
	}
	for _, m := range r.run {
		if m.set.contains(p.value[d]) {
			return m.rule
		}
	}
	return r.rule
}
