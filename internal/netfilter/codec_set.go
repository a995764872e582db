package netfilter

import "fmt"

// UnmarshalJSON reads what MarshalJSON writes, as strictly as Ops.UnmarshalJSON.
func (t *Set) UnmarshalJSON(b []byte) error {
	s := &scanner{b: b}
	if s.null() {
		return s.end()
	}
	var out Set
	var elements []rawElement
	var catchAll *rawElement
	keys := []string{"name", "types", "dataTypes", "map", "verdicts", "dynamic", "elements", "catchAll", "incomplete"}
	err := s.object(keys, func(key string) (err error) {
		switch key {
		case "elements":
			elements, err = s.elements()
		case "catchAll":
			catchAll = &rawElement{}
			*catchAll, err = s.element()
		default:
			err = s.setField(key, &out)
		}
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = out.fill(elements, catchAll)
	}
	if err == nil {
		*t = out
	}
	return err
}

func (s *scanner) setField(key string, t *Set) (err error) {
	switch key {
	case "name":
		err = s.text(&t.Name)
	case "types":
		t.Types, err = s.texts(maxFields)
	case "dataTypes":
		t.DataTypes, err = s.texts(maxFields)
	case "map":
		err = s.boolean(&t.Map)
	case "verdicts":
		err = s.boolean(&t.Verdicts)
	case "dynamic":
		err = s.boolean(&t.Dynamic)
	case "incomplete":
		err = s.text(&t.Incomplete)
	}
	return err
}

// rawElement is an element before the set's types are known.
type rawElement struct {
	key     [][]byte
	verdict *Verdict
	data    [][]byte
}

func (s *scanner) elements() (list []rawElement, err error) {
	err = s.array(maxElements, func() error {
		e, err := s.element()
		list = append(list, e)
		return err
	})
	return list, err
}

func (s *scanner) element() (e rawElement, err error) {
	err = s.object([]string{"key", "verdict", "data"}, func(key string) (err error) {
		switch key {
		case "key":
			e.key, err = s.raws()
		case "data":
			e.data, err = s.raws()
		case "verdict":
			var v Verdict
			v, err = s.verdict([]string{"kind", "chain", "with", "queue", "bypass"})
			e.verdict = &v
		}
		return err
	})
	return e, err
}

func (s *scanner) raws() (list [][]byte, err error) {
	err = s.array(maxFields, func() error {
		raw, err := s.raw()
		list = append(list, raw)
		return err
	})
	return list, err
}

// fill converts the raw elements by the set's types.
func (t *Set) fill(raw []rawElement, catchAll *rawElement) error {
	if len(raw) > 0 {
		t.Elements = make([]Element, len(raw))
	}
	for i := range raw {
		e, err := t.convert(&raw[i])
		if err != nil {
			return err
		}
		t.Elements[i] = e
	}
	if catchAll == nil {
		return nil
	}
	e, err := t.convert(catchAll)
	t.CatchAll = &e
	return err
}

func (t *Set) convert(r *rawElement) (e Element, err error) {
	e.Verdict = r.verdict
	if e.Key, err = intervals(r.key, kindsOf(t.Types)); err != nil {
		return e, fmt.Errorf("set %q: %w", t.Name, err)
	}
	kind := kindsOf(t.DataTypes)
	for i, d := range r.data {
		v, err := parseValue(kind(i), string(d))
		if err != nil {
			return e, fmt.Errorf("set %q: %w", t.Name, err)
		}
		e.Data = append(e.Data, v)
	}
	return e, nil
}
