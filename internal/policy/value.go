package policy

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// toValue converts facts to OPA's value of the JSON they would encode to, without going through text. Unlike
// encoding/json it writes nil lists and maps as empty ones, for a policy must never meet a null list. It knows the kinds
// that facts are made of, and panics on others: that is a programming error, found by the tests.
func toValue(v reflect.Value) ast.Value {
	switch v.Kind() {
	case reflect.String:
		return ast.String(v.String())
	case reflect.Bool:
		return ast.Boolean(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return ast.Number(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return ast.Number(strconv.FormatUint(v.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		return ast.Number(strconv.FormatFloat(v.Float(), 'f', -1, 64))
	case reflect.Pointer:
		if v.IsNil() {
			return ast.NullValue
		}
		return toValue(v.Elem())
	case reflect.Slice:
		return listValue(v)
	case reflect.Map:
		return mapValue(v)
	case reflect.Struct:
		return structValue(v)
	}
	panic(fmt.Sprintf("facts hold a %s, which policies cannot read", v.Type()))
}

func listValue(v reflect.Value) ast.Value {
	terms := make([]*ast.Term, v.Len())
	for i := range terms {
		terms[i] = ast.NewTerm(toValue(v.Index(i)))
	}
	return ast.NewArray(terms...)
}

func mapValue(v reflect.Value) ast.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	pairs := make([][2]*ast.Term, len(keys))
	for i, k := range keys {
		pairs[i] = [2]*ast.Term{ast.StringTerm(k.String()), ast.NewTerm(toValue(v.MapIndex(k)))}
	}
	return ast.NewObject(pairs...)
}

func structValue(v reflect.Value) ast.Value {
	pairs := make([][2]*ast.Term, 0, v.NumField())
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if options == "omitempty" && empty(v.Field(i)) {
			continue
		}
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm(name), ast.NewTerm(toValue(v.Field(i)))})
	}
	return ast.NewObject(pairs...)
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
