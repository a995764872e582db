// Package schematest generates the published JSON Schemas from the Go types and their comments, keeps the committed files
// up to date, and validates documents. Only tests import it: the program embeds the files.
package schematest

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gen "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

const (
	module = "github.com/ctaudit/ctaudit"
	base   = "https://github.com/ctaudit/ctaudit/schema/"
)

// Options describe one schema.
type Options struct {
	Name     string                             // last part of its $id: "report-1"
	Root     any                                // a value of the document's type
	Dirs     []string                           // packages whose comments describe it, from the module's root
	Types    map[reflect.Type]*gen.Schema       // types with a JSON form of their own
	Rewrite  func(name string, def *gen.Schema) // called for each definition; may be nil
	Optional func(property *gen.Schema) bool    // fields that may be missing though the encoder always writes them
	TypeName func(t reflect.Type) (name string) // "" takes the type's own name
	Enums    map[reflect.Type][]string          // closed sets of strings
}

// Generate returns the schema's text. It reads the sources below root for comments, and changes the test's folder to it.
func Generate(t *testing.T, root string, o Options) []byte {
	t.Helper()
	t.Chdir(root)
	r := &gen.Reflector{Anonymous: true, ExpandedStruct: true, Mapper: o.mapped, Namer: o.namer(t)}
	for _, dir := range o.Dirs {
		if err := r.AddGoComments(module, "./"+dir, gen.WithFullComment()); err != nil {
			t.Fatal(err)
		}
	}
	for k, v := range r.CommentMap {
		r.CommentMap[k] = oneLine(v)
	}
	s := r.Reflect(o.Root)
	s.ID = gen.ID(base + o.Name + ".json")
	o.finish(s)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// namer refuses two types of one name, of which the second would vanish behind the first.
func (o Options) namer(t *testing.T) func(reflect.Type) string {
	named := map[string]reflect.Type{}
	return func(typ reflect.Type) string {
		name := typ.Name()
		if o.TypeName != nil {
			name = o.TypeName(typ)
		}
		generic := strings.Contains(typ.Name(), "[") // a Value and its form share their name on purpose
		if other, ok := named[name]; ok && name != "" && other != typ && !generic {
			t.Errorf("%v and %v are both called %s in the schema", typ, other, name)
		}
		named[name] = typ
		return name
	}
}

func (o Options) mapped(t reflect.Type) *gen.Schema {
	if s, ok := o.Types[t]; ok {
		c := *s
		return &c
	}
	if values, ok := o.Enums[t]; ok {
		s := &gen.Schema{Type: "string"}
		for _, v := range values {
			s.Enum = append(s.Enum, v)
		}
		return s
	}
	switch t.Kind() {
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &gen.Schema{Type: "integer", Minimum: "0"}
	}
	return nil
}

func (o Options) finish(s *gen.Schema) {
	o.relax(s)
	for name, def := range s.Definitions {
		o.relax(def)
		if o.Rewrite != nil {
			o.Rewrite(name, def)
		}
	}
}

// relax takes optional properties out of a definition's required ones.
func (o Options) relax(def *gen.Schema) {
	if o.Optional == nil || def.Properties == nil {
		return
	}
	def.Required = slices.DeleteFunc(def.Required, func(name string) bool {
		p, ok := def.Properties.Get(name)
		return ok && o.Optional(p)
	})
}

var blanks = regexp.MustCompile(`\s+`)

// oneLine joins a comment's lines, and takes the brackets of doc links away.
func oneLine(s string) string {
	return strings.NewReplacer("[", "", "]", "").Replace(strings.TrimSpace(blanks.ReplaceAllString(s, " ")))
}

// UpToDate compares the committed file with the generated schema, or rewrites it.
func UpToDate(t *testing.T, path string, generated []byte, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, generated, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), string(generated)); diff != "" {
		t.Errorf("%s is not what the types say; go generate rewrites it (-file +types):\n%s", path, diff)
	}
}

// Validate checks a document against a schema.
func Validate(t *testing.T, schema, doc []byte) {
	t.Helper()
	if err := Check(t, schema, doc); err != nil {
		t.Errorf("the document breaks its schema: %v", err)
	}
}

// Check is Validate that returns what is wrong.
func Check(t *testing.T, schema, doc []byte) error {
	t.Helper()
	s, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", s); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Validate(v)
}

// Netfilter returns the closed sets of the ruleset's strings.
func Netfilter() map[reflect.Type][]string {
	return map[reflect.Type][]string{
		reflect.TypeFor[netfilter.Backend]():     {"iptables-legacy", "iptables-nft", "nftables"},
		reflect.TypeFor[netfilter.Family]():      {"ip", "ip6", "inet", "arp", "bridge", "netdev"},
		reflect.TypeFor[netfilter.Hook]():        {"ingress", "prerouting", "input", "forward", "output", "postrouting", "egress"},
		reflect.TypeFor[netfilter.ChainType]():   {"filter", "nat", "route"},
		reflect.TypeFor[netfilter.VerdictKind](): {"accept", "drop", "reject", "queue", "return", "jump", "goto", "continue"},
	}
}
