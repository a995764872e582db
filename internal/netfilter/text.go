package netfilter

import (
	"fmt"
	"slices"
	"strings"
)

// TextHints is what the nft text of a rule needs beyond its steps.
type TextHints struct {
	// Set returns a set of the rule's table, so that anonymous ones are written in place; nil: sets are named.
	Set func(name string) *Set
	// Spell returns the name that step i's field has in the rule ("ip.protocol" where the model says meta.l4proto), or "".
	Spell func(i int) Field
}

// String writes the steps in nft's language, as far as it can say them.
func (o Ops) String() string { return o.Text(TextHints{}) }

// Text writes the steps in nft's language. The matches that nft puts in front by itself (the protocol before a port) are
// left out again, counters carry no figures, and steps that nft has no words for stand in angle brackets.
func (o Ops) Text(h TextHints) string { return string(o.AppendText(nil, h)) }

// AppendText appends the text to b.
func (o Ops) AppendText(b []byte, h TextHints) []byte {
	w := &textWriter{ops: o, hints: h, b: b}
	for i, op := range o {
		if w.implied(i) {
			continue
		}
		if len(w.b) > len(b) {
			w.b = append(w.b, ' ')
		}
		w.op(i, op)
	}
	return w.b
}

type textWriter struct {
	ops   Ops
	hints TextHints
	b     []byte
	room  [4]string
	l4    string // the protocol that the rule requires, for the name of ports
}

func (w *textWriter) add(parts ...string) {
	for _, p := range parts {
		w.b = append(w.b, p...)
	}
}

func (w *textWriter) spell(i int, f Field) Field {
	if w.hints.Spell != nil {
		if s := w.hints.Spell(i); s != "" {
			return s
		}
	}
	return f
}

// implied reports whether nft leaves step i out because the step behind it cannot be written without it.
func (w *textWriter) implied(i int) bool {
	m, ok := w.ops[i].(Match)
	if !ok || m.Invert || len(m.In) != 1 || m.In[0].From != m.In[0].To || len(m.Fields) != 1 || m.Fields[0].Mask != nil {
		return false
	}
	v, next := m.In[0].From.Lo, w.next(i)
	switch m.Fields[0].Field {
	case NFProto:
		return v == 2 && next.any("ip", "icmp") || v == 10 && next.any("ip6", "icmpv6")
	case EthProto, "ether.type":
		return v == 0x0800 && next.any("ip") || v == 0x86dd && next.any("ip6") || v == 0x0806 && next.any("arp") || v == 0x8100 && next.any("vlan")
	case IIFType:
		return v == 1 && next.any("ether", "vlan")
	case L4Proto, "ip6.nexthdr":
		name := protocolName(v)
		if next.any("th") && hasPorts(v) || name != "" && next.any(headerName(name)) {
			w.l4 = name
			return true
		}
	}
	return false
}

// headers are the headers that a step reads: what stands before the first dot of its fields' names.
type headers []string

func (h headers) any(names ...string) bool {
	for _, n := range names {
		if slices.Contains(h, n) {
			return true
		}
	}
	return false
}

// next returns the headers of the step that a required match at i may belong to: the first one behind it that is not such
// a match itself.
func (w *textWriter) next(i int) headers {
	for j := i + 1; j < len(w.ops); j++ {
		var fields []Operand
		switch op := w.ops[j].(type) {
		case Match:
			fields = op.Fields
			if len(fields) == 1 && w.spell(j, "") == "" && !op.Invert && op.Set == "" {
				switch f := fields[0].Field; {
				case f == "ether.type" && w.reads(i) == IIFType:
				case f == L4Proto, f == NFProto, f == EthProto, f == IIFType, f == "ether.type":
					continue
				}
			}
		case VMap:
			fields = op.Fields
		case Assign:
			fields = []Operand{{Field: op.Field}, {Field: op.From}}
		case Verdict:
			if family, _, _ := strings.Cut(op.With, "-"); family != "tcp" {
				return headers{family}
			}
			return nil
		}
		return w.headers(j, fields)
	}
	return nil
}

// reads returns the field of the match at i.
func (w *textWriter) reads(i int) Field { return w.ops[i].(Match).Fields[0].Field }

func (w *textWriter) headers(j int, fields []Operand) headers {
	out := w.room[:0]
	for _, f := range fields {
		name := f.Field
		if len(fields) == 1 {
			name = w.spell(j, name)
		}
		h, _, _ := strings.Cut(string(name), ".")
		out = append(out, h)
	}
	return out
}

func headerName(protocol string) string {
	if protocol == "ipv6-icmp" {
		return "icmpv6"
	}
	return protocol
}

func hasPorts(proto uint64) bool {
	return proto == 6 || proto == 17 || proto == 33 || proto == 132 || proto == 136
}

func (w *textWriter) op(i int, op Op) {
	switch op := op.(type) {
	case Match:
		w.match(i, op)
	case VMap:
		w.operands(i, op.Fields)
		w.add(" vmap ")
		w.set(op.Set, op.Fields)
	case Verdict:
		w.verdict(op)
	case Assign:
		w.assign(i, op)
	case Stmt:
		w.add(op.Name)
		if op.Args != "" {
			w.add(" ", op.Args)
		}
	case Ext:
		w.ext(op)
	case XtState:
		w.add(fmt.Sprintf("<conntrack %+v>", op))
	}
}

// ext writes the matches that nft has words for, and others in brackets.
func (w *textWriter) ext(e Ext) {
	not := ""
	if e.Invert {
		not = "not "
	}
	switch e.Name {
	case "limit", "quota", "ct count":
		w.add(e.Name, " ", e.Args)
	case "dynset":
		w.add(not, e.Args)
	default:
		w.add("<", not, e.Name, " ", e.Args, ">")
	}
}

func (w *textWriter) verdict(v Verdict) {
	switch {
	case v.Kind == Reject && v.With == "tcp-reset":
		w.add("reject with tcp reset")
	case v.With == "icmpx-port-unreachable":
		w.add("reject")
	case v.Kind == Reject && v.With != "":
		family, code, _ := strings.Cut(v.With, "-")
		w.add("reject with ", family, " ", code)
	case v.Kind == Queue:
		if v.Bypass {
			w.add("queue flags bypass to ", v.Queue)
			return
		}
		w.add("queue to ", v.Queue)
	case v.Chain != "":
		w.add(string(v.Kind), " ", v.Chain)
	default:
		w.add(string(v.Kind))
	}
}

// fieldText is nft's way to write a field; ports take the name of the protocol that the rule requires.
func (w *textWriter) fieldText(f Field) string {
	switch f { // the frequent ones without allocating
	case IIFName, OIFName, IIF, OIF, IIFGroup, OIFGroup:
		return string(f[len("meta."):])
	case IPSaddr:
		return "ip saddr"
	case IPDaddr:
		return "ip daddr"
	case CTState:
		return "ct state"
	case Sport, Dport:
		if w.l4 != "" {
			return w.l4 + " " + string(f[len("th."):])
		}
	}
	return strings.ReplaceAll(string(f), ".", " ")
}

func (w *textWriter) operands(i int, fields []Operand) {
	for j, f := range fields {
		if j > 0 {
			w.add(" . ")
		}
		name := f.Field
		if len(fields) == 1 {
			name = w.spell(i, name)
		}
		w.add(w.fieldText(name))
		if f.Mask != nil {
			w.add(" & ", string(appendValue(nil, f.Field.maskKind(), *f.Mask)))
		}
		if f.Xor != nil {
			w.add(" ^ ", string(appendValue(nil, f.Field.maskKind(), *f.Xor)))
		}
	}
}

func (w *textWriter) match(i int, m Match) {
	if len(m.Fields) == 1 && m.Fields[0].Mask != nil && m.Fields[0].Xor == nil && len(m.In) == 1 && w.bits(i, m) {
		return
	}
	w.operands(i, m.Fields)
	if len(m.Fields) == 0 { // no reader writes this, but a document may hold it
		w.add("<match of nothing>")
		return
	}
	if m.Set != "" {
		w.add(map[bool]string{true: " != ", false: " "}[m.Invert])
		w.set(m.Set, m.Fields)
		return
	}
	f := m.Fields[0].Field
	if len(m.In) != 1 {
		w.add(map[bool]string{true: " != { ", false: " { "}[m.Invert])
		for j, in := range m.In {
			if j > 0 {
				w.add(", ")
			}
			w.interval(f, in)
		}
		w.add(" }")
		return
	}
	in, masked := m.In[0], m.Fields[0].Mask != nil
	top := topOf(in.To)
	switch {
	case !m.Invert && in.From != in.To && top && in.From != (Value{}) && f.kind() != kindName && !isPrefix(f, in):
		w.add(" >= ")
		w.value(f, in.From)
		return
	case !m.Invert && in.From != in.To && in.From == (Value{}) && !top && f.kind() != kindName && !isPrefix(f, in):
		w.add(" <= ")
		w.value(f, in.To)
		return
	case m.Invert:
		w.add(" != ")
	case masked || bitmask(f):
		w.add(" == ")
	default:
		w.add(" ")
	}
	w.interval(f, in)
}

func isPrefix(f Field, in Interval) bool {
	_, ok := in.prefixBits(f.kind())
	return ok
}

// topOf reports whether a value is the highest one of 8, 16, 32, 64 or 128 bits: an open end.
func topOf(v Value) bool {
	for _, bits := range []int{8, 16, 32, 64, 128} {
		if v == shr(ones, 128-bits) {
			return true
		}
	}
	return false
}

// bits writes a test of bits: "ct state invalid,new" is any of them, "tcp flags syn / syn,ack" exactly those of the mask.
func (w *textWriter) bits(i int, m Match) bool {
	f := m.Fields[0]
	if !bitmask(f.Field) || m.In[0].From != m.In[0].To {
		return false
	}
	name := w.fieldText(w.spell(i, f.Field))
	v := m.In[0].From
	switch {
	case v == (Value{}) && m.Invert:
		w.add(name, " ")
		w.value(f.Field, *f.Mask)
	case v == (Value{}):
		w.add(name, " ! ")
		w.value(f.Field, *f.Mask)
	default:
		w.add(name, map[bool]string{true: " != ", false: " "}[m.Invert])
		w.value(f.Field, v)
		w.add(" / ")
		w.value(f.Field, *f.Mask)
	}
	return true
}
