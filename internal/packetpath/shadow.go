package packetpath

import (
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// mostShadows is how many rules an answer lists, and fewShadows how many when there is no budget left to say why.
const (
	mostShadows = 20_000
	fewShadows  = 500
)

// shadowed says of each rule meant to drop INVALID packets why it does not help in this question. A rule that does what it
// is meant to, or that would have if another had not dropped everything before it, is not listed.
func (e *Evaluator) shadowed(s *setup, a *Answer, all []settled) []Shadow {
	out := []Shadow{}
	helped := helping(all)
	for i := range e.dropRules() {
		if e.shadow--; len(out) >= mostShadows || e.shadow < 0 && len(out) >= fewShadows {
			a.Unlisted = true
			break
		}
		d := &e.drops[i]
		x := explainer{e: e, setup: s, drop: d, all: all, helping: helped, dropped: a.Verdict == Dropped}
		if sh, ok := x.explain(); ok {
			sh.Rule = d.Rule
			out = append(out, sh)
		}
	}
	return out
}

// explainer looks for the reason why one drop does not help.
type explainer struct {
	e       *Evaluator
	setup   *setup
	drop    *dropAt
	all     []settled
	helping map[*netfilter.Rule]bool
	dropped bool
}

func because(r Reason, detail string) (Shadow, bool) { return Shadow{Reason: r, Detail: detail}, true }

// explain goes from what makes the rule dead for everybody to what is particular to this question.
func (x *explainer) explain() (Shadow, bool) {
	d := x.drop
	switch {
	case d.table.Dormant:
		return because(ReasonDormant, "")
	case !seesFamily(d.table.Family, x.setup.family):
		return because(ReasonOtherFamily, "")
	case d.lost || x.e.shadow < 0:
		return because(ReasonUndecided, TooComplex)
	case len(d.ways) == 0:
		return because(ReasonUnreferenced, "no base chain leads to "+d.chain.Name)
	}
	x.e.shadow -= 2 * len(d.ways)
	filter := slices.DeleteFunc(slices.Clone(d.ways), func(w way) bool { return w.base.Base.Type == netfilter.NATChain })
	if len(filter) == 0 {
		return because(ReasonNATChain, "")
	}
	here := slices.DeleteFunc(filter, func(w way) bool { return x.stage(w) == nil })
	if len(here) == 0 {
		return x.elsewhere(d.ways)
	}
	if sh, ok := x.dead(here); ok {
		return sh, true
	}
	return x.partial(here)
}

// seesFamily reports whether a table can see the packet at all.
func seesFamily(table, packet netfilter.Family) bool {
	return table == packet || table == netfilter.INET || table == netfilter.Netdev
}

// stage returns the stage of the question at which the way's base chain runs, or nil.
func (x *explainer) stage(w way) *stage {
	for _, list := range [][]stage{x.setup.stages, x.setup.answerStages} {
		for i := range list {
			if st := &list[i]; st.hook == w.base.Base.Hook && onDevice(w.base.Base, *st) {
				return st
			}
		}
	}
	return nil
}

// elsewhere: none of the question's hooks runs the chain.
func (x *explainer) elsewhere(ways []way) (Shadow, bool) {
	for _, w := range ways {
		if h := w.base.Base.Hook; h == netfilter.Ingress || h == netfilter.Egress {
			return because(ReasonOtherInterface, "it is registered on other devices")
		}
	}
	return because(ReasonOtherHook, string(ways[0].base.Base.Hook))
}

// dead finds what keeps the rule from ever matching a packet of this question. It must be so on every way.
func (x *explainer) dead(ways []way) (Shadow, bool) {
	var first Shadow
	for i, w := range ways {
		sh, ok := x.blocked(w)
		if !ok {
			return Shadow{}, false
		}
		if i == 0 {
			first = sh
		}
	}
	return first, true
}

// blocked looks at the conditions on one way, jumps and the rule's own.
func (x *explainer) blocked(w way) (Shadow, bool) {
	st := x.stage(w)
	v := view{
		family: x.setup.family, hook: st.hook, table: x.drop.table.Family, reset: st.reset, remote: x.setup.forwarded,
		in: st.in, out: st.out, bridge: x.e.bridged(*st), toNode: x.setup.query.Question == A, tableOf: x.drop.table,
	}
	comp := &compiler{e: x.e, table: x.drop.table}
	for _, r := range append(slices.Clone(w.rules), x.drop.rule) {
		c, ok := x.compiled(comp, r)
		if !ok {
			return Shadow{}, false
		}
		if c == nil {
			continue
		}
		for _, s := range c.steps {
			if s.do != doMatch {
				continue
			}
			if sh, ok := x.conditions(&v, s.group); ok {
				return sh, true
			}
		}
	}
	return Shadow{}, false
}

// keptRules is how many rules that are looked at to explain drops are kept compiled: most questions ask about the same.
const keptRules = 4096

// compiled compiles a rule on a way; false where the budget does not do. The compiled rule is nil when it has no effect.
func (x *explainer) compiled(comp *compiler, r *netfilter.Rule) (c *crule, ok bool) {
	const keptCost, compileCost = 4, 64
	if c, ok = x.e.known.explained[r]; ok {
		x.e.shadow -= keptCost
		return c, x.e.shadow >= 0
	}
	if x.e.shadow -= compileCost; x.e.shadow < 0 {
		return nil, false
	}
	c = comp.rule(r)
	if len(x.e.known.explained) < keptRules {
		x.e.known.explained[r] = c
	}
	return c, true
}

// conditions says why one group of conditions matches no packet of the question.
func (x *explainer) conditions(v *view, g *group) (Shadow, bool) {
	for i := range g.atoms {
		a := &g.atoms[i]
		if (a.kind == atomBreak || a.kind == atomXt && !a.state.HasState) && v.test(a, x.setup.start) == no {
			return because(ReasonNeedsEntry, a.label())
		}
	}
	p := g.prepare(v)
	for _, a := range p.tests {
		if v.test(a, x.setup.start) != no {
			continue
		}
		switch a.field {
		case netfilter.IIFName, netfilter.IIF, netfilter.IIFGroup, netfilter.IIFKind, netfilter.IIFType,
			netfilter.OIFName, netfilter.OIF, netfilter.OIFGroup, netfilter.OIFKind, netfilter.OIFType:
			return because(ReasonOtherInterface, "")
		case netfilter.CTState:
			continue
		}
		if a.kind != atomXt {
			return because(ReasonScoped, "")
		}
	}
	if p.never || x.setup.start.meet(&p.box) == disjoint {
		return because(ReasonScoped, "")
	}
	return Shadow{}, false
}

// partial finds why packets get past a rule that could match some of them.
func (x *explainer) partial(ways []way) (Shadow, bool) {
	d := x.drop
	x.e.shadow -= len(x.all)
	switch helps := x.helps(); {
	case d.Action == netfilter.Reject && d.With == "tcp-reset":
		return because(ReasonReset, "")
	case d.Action == netfilter.Reject:
		return because(ReasonICMP, d.With)
	case x.dropped:
		return Shadow{}, false
	case !helps && d.Priority < netfilter.ConntrackPriority && d.isEarly:
		return because(ReasonBeforeConntrack, "")
	case !helps && d.Priority == netfilter.ConntrackPriority && d.isEarly:
		return because(ReasonAtConntrack, "")
	}
	for i := range x.all {
		if l := &x.all[i]; l.fate.side() == passes && l.notrack.chain != nil {
			return Shadow{Reason: ReasonUntracked, By: l.notrack.ref(&l.point, false)}, true
		}
	}
	if d.Limited != "" {
		return because(ReasonLimited, d.Limited)
	}
	if sh, ok := x.accepted(ways); ok {
		return sh, true
	}
	if slices.ContainsFunc(x.all, func(l settled) bool { return !l.certain }) {
		return because(ReasonUndecided, "")
	}
	if x.helps() {
		return because(ReasonScoped, "it covers some of the packets only")
	}
	return because(ReasonUnreferenced, "no packet of this question reaches it")
}

// helps reports whether some packets of the question are stopped by this rule.
func (x *explainer) helps() bool { return x.helping[x.drop.rule] }

// helping are the rules naming INVALID that stop some packets of the question.
func helping(all []settled) map[*netfilter.Rule]bool {
	out := map[*netfilter.Rule]bool{}
	seen := map[*crule]bool{}
	for i := range all {
		v := all[i].via
		if v == nil || all[i].fate.side() != stops || seen[v] {
			continue
		}
		seen[v], out[v.rule] = true, true
		for _, m := range v.run {
			out[m.rule] = true
		}
	}
	return out
}

// accepted finds the rule in front of the drop, in the same base chain, that lets the packets past: an accept, or a return.
func (x *explainer) accepted(ways []way) (Shadow, bool) {
	onWay := func(c *netfilter.Chain) bool {
		return slices.ContainsFunc(ways, func(w way) bool { return w.base == c })
	}
	for i := range x.all {
		l := &x.all[i]
		if l.fate.side() != passes {
			continue
		}
		for n := l.steps; n != nil; n = n.prev {
			if x.e.shadow--; x.e.shadow < 0 {
				return because(ReasonUndecided, TooComplex)
			}
			st := n.step
			if st.base.chain == nil || !onWay(st.base.chain) || st.base.table != x.drop.table {
				continue
			}
			if by := st.by; st.verdict == "accept" && by.rule != nil {
				return Shadow{Reason: ReasonShadowed, By: by.ref(&l.point, st.packet == "reset")}, true
			}
			if l.skip.rule != nil && l.skip.table == x.drop.table {
				return Shadow{Reason: ReasonShadowed, By: l.skip.ref(&l.point, st.packet == "reset"), Detail: "it returns the packet early"}, true
			}
		}
	}
	return Shadow{}, false
}
