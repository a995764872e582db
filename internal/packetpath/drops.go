package packetpath

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// namesInvalid reports whether a rule looks for INVALID in a state match, positively.
func (c *compiler) namesInvalid(ops netfilter.Ops) bool {
	for _, op := range ops {
		switch op := op.(type) {
		case netfilter.XtState:
			if op.HasState && !op.Invert && op.States&netfilter.StateInvalid != 0 {
				return true
			}
		case netfilter.Match:
			if op.Invert && testsBit(&op) || !op.Invert && c.matchNames(&op) {
				return true
			}
		case netfilter.VMap:
			if c.vmapInvalid(&op) != nil {
				return true
			}
		}
	}
	return false
}

// testsBit reports whether a match is the bit test that "ct state invalid" compiles to: (state & bits) is not 0, with
// INVALID among the bits.
func testsBit(m *netfilter.Match) bool {
	if len(m.Fields) != 1 || m.Fields[0].Field != netfilter.CTState || m.Fields[0].Mask == nil || m.Fields[0].Xor != nil {
		return false
	}
	zero := netfilter.Interval{}
	return m.Fields[0].Mask.Lo&netfilter.StateInvalid != 0 && m.Set == "" && len(m.In) == 1 && m.In[0] == zero
}

// matchNames reports whether a match on ct state (alone or in a concatenation) is true of INVALID.
func (c *compiler) matchNames(m *netfilter.Match) bool {
	for i, f := range m.Fields {
		if f.Field != netfilter.CTState {
			continue
		}
		if s := c.set(m.Set); m.Set != "" && s != nil && c.e.invalidIn(s, i, f).named {
			return true
		}
		v := apply(f, netfilter.Num(netfilter.StateInvalid))
		for _, iv := range m.In {
			if iv.Contains(v) && narrowState(f, iv) {
				return true
			}
		}
	}
	return false
}

// invalidKey is a place of a set's keys that ct state is looked up in.
type invalidKey struct {
	set       *netfilter.Set
	at        int
	mask, xor netfilter.Value
	masked    bool
}

// invalidIn is what a set says of INVALID: whether it names it, and a verdict map's verdict.
type invalidIn struct {
	named   bool
	verdict *netfilter.Verdict
}

// invalidIn looks through a set once for all rules that look it up.
func (e *Evaluator) invalidIn(s *netfilter.Set, at int, f netfilter.Operand) invalidIn {
	key := invalidKey{set: s, at: at, masked: f.Mask != nil}
	if f.Mask != nil {
		key.mask = *f.Mask
	}
	if f.Xor != nil {
		key.xor = *f.Xor
	}
	out, ok := e.known.invalid[key]
	if ok || !e.look(1+len(s.Elements)/4) {
		return out
	}
	v := apply(f, netfilter.Num(netfilter.StateInvalid))
	for i := range s.Elements {
		el := &s.Elements[i]
		if at >= len(el.Key) || !el.Key[at].Contains(v) {
			continue
		}
		out.named = out.named || narrowState(f, el.Key[at])
		if out.verdict == nil {
			out.verdict = el.Verdict
		}
	}
	e.known.invalid[key] = out
	return out
}

// look takes steps from what there is to look for drops; false when there are none left.
func (e *Evaluator) look(steps int) bool {
	e.waysLeft -= steps
	e.blind = e.blind || e.waysLeft < 0
	return e.waysLeft >= 0
}

// narrowState tells a match that names INVALID from one that happens to be true of it, as a full range would be.
func narrowState(o netfilter.Operand, iv netfilter.Interval) bool {
	if o.Mask != nil {
		return o.Mask.Lo&netfilter.StateInvalid != 0 && iv.From != (netfilter.Value{})
	}
	return iv.To.Lo-iv.From.Lo < 8
}

// vmapInvalid returns the verdict that a verdict map over ct state has for INVALID.
func (c *compiler) vmapInvalid(m *netfilter.VMap) *netfilter.Verdict {
	s := c.set(m.Set)
	if s == nil {
		return nil
	}
	for i, f := range m.Fields {
		if f.Field != netfilter.CTState {
			continue
		}
		if v := c.e.invalidIn(s, i, f).verdict; v != nil {
			return v
		}
	}
	return nil
}

// dropAt is a rule meant to drop INVALID packets, with the way that leads to it.
type dropAt struct {
	Drop
	table *netfilter.Table
	rule  *netfilter.Rule
	chain *netfilter.Chain
	ways  []way
	lost  bool // they are not known: waysBudget
	// isEarly: a base chain that runs before conntrack on arriving packets leads to it.
	isEarly bool
}

// Drops lists every rule that names INVALID in a state match and drops or rejects, itself or through the chain that it
// jumps to, wherever it stands: also in dormant tables, nat chains and chains that nothing leads to. Order: as in the ruleset.
func (e *Evaluator) Drops() []Drop {
	out := []Drop{}
	for _, d := range e.dropRules() {
		out = append(out, d.Drop)
	}
	return out
}

func (e *Evaluator) dropRules() []dropAt {
	if e.drops != nil {
		return e.drops
	}
	e.drops = []dropAt{}
	e.findDrops()
	e.findWays()
	e.findCatastrophes()
	return e.drops
}

// mostDrops is how many rules that drop INVALID packets are looked at.
const mostDrops = 50_000

// Missed says why Drops may lack rules; empty: it has all.
func (e *Evaluator) Missed() string {
	if e.dropRules(); e.blind {
		return TooComplex
	}
	return ""
}

func (e *Evaluator) findDrops() {
	for _, t := range e.node.Ruleset.Tables {
		comp := &compiler{e: e, table: t}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if r.Ops == nil && !strings.Contains(r.Text, "INVALID") {
					continue // the dumps write the state's name in capitals
				}
				if len(e.drops) == mostDrops {
					e.blind = true
					return
				}
				if d, ok := comp.dropRule(c, r); ok {
					e.drops = append(e.drops, d)
				}
			}
		}
	}
}

// dropRule says whether the rule is meant to drop INVALID packets, and how.
func (c *compiler) dropRule(ch *netfilter.Chain, r *netfilter.Rule) (dropAt, bool) {
	ops := c.ops(r)
	if !c.namesInvalid(ops) {
		return dropAt{}, false
	}
	v := c.invalidVerdict(ops, 0)
	if v == nil {
		return dropAt{}, false
	}
	id := ruleID{c.table, ch, &crule{rule: r}}
	d := dropAt{table: c.table, rule: r, chain: ch}
	d.Drop = Drop{Rule: *id.ref(&point{}, false), Hooks: []netfilter.Hook{}, Action: v.Kind, With: v.With}
	for _, op := range ops {
		switch op := op.(type) {
		case netfilter.Ext:
			if as := c.ext(op); len(as) == 1 && as[0].kind == atomGuess && as[0].sure == chance {
				d.Limited = strings.TrimSpace(op.Name + " " + op.Args)
			}
		case netfilter.Match:
			if !op.Invert && len(op.Fields) == 1 && op.Fields[0].Field == netfilter.IIFName && op.Fields[0].Mask == nil {
				names, whole := c.patterns(&op)
				if d.InInterfaces = append(d.InInterfaces, names...); !whole {
					d.Undecided = "by which interfaces the packets come that it drops: it names too many"
				}
			}
		}
	}
	return d, true
}

// invalidVerdict returns the drop, reject or queue that the rule's INVALID packets come to, nil when it is none of these.
func (c *compiler) invalidVerdict(ops netfilter.Ops, depth int) *netfilter.Verdict {
	for _, op := range ops {
		var v *netfilter.Verdict
		switch op := op.(type) {
		case netfilter.Verdict:
			v = &op
		case netfilter.VMap:
			v = c.vmapInvalid(&op)
		}
		if v == nil {
			continue
		}
		switch v.Kind {
		case netfilter.Drop, netfilter.Reject, netfilter.Queue:
			return v
		case netfilter.Jump, netfilter.Goto:
			return c.chainVerdict(v.Chain, depth)
		}
		return nil
	}
	return nil
}

// chainVerdict returns what a chain does to every packet: its first rule without a condition that drops or rejects.
func (c *compiler) chainVerdict(name string, depth int) *netfilter.Verdict {
	ch := c.e.chain(c.table, name)
	if ch == nil || depth > 4 || len(ch.Rules) > 64 {
		return nil
	}
	for _, r := range ch.Rules {
		if !c.e.look(8) {
			return nil
		}
		ops := c.ops(r)
		plain := true
		for _, op := range ops {
			switch op.(type) {
			case netfilter.Match, netfilter.Ext, netfilter.XtState, netfilter.VMap:
				plain = false
			}
		}
		if !plain {
			continue
		}
		if v := c.invalidVerdict(ops, depth+1); v != nil {
			return v
		}
	}
	return nil
}

// patterns writes a match on interface names as patterns: "eth0", "veth+".
func (c *compiler) patterns(m *netfilter.Match) (out []string, whole bool) {
	in := m.In
	if s := c.set(m.Set); m.Set != "" && s != nil {
		in = c.e.elements(s)
	}
	if whole = len(in) <= mostPatterns; !whole {
		in = in[:mostPatterns]
	}
	for _, i := range in {
		name := i.From.Ifname()
		if i.From != i.To {
			name += "+"
		}
		out = append(out, name)
	}
	return out, whole
}

// mostPatterns is how many interface patterns of a drop are named.
const mostPatterns = 256

// findCatastrophes marks the drops that new inbound connections die of: before conntrack every packet looks INVALID.
// Each interface but the loopback is asked, with a SYN to the node's own addresses.
func (e *Evaluator) findCatastrophes() {
	early := false
	for i := range e.drops {
		d := &e.drops[i]
		early = early || !d.table.Dormant && len(d.ways) > 0 && d.isEarly
	}
	if !early {
		return
	}
	const syn, loopbackType = 2, 772 // ARPHRD_LOOPBACK
	hit, undecided := map[*netfilter.Rule]bool{}, ""
	asked := 0
	for _, i := range e.node.Interfaces {
		if i.Type == loopbackType || i.Name == "lo" {
			continue
		}
		if asked++; asked > mostAsked {
			undecided = fmt.Sprintf("only the first %d interfaces were asked about", mostAsked)
			break
		}
		for _, f := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
			q := Query{Question: Custom, Family: f, In: i.Name, Flags: []uint8{syn}, State: "new"}
			rules, whole := e.killed(q)
			for _, r := range rules {
				hit[r] = true
			}
			if !whole {
				undecided = TooComplex
			}
		}
	}
	for i := range e.drops {
		d := &e.drops[i]
		d.Catastrophic = hit[d.rule]
		if !d.Catastrophic && undecided != "" && d.isEarly {
			d.Undecided = "whether new connections die of it: " + undecided
		}
	}
}

// mostAsked bounds the interfaces by which a new connection is asked to come.
const mostAsked = 64

// killed returns the rules naming INVALID that stop a packet before conntrack has seen it; whole is false where the budget ended
// before the answer did.
func (e *Evaluator) killed(q Query) (out []*netfilter.Rule, whole bool) {
	s, err := e.setup(q)
	if err != nil {
		return nil, true
	}
	was := e.meter
	end := e.begin(s.weight)
	defer func() {
		end()
		e.left, e.search, e.shadow = was.left, was.search, was.shadow
	}()
	for _, l := range e.walk(s, 0) {
		if l.via == nil || l.fate.side() != stops && l.fate != fateReset || l.steps == nil {
			continue
		}
		b := l.steps.step.base
		if b.hook != netfilter.Ingress && (b.hook != netfilter.Prerouting || b.priority > netfilter.ConntrackPriority) || !l.certain() {
			continue
		}
		if p, f := l.witness(&s.like, &e.search); f == foundYes {
			out = append(out, l.via.at(&p, false))
		}
	}
	return out, !e.spent() && e.search >= 0
}
