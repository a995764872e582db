package packetpath

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// side is what a fate means to the question.
type side uint8

const (
	stops side = iota // no RST
	passes
	undecided
)

func (f fate) side() side {
	switch f {
	case fateDropped, fateICMP:
		return stops
	case fateDepends:
		return undecided
	}
	return passes
}

// settled is a leaf with what the answer needs of it.
type settled struct {
	leaf
	size     float64
	point    point
	certain  bool
	classes  []*class // the leaf's own class, or all that were folded into it
	deciders []ruleID // of each
	also     []string // what folded classes depend on besides
}

// foldAbove is how many classes are listed one by one; beyond it those of one fate are folded into one outcome, and beyond
// foldKinds outcomes what they assume does not keep them apart either.
const (
	foldAbove = 256
	foldKinds = 64
)

// settle drops the classes that are empty after all, and finds a packet in each of the others.
func (m *meter) settle(s *setup, leaves []leaf) []settled {
	order := make([]int, len(leaves))
	sizes := make([]float64, len(leaves))
	known := setSizes{}
	for i := range leaves {
		order[i], sizes[i] = i, leaves[i].boxSize(known)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	out := make([]settled, 0, min(len(leaves), foldAbove))
	at := map[foldKey]int{}
	for _, i := range order {
		x := settled{leaf: leaves[i], size: sizes[i], certain: leaves[i].certain() && leaves[i].fate != fateDepends}
		out = m.add(out, &x, s, at, len(leaves) > foldAbove)
	}
	return out
}

// check finds a packet in the class and estimates its size; false when there is none.
func (x *settled) check(s *setup, search *int) bool {
	p, f := x.witness(&s.like, search)
	if f == foundUnknown {
		x.fate, x.certain, x.depends = fateDepends, false, TooComplex
	}
	x.point = p
	x.size *= x.share(search)
	return f != foundNo
}

// foldKey is what classes must share to be folded into one outcome.
type foldKey struct {
	fate    fate
	certain bool
	reset   bool
	open    bool // something is assumed
	assumes uint64
}

func (x *settled) foldKey(kinds int) foldKey {
	k := foldKey{fate: x.fate, certain: x.certain, reset: x.leaf.reset, open: x.assume != nil || x.wide}
	if kinds < foldKinds && x.assume != nil {
		k.assumes = x.assume.hash
	}
	return k
}

// add appends the class where it is not empty. When classes are folded, the largest that is not empty stands for all
// others of its kind, and these are not looked into.
func (m *meter) add(out []settled, x *settled, s *setup, at map[foldKey]int, folding bool) []settled {
	k := foldKey{}
	if folding {
		k = x.foldKey(0)
		j, ok := at[k]
		if !ok {
			k = x.foldKey(len(at))
			j, ok = at[k]
		}
		if ok {
			out[j].take(x)
			return out
		}
	}
	size := x.size
	if !x.check(s, &m.search) {
		return out
	}
	if folding {
		x.size = size
		at[k] = len(out)
	}
	x.classes, x.deciders = []*class{x.class}, []ruleID{x.decider()}
	return append(out, *x)
}

// take folds another class of the kind into the outcome. Of what these assume, only some is remembered.
func (x *settled) take(y *settled) {
	x.classes = append(x.classes, y.class)
	x.deciders = append(x.deciders, y.decider())
	x.size += y.size
	if y.depends != "" && y.depends != x.depends && len(x.also) < blurry && !slices.Contains(x.also, y.depends) {
		x.also = append(x.also, y.depends)
	}
	if y.assume == nil || x.assume != nil && y.assume.hash == x.assume.hash {
		return
	}
	for a := y.assume; a != nil && len(x.also) < blurry; a = a.prev {
		if a.kind != chance && !slices.Contains(x.also, a.text) {
			x.also = append(x.also, a.text)
		}
	}
}

// answer builds the answer from one walk.
func (e *Evaluator) answer(s *setup, leaves []leaf) Answer {
	a, all := e.judge(s, leaves)
	a.DependsOn = append(a.DependsOn, e.opaqueHooks(s, &a)...)
	a.Shadowed = e.shadowed(s, &a, all)
	return a
}

// verdicts is the answer without what needs no second opinion: the shadowed drops.
func (e *Evaluator) verdicts(s *setup, leaves []leaf) Answer {
	a, _ := e.judge(s, leaves)
	return a
}

// judge says what the walk's classes mean.
func (e *Evaluator) judge(s *setup, leaves []leaf) (Answer, []settled) {
	a := Answer{Question: s.query.Question, Family: s.family, Interface: s.asked(), Path: []Step{}, Outcomes: []Outcome{}, Shadowed: []Shadow{}}
	all := e.settle(s, leaves)
	e.certainByRegion(all)
	a.Verdict, a.Reset = verdict(all), reset(s, all)
	a.DependsOn = dependsOn(&a, all, s.blurred)
	if d := deciding(all); d != nil {
		a.decided(s, d)
	}
	s.texts = map[textKey]string{}
	for i := range all {
		a.Outcomes = append(a.Outcomes, all[i].outcome(s))
	}
	s.texts = nil
	return a, all
}

// decided fills in what the deciding class says.
func (a *Answer) decided(s *setup, d *settled) {
	id := d.by
	if d.fate.side() == passes && d.accept != nil {
		id = d.accept.rule
	}
	a.DecidedBy = id.ref(&d.point, d.leaf.reset && d.fate.side() == stops)
	a.Path = path(d)
	a.Implicit = a.Verdict == Dropped && d.via == nil
	a.ByReset = a.Verdict == Dropped && d.leaf.reset
}

// deciding is the class that decides for most of what was asked.
func deciding(all []settled) *settled {
	var best *settled
	better := func(x *settled) bool {
		if best == nil || x.size != best.size {
			return best == nil || x.size > best.size
		}
		if xs, bs := x.fate.side(), best.fate.side(); xs != bs {
			return xs == passes
		}
		return x.via != nil && best.via == nil // the explicit rule tells more
	}
	for i := range all {
		x := &all[i]
		if better(x) {
			best = x
		}
	}
	return best
}

// verdict joins all classes' fates. What is undecided counts for neither side.
func verdict(all []settled) Verdict {
	var sure, maybe [3]bool
	for i := range all {
		sd := all[i].fate.side()
		maybe[sd] = true
		if all[i].certain {
			sure[sd] = true
		}
	}
	switch {
	case maybe[undecided] && !(sure[stops] && sure[passes]):
		return Depends
	case !maybe[passes]:
		return Dropped
	case !maybe[stops]:
		return NotDropped
	case sure[passes] && sure[stops]:
		return Partly
	}
	return Depends
}

// reset says whether the peer sees a RST.
func reset(s *setup, all []settled) Reset {
	var sure, yesAny, noAny, open bool
	for i := range all {
		switch {
		case all[i].fate == fateReset:
			yesAny = true
			sure = sure || all[i].certain
		case all[i].fate == fateDepends, all[i].fate == fateDelivered && s.state == ctNew:
			open = true
		default:
			noAny = true
		}
	}
	switch {
	case !yesAny && !open:
		return ResetNo
	case !noAny && !open:
		return ResetYes
	case sure:
		return ResetSome
	}
	return ResetDepends
}

// certainByRegion finds classes of one region that stand for every answer to an undecided predicate and share their side:
// their fate does not depend on it.
func (m *meter) certainByRegion(all []settled) {
	groups := map[*region][]*settled{}
	var order []*region // what is decided within the budget must be the same on every run
	for i := range all {
		if !all[i].certain && len(all[i].classes) == 1 {
			if groups[all[i].region] == nil {
				order = append(order, all[i].region)
			}
			groups[all[i].region] = append(groups[all[i].region], &all[i])
		}
	}
	for _, r := range order {
		g := groups[r]
		for _, sd := range []side{stops, passes} {
			if m.coversAll(g, sd) {
				for _, x := range g {
					x.certain = x.certain || x.fate.side() == sd
				}
			}
		}
	}
}

// coversAll reports whether every class of the group is on the side, and together they cover all answers.
func (m *meter) coversAll(g []*settled, sd side) bool {
	for _, x := range g {
		if x.fate.side() != sd || x.wide {
			return false
		}
	}
	return len(g) > 0 && m.tautology(g)
}

// tautology splits on one predicate after the other.
func (m *meter) tautology(g []*settled) bool {
	var cubes []map[string]bool
	for _, x := range g {
		cube := map[string]bool{}
		for a := x.assume; a != nil && cube != nil; a = a.prev {
			switch a.kind {
			case pure:
				cube[a.text] = a.holds
			case fresh: // the same words twice are two predicates
				cube = nil
			}
		}
		if cube != nil {
			cubes = append(cubes, cube)
		}
	}
	return m.covers(cubes, 0)
}

func (m *meter) covers(cubes []map[string]bool, depth int) bool {
	if m.search -= 16 * len(cubes); m.search < 0 { // copying a map costs as much as so many comparisons
		return false
	}
	text := ""
	for _, c := range cubes {
		if len(c) == 0 {
			return true
		}
		for t := range c {
			if text == "" || t < text {
				text = t
			}
		}
	}
	if text == "" || depth > 2*maxAssumptions {
		return false
	}
	for _, want := range []bool{true, false} {
		var part []map[string]bool
		for _, c := range cubes {
			if holds, ok := c[text]; !ok || holds == want {
				d := map[string]bool{}
				for t, h := range c {
					if t != text {
						d[t] = h
					}
				}
				part = append(part, d)
			}
		}
		if !m.covers(part, depth+1) {
			return false
		}
	}
	return true
}

// dependsOn lists what could not be decided and matters: predicates that some class assumes while others have another fate.
// At most so many as an answer can name are listed.
func dependsOn(a *Answer, all []settled, blurred []string) []string {
	var out []string
	wide := false
	for i := range all {
		x := &all[i]
		if x.depends != "" {
			out = append(out, x.depends)
		}
		if a.Verdict != Dropped && a.Verdict != NotDropped && !x.certain || x.fate == fateDepends {
			out = append(out, x.also...)
		}
		if a.Verdict == Dropped || a.Verdict == NotDropped || x.certain {
			continue
		}
		for y := x.assume; y != nil; y = y.prev {
			if y.kind != chance {
				out = append(out, y.text)
			}
		}
		wide = wide || x.wide
	}
	if wide {
		out = append(append(out, blurred...), manyConditions)
	}
	slices.Sort(out)
	return listed(slices.Compact(out))
}

// listed is the first so many of the conditions, with what must not be missing among them.
func listed(all []string) []string {
	if len(all) <= named {
		return all
	}
	must := func(s string) bool { return s == TooComplex || s == manyConditions }
	out := slices.DeleteFunc(slices.Clone(all[named:]), func(s string) bool { return !must(s) })
	out = append(out, all[:named]...)
	out = append(out, fmt.Sprintf("%d more conditions", len(all)-len(out)))
	slices.Sort(out)
	return out
}

// opaqueHooks are the programs on the way that may drop. They never protect, and they take nothing back: they are named
// beside an answer that they could make better.
func (e *Evaluator) opaqueHooks(s *setup, a *Answer) []string {
	if a.Verdict == Dropped {
		return nil
	}
	if e.known.opaque == nil {
		e.known.opaque = map[string][]string{}
		for _, h := range e.node.OpaqueHooks {
			if text := clip(h.Name) + " may drop"; !slices.Contains(e.known.opaque[h.Interface], text) {
				e.known.opaque[h.Interface] = atMost(named, e.known.opaque[h.Interface], text)
			}
		}
	}
	out := slices.Concat(e.known.opaque[""], e.known.opaque[s.query.In])
	if s.forwarded && s.query.Out != s.query.In {
		out = append(out, e.known.opaque[s.query.Out]...)
	}
	return out
}

// atMost appends to a list that is to stay short.
func atMost(n int, list []string, s string) []string {
	switch {
	case len(list) < n:
		return append(list, s)
	case len(list) == n:
		return append(list, "more programs that are not named may drop")
	}
	return list
}

// ref names the rule; of a merged run, the one that the packet meets.
func (id ruleID) ref(p *point, reset bool) *netfilter.RuleRef {
	if id.chain == nil {
		return nil
	}
	ref := &netfilter.RuleRef{Backend: id.table.Backend, Family: id.table.Family, Table: id.table.Name, Chain: id.chain.Name}
	if id.rule == nil {
		ref.Policy = id.chain.Base.Policy
		ref.Text = "policy " + string(ref.Policy)
		return ref
	}
	r := id.rule.at(p, reset)
	ref.Number, ref.Handle, ref.Text = r.Number, r.Handle, r.Excerpt()
	return ref
}
