package packetpath

import "slices"

// maxOrders is how many orders of chains at equal priority are tried. Three tied chains have six; a node with more ties than
// this gets the first ones tried, which is said in README.md.
const maxOrders = 24

// chains returns a stage's base chains in the order of that number.
func (s *setup) chains(e *Evaluator, st stage, order int) []*baseChain {
	list := s.chainsAt(e, st)
	if order == 0 {
		return list
	}
	list = slices.Clone(list)
	for _, g := range s.ties(e) {
		if g.stage == st {
			turn(list[g.from:g.to], order/g.before%g.count)
		}
	}
	return list
}

// chainsAt lists a stage's base chains once.
func (s *setup) chainsAt(e *Evaluator, st stage) []*baseChain {
	list, ok := s.lists[st]
	if !ok {
		list = e.stageList(st, s.family)
		s.lists[st] = list
	}
	return list
}

// tie is a run of chains at one hook whose order is not known. before is the product of the counts of the ties before it:
// an order's number has one digit for each tie.
type tie struct {
	stage         stage
	from, to      int
	count, before int
}

// ties lists the question's ties.
func (s *setup) ties(e *Evaluator) []tie {
	if s.tieList != nil {
		return s.tieList
	}
	s.tieList = []tie{}
	before := 1
	seen := []stage{}
	for _, stages := range [][]stage{s.stages, s.answerStages, s.rejectStages} {
		for _, st := range stages {
			if slices.Contains(seen, st) {
				continue
			}
			seen = append(seen, st)
			list := s.chainsAt(e, st)
			for i := 0; i < len(list); {
				j := i + 1
				for j < len(list) && list[j].priority == list[i].priority {
					j++
				}
				if unknownOrder(list[i:j]) {
					n := permutations(j - i)
					s.tieList = append(s.tieList, tie{st, i, j, n, before})
					before = min(before*n, 1<<20)
				}
				i = j
			}
		}
	}
	return s.tieList
}

// permutations is how many orders of n chains are tried: all of two or three, and every rotation, both ways, of more.
func permutations(n int) int {
	if n == 2 {
		return 2
	}
	return 2 * n
}

// turn puts chains in order number k: rotated by k/2, and turned round when k is odd.
func turn(list []*baseChain, k int) {
	out := slices.Concat(list[k/2%len(list):], list[:k/2%len(list)])
	if k%2 == 1 {
		slices.Reverse(out)
	}
	copy(list, out)
}

// orders is how many orders there are to try.
func (e *Evaluator) orders(s *setup) int {
	n := 1
	for _, t := range s.ties(e) {
		n = min(n*t.count, maxOrders)
	}
	return n
}

// unknownOrder reports whether the chains' order matters and the kernel did not tell it: nat chains see no such packet.
func unknownOrder(chains []*baseChain) bool {
	known, matter := true, 0
	for _, b := range chains {
		known = known && b.place > 0
		if b.kind != baseNAT {
			matter++
		}
	}
	return !known && matter > 1
}

const anOrder = "the order in which base chains of equal priority were registered"

// tryOrders compares with the answers of the other orders.
func (e *Evaluator) tryOrders(s *setup, a *Answer, n int) {
	same := true
	for order := 1; order < n; order++ {
		b := e.verdicts(s, e.walk(s, order))
		text := anOrder
		if e.spent() || e.search < 0 { // what there is of this order's answer says nothing of the order
			text = TooComplex
		}
		same = same && slices.EqualFunc(a.Outcomes, b.Outcomes, sameOutcome)
		differs := a.Verdict != b.Verdict || a.Reset != b.Reset
		if !differs && text == anOrder {
			continue
		}
		if differs {
			a.Verdict, a.Reset = Depends, ResetDepends
		}
		a.DependsOn = append(a.DependsOn, text)
		slices.Sort(a.DependsOn)
		a.DependsOn = slices.Compact(a.DependsOn)
		same = false
		break
	}
	for i := range a.Outcomes {
		if !same {
			a.Outcomes[i].Assuming = append(a.Outcomes[i].Assuming, anOrder)
		}
	}
}

func sameOutcome(a, b Outcome) bool {
	return a.Fate == b.Fate && a.Region == b.Region && slices.Equal(a.Assuming, b.Assuming)
}
