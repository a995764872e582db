package netfilter

import "strings"

// set writes a set's name, or an anonymous set's elements.
func (w *textWriter) set(name string, fields []Operand) {
	var s *Set
	if w.hints.Set != nil && strings.HasPrefix(name, "__") {
		s = w.hints.Set(name)
	}
	if s == nil || s.Incomplete != "" || len(s.Elements) > 1024 {
		w.add("@", name)
		return
	}
	w.add("{ ")
	for i := range s.Elements {
		if i > 0 {
			w.add(", ")
		}
		w.element(s, &s.Elements[i], fields)
	}
	if s.CatchAll != nil {
		if len(s.Elements) > 0 {
			w.add(", ")
		}
		w.add("*")
		w.data(s, s.CatchAll)
	}
	w.add(" }")
}

func (w *textWriter) element(s *Set, e *Element, fields []Operand) {
	for j, k := range e.Key {
		if j > 0 {
			w.add(" . ")
		}
		f := Field("")
		if j < len(fields) {
			f = fields[j].Field
		}
		if bitmask(f) && k.From == k.To { // a comma would begin the next element
			w.add(strings.ReplaceAll(string((&textWriter{}).valueOf(f, k.From)), ",", " | "))
			continue
		}
		w.interval(f, k)
	}
	w.data(s, e)
}

func (w *textWriter) valueOf(f Field, v Value) []byte {
	w.value(f, v)
	return w.b
}

func (w *textWriter) data(s *Set, e *Element) {
	if e.Verdict != nil {
		w.add(" : ")
		w.verdict(*e.Verdict)
	}
	for j, v := range e.Data {
		w.add(map[bool]string{true: " : ", false: " . "}[j == 0], string(appendValue(nil, kindsOf(s.DataTypes)(j), v)))
	}
}

func (w *textWriter) assign(i int, a Assign) {
	target := w.fieldText(w.spell(i, a.Field))
	w.add(target, " set ")
	full := shr(ones, 128-a.Field.Bits())
	switch {
	case a.Map != "":
		w.add(w.fieldText(a.From), " map ")
		w.set(a.Map, []Operand{{Field: a.From}})
		return
	case a.From == "" && a.And == (Value{}):
		w.value(a.Field, a.Xor)
		return
	case a.From == "":
		w.add(target)
	default:
		w.add(w.fieldText(a.From))
	}
	// (x & a) ^ b with the bits of b outside a is "x & a | b"
	or := a.Xor.And(a.And) == (Value{})
	if and := a.And; and.And(full) != full {
		if or && and.Or(a.Xor).And(full) == full {
			w.add(" | ", string(appendValue(nil, kindHex, a.Xor)))
			return
		}
		w.add(" & ", string(appendValue(nil, kindHex, and)))
	}
	if a.Xor != (Value{}) {
		w.add(map[bool]string{true: " | ", false: " ^ "}[or], string(appendValue(nil, kindHex, a.Xor)))
	}
}

// ElementText writes an element of a named set or map as "nft add element" takes it between braces; the catch-all element has
// no key.
func (s *Set) ElementText(e *Element) string {
	w := &textWriter{}
	kinds := kindsOf(s.Types)
	for j, k := range e.Key {
		if j > 0 {
			w.add(" . ")
		}
		switch {
		case kinds(j) == kindName:
			w.interval(IIFName, k)
		case j < len(s.Types) && s.Types[j] == "ether_addr":
			w.interval("ether.saddr", k)
		default:
			w.b = appendInterval(w.b, kinds(j), k)
		}
	}
	if len(e.Key) == 0 {
		w.add("*")
	}
	w.data(s, e)
	return string(w.b)
}
