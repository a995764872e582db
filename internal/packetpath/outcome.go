package packetpath

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// flagNames are the TCP flags by bit, lowest first.
var flagNames = [8]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"}

// FlagsText writes TCP flags as [Packet] has them: "syn,ack", or "none".
func FlagsText(b uint8) string {
	var out []string
	for i, n := range flagNames {
		if b>>i&1 != 0 {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ",")
}

// outcome describes a settled class.
func (x *settled) outcome(s *setup) Outcome {
	byReset := x.leaf.reset && x.fate.side() == stops
	o := Outcome{
		Fate: string(x.fate), Region: regionText(s, x.class), Witness: s.packet(&x.point), By: x.decider().ref(&x.point, byReset),
		classes: x.classes, deciders: x.deciders, byReset: byReset, setup: s,
	}
	if len(x.classes) > 1 {
		o.Region = fmt.Sprintf("%d regions, the largest: %s", len(x.classes), cmpOr(o.Region, "all"))
	}
	o.Assuming = x.assuming()
	return o
}

// decider is the rule that ended the class's way, or that let it through.
func (x *settled) decider() ruleID {
	if x.fate.side() == passes && x.by.chain == nil {
		return x.accept.id()
	}
	return x.by
}

// assuming lists what the class takes for granted, oldest first.
func (x *settled) assuming() []string {
	var out []string
	if x.depends != "" {
		out = append(out, x.depends)
	}
	for a := x.assume; a != nil; a = a.prev {
		if a.holds {
			out = append(out, a.text)
		} else {
			out = append(out, "not ("+a.text+")")
		}
	}
	if x.wide {
		out = append(out, manyConditions)
	}
	slices.Reverse(out)
	return out
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// packet is a point as a packet.
func (s *setup) packet(p *point) Packet {
	addr := func(v netfilter.Value) (a Packet) {
		if s.family == netfilter.IP6 {
			a.Src = v.IP6()
		} else {
			a.Src = v.IP4()
		}
		return a
	}
	out := Packet{
		In: s.query.In, Src: addr(p.value[dSaddr]).Src, Dst: addr(p.value[dDaddr]).Src,
		Sport: uint16(p.value[dSport].Lo), Dport: uint16(p.value[dDport].Lo), Flags: FlagsText(p.flags),
	}
	if s.forwarded {
		out.Out = s.query.Out
	}
	for d, f := range extraFields {
		if p.value[d] != s.like.value[d] {
			if out.Fields == nil {
				out.Fields = map[netfilter.Field]uint64{}
			}
			out.Fields[f] = p.value[d].Lo
		}
	}
	return out
}

// extraFields are the header fields that a Packet names only where a class is bound to unusual values of them.
var extraFields = map[dim]netfilter.Field{
	dTTL: netfilter.TTL, dLength: netfilter.Length, dTOS: netfilter.TOS, dFrag: netfilter.FragOff,
	dSeq: netfilter.TCPSeq, dAck: netfilter.TCPAck, dWin: netfilter.TCPWin,
}

// Contains reports whether a packet of the question belongs to this outcome; exactly one outcome has it (or, where
// something is undecided, all that differ in their assumptions). Header fields that the packet does not name are taken to
// be a usual segment's: see [Packet.Segment].
func (o *Outcome) Contains(pk Packet) bool { return o.Holds(pk.Segment()) }

// ParseFlags reads what FlagsText writes; words that are no flag count for nothing.
func ParseFlags(s string) (b uint8) {
	for name := range strings.SplitSeq(s, ",") {
		if i := slices.Index(flagNames[:], strings.TrimSpace(name)); i >= 0 {
			b |= 1 << i
		}
	}
	return b
}

// regionText says in words how the class differs from the whole question.
func regionText(s *setup, c *class) string {
	var parts []string
	parts = append(parts, boxText(s, &c.set, c.flags)...)
	n := 0
	for k := c.cuts; k != nil; k = k.prev {
		if n++; n > 4 {
			continue
		}
		parts = append(parts, "not ("+cutText(s, &k.box)+")")
	}
	if n > 4 {
		parts = append(parts, fmt.Sprintf("and %d more exceptions", n-4))
	}
	return strings.Join(parts, ", ")
}

var dimNames = [nDims]string{"saddr", "daddr", "sport", "dport", "ttl", "length", "tos", "frag-off", "seq", "ack", "window"}

func boxText(s *setup, set *[nDims]ivset, flags flagSet) []string {
	var parts []string
	for d := dim(0); d < nDims; d++ {
		if equalSets(set[d], s.start.set[d]) {
			continue
		}
		parts = append(parts, s.textOf(d, set[d], false))
	}
	if flags != s.start.flags {
		parts = append(parts, flagSetText(s, flags))
	}
	return parts
}

func cutText(s *setup, b *box) string {
	var parts []string
	for _, a := range b.atoms {
		parts = append(parts, s.textOf(a.dim, a.set, true))
	}
	if b.hasFlags {
		parts = append(parts, flagSetText(s, b.flags.and(s.start.flags)))
	}
	return strings.Join(parts, ", ")
}

func flagSetText(s *setup, f flagSet) string {
	list := f.bytes()
	if rest := s.start.flags.minus(f).bytes(); len(rest) < len(list) {
		return "flags not " + flagList(rest)
	}
	return "flags " + flagList(list)
}

func flagList(list []uint8) string {
	var out []string
	for i, b := range list {
		if i == 6 {
			out = append(out, fmt.Sprintf("%d more", len(list)-i))
			break
		}
		out = append(out, FlagsText(b))
	}
	return strings.Join(out, " | ")
}

// textKey is a large set of a dimension, as it is or as far as the question has it.
type textKey struct {
	setKey
	dim dim
	cut bool
}

// textOf is dimText, made once for a large set: classes share them. Of a cut only what the question has is written.
func (s *setup) textOf(d dim, set ivset, cut bool) string {
	key := textKey{dim: d, cut: cut}
	if len(set) >= 16 {
		key.setKey = setKey{&set[0], len(set)}
		if text, ok := s.texts[key]; ok {
			return text
		}
	}
	in := set
	if cut {
		in = intersect(set, s.start.set[d])
	}
	text := dimText(s, d, in)
	if key.n > 0 {
		s.texts[key] = text
	}
	return text
}

// dimText writes a dimension's values, or what is left out where that is shorter.
func dimText(s *setup, d dim, set ivset) string {
	not := subtract(s.start.set[d], set)
	if len(not) < len(set) {
		return dimNames[d] + " not " + setText(s, d, not)
	}
	return dimNames[d] + " " + setText(s, d, set)
}

func setText(s *setup, d dim, set ivset) string {
	var out []string
	for i, in := range set {
		if i == 6 {
			out = append(out, fmt.Sprintf("%d more", len(set)-i))
			break
		}
		out = append(out, intervalText(s, d, in))
	}
	return strings.Join(out, " | ")
}

func intervalText(s *setup, d dim, in netfilter.Interval) string {
	if d != dSaddr && d != dDaddr {
		if in.From == in.To {
			return fmt.Sprint(in.From.Lo)
		}
		return fmt.Sprintf("%d-%d", in.From.Lo, in.To.Lo)
	}
	a, b := in.From.IP4(), in.To.IP4()
	if s.family == netfilter.IP6 {
		a, b = in.From.IP6(), in.To.IP6()
	}
	if in.From == in.To {
		return a.String()
	}
	for bits := a.BitLen() - 1; bits >= 0; bits-- {
		if p, _ := a.Prefix(bits); p.Addr() == a && netfilter.Prefix(p).To == in.To {
			return p.String()
		}
	}
	return a.String() + "-" + b.String()
}

// mostSteps is how many base chains a path names, the last ones.
const mostSteps = 100

// path lists the base chains that the class crossed.
func path(x *settled) []Step {
	out := []Step{}
	for n := x.steps; n != nil && len(out) < mostSteps; n = n.prev {
		b := n.step.base
		if b.chain == nil && b.kind == baseConntrack {
			continue
		}
		st := Step{
			Hook: b.hook, Priority: b.priority, Backend: b.table.Backend, Family: b.table.Family, Table: b.table.Name,
			Packet: n.step.packet, Verdict: n.step.verdict,
		}
		if b.chain != nil {
			st.Chain = b.chain.Name
		}
		if n.step.verdict != "skipped" {
			st.By = n.step.by.ref(&x.point, st.Packet == "reset")
		}
		out = append(out, st)
	}
	slices.Reverse(out)
	return out
}
