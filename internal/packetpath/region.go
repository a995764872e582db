package packetpath

import (
	"math/bits"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// dim is a dimension of a packet class: a header field that the packets of one class may differ in. TCP flags are kept
// apart, as a set of their 256 combinations.
type dim uint8

const (
	dSaddr dim = iota
	dDaddr
	dSport
	dDport
	dTTL
	dLength
	dTOS
	dFrag
	dSeq
	dAck
	dWin
	nDims
)

// dimAtom says that a dimension's value lies in a set.
type dimAtom struct {
	dim dim
	set ivset
}

// box is a conjunction: every atom holds, and the flags are in the set when hasFlags. No atom: everything.
type box struct {
	atoms    []dimAtom
	flags    flagSet
	hasFlags bool
}

// cut is one box taken out of a region; the list is shared between the classes that split after it.
type cut struct {
	box  box
	prev *cut
	n    int // length of the list that ends here
}

// region is a box with every dimension's set, minus the boxes of a list. It is subtracted lazily: it may turn out empty.
type region struct {
	set   [nDims]ivset
	flags flagSet
	cuts  *cut
}

// meet says how a box lies to the region's own box: disjoint, within (the region lies in b), or overlap. What was cut out
// is not looked at.
func (r *region) meet(b *box) relation {
	all := true
	if b.hasFlags {
		in := r.flags.and(b.flags)
		if in.empty() {
			return disjoint
		}
		all = in == r.flags
	}
	for i := range b.atoms {
		switch relate(r.set[b.atoms[i].dim], b.atoms[i].set) {
		case disjoint:
			return disjoint
		case overlap:
			all = false
		}
	}
	if all {
		return within
	}
	return overlap
}

// narrow returns the part of the region that lies in the box.
func (r *region) narrow(b *box) *region {
	out := *r
	if b.hasFlags {
		out.flags = out.flags.and(b.flags)
	}
	for i := range b.atoms {
		d := b.atoms[i].dim
		if relate(out.set[d], b.atoms[i].set) == overlap {
			out.set[d] = intersect(out.set[d], b.atoms[i].set)
		}
	}
	return &out
}

// large is how many intervals the box has in its larger sets.
func (b *box) large() int {
	n := 0
	for i := range b.atoms {
		if k := len(b.atoms[i].set); k > 16 {
			n += k
		}
	}
	return n
}

// weight is what it costs to hold the box against the region, where that has large sets.
func (r *region) weight(b *box) int {
	n := 0
	for i := range b.atoms {
		if k := len(r.set[b.atoms[i].dim]); k > exactIntervals {
			n += k / 16
		}
	}
	return n
}

// made is how many intervals the region has in dimensions that it does not share with another.
func (r *region) made(of *region) int {
	n := 0
	for d := range r.set {
		if a, b := r.set[d], of.set[d]; len(a) > 0 && (len(a) != len(b) || &a[0] != &b[0]) {
			n += len(a)
		}
	}
	return n
}

// exactIntervals is how many intervals one dimension may have before a cut is kept as a cut instead.
const exactIntervals = 64

// without returns the part of the region that does not lie in the box. Where the two differ in one dimension only, that
// dimension shrinks; otherwise the box is remembered as cut out.
func (r *region) without(b *box) *region {
	out := *r
	differ, last := 0, -1
	if b.hasFlags && r.flags.and(b.flags) != r.flags {
		differ++
	}
	for i := range b.atoms {
		if relate(r.set[b.atoms[i].dim], b.atoms[i].set) == overlap {
			differ++
			last = i
		}
	}
	if differ == 1 && last < 0 {
		out.flags = out.flags.minus(b.flags)
		return &out
	}
	if differ == 1 && len(r.set[b.atoms[last].dim]) <= exactIntervals && len(b.atoms[last].set) <= exactIntervals {
		d := b.atoms[last].dim
		out.set[d] = subtract(out.set[d], b.atoms[last].set)
		return &out
	}
	n := 1
	if r.cuts != nil {
		n = r.cuts.n + 1
	}
	out.cuts = &cut{box: *b, prev: r.cuts, n: n}
	return &out
}

// point is one packet of a region.
type point struct {
	value [nDims]netfilter.Value
	flags uint8
}

func (b *box) contains(p *point) bool {
	if b.hasFlags && !b.flags.has(p.flags) {
		return false
	}
	for i := range b.atoms {
		if !b.atoms[i].set.contains(p.value[b.atoms[i].dim]) {
			return false
		}
	}
	return true
}

// contains reports whether the packet is in the region.
func (r *region) contains(p *point) bool {
	if !r.flags.has(p.flags) {
		return false
	}
	for d := range r.set {
		if !r.set[d].contains(p.value[d]) {
			return false
		}
	}
	return !r.isCut(p)
}

func (r *region) isCut(p *point) bool {
	for c := r.cuts; c != nil; c = c.prev {
		if c.box.contains(p) {
			return true
		}
	}
	return false
}

// setSizes remembers how many values the larger sets have, which classes share, by their first interval and their length.
type setSizes map[setKey]float64

type setKey struct {
	first *netfilter.Interval
	n     int
}

func (k setSizes) of(s ivset) float64 {
	if len(s) < 16 {
		return s.size()
	}
	key := setKey{&s[0], len(s)}
	n, ok := k[key]
	if !ok {
		n = s.size()
		k[key] = n
	}
	return n
}

// boxSize returns how many packets the region has if nothing were cut out of it.
func (r *region) boxSize(known setSizes) float64 {
	n := 0.0
	for _, w := range r.flags {
		n += float64(bits.OnesCount64(w))
	}
	for d := range r.set {
		n *= known.of(r.set[d])
	}
	return n
}
