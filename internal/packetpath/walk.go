package packetpath

import (
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// walker runs base chains over classes. One walker serves one query in one order of tied chains.
type walker struct {
	ev     *Evaluator
	view   view
	base   *baseChain
	order  int
	whole  *region // all packets of the question
	leaves []leaf
	// accepted are the classes that the base chain being run lets through.
	accepted []*class
	resets   []*class // classes rejected with a TCP reset
	wire     []*class // the same in netdev chains
	// cuts are the boxes that terminal rules took out of the class since the walk began, and dirty counts everything that
	// is more than such a cut: together they say whether a jump's remainder can be joined with what did not jump.
	cuts    []box
	dirty   int
	partial int    // parts that returned early in the chains being run
	via     *crule // the last rule that names INVALID among those that jumped here
	blurred []string
}

// fate is what becomes of a class.
type fate string

const (
	fateDropped   fate = "dropped"
	fateICMP      fate = "rejected-icmp"
	fateReset     fate = "reset"
	fateDelivered fate = "delivered"
	fateDepends   fate = "depends"
)

// leaf is a class whose way has ended.
type leaf struct {
	*class
	fate    fate
	by      ruleID
	reset   bool   // it is the provoked RST that ended here
	via     *crule // the rule that names INVALID and led here, if one did
	depends string // fateDepends: on what
}

const maxDepth = 12_000

// chain runs a chain's rules and returns what falls out of its end or returns.
func (w *walker) chain(ch *cchain, c *class, depth int) []*class {
	if ch == nil || depth > maxDepth || ch.active {
		w.lost(c, "a jump to a chain that is not there or that loops")
		return nil
	}
	ch.active = true
	buf := [2]*class{c}
	live, next := buf[:1:1], make([]*class, 0, 2)
	var returned []*class
	for _, r := range ch.rules {
		next = next[:0]
		for _, c := range live {
			next, returned = w.rule(ch, r, c, next, returned, depth)
		}
		live, next = w.thin(next), live
		if len(live) == 0 {
			break
		}
	}
	ch.active = false
	return w.thin(append(returned, live...))
}

// rule runs one rule over one class: what goes on to the next rule is appended to next, what returns to returned.
func (w *walker) rule(ch *cchain, r *crule, c *class, next, returned []*class, depth int) (on, back []*class) {
	if !w.ev.spend(1) {
		return next, returned
	}
	if len(r.steps) > 0 && r.steps[0].do == doMatch {
		p := w.match(r.steps[0].group, c)
		if p.whole {
			return append(next, c), returned
		}
		run := ruleRun{walker: w, ch: ch, rule: r, from: c, depth: depth, restAt: len(next), returned: returned, box: p.box}
		run.next = append(next, p.rest...)
		return run.steps(p.hit, 1)
	}
	run := ruleRun{walker: w, ch: ch, rule: r, from: c, depth: depth, restAt: len(next), next: next, returned: returned, box: &box{}}
	return run.steps([]*class{c}, 0)
}

// ruleRun is one rule being run over one class.
type ruleRun struct {
	*walker
	ch             *cchain
	rule           *crule
	from           *class // the class that came to the rule
	box            *box   // the part that matched so far, nil when it is more than a box
	depth          int
	restAt         int // where this rule's own classes begin in next
	next, returned []*class
}

// steps runs the rule's steps from the n-th on over the parts that matched so far.
func (r *ruleRun) steps(live []*class, n int) (next, returned []*class) {
	for ; n < len(r.rule.steps) && len(live) > 0; n++ {
		s := &r.rule.steps[n]
		var out []*class
		for _, c := range live {
			out = r.step(s, c, out)
		}
		live = out
	}
	// A rule that ends without a verdict leaves the packet where it is.
	r.next = append(r.next, live...)
	return r.next, r.returned
}

// step runs one step on one class and appends what goes on within the rule.
func (r *ruleRun) step(s *cstep, c *class, out []*class) []*class {
	switch s.do {
	case doMatch:
		p := r.match(s.group, c)
		if p.whole {
			r.next = append(r.next, c)
			return out
		}
		r.box = nil
		r.next = append(r.next, p.rest...)
		return append(out, p.hit...)
	case doVerdict:
		r.verdict(&s.verdict, c)
		return out
	case doVMap:
		return r.vmap(s, c, out)
	}
	return r.effect(s, c, out)
}

func (r *ruleRun) id() ruleID { return ruleID{r.ch.table, r.ch.chain, r.rule} }

// ended notes that a part of the class has left the chain for good.
func (r *ruleRun) ended() {
	if r.box == nil || r.partial > 0 {
		r.dirty++
		return
	}
	r.cuts = append(r.cuts, *r.box)
}

func (r *ruleRun) verdict(v *netfilter.Verdict, c *class) {
	switch v.Kind {
	case netfilter.Accept:
		r.ended()
		r.accept(c, r.id())
	case netfilter.Drop:
		r.ended()
		r.end(c, fateDropped, r.id())
	case netfilter.Reject:
		r.ended()
		r.reject(v, c)
	case netfilter.Queue:
		r.ended()
		r.queue(v, c)
	case netfilter.Return:
		r.partial++
		d := *c
		d.skip = r.id()
		r.returned = append(r.returned, &d)
	case netfilter.Goto:
		r.partial++
		r.returned = append(r.returned, r.called(v.Chain, c)...)
	case netfilter.Jump:
		r.jump(v.Chain, c)
	default:
		r.next = append(r.next, c)
	}
}

// called runs the chain that a jump or goto names.
func (r *ruleRun) called(name string, c *class) []*class {
	if !r.ev.spend(chainCost) {
		return nil
	}
	if r.rule.names {
		was := r.via
		r.via = r.rule
		defer func() { r.via = was }()
	}
	return r.chain(r.ev.compile(r.ch.table, name), c, r.depth+1)
}

// jump runs another chain and joins what comes back with what did not jump, where that is the same as it was but for
// boxes cut out.
func (r *ruleRun) jump(name string, c *class) {
	cuts, dirty, partial := len(r.cuts), r.dirty, r.partial
	back := r.called(name, c)
	r.partial = partial
	if dirty != r.dirty || r.box == nil || c.state != r.from.state {
		r.next = append(r.next, back...)
		if len(r.cuts) > cuts {
			r.dirty++ // cut out of a part that is no box: an outer jump cannot use them
		}
		return
	}
	joined := r.from
	r.next = r.next[:r.restAt]
	for i := cuts; i < len(r.cuts); i++ {
		b := bothBoxes(r.box, &r.cuts[i])
		r.ev.spend(chainCost + b.large())
		r.cuts[i] = b
		if _, joined = r.cutClass(joined, &b); joined == nil {
			return
		}
	}
	r.next = append(r.next, joined)
}

// effect carries out a statement that writes something.
func (r *ruleRun) effect(s *cstep, c *class, out []*class) []*class {
	was := c.state
	d := *c
	switch s.do {
	case doAssign:
		d.write(&s.assign)
	case doNotrack:
		if !c.ct.entry() { // nft_ct.c, nft_notrack_eval(): an entry stays
			d.ct, d.notrack = ctUntracked, r.id()
		}
	case doNotrackXT:
		if c.ct == ctInvalid { // xt_CT.c, notrack_tg(): whatever is attached stays
			d.ct, d.notrack = ctUntracked, r.id()
		}
	case doTemplate:
		if !c.ct.entry() { // nft_ct.c, nft_ct_set_zone_eval()
			d.ct = ctTemplate
		}
	case doTemplateXT:
		if c.ct == ctInvalid { // xt_CT.c, xt_ct_target()
			d.ct = ctTemplate
		}
	case doRewrite: // addresses or flags
		d.written |= 1<<dSaddr | 1<<dDaddr | writtenFlags
	default:
		return r.special(s, c, out)
	}
	if d.state == was {
		return append(out, c)
	}
	r.dirty++
	return append(out, &d)
}

// write follows an Assign.
func (c *class) write(a *netfilter.Assign) {
	if d, ok := dimOf(a.Field); ok {
		c.written |= 1 << d
		return
	}
	if a.Field != netfilter.Mark {
		c.written |= writtenOther
		return
	}
	and, xor := uint32(a.And.Lo), uint32(a.Xor.Lo)
	switch {
	case a.Map != "" || a.From != "" && a.From != netfilter.Mark:
		if ctKey(a.From) && !c.ct.entry() {
			return // xtables CONNMARK: no entry, no effect
		}
		c.markKnown = 0
	default:
		c.mark = c.mark&and ^ xor
		c.markKnown |= ^and
	}
}

// accept ends the base chain for the class.
func (w *walker) accept(c *class, by ruleID) {
	w.through(c, by, "accept", w.base.score(true))
}

// through lets a class out of the base chain.
func (w *walker) through(c *class, by ruleID, verdict string, score int) {
	if !w.ev.spend(classCost / 2) {
		return
	}
	d := *c
	if score > 0 && (d.accept == nil || score > d.accept.score) {
		d.accept = &acceptance{by, score}
	}
	d.steps = &stepNode{step{w.base, w.packet(), verdict, by}, c.steps}
	w.accepted = append(w.accepted, &d)
}

func (w *walker) packet() string {
	if w.view.reset {
		return "reset"
	}
	return "packet"
}

// end ends the way of a class.
func (w *walker) end(c *class, f fate, by ruleID) {
	if !w.ev.spend(classCost / 2) {
		return
	}
	d := *c
	d.steps = &stepNode{step{w.base, w.packet(), stepVerdict(f), by}, c.steps}
	w.leaves = append(w.leaves, leaf{class: &d, fate: f, by: by, reset: w.view.reset, via: w.naming(by)})
}

// naming returns the rule that names INVALID on the way to the rule that decided, or nil.
func (w *walker) naming(by ruleID) *crule {
	if by.rule != nil && by.rule.names {
		return by.rule
	}
	return w.via
}

func stepVerdict(f fate) string {
	switch f {
	case fateDropped:
		return "drop"
	case fateICMP, fateReset:
		return "reject"
	}
	return "depends"
}

// lost ends the way of a class that cannot be followed.
func (w *walker) lost(c *class, why string) {
	if !w.ev.spend(classCost / 2) {
		return
	}
	w.dirty++
	d := *c
	d.steps = &stepNode{step{w.base, w.packet(), "depends", ruleID{}}, c.steps}
	w.leaves = append(w.leaves, leaf{class: &d, fate: fateDepends, reset: w.view.reset, depends: why})
}
