package iptables

import "github.com/ctaudit/ctaudit/internal/netfilter"

// slab hands out rules, their counters and the chains' lists in large pieces: a hundred thousand rules cost a few
// hundred allocations and no list is grown twice.
type slab struct {
	rules    []netfilter.Rule
	counters []netfilter.Counters
	list     []*netfilter.Rule // rules of a row stand together
	start    int               // where the current row begins in list
}

const slabSize = 1024

func (s *slab) newRule() *netfilter.Rule {
	if len(s.rules) == cap(s.rules) {
		s.rules = make([]netfilter.Rule, 0, min(max(64, 2*cap(s.rules)), slabSize))
	}
	s.rules = append(s.rules, netfilter.Rule{})
	r := &s.rules[len(s.rules)-1]
	if len(s.list) == cap(s.list) {
		row := s.list[s.start:]
		s.list = append(make([]*netfilter.Rule, 0, max(64, min(4*slabSize, 2*cap(s.list)), 2*len(row))), row...)
		s.start = 0
	}
	s.list = append(s.list, r)
	return r
}

func (s *slab) newCounters(n netfilter.Counters) *netfilter.Counters {
	if len(s.counters) == cap(s.counters) {
		s.counters = make([]netfilter.Counters, 0, min(max(64, 2*cap(s.counters)), slabSize))
	}
	s.counters = append(s.counters, n)
	return &s.counters[len(s.counters)-1]
}

// run is the length of the current row.
func (s *slab) run() int { return len(s.list) - s.start }

// flush ends the row and returns it behind the rules before.
func (s *slab) flush(before []*netfilter.Rule) []*netfilter.Rule {
	row := s.list[s.start:len(s.list):len(s.list)]
	s.start = len(s.list)
	switch {
	case len(row) == 0:
		return before
	case len(before) == 0:
		return row
	}
	return append(before, row...)
}
