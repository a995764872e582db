package packetpath

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// verdictOf a condition group on a class: the parts that match and the parts that do not.
type parts struct {
	hit, rest []*class
	whole     bool // nothing matches, and the class is as it was
	box       *box // the hit part is the class cut with this box, and nothing else; nil when it is more than that
}

// match splits the class by the group.
func (w *walker) match(g *group, c *class) parts {
	p := g.prepare(&w.view)
	if p.never {
		return parts{whole: true}
	}
	if !w.ev.spend(1 + c.weight(&p.box)) {
		return parts{}
	}
	var guesses []*atom
	for _, a := range p.tests {
		switch w.decide(a, c) {
		case no:
			return parts{whole: true}
		case unknown:
			guesses = append(guesses, a)
		}
	}
	if c.written&p.dims != 0 {
		return w.matchWritten(p, c, guesses)
	}
	switch c.meet(&p.box) {
	case disjoint:
		return parts{whole: true}
	case within:
		if len(p.tuples)+len(guesses) == 0 {
			return parts{hit: []*class{c}, box: &p.box}
		}
		return w.refine(p, []*class{c}, nil, guesses)
	}
	hit, rest := *c, *c
	hit.region, rest.region = w.cut(c, &p.box)
	out := w.refine(p, []*class{&hit}, []*class{&rest}, guesses)
	if len(p.tuples)+len(guesses) == 0 {
		out.box = &p.box
	}
	return out
}

// decide answers a condition from what the class is or already assumes.
func (w *walker) decide(a *atom, c *class) answer {
	if r := w.view.test(a, c); r != unknown {
		return r
	}
	if a.sure != pure {
		return unknown
	}
	if holds, ok := c.known(w.view.about(a)); ok {
		return truth(holds != a.invert)
	}
	return unknown
}

// about is the undecided condition in words. The RST is another packet: what holds for the one says nothing of the other.
func (v *view) about(a *atom) string {
	const of = "the RST's "
	if text := a.label(); !v.reset || strings.HasPrefix(text, of) {
		return text
	}
	return of + a.label()
}

// refine applies concatenations and undecided predicates to the part that the box left.
func (w *walker) refine(p *prepared, hit, rest []*class, guesses []*atom) parts {
	for _, a := range p.tuples {
		var next []*class
		for _, c := range hit {
			in, out := w.lookup(a.tuples, c, w.view.about(a))
			if a.tuples.invert {
				in, out = out, in
			}
			next, rest = append(next, in...), append(rest, out...)
		}
		hit = next
	}
	for _, a := range guesses {
		kind := a.sure
		if !w.ev.spend(len(hit) * classCost / 2) {
			return parts{}
		}
		for i, c := range hit {
			yesPart, noPart := *c, *c
			yesPart.state = c.with(w.view.about(a), !a.invert, kind)
			noPart.state = c.with(w.view.about(a), a.invert, kind)
			hit[i] = &yesPart
			rest = append(rest, &noPart)
		}
		w.dirty++
	}
	return parts{hit: hit, rest: rest}
}

// matchWritten handles a group that reads a field which the ruleset has overwritten: its value is no longer the packet's.
func (w *walker) matchWritten(p *prepared, c *class, guesses []*atom) parts {
	q := &prepared{tuples: p.tuples}
	if c.written&writtenFlags == 0 {
		q.box.flags, q.box.hasFlags = p.box.flags, p.box.hasFlags
	}
	for _, a := range p.box.atoms {
		if !w.view.reset && c.written>>a.dim&1 == 0 { // what the ruleset writes is in terms of the seen packet
			q.box.atoms = append(q.box.atoms, a)
		}
	}
	guesses = append(guesses, &atom{kind: atomGuess, text: "a field that an earlier rule rewrote", sure: fresh})
	rel := c.meet(&q.box)
	if rel == disjoint {
		return parts{whole: true}
	}
	hit := *c
	var rest []*class
	if rel == overlap {
		r := *c
		hit.region, r.region = w.cut(c, &q.box)
		rest = append(rest, &r)
	}
	return w.refine(q, []*class{&hit}, rest, guesses)
}

// lookup splits the class by whether the operands are in the set.
func (w *walker) lookup(t *tuples, c *class, text string) (in, out []*class) {
	w.dirty++
	boxes, ok := w.boxes(t.fields, t.set, c)
	if !ok {
		if holds, known := c.known(text); known {
			if holds {
				return []*class{c}, nil
			}
			return nil, []*class{c}
		}
		a, b := *c, *c
		a.state, b.state = c.with(text, true, pure), c.with(text, false, pure)
		return []*class{&a}, []*class{&b}
	}
	for _, b := range boxes {
		if c == nil {
			break
		}
		var hit *class
		hit, c = w.cutClass(c, &b.box)
		if hit != nil {
			in = append(in, hit)
		}
	}
	if c != nil {
		out = append(out, c)
	}
	return in, out
}

// cut is the parts of a class's region in a box and outside.
func (w *walker) cut(c *class, b *box) (hit, rest *region) {
	hit, rest = c.narrow(b), c.without(b)
	w.ev.spend(classCost + hit.made(c.region)*intervalCost + rest.made(c.region)*intervalCost)
	return hit, rest
}

// cutClass splits a class by a box; either part may be nil.
func (w *walker) cutClass(c *class, b *box) (hit, rest *class) {
	if !w.ev.spend(1 + c.weight(b)) {
		return nil, nil
	}
	switch c.meet(b) {
	case disjoint:
		return nil, c
	case within:
		return c, nil
	}
	h, r := *c, *c
	h.region, r.region = w.cut(c, b)
	return &h, &r
}

// choice is a part of a set, and the verdict that a map has for it.
type choice struct {
	box     box
	verdict *netfilter.Verdict
}

// boxes turns a set's elements into boxes of the class. ok is false when a field cannot be told.
func (w *walker) boxes(fields []netfilter.Operand, set *netfilter.Set, c *class) ([]choice, bool) {
	var out []choice
	comp := compiler{e: w.ev, table: w.view.tableOf}
	if !w.ev.spend(elementCost * len(set.Elements)) {
		return nil, false
	}
	for i := range set.Elements {
		e := &set.Elements[i]
		if len(e.Key) != len(fields) {
			return nil, false
		}
		p, ans := w.element(&comp, fields, e.Key, c)
		if ans == unknown {
			return nil, false
		}
		if ans == yes {
			out = append(out, choice{p.box, e.Verdict})
		}
	}
	out = joinChoices(out)
	if set.CatchAll != nil {
		out = append(out, choice{box{}, set.CatchAll.Verdict})
	}
	return out, true
}

// element compiles one element's key: no when it cannot match this class, yes with its box.
func (w *walker) element(comp *compiler, fields []netfilter.Operand, key []netfilter.Interval, c *class) (*prepared, answer) {
	p := &prepared{}
	for i := range fields {
		a := comp.compare(fields[i], ivset{key[i]}, false)
		p.take(&a, &w.view)
		if p.never {
			return nil, no
		}
	}
	for _, a := range p.tests {
		switch w.view.test(a, c) {
		case no:
			return nil, no
		case unknown:
			return nil, unknown
		}
	}
	if p.dims&c.written != 0 {
		return nil, unknown
	}
	if c.meet(&p.box) == disjoint {
		return nil, no
	}
	return p, yes
}

// joinChoices joins elements with the same verdict that differ in one dimension only.
func joinChoices(in []choice) []choice {
	if len(in) < 2 {
		return in
	}
	type key struct {
		verdict netfilter.Verdict
		has     bool
	}
	var out []choice
	byVerdict := map[key]int{}
	for _, c := range in {
		k := key{}
		if c.verdict != nil {
			k = key{*c.verdict, true}
		}
		if at, ok := byVerdict[k]; ok {
			if j, ok := joinBoxes(&out[at].box, &c.box); ok {
				out[at].box = j
				continue
			}
		}
		byVerdict[k] = len(out)
		out = append(out, c)
	}
	for i := range out {
		for j := range out[i].box.atoms {
			out[i].box.atoms[j].set = newSet(out[i].box.atoms[j].set)
		}
	}
	return out
}

// joinBoxes unites two boxes that are equal but for one dimension. The united set is left unsorted: the caller sorts it.
func joinBoxes(a, b *box) (box, bool) {
	if a.hasFlags != b.hasFlags || a.flags != b.flags || len(a.atoms) != len(b.atoms) {
		return box{}, false
	}
	differ := -1
	for i := range a.atoms {
		if a.atoms[i].dim != b.atoms[i].dim {
			return box{}, false
		}
		if !equalSets(a.atoms[i].set, b.atoms[i].set) {
			if differ >= 0 {
				return box{}, false
			}
			differ = i
		}
	}
	if differ < 0 {
		return *a, true
	}
	a.atoms[differ].set = append(a.atoms[differ].set, b.atoms[differ].set...)
	return *a, true
}

func equalSets(a, b ivset) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
