package policy

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ctaudit/ctaudit/internal/facts"
)

// Bounds of what a converter keeps: more than the nodes of a fleet have in common, and nothing that a hostile one could fill memory with.
const (
	maxKept     = 2048 // terms of a kind
	maxKeptText = 128  // bytes of a text in them
)

// converter turns facts into OPA's values of the JSON they would encode to, without going through text. Unlike encoding/json
// it writes nil lists and maps as empty ones, for a policy must never meet a null list. It knows the kinds that facts are
// made of, and panics on others: that is a programming error, found by the tests.
//
// The names of a map, and the settings of a kernel, are nearly the same on all nodes of a fleet. Their terms are kept: a term
// does not change, and stands for the same fact wherever that is found. It is safe for concurrent use.
type converter struct {
	fields   map[reflect.Type][]field
	mu       sync.Mutex
	names    map[string]*ast.Term
	settings map[facts.Fact[string]]*ast.Term
}

// field is a field of a struct.
type field struct {
	name      *ast.Term
	omitEmpty bool
}

func newConverter() *converter {
	c := &converter{
		fields: map[reflect.Type][]field{}, names: map[string]*ast.Term{}, settings: map[facts.Fact[string]]*ast.Term{},
	}
	c.learn(reflect.TypeFor[facts.Facts]())
	return c
}

// learn notes the fields of a type, and of those that it is made of.
func (c *converter) learn(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		c.learn(t.Elem())
	case reflect.Struct:
		if c.fields[t] != nil {
			return
		}
		all := make([]field, t.NumField())
		c.fields[t] = all
		for i := range all {
			name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			all[i] = field{ast.StringTerm(name), options == "omitempty"}
			c.learn(t.Field(i).Type)
		}
	}
}

func (c *converter) term(v reflect.Value) *ast.Term {
	switch v.Kind() {
	case reflect.String:
		return ast.StringTerm(v.String())
	case reflect.Bool:
		return ast.InternedTerm(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return ast.NewTerm(ast.Number(strconv.FormatInt(v.Int(), 10)))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return ast.NewTerm(ast.Number(strconv.FormatUint(v.Uint(), 10)))
	case reflect.Float32, reflect.Float64:
		return ast.NewTerm(ast.Number(strconv.FormatFloat(v.Float(), 'f', -1, 64)))
	case reflect.Pointer:
		if v.IsNil() {
			return ast.InternedNullTerm
		}
		return c.term(v.Elem())
	case reflect.Slice:
		return c.list(v)
	case reflect.Map:
		return c.mapping(v)
	case reflect.Struct:
		return c.structure(v)
	}
	panic(fmt.Sprintf("facts hold a %s, which policies cannot read", v.Type()))
}

func (c *converter) list(v reflect.Value) *ast.Term {
	terms := make([]*ast.Term, v.Len())
	for i := range terms {
		terms[i] = c.term(v.Index(i))
	}
	return ast.ArrayTerm(terms...)
}

func (c *converter) mapping(v reflect.Value) *ast.Term {
	pairs := make([][2]*ast.Term, 0, v.Len())
	if settings, ok := v.Interface().(map[string]facts.Fact[string]); ok {
		for name, f := range settings {
			pairs = append(pairs, [2]*ast.Term{c.name(name), c.setting(f)})
		}
		return ast.ObjectTerm(pairs...)
	}
	for all := v.MapRange(); all.Next(); {
		pairs = append(pairs, [2]*ast.Term{c.name(all.Key().String()), c.term(all.Value())})
	}
	return ast.ObjectTerm(pairs...)
}

func (c *converter) structure(v reflect.Value) *ast.Term {
	var room [24][2]*ast.Term
	pairs := room[:0]
	for i, f := range c.fields[v.Type()] {
		if f.omitEmpty && empty(v.Field(i)) {
			continue
		}
		pairs = append(pairs, [2]*ast.Term{f.name, c.term(v.Field(i))})
	}
	return ast.ObjectTerm(pairs...)
}

// name is the term of a map's key.
func (c *converter) name(s string) *ast.Term {
	c.mu.Lock()
	t := c.names[s]
	c.mu.Unlock()
	if t != nil {
		return t
	}
	s = strings.Clone(s) // not a part of what was read from the node, which would stay in memory with it
	t = ast.StringTerm(s)
	if len(s) <= maxKeptText {
		keep(c, c.names, s, t)
	}
	return t
}

// setting is the term of a kernel's setting.
func (c *converter) setting(f facts.Fact[string]) *ast.Term {
	c.mu.Lock()
	t := c.settings[f]
	c.mu.Unlock()
	if t != nil {
		return t
	}
	f.Value, f.Why, f.Hint = strings.Clone(f.Value), strings.Clone(f.Why), strings.Clone(f.Hint)
	t = c.structure(reflect.ValueOf(f))
	if len(f.Value)+len(f.Why)+len(f.Hint) <= maxKeptText {
		keep(c, c.settings, f, t)
	}
	return t
}

func keep[K comparable](c *converter, kept map[K]*ast.Term, key K, t *ast.Term) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(kept) < maxKept {
		kept[key] = t
	}
}

// empty is encoding/json's idea of a value to omit.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}
