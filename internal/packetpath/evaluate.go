package packetpath

import (
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// Evaluator answers questions about one node. Chains are compiled when a packet first reaches them, and kept for the next
// query. It is not safe for concurrent use.
type Evaluator struct {
	node     *Node
	parse    func(*netfilter.Table, *netfilter.Rule) netfilter.Ops
	chains   map[chainKey]*cchain
	index    map[*netfilter.Table]map[string]*netfilter.Chain
	sets     map[*netfilter.Set]ivset
	setIndex map[*netfilter.Table]map[string]*netfilter.Set
	types    *[2][]addressType
	inverse  map[invKey]ivset
	targeted map[*netfilter.Set][]string
	drops    []dropAt
	known    known
	meter
}

// Compile prepares a node for several queries. It does no work before a query needs it.
func Compile(n *Node) *Evaluator {
	n = sound(n)
	return &Evaluator{
		node:     n,
		parse:    xtables.Ops,
		chains:   map[chainKey]*cchain{},
		index:    map[*netfilter.Table]map[string]*netfilter.Chain{},
		sets:     map[*netfilter.Set]ivset{},
		setIndex: map[*netfilter.Table]map[string]*netfilter.Set{},
		inverse:  map[invKey]ivset{},
		targeted: map[*netfilter.Set][]string{},
		known: known{
			types: map[typesKey]ivset{}, stages: map[stageKey][]*baseChain{}, invalid: map[invalidKey]invalidIn{},
			explained: map[*netfilter.Rule]*crule{},
		},
		meter: newMeter(),
	}
}

// sound returns the node with a ruleset that holds no nil, which a document from elsewhere could have.
func sound(n *Node) *Node {
	c := *n
	if c.Ruleset == nil {
		c.Ruleset = &netfilter.Ruleset{}
	}
	whole := func(t *netfilter.Table) bool {
		return t != nil && !slices.Contains(t.Chains, nil) && !slices.Contains(t.Sets, nil) &&
			!slices.ContainsFunc(t.Chains, func(c *netfilter.Chain) bool { return slices.Contains(c.Rules, nil) })
	}
	if slices.ContainsFunc(c.Ruleset.Tables, func(t *netfilter.Table) bool { return !whole(t) }) {
		c.Ruleset = &netfilter.Ruleset{Tables: slices.Clone(c.Ruleset.Tables)}
		for i, t := range c.Ruleset.Tables {
			if !whole(t) {
				c.Ruleset.Tables[i] = unsound(t)
			}
		}
	}
	return &c
}

// unsound stands for a table that cannot be evaluated: it may do anything.
func unsound(t *netfilter.Table) *netfilter.Table {
	out := &netfilter.Table{Backend: netfilter.NFTables, Family: netfilter.INET, Incomplete: "the document is damaged"}
	if t != nil {
		out.Backend, out.Family, out.Name, out.Dormant = t.Backend, t.Family, t.Name, t.Dormant
	}
	return out
}

// Evaluate answers one query; see [Evaluator.Evaluate].
func Evaluate(n *Node, q Query) (Answer, error) { return Compile(n).Evaluate(q) }

// Evaluate answers a query. The error says what the query lacks; a ruleset never makes one: what cannot be decided is in
// the answer.
func (e *Evaluator) Evaluate(q Query) (Answer, error) {
	s, err := e.setup(q)
	if err != nil {
		return Answer{}, err
	}
	defer e.begin(s.weight)()
	if e.spent() {
		return e.unasked(s), nil
	}
	a := e.answer(s, e.walk(s, 0))
	if n := e.orders(s); n > 1 {
		e.tryOrders(s, &a, n)
	}
	return a, nil
}

// Until lets the evaluator give up when done is closed: what it says from then on is undecided, and nobody should read it.
func (e *Evaluator) Until(done <-chan struct{}) { e.stop = done }

// unasked answers a question for which nothing is left.
func (e *Evaluator) unasked(s *setup) Answer {
	return Answer{
		Question: s.query.Question, Family: s.family, Interface: s.asked(), Verdict: Depends, Reset: ResetDepends,
		Path: []Step{}, Outcomes: []Outcome{}, Shadowed: []Shadow{}, DependsOn: []string{TooComplex}, Unlisted: true,
	}
}

// asked is the interface that the answer is about.
func (s *setup) asked() string {
	if s.query.Question == B {
		return s.query.Out
	}
	return s.query.In
}

// walk runs the question once, with chains of equal priority in the order of that number: see turn.
func (e *Evaluator) walk(s *setup, order int) []leaf {
	w := &walker{ev: e, order: order}
	w.view = view{family: s.family, toNode: s.query.Question == A}
	w.whole = s.start.region
	live := w.stages(s, s.stages, []*class{s.start})
	rejected, wire := w.resets, w.wire
	w.resets, w.wire = nil, nil
	from := byTCP
	if s.forwarded {
		from = byPeer
	}
	w.provoke(s, s.answerStages, w.finish(live, s), from)
	w.provoke(s, s.rejectStages, rejected, byRule)
	w.provoke(s, s.rejectStages[len(s.rejectStages)-1:], wire, byRule)
	if e.spent() { // what became of the rest is not known
		w.leaves = append(w.leaves, leaf{class: s.start, fate: fateDepends, depends: TooComplex})
	}
	s.blurred = w.blurred
	return w.leaves
}

// stages runs classes through a list of hooks and returns those that come out at its end.
func (w *walker) stages(s *setup, stages []stage, live []*class) []*class {
	for _, st := range stages {
		w.view.hook, w.view.in, w.view.out = st.hook, st.in, st.out
		w.view.bridge = w.ev.bridged(st)
		w.view.routed = st.routed
		if st.hook == netfilter.Forward {
			live = w.expire(live)
		}
		for _, b := range s.chains(w.ev, st, w.order) {
			if len(live) == 0 {
				return nil
			}
			live = w.runAll(b, live, s.state)
		}
	}
	return live
}

// expire gives up the classes whose TTL a rule has set before the packet was to be forwarded: with 1 it is not. The RST that
// comes back through FORWARD is no exception.
func (w *walker) expire(live []*class) []*class {
	var out []*class
	for _, c := range live {
		if c.written>>dTTL&1 != 0 {
			w.lost(c, "the TTL that a rule sets before the packet is forwarded")
			continue
		}
		out = append(out, c)
	}
	return out
}

// runAll runs a base chain over all classes. Where there are many, it is first tried on all packets that they were cut from:
// a chain that lets all of those through unchanged lets each of them through.
func (w *walker) runAll(b *baseChain, live []*class, state ctState) []*class {
	w.accepted = nil
	if len(live) > 1 {
		if out, ok := w.uniform(b, live, state); ok {
			return out
		}
	}
	w.accepted = nil
	for _, c := range live {
		w.runBase(b, c, state)
	}
	if w.ev.spent() {
		return nil
	}
	return w.thin(mergeComplements(w.accepted))
}

// uniform tries a base chain on the whole question.
func (w *walker) uniform(b *baseChain, live []*class, state ctState) ([]*class, bool) {
	for _, c := range live[1:] {
		if !sameWrites(c, live[0]) {
			return nil, false
		}
	}
	probe := *live[0]
	probe.region, probe.assume, probe.wide, probe.accept, probe.steps = w.whole, nil, false, nil, nil
	leaves, resets, wire := len(w.leaves), len(w.resets), len(w.wire)
	w.runBase(b, &probe, state)
	same := len(w.leaves) == leaves && len(w.resets) == resets && len(w.wire) == wire && len(w.accepted) == 1 && w.accepted[0].region == w.whole
	w.leaves, w.resets, w.wire = w.leaves[:leaves], w.resets[:resets], w.wire[:wire]
	if w.ev.spent() {
		return nil, true
	}
	if !same || w.accepted[0].assume != nil {
		return nil, false
	}
	got := w.accepted[0]
	if !w.ev.spend(len(live) * classCost / 2) {
		return nil, true
	}
	out := make([]*class, len(live))
	for i, c := range live {
		d := *c
		d.mark, d.markKnown, d.ct, d.written = got.mark, got.markKnown, got.ct, got.written
		if got.accept != nil && (d.accept == nil || got.accept.score > d.accept.score) {
			d.accept = got.accept
		}
		if got.steps != nil {
			d.steps = &stepNode{got.steps.step, c.steps}
		}
		out[i] = &d
	}
	return out, true
}

func sameWrites(a, b *class) bool {
	return a.mark == b.mark && a.markKnown == b.markKnown && a.ct == b.ct && a.written == b.written
}

const rewrites = "the ruleset rewrites the packet's addresses, ports or flags"

// finish says what becomes of the packets that nothing stopped, and follows the RST that they provoke.
func (w *walker) finish(live []*class, s *setup) (provoking []*class) {
	if w.ev.spent() {
		return nil
	}
	for _, c := range live {
		if c.written&rewritten != 0 {
			w.leaves = append(w.leaves, leaf{class: c, fate: fateDepends, depends: rewrites})
			continue
		}
		if s.state.entry() {
			w.leaves = append(w.leaves, leaf{class: c, fate: fateDelivered})
			continue
		}
		b := box{flags: withRST, hasFlags: true}
		quiet, loud := w.cutClass(c, &b)
		if quiet != nil {
			w.leaves = append(w.leaves, leaf{class: quiet, fate: fateDelivered})
		}
		if loud != nil {
			provoking = append(provoking, loud)
		}
	}
	return provoking
}

// bridged reports whether the packet may come from a bridge's port, so that physdev has something to match.
func (e *Evaluator) bridged(st stage) bool {
	is := func(i *Interface) bool { return i != nil && i.Kind == "bridge" }
	return e.node.BridgeNetfilter && (is(st.in) || is(st.out))
}
