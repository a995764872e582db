package packetpath

import (
	"cmp"
	"slices"
	"strings"

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
}

// foldAbove is how many classes are listed one by one; beyond it those of one fate are folded into one outcome.
const foldAbove = 256

// settle drops the classes that are empty after all, and finds a packet in each of the others.
func settle(s *setup, leaves []leaf) []settled {
	order := make([]int, len(leaves))
	sizes := make([]float64, len(leaves))
	for i := range leaves {
		order[i], sizes[i] = i, leaves[i].boxSize()
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	out := make([]settled, 0, min(len(leaves), foldAbove))
	at := map[foldKey]int{}
	for _, i := range order {
		x := settled{leaf: leaves[i], size: sizes[i], certain: leaves[i].certain() && leaves[i].fate != fateDepends}
		out = x.addTo(out, s, at, len(leaves) > foldAbove)
	}
	return out
}

// check finds a packet in the class and estimates its size; false when there is none.
func (x *settled) check(s *setup) bool {
	p, f := x.witness(&s.like)
	if f == foundUnknown {
		x.fate, x.certain, x.depends = fateDepends, false, "the ruleset is too complex to be decided within the budget"
	}
	x.point = p
	x.size *= x.share()
	return f != foundNo
}

// foldKey is what classes must share to be folded into one outcome.
type foldKey struct {
	fate    fate
	certain bool
	reset   bool
	assumes string
}

// addTo appends the class where it is not empty. When classes are folded, the largest that is not empty stands for all
// others of its kind, and these are not looked into.
func (x *settled) addTo(out []settled, s *setup, at map[foldKey]int, folding bool) []settled {
	k := foldKey{}
	if folding {
		k = foldKey{x.fate, x.certain, x.leaf.reset, strings.Join(x.assuming(), "\n")}
		if j, ok := at[k]; ok {
			out[j].classes = append(out[j].classes, x.class)
			out[j].deciders = append(out[j].deciders, x.decider())
			out[j].size += x.size
			return out
		}
	}
	size := x.size
	if !x.check(s) {
		return out
	}
	if folding {
		x.size = size
		at[k] = len(out)
	}
	x.classes, x.deciders = []*class{x.class}, []ruleID{x.decider()}
	return append(out, *x)
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
	a := Answer{Question: s.query.Question, Family: s.family, Interface: s.query.In, Path: []Step{}, Outcomes: []Outcome{}, Shadowed: []Shadow{}}
	if s.query.Question == B {
		a.Interface = s.query.Out
	}
	all := settle(s, leaves)
	certainByRegion(all)
	a.Verdict, a.Reset = verdict(all), reset(s, all)
	a.DependsOn = dependsOn(&a, all)
	if d := deciding(all); d != nil {
		a.decided(s, d)
	}
	for i := range all {
		a.Outcomes = append(a.Outcomes, all[i].outcome(s))
	}
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
func certainByRegion(all []settled) {
	groups := map[*region][]*settled{}
	for i := range all {
		if !all[i].certain && len(all[i].classes) == 1 {
			groups[all[i].region] = append(groups[all[i].region], &all[i])
		}
	}
	for _, g := range groups {
		for _, sd := range []side{stops, passes} {
			if coversAll(g, sd) {
				for _, x := range g {
					x.certain = x.certain || x.fate.side() == sd
				}
			}
		}
	}
}

// coversAll reports whether every class of the group is on the side, and together they cover all answers.
func coversAll(g []*settled, sd side) bool {
	for _, x := range g {
		if x.fate.side() != sd || x.wide {
			return false
		}
	}
	return len(g) > 0 && tautology(g, 0)
}

// tautology splits on one predicate after the other.
func tautology(g []*settled, depth int) bool {
	if len(g) == 0 || depth > maxAssumptions {
		return false
	}
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
	return covers(cubes, depth)
}

func covers(cubes []map[string]bool, depth int) bool {
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
		if !covers(part, depth+1) {
			return false
		}
	}
	return true
}

// dependsOn lists what could not be decided and matters: predicates that some class assumes while others have another fate.
func dependsOn(a *Answer, all []settled) []string {
	var out []string
	for i := range all {
		x := &all[i]
		if x.depends != "" {
			out = append(out, x.depends)
		}
		if a.Verdict == Dropped || a.Verdict == NotDropped || x.certain {
			continue
		}
		for y := x.assume; y != nil; y = y.prev {
			if y.kind != chance {
				out = append(out, y.text)
			}
		}
		if x.wide {
			out = append(out, "more undecided conditions than can be told apart")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// opaqueHooks are the programs on the way that may drop. They never protect, and they take nothing back: they are named
// beside an answer that they could make better.
func (e *Evaluator) opaqueHooks(s *setup, a *Answer) []string {
	if a.Verdict == Dropped {
		return nil
	}
	var out []string
	for _, h := range e.node.OpaqueHooks {
		if h.Interface == "" || h.Interface == s.query.In || s.forwarded && h.Interface == s.query.Out {
			out = append(out, h.Name+" may drop")
		}
	}
	return out
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
