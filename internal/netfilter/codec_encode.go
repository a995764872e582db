package netfilter

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// MarshalJSON writes the steps as an array of objects tagged with "op". Values are text: addresses, prefixes, names and
// numbers as people write them (codec_value.go). It fails on a step that is not one of this package's types.
func (o Ops) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 64*len(o)+2), '[')
	for i, op := range o {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendOp(b, op); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendOp(b []byte, op Op) ([]byte, error) {
	if op == nil {
		return nil, fmt.Errorf("encode op: nil")
	}
	b = append(append(append(b, `{"op":"`...), op.op()...), '"')
	switch op := op.(type) {
	case Match:
		b = appendMatch(b, op)
	case Ext:
		b = appendFlag(appendText(appendText(b, "name", op.Name), "args", op.Args), "invert", op.Invert)
	case XtState:
		b = appendXtState(b, op)
	case Verdict:
		b = appendVerdictFields(b, op)
	case VMap:
		b = appendText(appendOperands(b, op.Fields), "set", op.Set)
	case Assign:
		b = appendAssign(b, op)
	case Stmt:
		b = appendText(appendText(b, "name", op.Name), "args", op.Args)
	default:
		return nil, fmt.Errorf("encode op: unknown type %T", op)
	}
	return append(b, '}'), nil
}

func appendMatch(b []byte, m Match) []byte {
	b = appendOperands(b, m.Fields)
	if len(m.In) > 0 {
		b = append(b, `,"in":`...)
		b = appendIntervals(b, m.kinds(), m.In)
	}
	return appendFlag(appendText(b, "set", m.Set), "invert", m.Invert)
}

// kinds is the one kind that all of In has: that of the only field.
func (m Match) kinds() func(int) valueKind {
	k := kindNumber
	if len(m.Fields) > 0 {
		k = m.Fields[0].Field.kind()
	}
	return func(int) valueKind { return k }
}

func appendIntervals(b []byte, kind func(int) valueKind, in []Interval) []byte {
	b = append(b, '[')
	for i, iv := range in {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, func(b []byte) []byte { return appendInterval(b, kind(i), iv) })
	}
	return append(b, ']')
}

func appendOperands(b []byte, fields []Operand) []byte {
	b = append(b, `,"fields":[`...)
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, `{"field":`...), string(f.Field))
		b = appendMask(b, "mask", f.Field, f.Mask)
		b = append(appendMask(b, "xor", f.Field, f.Xor), '}')
	}
	return append(b, ']')
}

func appendMask(b []byte, key string, f Field, v *Value) []byte {
	if v == nil {
		return b
	}
	b = append(append(append(b, `,"`...), key...), `":`...)
	return appendQuoted(b, func(b []byte) []byte { return appendValue(b, f.maskKind(), *v) })
}

func appendXtState(b []byte, x XtState) []byte {
	b = strconv.AppendBool(append(b, `,"hasState":`...), x.HasState)
	if x.States != 0 {
		b = strconv.AppendUint(append(b, `,"states":`...), uint64(x.States), 10)
	}
	b = appendFlag(b, "invert", x.Invert)
	if len(x.Others) == 0 {
		return b
	}
	b = append(b, `,"others":[`...)
	for i, o := range x.Others {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, o)
	}
	return append(b, ']')
}

func appendVerdictFields(b []byte, v Verdict) []byte {
	b = appendText(b, "kind", string(v.Kind))
	b = appendText(b, "chain", v.Chain)
	b = appendText(b, "with", v.With)
	b = appendText(b, "queue", v.Queue)
	return appendFlag(b, "bypass", v.Bypass)
}

func appendAssign(b []byte, a Assign) []byte {
	b = appendText(appendText(b, "field", string(a.Field)), "from", string(a.From))
	b = appendMask(b, "and", a.Field, &a.And)
	b = appendMask(b, "xor", a.Field, &a.Xor)
	return appendText(b, "map", a.Map)
}

// MarshalJSON writes the set; keys and data are text by the set's types.
func (s Set) MarshalJSON() ([]byte, error) {
	b := appendString(append(make([]byte, 0, 96+32*len(s.Elements)), `{"name":`...), s.Name)
	b = appendStrings(b, "types", s.Types)
	b = appendStrings(b, "dataTypes", s.DataTypes)
	b = appendFlag(b, "map", s.Map)
	b = appendFlag(b, "verdicts", s.Verdicts)
	b = appendFlag(b, "dynamic", s.Dynamic)
	if len(s.Elements) > 0 {
		b = append(b, `,"elements":[`...)
		for i := range s.Elements {
			if i > 0 {
				b = append(b, ',')
			}
			b = s.appendElement(b, &s.Elements[i])
		}
		b = append(b, ']')
	}
	if s.CatchAll != nil {
		b = s.appendElement(append(b, `,"catchAll":`...), s.CatchAll)
	}
	return append(appendText(b, "incomplete", s.Incomplete), '}'), nil
}

func (s *Set) appendElement(b []byte, e *Element) []byte {
	b = appendIntervals(append(b, `{"key":`...), kindsOf(s.Types), e.Key)
	if e.Verdict != nil {
		b = append(b, `,"verdict":{`...)
		at := len(b)
		b = append(appendVerdictFields(b, *e.Verdict), '}')
		b = append(b[:at], b[at+1:]...) // the first field's comma
	}
	if len(e.Data) > 0 {
		kind := kindsOf(s.DataTypes)
		b = append(b, `,"data":[`...)
		for i, v := range e.Data {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendQuoted(b, func(b []byte) []byte { return appendValue(b, kind(i), v) })
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func kindsOf(types []string) func(int) valueKind {
	return func(i int) valueKind {
		if i < len(types) {
			return typeKind(types[i])
		}
		return kindNumber
	}
}

func appendStrings(b []byte, key string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(append(append(b, `,"`...), key...), `":[`...)
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

func appendText(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(append(append(append(b, `,"`...), key...), `":`...), s)
}

func appendFlag(b []byte, key string, v bool) []byte {
	if !v {
		return b
	}
	return append(append(append(b, `,"`...), key...), `":true`...)
}

// appendQuoted quotes what write appends. Names may hold a quote or a backslash; everything else is plain.
func appendQuoted(b []byte, write func([]byte) []byte) []byte {
	at := len(b) + 1
	b = write(append(b, '"'))
	for _, c := range b[at:] {
		if c == '"' || c == '\\' {
			return appendString(b[:at-1], string(b[at:]))
		}
	}
	return append(b, '"')
}

// appendString writes a JSON string. Bytes that are not UTF-8 become U+FFFD, as encoding/json does it.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			q, _ := json.Marshal(strings.ToValidUTF8(s, "\ufffd")) // a string always encodes
			return append(b, q...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
