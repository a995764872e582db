package packetpath

import "github.com/ctaudit/ctaudit/internal/netfilter"

// found is the answer of a search: yes, no, or not decided within the budget.
type found uint8

const (
	foundNo found = iota
	foundYes
	foundUnknown
)

// witness looks for a packet in the region, first a plain-looking one, then by chance, then exactly. It takes what it needs
// from the budget, in box comparisons.
func (r *region) witness(like *point, budget *int) (point, found) {
	if r.flags.empty() {
		return point{}, foundNo
	}
	for d := range r.set {
		if len(r.set[d]) == 0 {
			return point{}, foundNo
		}
	}
	p := r.near(like)
	if r.cuts == nil {
		return p, foundYes
	}
	if *budget -= r.depth(); *budget < 0 {
		return p, foundUnknown
	}
	if !r.isCut(&p) {
		return p, foundYes
	}
	rng := uint64(0x9e3779b97f4a7c15)
	for range 24 {
		*budget -= r.depth()
		p := r.sample(&rng)
		if !r.isCut(&p) {
			return p, foundYes
		}
	}
	s := solver{like: like, budget: min(solveBudget, max(*budget, 0))}
	before := s.budget
	defer func() { *budget -= before - max(s.budget, 0) }()
	boxes := make([]*box, 0, 16)
	for c := r.cuts; c != nil; c = c.prev {
		boxes = append(boxes, &c.box)
	}
	return s.search(r, boxes)
}

// depth is what it costs to hold a packet against the region: one, and one more for each cut.
func (r *region) depth() int {
	if r.cuts == nil {
		return 1
	}
	return 1 + r.cuts.n
}

// near returns the packet of the region's box that takes over as many of like's values as it can.
func (r *region) near(like *point) point {
	p := *like
	for d := range r.set {
		if !r.set[d].contains(p.value[d]) {
			p.value[d] = r.set[d][0].From
		}
	}
	if !r.flags.has(p.flags) {
		p.flags = r.flags.bytes()[0]
	}
	return p
}

// sample returns some packet of the region's box. The sequence is the same on every run.
func (r *region) sample(rng *uint64) point {
	var p point
	for d := range r.set {
		i := r.set[d][int(next(rng)%uint64(len(r.set[d])))]
		p.value[d] = i.From
		if i.From.Hi == i.To.Hi {
			if span := i.To.Lo - i.From.Lo; span == ^uint64(0) {
				p.value[d].Lo = next(rng)
			} else {
				p.value[d].Lo = i.From.Lo + next(rng)%(span+1)
			}
			continue
		}
		p.value[d] = netfilter.Value{Hi: i.From.Hi + next(rng)%(i.To.Hi-i.From.Hi), Lo: i.From.Lo | next(rng)}
	}
	flags := r.flags.bytes()
	p.flags = flags[int(next(rng)%uint64(len(flags)))]
	return p
}

// next is xorshift64*: small, fixed, good enough to spread probes.
func next(s *uint64) uint64 {
	*s ^= *s >> 12
	*s ^= *s << 25
	*s ^= *s >> 27
	return *s * 0x2545f4914f6cdd1d >> 7
}

type solver struct {
	like   *point
	budget int
}

// search finds a packet of r's box outside all boxes: it takes one box, and looks into the (disjoint) slices of r around it.
func (s *solver) search(r *region, boxes []*box) (point, found) {
	var live []*box
	for _, b := range boxes {
		if s.budget--; s.budget < 0 {
			return point{}, foundUnknown
		}
		switch r.meet(b) {
		case within:
			return point{}, foundNo
		case overlap:
			live = append(live, b)
		}
	}
	if len(live) == 0 {
		return r.near(s.like), foundYes
	}
	return s.around(r, live[0], live[1:])
}

// around searches the slices of r that lie outside the box b.
func (s *solver) around(r *region, b *box, rest []*box) (point, found) {
	inside := *r
	inside.cuts = nil
	if b.hasFlags && !inside.flags.minus(b.flags).empty() {
		slice := inside
		slice.flags = inside.flags.minus(b.flags)
		if p, f := s.search(&slice, rest); f != foundNo {
			return p, f
		}
		inside.flags = inside.flags.and(b.flags)
	}
	for _, a := range b.atoms {
		if relate(inside.set[a.dim], a.set) != overlap {
			continue
		}
		slice := inside
		slice.set[a.dim] = subtract(inside.set[a.dim], a.set)
		s.budget -= len(slice.set[a.dim]) / 4
		if p, f := s.search(&slice, rest); f != foundNo {
			return p, f
		}
		inside.set[a.dim] = intersect(inside.set[a.dim], a.set)
	}
	return point{}, foundNo
}

// share estimates which part of the region's box is left after the cuts.
func (r *region) share(budget *int) float64 {
	if r.cuts == nil {
		return 1
	}
	rng := uint64(0x2545f4914f6cdd1d)
	left := 0
	const probes = 64
	if *budget < probes*r.depth() {
		return 1
	}
	*budget -= probes * r.depth()
	for range probes {
		if p := r.sample(&rng); !r.isCut(&p) {
			left++
		}
	}
	return (float64(left) + 0.01) / probes
}
