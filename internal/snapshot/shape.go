package snapshot

import (
	"bytes"
	"encoding"
	stdjson "encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// checkShape requires what decoding into Go types forgives: every field that the encoder always writes is there, and null
// stands nowhere. A ruleset without its "tables", or a policy that is null, must not read as an empty one.
func checkShape(b []byte, t reflect.Type) error {
	c := &shape{
		dec:     jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowInvalidUTF8(true)),
		structs: map[reflect.Type]*structShape{},
	}
	return c.value(t)
}

type shape struct {
	dec     *jsontext.Decoder
	structs map[reflect.Type]*structShape
}

// structShape is what a struct's object holds. Required fields carry their bit in need.
type structShape struct {
	fields map[string]fieldShape
	need   uint64
	names  []string // by bit
}

type fieldShape struct {
	typ reflect.Type
	bit int
}

// formed is a type whose JSON is another type's.
type formed interface{ JSONSchemaAlias() any }

func (c *shape) value(t reflect.Type) error {
	if c.dec.PeekKind() == jsontext.KindNull {
		return fmt.Errorf("%s: null where %s is expected", c.pointer(), typeName(t))
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return c.value(t.Elem())
	case t.Implements(reflect.TypeFor[formed]()):
		return c.value(reflect.TypeOf(reflect.Zero(t).Interface().(formed).JSONSchemaAlias()))
	case ownJSON(t):
		return c.dec.SkipValue()
	}
	kind := c.dec.PeekKind()
	switch {
	case t.Kind() == reflect.Struct && kind == jsontext.KindBeginObject:
		return c.object(t)
	case t.Kind() == reflect.Map && kind == jsontext.KindBeginObject:
		return c.members(func(string) (reflect.Type, error) { return t.Elem(), nil })
	case t.Kind() == reflect.Slice && kind == jsontext.KindBeginArray:
		return c.list(t.Elem())
	}
	if kind == jsontext.KindString {
		return c.text()
	}
	return c.dec.SkipValue() // another scalar, or a wrong type, which decoding refuses with better words
}

// maxText bounds one string, in bytes as JSON writes it. The longest that a node can show is a rule's text (64 KiB from
// iptables, and nft's with the elements of an anonymous set); reports repeat such texts.
const maxText = 1 << 20

func (c *shape) text() error {
	v, err := c.dec.ReadValue()
	if err == nil && len(v) > maxText {
		err = fmt.Errorf("%s: a string of %d bytes, more than %d", c.pointer(), len(v), maxText)
	}
	return err
}

func (c *shape) object(t reflect.Type) error {
	s := c.shapeOf(t)
	at := c.pointer()
	var seen uint64
	err := c.members(func(name string) (reflect.Type, error) {
		f, ok := s.fields[name]
		if !ok {
			return nil, fmt.Errorf("%s: unknown field", c.pointer())
		}
		seen |= 1 << f.bit
		return f.typ, nil
	})
	if err != nil {
		return err
	}
	for i, name := range s.names {
		if s.need&^seen&(1<<i) != 0 {
			return fmt.Errorf("%s: no field %q", at, name)
		}
	}
	return nil
}

func (c *shape) members(typ func(name string) (reflect.Type, error)) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	for c.dec.PeekKind() != jsontext.KindEndObject {
		name, err := c.dec.ReadToken()
		if err != nil {
			return err
		}
		t, err := typ(name.String())
		if err != nil {
			return err
		}
		if err := c.value(t); err != nil {
			return err
		}
	}
	_, err := c.dec.ReadToken()
	return err
}

func (c *shape) list(elem reflect.Type) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	for c.dec.PeekKind() != jsontext.KindEndArray {
		if err := c.value(elem); err != nil {
			return err
		}
	}
	_, err := c.dec.ReadToken()
	return err
}

func (c *shape) pointer() string { return place(c.dec.StackPointer()) }

func (c *shape) shapeOf(t reflect.Type) *structShape {
	if s, ok := c.structs[t]; ok {
		return s
	}
	s := &structShape{fields: map[string]fieldShape{}}
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		bit := len(s.names)
		s.fields[name] = fieldShape{f.Type, bit}
		s.names = append(s.names, name)
		// A Value that is not there was not collected, which is what its zero says: later collectors add such fields.
		if !strings.Contains(opts, "omitempty") && !f.Type.Implements(reflect.TypeFor[formed]()) {
			s.need |= 1 << bit
		}
	}
	c.structs[t] = s
	return s
}

// ownJSON reports whether the type reads its own JSON.
func ownJSON(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[stdjson.Unmarshaler]()) || p.Implements(reflect.TypeFor[json.UnmarshalerFrom]()) ||
		p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
