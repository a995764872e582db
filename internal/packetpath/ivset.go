package packetpath

import (
	"slices"
	"sort"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// ivset is a set of values: sorted, disjoint intervals that do not touch. Sets are shared between classes and never
// written after they are built.
type ivset []netfilter.Interval

var maxValue = netfilter.Value{Hi: ^uint64(0), Lo: ^uint64(0)}

// width returns the largest value of so many bits.
func width(bits int) netfilter.Value {
	switch {
	case bits >= 128:
		return maxValue
	case bits > 64:
		return netfilter.Value{Hi: 1<<(bits-64) - 1, Lo: ^uint64(0)}
	case bits == 64:
		return netfilter.Value{Lo: ^uint64(0)}
	}
	return netfilter.Num(1<<bits - 1)
}

func nums(from, to uint64) ivset { return ivset{netfilter.Nums(from, to)} }

// newSet sorts and joins intervals; empty ones (From above To) are left out.
func newSet(in []netfilter.Interval) ivset {
	out := make(ivset, 0, len(in))
	for _, i := range in {
		if i.From.Cmp(i.To) <= 0 {
			out = append(out, i)
		}
	}
	byFrom := func(a, b netfilter.Interval) int { return a.From.Cmp(b.From) }
	if !slices.IsSortedFunc(out, byFrom) {
		slices.SortFunc(out, byFrom)
	}
	n := 0
	for _, i := range out {
		if n > 0 && touches(out[n-1].To, i.From) {
			if out[n-1].To.Cmp(i.To) < 0 {
				out[n-1].To = i.To
			}
			continue
		}
		out[n] = i
		n++
	}
	return out[:n]
}

// touches reports whether an interval that begins at from continues or overlaps one that ends at to.
func touches(to, from netfilter.Value) bool {
	return from.Cmp(to) <= 0 || to != maxValue && to.Next() == from
}

// find returns the first interval that ends at or after v.
func (s ivset) find(v netfilter.Value) int {
	if len(s) <= 8 {
		for i := range s {
			if s[i].To.Cmp(v) >= 0 {
				return i
			}
		}
		return len(s)
	}
	return sort.Search(len(s), func(i int) bool { return s[i].To.Cmp(v) >= 0 })
}

func (s ivset) contains(v netfilter.Value) bool {
	i := s.find(v)
	return i < len(s) && s[i].From.Cmp(v) <= 0
}

type relation uint8

const (
	disjoint relation = iota
	overlap
	within // all of the first set lies in the second
)

// relate says how a lies to b without allocating. An empty a is disjoint from everything.
func relate(a, b ivset) relation {
	if len(b) < len(a) && !meets(b, a) {
		return disjoint
	}
	hit, miss := false, false
	for _, x := range a {
		j := b.find(x.From)
		switch {
		case j == len(b) || b[j].From.Cmp(x.To) > 0:
			miss = true
		default:
			hit = true
			miss = miss || b[j].From.Cmp(x.From) > 0 || b[j].To.Cmp(x.To) < 0
		}
		if hit && miss {
			return overlap
		}
	}
	if hit {
		return within
	}
	return disjoint
}

// meets reports whether the sets have a value in common; the first should be the shorter one.
func meets(a, b ivset) bool {
	for _, x := range a {
		if j := b.find(x.From); j < len(b) && b[j].From.Cmp(x.To) <= 0 {
			return true
		}
	}
	return false
}

func intersect(a, b ivset) ivset {
	if len(b) < len(a) {
		a, b = b, a
	}
	var out ivset
	for _, x := range a {
		for j := b.find(x.From); j < len(b) && b[j].From.Cmp(x.To) <= 0; j++ {
			out = append(out, netfilter.Interval{From: later(x.From, b[j].From), To: earlier(x.To, b[j].To)})
		}
	}
	return out
}

// subtract returns a without b.
func subtract(a, b ivset) ivset {
	var out ivset
	for _, x := range a {
		from, done := x.From, false
		for j := b.find(x.From); j < len(b) && b[j].From.Cmp(x.To) <= 0; j++ {
			if from.Cmp(b[j].From) < 0 {
				out = append(out, netfilter.Interval{From: from, To: b[j].From.Prev()})
			}
			if b[j].To.Cmp(x.To) >= 0 {
				done = true
				break
			}
			from = b[j].To.Next()
		}
		if !done {
			out = append(out, netfilter.Interval{From: from, To: x.To})
		}
	}
	return out
}

// complement returns the values of so many bits that are not in s.
func complement(s ivset, bits int) ivset {
	return subtract(ivset{{From: netfilter.Value{}, To: width(bits)}}, s)
}

// size returns how many values the set has.
func (s ivset) size() float64 {
	n := 0.0
	for _, i := range s {
		n += float64(i.To.Hi-i.From.Hi)*(1<<64) + float64(i.To.Lo) - float64(i.From.Lo) + 1
	}
	return n
}

func later(a, b netfilter.Value) netfilter.Value {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
}

func earlier(a, b netfilter.Value) netfilter.Value {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

// flagSet is a set of TCP flag bytes: all eight flags, 256 combinations.
type flagSet [4]uint64

func (f flagSet) has(b uint8) bool { return f[b>>6]>>(b&63)&1 != 0 }
func (f *flagSet) add(b uint8)     { f[b>>6] |= 1 << (b & 63) }
func (f flagSet) empty() bool      { return f == flagSet{} }

func (f flagSet) and(g flagSet) flagSet {
	return flagSet{f[0] & g[0], f[1] & g[1], f[2] & g[2], f[3] & g[3]}
}

func (f flagSet) minus(g flagSet) flagSet {
	return flagSet{f[0] &^ g[0], f[1] &^ g[1], f[2] &^ g[2], f[3] &^ g[3]}
}

// flagsWhere collects the flag bytes for which keep holds.
func flagsWhere(keep func(uint8) bool) (f flagSet) {
	for b := range 256 {
		if keep(uint8(b)) {
			f.add(uint8(b))
		}
	}
	return f
}

func (f flagSet) bytes() (out []uint8) {
	for b := range 256 {
		if f.has(uint8(b)) {
			out = append(out, uint8(b))
		}
	}
	return out
}
