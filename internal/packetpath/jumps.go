package packetpath

import (
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// way is a base chain and the rules through which it leads to a chain, first jump first.
type way struct {
	base  *netfilter.Chain
	rules []*netfilter.Rule
}

// findWays finds how base chains lead to each drop.
func (e *Evaluator) findWays() {
	graphs := map[*netfilter.Table]jumpGraph{}
	found := map[*netfilter.Chain][]way{}
	reached := map[*netfilter.Chain]reached{}
	for i := range e.drops {
		d := &e.drops[i]
		if d.chain.Base != nil {
			d.ways = []way{{base: d.chain}}
		} else {
			g, ok := graphs[d.table]
			if !ok {
				g = e.jumps(d.table)
				graphs[d.table] = g
			}
			if d.ways, ok = found[d.chain]; !ok {
				d.ways = e.waysTo(g, d.chain)
				found[d.chain] = d.ways
			}
			if d.lost = len(d.ways) == 0 && e.waysLeft < 0; d.lost {
				d.Undecided = "where it is called from: " + TooComplex
			}
		}
		r, ok := reached[d.chain]
		if !ok {
			r = reach(d.ways)
			reached[d.chain] = r
		}
		d.Hooks, d.Priority, d.isEarly = append(d.Hooks, r.hooks...), r.priority, r.early
	}
}

// reached is from where a chain is reached.
type reached struct {
	hooks    []netfilter.Hook
	priority int32 // of the first way's base chain
	early    bool  // by a base chain that runs before conntrack on arriving packets
}

func reach(ways []way) reached {
	r := reached{}
	for _, w := range ways {
		b := w.base.Base
		if len(r.hooks) == 0 {
			r.priority = b.Priority
		}
		if !slices.Contains(r.hooks, b.Hook) {
			r.hooks = append(r.hooks, b.Hook)
		}
		r.early = r.early || b.Hook == netfilter.Ingress || b.Hook == netfilter.Prerouting && b.Priority <= netfilter.ConntrackPriority
	}
	return r
}

// caller is a rule that jumps to a chain.
type caller struct {
	chain *netfilter.Chain
	rule  *netfilter.Rule
}

// jumpGraph holds a table's callers by the chain called.
type jumpGraph map[string][]caller

func (e *Evaluator) jumps(t *netfilter.Table) jumpGraph {
	g := jumpGraph{}
	comp := &compiler{e: e, table: t}
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			for _, name := range comp.targets(r) {
				if e.waysLeft--; e.waysLeft < 0 {
					return g
				}
				g[name] = append(g[name], caller{c, r})
			}
		}
	}
	return g
}

// targets are the chains that a rule jumps to. An xtables rule need not be parsed for that.
func (c *compiler) targets(r *netfilter.Rule) []string {
	if r.Ops == nil {
		if name, _ := xtables.Target(r.Text); name != "" {
			return []string{name}
		}
		return nil
	}
	var out []string
	for _, op := range r.Ops {
		switch op := op.(type) {
		case netfilter.Verdict:
			if op.Chain != "" {
				out = append(out, op.Chain)
			}
		case netfilter.VMap:
			if s := c.set(op.Set); s != nil {
				out = append(out, c.e.mapped(s)...)
			}
		}
	}
	return out
}

// mapped are the chains that a verdict map's elements lead to.
func (e *Evaluator) mapped(s *netfilter.Set) []string {
	out, ok := e.targeted[s]
	if ok {
		return out
	}
	for i := range s.Elements {
		if v := s.Elements[i].Verdict; v != nil && v.Chain != "" {
			out = append(out, v.Chain)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	e.targeted[s] = out
	return out
}

// waysTo searches backwards from a chain to base chains, the shortest way to each; none where the budget does not do.
func (e *Evaluator) waysTo(g jumpGraph, to *netfilter.Chain) []way {
	type node struct {
		chain *netfilter.Chain
		rule  *netfilter.Rule // that jumps on
		on    int             // the node jumped to
	}
	var out []way
	seen := map[*netfilter.Chain]bool{to: true}
	nodes := []node{{chain: to}}
	for i := 0; i < len(nodes); i++ {
		if e.waysLeft -= 1 + len(g[nodes[i].chain.Name]); e.waysLeft < 0 {
			return nil
		}
		for _, c := range g[nodes[i].chain.Name] {
			if seen[c.chain] {
				continue
			}
			seen[c.chain] = true
			nodes = append(nodes, node{c.chain, c.rule, i})
			if c.chain.Base == nil {
				continue
			}
			w := way{base: c.chain}
			for k := len(nodes) - 1; k > 0; k = nodes[k].on {
				w.rules = append(w.rules, nodes[k].rule)
				e.waysLeft--
			}
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b way) int { return hookRank(a.base.Base.Hook) - hookRank(b.base.Base.Hook) })
	return out
}

func hookRank(h netfilter.Hook) int {
	return slices.Index(allHooks[:], h)
}
