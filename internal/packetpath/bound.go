package packetpath

import (
	"slices"
)

// Rulesets come from nodes that nobody vouches for, so that every question has a bound: on steps, which also stand for memory, on
// comparisons in the search for packets, and on what may be compiled for it. What a bound cuts off counts as undecided.

// budget is how many steps one question may take, over all orders of tied chains: a rule looked at is one step, a class that is made
// costs classCost (some 500 bytes), an interval intervalCost (32 bytes). All of it is below a second's work and 150 MiB.
const (
	budget       = 4_000_000
	classCost    = 16
	intervalCost = 2
	chainCost    = 4 // of a chain run over a class
	elementCost  = 4 // of an element of a concatenation or a verdict map looked at
)

// nodeBudget is what all questions about a node may take together, and leastBudget what each has of the reserve when that is used up.
// Behind the reserve nothing is asked any more.
const (
	nodeBudget  = 20_000_000
	nodeReserve = 5_000_000
	leastBudget = 50_000
)

// searchBudget bounds the search for packets in all classes of one question, in box comparisons; solveBudget that in one class.
const (
	searchBudget = 8_000_000
	solveBudget  = 400_000
)

// shadowBudget bounds the explanations of why drops do not help in one question, in conditions and classes looked at.
const shadowBudget = 500_000

// compileBudget bounds the intervals that conditions are spread into when they are compiled: a mask with holes in it can make
// thousands of one. It is a node's.
const compileBudget = 2_000_000

// mostRules is how many rules of a node may be compiled, some 1.5 KB each; a run of rules that differ in one value is one.
const mostRules = 150_000

// waysBudget bounds the search for the ways to all drops of a node, in chains visited and rules named.
const waysBudget = 2_000_000

// TooComplex is what an answer depends on when its question's budget did not do. Its outcome is the whole question, over those that
// were decided until then.
const TooComplex = "the ruleset is too complex to be decided within the budget"

// manyConditions stands for assumptions that are no longer told apart.
const manyConditions = "more undecided conditions than can be told apart"

// meter holds what is left.
type meter struct {
	left        int // steps of the question being answered
	search      int
	shadow      int
	node        int
	compileLeft int
	waysLeft    int
	rulesLeft   int             // that may still be compiled
	blind       bool            // drops were left out
	poll        int             // steps until stop is looked at
	stop        <-chan struct{} // nobody waits for an answer any more; nil: somebody does
}

func newMeter() meter {
	return meter{node: nodeBudget, compileLeft: compileBudget, waysLeft: waysBudget, rulesLeft: mostRules}
}

// begin gives a question what it may use, of which its making took some already, and returns what ends it.
func (m *meter) begin(used int) (end func()) {
	given := max(min(budget, m.node), min(leastBudget, m.node+nodeReserve))
	search := max(given*(searchBudget/budget), solveBudget/4)
	shadow := min(shadowBudget, given)
	m.left, m.search, m.shadow = given-used, search, shadow
	if given <= 0 {
		m.left, m.search, m.shadow = -1, -1, -1
		return func() {}
	}
	return func() {
		m.node -= given - min(m.left, given) + (search-max(m.search, 0))/8 + shadow - max(m.shadow, 0)
	}
}

// pollEvery is how many steps are taken between two looks at whether somebody waits for the answer.
const pollEvery = 1 << 16

// spend takes steps; false when there are none left, and then nothing that the walk finds counts any more.
func (m *meter) spend(steps int) bool {
	m.left -= steps
	if m.poll -= steps; m.poll < 0 {
		m.poll = pollEvery
		m.stopped()
	}
	return m.left >= 0
}

// stopped ends this question and all further ones when nobody waits for an answer.
func (m *meter) stopped() {
	select {
	case <-m.stop:
		m.left, m.search, m.shadow = -1, -1, -1
		m.node, m.compileLeft, m.waysLeft = -nodeReserve, -1, -1
	default:
	}
}

// spent reports whether the question has used up its budget.
func (m *meter) spent() bool { return m.left < 0 }

// crowd is how many classes may go from one rule or chain to the next before those that differ in assumptions alone are joined;
// where crowdOfMarks are left of them, those that differ in their marks are joined as well.
const (
	crowd        = 64
	crowdOfMarks = 256
)

// thin joins classes of one region that the ruleset has written the same to: what they assumed apart is forgotten, and with it
// whether there are such packets. Classes that surely exist are joined among themselves.
func (w *walker) thin(in []*class) []*class {
	if len(in) <= crowd && (len(w.blurred) == 0 || len(in) <= crowd/8) {
		return in
	}
	n := len(in)
	if in = w.join(in, false); len(in) > crowdOfMarks {
		in = w.join(in, true)
	}
	if len(in) < n {
		w.dirty++
	}
	return in
}

// alike is what classes share that are joined.
type alike struct {
	region  *region
	writes  state
	certain bool
}

func (w *walker) join(in []*class, marks bool) []*class {
	w.ev.spend(len(in))
	at := make(map[alike]int, crowd)
	out := in[:0]
	for _, c := range in {
		k := alike{c.region, c.state, c.certain()}
		k.writes.assume, k.writes.wide = nil, false
		if marks {
			k.writes.mark, k.writes.markKnown = 0, 0
		}
		if i, ok := at[k]; ok {
			out[i] = w.blend(out[i], c)
			continue
		}
		at[k] = len(out)
		out = append(out, c)
	}
	clear(in[len(out):])
	return out
}

// blend is the union of two classes of one region, which keeps what both assume, and the bits of the mark that both have.
func (w *walker) blend(a, b *class) *class {
	d := *a
	common := a.assume.common(b.assume)
	lost := false
	for _, list := range [2]*assumption{a.assume, b.assume} {
		for x := list; x != common; x = x.prev {
			if x.kind != chance {
				lost = true
				w.blur(x.text)
			}
		}
	}
	d.assume, d.wide = common, a.wide || b.wide || lost
	d.markKnown = a.markKnown & b.markKnown &^ (a.mark ^ b.mark)
	d.mark &= d.markKnown
	if b.accept != nil && (d.accept == nil || b.accept.score > d.accept.score) {
		d.accept, d.steps = b.accept, b.steps
	}
	return &d
}

// named is how many conditions an answer names, and how many of those that were forgotten are remembered for it.
const (
	named  = 32
	blurry = 12
)

// blur remembers a condition that is forgotten, so that the answer can name it.
func (w *walker) blur(text string) {
	if len(w.blurred) < blurry && !slices.Contains(w.blurred, text) {
		w.blurred = append(w.blurred, text)
	}
}

// common is the longest list of assumptions that both begin with.
func (a *assumption) common(b *assumption) *assumption {
	for a != b {
		switch {
		case a == nil || b == nil:
			return nil
		case a.n > b.n:
			a = a.prev
		case b.n > a.n:
			b = b.prev
		default:
			a, b = a.prev, b.prev
		}
	}
	return a
}
