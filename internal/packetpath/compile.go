package packetpath

import (
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// crule is one rule, or a run of rules merged into one, ready to be evaluated.
type crule struct {
	rule  *netfilter.Rule
	run   []member // merged rules with the value each adds, first match first; nil: just rule
	runAt int      // the condition that differs between them
	names bool     // it names INVALID
	steps []cstep
}

// member is one rule of a merged run.
type member struct {
	rule *netfilter.Rule
	set  ivset
}

// cstep is one step: a group of conditions, or something done.
type cstep struct {
	do      action
	group   *group
	verdict netfilter.Verdict
	vmap    *tuples
	assign  netfilter.Assign
	text    string
}

type action uint8

const (
	doMatch action = iota
	doVerdict
	doVMap
	doAssign
	doNotrack
	doNotrackXT
	doTemplate
	doTemplateXT
	doSynproxyXT
	doSynproxyNFT
	doTproxyXT
	doFwd
	doRewrite // changes addresses or ports
	doMystery // a target nobody knows
)

// group is a conjunction of conditions.
type group struct {
	atoms    []atom
	prepared [6]*prepared // by what the rules see: see view.index
}

// cchain is a compiled chain.
type cchain struct {
	chain  *netfilter.Chain
	table  *netfilter.Table
	rules  []*crule
	active bool // being run: a jump to it would loop
}

// tuples is a set or verdict map with the operands looked up in it.
type tuples struct {
	fields []netfilter.Operand
	set    *netfilter.Set
	invert bool
	sure   certainty // when the operands cannot be told
}

type chainKey struct {
	table *netfilter.Table
	name  string
}

// compile returns the chain's rules ready to run; nil when the table has no such chain. It is done once a chain, and only
// for chains that a packet reaches.
func (e *Evaluator) compile(t *netfilter.Table, name string) *cchain {
	key := chainKey{t, name}
	if c, ok := e.chains[key]; ok {
		return c
	}
	ch := e.chain(t, name)
	if ch == nil {
		e.chains[key] = nil
		return nil
	}
	out := &cchain{chain: ch, table: t}
	comp := compiler{e: e, table: t}
	for i := 0; i < len(ch.Rules); {
		if e.rulesLeft-len(out.rules) <= 0 {
			e.left, e.rulesLeft = -1, 0 // as if the budget had ended here
			return &cchain{chain: ch, table: t}
		}
		r, n := comp.run(ch.Rules[i:])
		if r != nil {
			out.rules = comp.join(out.rules, r)
		}
		i += n
	}
	e.rulesLeft -= len(out.rules)
	e.chains[key] = out
	for _, r := range out.rules {
		r.close()
	}
	return out
}

// chain finds a chain by name; big tables get an index.
func (e *Evaluator) chain(t *netfilter.Table, name string) *netfilter.Chain {
	if len(t.Chains) < 16 {
		return t.Chain(name)
	}
	idx, ok := e.index[t]
	if !ok {
		idx = make(map[string]*netfilter.Chain, len(t.Chains))
		for _, c := range slices.Backward(t.Chains) {
			idx[c.Name] = c
		}
		e.index[t] = idx
	}
	return idx[name]
}

type compiler struct {
	e     *Evaluator
	table *netfilter.Table
}

func (c *compiler) ops(r *netfilter.Rule) netfilter.Ops {
	if r.Ops != nil || c.e.parse == nil {
		return r.Ops
	}
	return c.e.parse(c.table, r)
}

// rule compiles one rule; nil when it can have no effect on any verdict.
func (c *compiler) rule(r *netfilter.Rule) *crule {
	ops := c.ops(r)
	out := &crule{rule: r, names: c.namesInvalid(ops)}
	acts := false
	for _, op := range ops {
		switch op := op.(type) {
		case netfilter.Match:
			out.add(c.match(&op)...)
		case netfilter.XtState:
			out.add(atom{kind: atomXt, state: op, text: xtStateText(op)})
		case netfilter.Ext:
			out.add(c.ext(op)...)
		default:
			if s, ok := c.step(op, out); ok {
				s.text = clip(s.text)
				out.steps = append(out.steps, s)
				acts = true
			}
		}
	}
	if !acts {
		return nil
	}
	return out
}

// add appends conditions to the group at the end of the rule.
func (r *crule) add(atoms ...atom) {
	if len(atoms) == 0 {
		return
	}
	if n := len(r.steps); n == 0 || r.steps[n-1].do != doMatch {
		r.steps = append(r.steps, cstep{do: doMatch, group: &group{}})
	}
	g := r.steps[len(r.steps)-1].group
	if g.atoms == nil {
		g.atoms = make([]atom, 0, 3)
	}
	for i := range atoms {
		atoms[i].text = clip(atoms[i].text)
	}
	g.atoms = append(g.atoms, atoms...)
}

// step compiles what is not a plain condition. ok is false for what has no effect.
func (c *compiler) step(op netfilter.Op, r *crule) (cstep, bool) {
	switch op := op.(type) {
	case netfilter.Verdict:
		return cstep{do: doVerdict, verdict: op}, op.Kind != netfilter.Continue
	case netfilter.VMap:
		return c.vmap(&op, r)
	case netfilter.Assign:
		return c.assign(op, r)
	case netfilter.Stmt:
		return c.stmt(op, r)
	}
	return cstep{}, false
}

func (c *compiler) vmap(m *netfilter.VMap, r *crule) (cstep, bool) {
	set := c.set(m.Set)
	text := matchText(&netfilter.Match{Fields: m.Fields, Set: c.setName(m.Set)})
	if set == nil || set.Incomplete != "" || set.Dynamic {
		return cstep{do: doMystery, text: "verdict map " + text}, true
	}
	sure := pure
	for _, f := range m.Fields {
		if ctKey(f.Field) {
			r.add(atom{kind: atomBreak, text: text})
		}
		sure = max(sure, certaintyOf(f.Field))
	}
	return cstep{do: doVMap, vmap: &tuples{fields: m.Fields, set: set, sure: sure}, text: text}, true
}

// set finds a set by name; tables with many get an index.
func (c *compiler) set(name string) *netfilter.Set {
	if len(c.table.Sets) < 16 {
		return c.table.Set(name)
	}
	idx, ok := c.e.setIndex[c.table]
	if !ok {
		idx = make(map[string]*netfilter.Set, len(c.table.Sets))
		for _, s := range slices.Backward(c.table.Sets) {
			idx[s.Name] = s
		}
		c.e.setIndex[c.table] = idx
	}
	return idx[name]
}

// setName tells sets of different tables apart.
func (c *compiler) setName(name string) string {
	return string(c.table.Family) + " " + c.table.Name + " " + name
}

// match compiles a comparison.
func (c *compiler) match(m *netfilter.Match) []atom {
	var in ivset
	switch {
	case m.Set == "":
		in = newSet(m.In)
	default:
		set := c.set(m.Set)
		m = &netfilter.Match{Fields: m.Fields, Set: c.setName(m.Set), Invert: m.Invert}
		text := matchText(m)
		switch {
		case set == nil || set.Incomplete != "":
			return c.guard(m.Fields, atom{kind: atomGuess, text: text, invert: m.Invert, sure: pure})
		case set.Dynamic:
			return c.guard(m.Fields, atom{kind: atomGuess, text: text, invert: m.Invert, sure: chance})
		case len(m.Fields) != 1:
			return c.guard(m.Fields, atom{kind: atomTuples, text: text, tuples: &tuples{fields: m.Fields, set: set, invert: m.Invert}})
		}
		in = c.e.elements(set)
	}
	if len(m.Fields) != 1 {
		return []atom{{kind: atomGuess, text: matchText(m), invert: m.Invert, sure: pure}}
	}
	a := c.compare(m.Fields[0], in, m.Invert)
	a.from = m
	return []atom{a}
}

// guard adds the break that another conntrack key in a concatenation means.
func (c *compiler) guard(fields []netfilter.Operand, a atom) []atom {
	out := []atom{a}
	for _, f := range fields {
		if ctKey(f.Field) {
			out = append(out, atom{kind: atomBreak, text: a.text})
		}
	}
	return out
}

// elements returns a one-field set's content.
func (e *Evaluator) elements(s *netfilter.Set) ivset {
	if in, ok := e.sets[s]; ok {
		return in
	}
	list := make([]netfilter.Interval, 0, len(s.Elements))
	for i := range s.Elements {
		if len(s.Elements[i].Key) == 1 {
			list = append(list, s.Elements[i].Key[0])
		}
	}
	if s.CatchAll != nil {
		list = append(list, netfilter.Interval{To: maxValue})
	}
	in := newSet(list)
	e.sets[s] = in
	return in
}

// ctKey reports a conntrack key other than the state: without an entry it ends the rule.
// Source: net/netfilter/nft_ct.c, nft_ct_get_eval(), "if (ct == NULL) goto err".
func ctKey(f netfilter.Field) bool {
	return len(f) > 3 && f[:3] == "ct." && f != netfilter.CTState
}

// compare compiles one operand against a set.
func (c *compiler) compare(o netfilter.Operand, in ivset, invert bool) atom {
	if ctKey(o.Field) {
		return atom{kind: atomBreak}
	}
	switch o.Field {
	case netfilter.TCPFlags:
		flags := flagsWhere(func(b uint8) bool {
			v := apply(o, netfilter.Num(uint64(b)))
			return in.contains(v) != invert
		})
		return atom{kind: atomFlags, flags: flags}
	case netfilter.FIBDaddrType, netfilter.FIBSaddrType:
		return c.fib(o, in, invert)
	}
	if d, ok := dimOf(o.Field); ok {
		set, ok := c.e.preimage(o, in)
		if !ok {
			return atom{kind: atomGuess, invert: invert, sure: pure, field: o.Field}
		}
		if invert {
			set = c.e.complement(set, o.Field.Bits())
		}
		if o.Field == netfilter.DSCP {
			set = shiftDSCP(set)
		}
		return atom{kind: atomDim, field: o.Field, dim: d, set: set}
	}
	a := atom{kind: atomValue, field: o.Field, set: in, invert: invert, mask: maxValue}
	a.sure = certaintyOf(o.Field)
	if o.Mask != nil {
		a.mask = *o.Mask
	}
	if o.Xor != nil {
		a.xor = *o.Xor
	}
	return a
}

// certaintyOf says how a field that cannot be told is undecided.
func certaintyOf(f netfilter.Field) certainty {
	switch f {
	case netfilter.Mark, netfilter.Priority:
		return fresh // rules write them: the same text is not the same question
	case "meta.random", "meta.cpu", "meta.time", "meta.day", "meta.hour":
		return chance
	}
	if strings.Contains(string(f), "numgen") {
		return chance
	}
	return pure
}

// preimage is [preimage] within the node's budget. A set that a rule looks up is shared by all rules that do.
func (e *Evaluator) preimage(o netfilter.Operand, in ivset) (ivset, bool) {
	bits := o.Field.Bits()
	if o.Mask == nil && o.Xor == nil {
		if full := width(bits); len(in) == 0 || in[len(in)-1].To.Cmp(full) <= 0 {
			return in, true
		}
		return preimage(o, in)
	}
	if e.compileLeft < 0 {
		return nil, false
	}
	set, ok := preimage(o, in)
	e.compileLeft -= len(set)
	if o.Xor != nil {
		e.compileLeft -= int(min(in.size(), 1<<16) / 8)
	}
	if o.Mask != nil && bits <= 16 {
		if host := width(bits).And(o.Mask.Not()); host.And(host.Next()) != (netfilter.Value{}) {
			e.compileLeft -= 1 << 13 // it takes enumerate so long
		}
	}
	return set, ok
}

// complement is [complement], made once for a set that several rules share.
func (e *Evaluator) complement(s ivset, bits int) ivset {
	if len(s) < 16 {
		return complement(s, bits)
	}
	k := invKey{setKey{&s[0], len(s)}, bits}
	out, ok := e.inverse[k]
	if !ok {
		out = complement(s, bits)
		e.inverse[k] = out
	}
	return out
}

type invKey struct {
	setKey
	bits int
}

// apply computes (v & mask) ^ xor.
func apply(o netfilter.Operand, v netfilter.Value) netfilter.Value {
	if o.Mask != nil {
		v = v.And(*o.Mask)
	}
	if o.Xor != nil {
		v = v.Xor(*o.Xor)
	}
	return v
}

// shiftDSCP turns a set of DSCP values into one of TOS bytes.
func shiftDSCP(s ivset) ivset {
	var out []netfilter.Interval
	for _, i := range intersect(s, nums(0, 63)) {
		out = append(out, netfilter.Nums(i.From.Lo<<2, i.To.Lo<<2|3))
	}
	return newSet(out)
}
