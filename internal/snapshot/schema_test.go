package snapshot

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	gen "github.com/invopop/jsonschema"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report/schematest"
)

func TestPublishedSchema(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	o := schematest.Options{
		Name: "snapshot-1", Root: Document{}, Dirs: []string{"internal/snapshot", "internal/netfilter"},
		Types: netfilterTypes(), Enums: schematest.Netfilter(), TypeName: definitionName, Rewrite: valueDefinition,
		Optional: func(p *gen.Schema) bool { return strings.HasPrefix(p.Ref, "#/$defs/ValueOf") },
	}
	o.Enums[reflect.TypeFor[Status]()] = []string{"ok", "partial", "unreadable", "absent"}
	schematest.UpToDate(t, filepath.Join(here, "snapshot.schema.json"), schematest.Generate(t, filepath.Join(here, "../.."), o), *update)
}

func TestSchemaAcceptsWhatIsWritten(t *testing.T) {
	schematest.Validate(t, Schema(), encode(t, sample()))
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded document: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		schematest.Validate(t, Schema(), b)
	}
}

// TestSchemaRefuses: the schema draws the same lines as the decoder.
func TestSchemaRefuses(t *testing.T) {
	good := encode(t, sample())
	for name, edit := range map[string][2]string{
		"unknown field": {`"vendor"`, `"vender"`}, "wrong type": {`"cpus": {"value": 0}`, `"cpus": {"value": "0"}`},
		"two forms": {`{"value": 0}`, `{"value": 0, "absent": true}`}, "no form": {`{"value": 0}`, `{}`},
		"absent false": {`{"absent": true}`, `{"absent": false}`}, "null list": {`"modules": {"value": []}`, `"modules": {"value": null}`},
		"op": {`"op": "match"`, `"op": "mash"`}, "op field": {`"op": "ext", "name"`, `"op": "ext", "nome"`}, "version": {`"version": 1`, `"version": 2`},
	} {
		bad := bytes.Replace(good, []byte(edit[0]), []byte(edit[1]), 1)
		if bytes.Equal(bad, good) {
			t.Fatalf("%s: the sample has no %s", name, edit[0])
		}
		if schematest.Check(t, Schema(), bad) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
		if _, err := Decode(bytes.NewReader(bad)); err == nil {
			t.Errorf("%s: the decoder accepts it", name)
		}
	}
}

var packagePath = regexp.MustCompile(`[\w./-]*/`)

// definitionName names a generic type's definition: Value[[]Link] is ValueOfListOfLink.
func definitionName(t reflect.Type) string {
	name, arg, ok := strings.Cut(t.Name(), "[")
	switch {
	case t == reflect.TypeFor[netfilter.Counters]():
		return "RuleCounters" // the document has Counters of its own
	case !ok:
		return t.Name()
	}
	arg = packagePath.ReplaceAllString(strings.TrimSuffix(arg, "]"), "")
	arg = arg[strings.LastIndex(arg, ".")+1:] + "\x00" + arg // the last name, with the whole for its shape
	elem, whole, _ := strings.Cut(arg, "\x00")
	switch {
	case strings.HasPrefix(whole, "[]"):
		elem = "ListOf" + title(strings.TrimPrefix(elem, "[]"))
	case strings.HasPrefix(whole, "map["):
		elem = "MapOf" + title(elem[strings.Index(elem, "]")+1:])
	}
	return strings.ReplaceAll(title(name), "ValueForm", "Value") + "Of" + title(elem)
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// valueDefinition writes a Value's definition as what it is: one of three forms.
func valueDefinition(name string, def *gen.Schema) {
	if !strings.HasPrefix(name, "ValueOf") {
		return
	}
	value, _ := def.Properties.Get("value")
	form := func(required string, properties map[string]*gen.Schema, order ...string) *gen.Schema {
		s := &gen.Schema{Type: "object", Properties: gen.NewProperties(), Required: []string{required}, AdditionalProperties: gen.FalseSchema}
		for _, p := range order {
			s.Properties.Set(p, properties[p])
		}
		return s
	}
	one := uint64(1)
	all := map[string]*gen.Schema{
		"value": value, "absent": {Const: true}, "unreadable": {Type: "string", MinLength: &one}, "hint": {Type: "string"},
	}
	*def = gen.Schema{
		Description: "what was read; or absent: looked for, and not there; or unreadable: why, and how to provide it",
		OneOf:       []*gen.Schema{form("value", all, "value"), form("absent", all, "absent"), form("unreadable", all, "unreadable", "hint")},
	}
}

// netfilterTypes are the types that netfilter encodes itself (internal/netfilter/codec_*.go).
func netfilterTypes() map[reflect.Type]*gen.Schema {
	text := func(d string) *gen.Schema { return &gen.Schema{Type: "string", Description: d} }
	interval := text(`a value, a prefix or both ends: "6", "10.0.0.0/8", "1024-65535", "eth*"`)
	value := text(`an address, a name or a number: "10.0.0.1", "eth0", "0x1"`)
	list := func(items *gen.Schema) *gen.Schema { return &gen.Schema{Type: "array", Items: items} }
	flag := &gen.Schema{Type: "boolean"}
	verdict := fields{{"kind", enum(schematest.Netfilter()[reflect.TypeFor[netfilter.VerdictKind]()])}, {"chain?", text("")}, {"with?", text("")}, {"queue?", text("")}, {"bypass?", flag}}
	operands := list(fields{{"field", text("in nft's words")}, {"mask?", value}, {"xor?", value}}.object())
	element := fields{{"key", list(interval)}, {"verdict?", verdict.object()}, {"data?", list(value)}}.object()
	op := func(name string, f ...field) *gen.Schema {
		return append(fields{{"op", &gen.Schema{Const: name}}}, f...).object()
	}
	ops := []*gen.Schema{
		op("match", field{"fields", operands}, field{"in?", list(interval)}, field{"set?", text("")}, field{"invert?", flag}),
		op("ext", field{"name?", text("")}, field{"args?", text("")}, field{"invert?", flag}),
		op("xtstate", field{"hasState", flag}, field{"states?", &gen.Schema{Type: "integer", Minimum: "0"}}, field{"invert?", flag}, field{"others?", list(text(""))}),
		op("verdict", verdict...),
		op("vmap", field{"fields", operands}, field{"set?", text("")}),
		op("assign", field{"field?", text("")}, field{"from?", text("")}, field{"and", value}, field{"xor", value}, field{"map?", text("")}),
		op("stmt", field{"name?", text("")}, field{"args?", text("")}),
	}
	return map[reflect.Type]*gen.Schema{
		reflect.TypeFor[netfilter.Ops](): {Type: "array", Items: &gen.Schema{OneOf: ops}, Description: "what the rule does, step by step"},
		reflect.TypeFor[netfilter.Set](): fields{
			{"name", text("")},
			{"types?", list(text("nft's names of the key's types"))},
			{"dataTypes?", list(text(""))},
			{"map?", flag},
			{"verdicts?", flag},
			{"dynamic?", flag},
			{"elements?", list(element)},
			{"catchAll?", element},
			{"incomplete?", text("why the content is not known")},
		}.object(),
	}
}

type field struct {
	name   string // with "?" when it may be missing
	schema *gen.Schema
}

type fields []field

func (f fields) object() *gen.Schema {
	s := &gen.Schema{Type: "object", Properties: gen.NewProperties(), AdditionalProperties: gen.FalseSchema}
	for _, x := range f {
		name, optional := strings.CutSuffix(x.name, "?")
		s.Properties.Set(name, x.schema)
		if !optional {
			s.Required = append(s.Required, name)
		}
	}
	return s
}

func enum(values []string) *gen.Schema {
	s := &gen.Schema{Type: "string"}
	for _, v := range values {
		s.Enum = append(s.Enum, v)
	}
	return s
}
