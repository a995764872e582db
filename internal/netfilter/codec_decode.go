package netfilter

import "fmt"

// Bounds of what a document may hold: far above the kernel's (NFT_RULE_MAXEXPRS is 128) and the readers' own limits.
const (
	maxOps      = 1024
	maxFields   = 16
	maxElements = 1 << 20
)

// UnmarshalJSON reads what MarshalJSON writes. It refuses unknown steps, unknown or repeated fields, and values that are
// not of the field's kind.
func (o *Ops) UnmarshalJSON(b []byte) error {
	s := &scanner{b: b}
	if s.null() {
		*o = nil
		return s.end()
	}
	out := Ops{}
	err := s.array(maxOps, func() error {
		op, err := s.op()
		out = append(out, op)
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		*o = out
	}
	return err
}

// op reads one step; its first field is "op", as MarshalJSON writes it and every JSON tool keeps it.
func (s *scanner) op() (Op, error) {
	kind, err := s.opKind()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "match":
		return s.match()
	case "ext":
		return s.ext()
	case "xtstate":
		return s.xtState()
	case "verdict":
		return s.verdict([]string{"op", "kind", "chain", "with", "queue", "bypass"})
	case "vmap":
		return s.vmap()
	case "assign":
		return s.assign()
	case "stmt":
		return s.stmt()
	}
	return nil, fmt.Errorf("decode ruleset: unknown op %.40q", kind)
}

// opKind finds the tag without consuming the object: almost always its first field, but any place is valid JSON.
func (s *scanner) opKind() (string, error) {
	peek := scanner{b: s.b, i: s.i}
	if err := peek.expect('{'); err != nil {
		return "", err
	}
	for {
		key, err := peek.raw()
		if err != nil {
			return "", err
		}
		if err := peek.expect(':'); err != nil {
			return "", err
		}
		if string(key) == "op" {
			kind, err := peek.raw()
			return string(kind), err
		}
		if err := peek.skip(0); err != nil {
			return "", err
		}
		if err := peek.expect(','); err != nil {
			return "", fmt.Errorf("decode ruleset: a step without \"op\"")
		}
	}
}

// skip passes over one value, to find the tag behind it.
func (s *scanner) skip(depth int) error {
	switch c := s.next(); {
	case depth > 8:
		return fmt.Errorf("decode ruleset: nested too deeply")
	case c == '"':
		_, err := s.raw()
		return err
	case c == '[':
		return s.list('[', ']', func() error { return s.skip(depth + 1) })
	case c == '{':
		return s.list('{', '}', func() error {
			if _, err := s.raw(); err != nil {
				return err
			}
			if err := s.expect(':'); err != nil {
				return err
			}
			return s.skip(depth + 1)
		})
	}
	if s.word() == "" {
		return errCut
	}
	return nil
}

func (s *scanner) match() (m Match, err error) {
	var in [][]byte // read after the fields, which say what the text means, wherever they stand
	keys := []string{"op", "fields", "in", "set", "invert"}
	err = s.object(keys, func(key string) (err error) {
		switch key {
		case "op":
			_, err = s.raw()
		case "fields":
			m.Fields, err = s.operands()
		case "in":
			err = s.array(maxElements, func() error {
				raw, err := s.raw()
				in = append(in, raw)
				return err
			})
		case "set":
			err = s.text(&m.Set)
		case "invert":
			err = s.boolean(&m.Invert)
		}
		return err
	})
	if err != nil {
		return m, err
	}
	m.In, err = intervals(in, m.kinds())
	return m, err
}

func intervals(raw [][]byte, kind func(int) valueKind) ([]Interval, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	out := make([]Interval, len(raw))
	for i, r := range raw {
		iv, err := parseInterval(kind(i), string(r))
		if err != nil {
			return nil, fmt.Errorf("decode ruleset: %w", err)
		}
		out[i] = iv
	}
	return out, nil
}

func (s *scanner) operands() (list []Operand, err error) {
	err = s.array(maxFields, func() error {
		var o Operand
		var field, mask, xor string
		err := s.object([]string{"field", "mask", "xor"}, func(key string) error {
			switch key {
			case "field":
				return s.text(&field)
			case "mask":
				return s.text(&mask)
			}
			return s.text(&xor)
		})
		if err != nil {
			return err
		}
		o.Field = Field(field)
		if o.Mask, err = optionalValue(o.Field, mask); err != nil {
			return err
		}
		o.Xor, err = optionalValue(o.Field, xor)
		list = append(list, o)
		return err
	})
	return list, err
}

func optionalValue(f Field, s string) (*Value, error) {
	if s == "" {
		return nil, nil
	}
	v, err := parseValue(f.maskKind(), s)
	return &v, err
}

func (s *scanner) ext() (e Ext, err error) {
	err = s.object([]string{"op", "name", "args", "invert"}, func(key string) (err error) {
		switch key {
		case "op":
			_, err = s.raw()
		case "name":
			err = s.text(&e.Name)
		case "args":
			err = s.text(&e.Args)
		case "invert":
			err = s.boolean(&e.Invert)
		}
		return err
	})
	return e, err
}

func (s *scanner) xtState() (x XtState, err error) {
	err = s.object([]string{"op", "hasState", "states", "invert", "others"}, func(key string) (err error) {
		switch key {
		case "op":
			_, err = s.raw()
		case "hasState":
			err = s.boolean(&x.HasState)
		case "states":
			err = s.number(&x.States)
		case "invert":
			err = s.boolean(&x.Invert)
		case "others":
			x.Others, err = s.texts(maxFields)
		}
		return err
	})
	return x, err
}

func (s *scanner) verdict(keys []string) (v Verdict, err error) {
	err = s.object(keys, func(key string) (err error) {
		switch key {
		case "op":
			_, err = s.raw()
		case "kind":
			var kind []byte
			kind, err = s.raw()
			v.Kind = VerdictKind(kind)
		case "chain":
			err = s.text(&v.Chain)
		case "with":
			err = s.text(&v.With)
		case "queue":
			err = s.text(&v.Queue)
		case "bypass":
			err = s.boolean(&v.Bypass)
		}
		return err
	})
	if err == nil && !v.Kind.known() {
		err = fmt.Errorf("decode ruleset: unknown verdict %.40q", v.Kind)
	}
	return v, err
}

func (k VerdictKind) known() bool {
	switch k {
	case Accept, Drop, Reject, Queue, Return, Jump, Goto, Continue:
		return true
	}
	return false
}

func (s *scanner) vmap() (v VMap, err error) {
	err = s.object([]string{"op", "fields", "set"}, func(key string) (err error) {
		switch key {
		case "op":
			_, err = s.raw()
		case "fields":
			v.Fields, err = s.operands()
		case "set":
			err = s.text(&v.Set)
		}
		return err
	})
	return v, err
}

func (s *scanner) assign() (a Assign, err error) {
	var field, from, and, xor string
	err = s.object([]string{"op", "field", "from", "and", "xor", "map"}, func(key string) (err error) {
		switch key {
		case "op":
			_, err = s.raw()
		case "field":
			err = s.text(&field)
		case "from":
			err = s.text(&from)
		case "and":
			err = s.text(&and)
		case "xor":
			err = s.text(&xor)
		case "map":
			err = s.text(&a.Map)
		}
		return err
	})
	if err != nil {
		return a, err
	}
	a.Field, a.From = Field(field), Field(from)
	if a.And, err = parseValue(a.Field.maskKind(), and); err == nil {
		a.Xor, err = parseValue(a.Field.maskKind(), xor)
	}
	return a, err
}

func (s *scanner) stmt() (st Stmt, err error) {
	err = s.object([]string{"op", "name", "args"}, func(key string) (err error) {
		switch key {
		case "op":
			_, err = s.raw()
		case "name":
			err = s.text(&st.Name)
		case "args":
			err = s.text(&st.Args)
		}
		return err
	})
	return st, err
}
