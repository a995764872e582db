package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/report"
)

// readFacts reads testdata/facts/NAME.json strictly: a field that facts no longer has is an error.
func readFacts(t testing.TB, name string) facts.Facts {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "facts", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var f facts.Facts
	if err := dec.Decode(&f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

func load(t testing.TB, opts Options) *Engine {
	t.Helper()
	e, err := Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func nodes(t *testing.T) []string {
	files, err := filepath.Glob("testdata/facts/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no facts in testdata", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	return files
}

// TestGolden judges typical nodes; CTAUDIT_UPDATE=1 writes what they give now.
func TestGolden(t *testing.T) {
	e := load(t, Options{})
	for _, name := range nodes(t) {
		t.Run(name, func(t *testing.T) {
			results, err := e.Evaluate(context.Background(), readFacts(t, name))
			if err != nil {
				t.Fatal(err)
			}
			checkContract(t, e, results)
			golden := filepath.Join("testdata", "golden", name+".txt")
			got := render(results)
			if os.Getenv("CTAUDIT_UPDATE") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// checkContract holds what every reader of results relies on.
func checkContract(t *testing.T, e *Engine, results []report.Result) {
	t.Helper()
	spoke, prints, last := map[string]bool{}, map[string]string{}, ""
	for _, r := range results {
		spoke[r.Control] = true
		if other, ok := prints[r.Fingerprint]; ok {
			t.Errorf("%s %q has the fingerprint of %s", r.Control, r.Subject, other)
		}
		prints[r.Fingerprint] = r.Control + " " + r.Subject
		if key := r.Control + "\x00" + r.Subject; key <= last {
			t.Errorf("%s %q is out of order", r.Control, r.Subject)
		} else {
			last = key
		}
		if r.Outcome == report.Unknown && r.Hint == "" && r.Control != "CT-META-080" {
			t.Errorf("%s %q is unknown without a hint", r.Control, r.Subject)
		}
		if r.Evidence == nil {
			t.Errorf("%s %q: evidence is nil", r.Control, r.Subject)
		}
	}
	for _, c := range e.Controls() {
		if !spoke[c.ID] {
			t.Errorf("%s said nothing", c.ID)
		}
	}
}

func render(results []report.Result) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%s %s %s %q\n    %q\n", r.Control, r.Outcome, r.Severity, r.Subject, r.Message)
		for _, e := range r.Evidence {
			fmt.Fprintf(&b, "    %s %q: %q\n", e.Kind, e.Name, e.Value)
		}
		if r.Fix != "" {
			fmt.Fprintf(&b, "    fix %q\n", r.Fix)
		}
		if r.Hint != "" {
			fmt.Fprintf(&b, "    hint %q\n", r.Hint)
		}
	}
	return b.String()
}

// TestFactsConvertAsJSON compares the direct conversion with the way through JSON text.
func TestFactsConvertAsJSON(t *testing.T) {
	values := newConverter()
	for _, name := range nodes(t) {
		f := readFacts(t, name)
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ast.ValueFromReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got := values.term(reflect.ValueOf(f)).Value
		if diff := cmp.Diff(plain(t, want), plain(t, got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// plain is a value as Go's, with empty lists and objects as null: encoding/json writes nil ones so.
func plain(t *testing.T, v ast.Value) any {
	x, err := ast.JSON(v)
	if err != nil {
		t.Fatal(err)
	}
	var strip func(any) any
	strip = func(x any) any {
		switch x := x.(type) {
		case []any:
			for i := range x {
				x[i] = strip(x[i])
			}
			if len(x) == 0 {
				return nil
			}
		case map[string]any:
			for k := range x {
				x[k] = strip(x[k])
			}
			if len(x) == 0 {
				return nil
			}
		}
		return x
	}
	return strip(x)
}

// TestNilListsAreEmpty: a policy never meets null where the contract says list, and zero facts are judged too.
func TestNilListsAreEmpty(t *testing.T) {
	obj := newConverter().term(reflect.ValueOf(facts.Facts{})).Value.(ast.Object)
	for _, name := range []string{"exposure", "drops", "containers", "uplinks", "missing"} {
		if list, ok := obj.Get(ast.StringTerm(name)).Value.(*ast.Array); !ok || list.Len() != 0 {
			t.Errorf("%s is %v", name, obj.Get(ast.StringTerm(name)))
		}
	}
	e := load(t, Options{})
	results, err := e.Evaluate(context.Background(), facts.Facts{Host: "empty"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Outcome == report.Pass && r.Control != "CT-META-080" && !strings.HasPrefix(r.Control, "CT-LIB-036") {
			t.Errorf("%s passes without any fact: %s", r.Control, r.Message)
		}
	}
}

// TestFingerprints: they follow host, control and subject, and nothing that was observed.
func TestFingerprints(t *testing.T) {
	e := load(t, Options{})
	f := readFacts(t, "docker-exposed")
	first, err := e.Evaluate(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	f.Kernel.Fix = "none"
	f.Exposure[0].DecidedBy = nil
	second, err := e.Evaluate(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first {
		if first[i].Fingerprint != second[i].Fingerprint {
			t.Errorf("%s %q: the fingerprint changed with what was observed", first[i].Control, first[i].Subject)
		}
	}
	f.Host = "node2"
	third, err := e.Evaluate(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	if third[0].Fingerprint == first[0].Fingerprint {
		t.Error("two hosts share a fingerprint")
	}
}

func TestEvaluateIsSafeForConcurrentUse(t *testing.T) {
	e := load(t, Options{})
	f := readFacts(t, "drops-that-fail")
	want, err := e.Evaluate(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := e.Evaluate(context.Background(), f)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	wg.Wait()
}

func TestEvaluateStopsWithItsContext(t *testing.T) {
	e := load(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Evaluate(ctx, readFacts(t, "docker-exposed")); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("error is %v", err)
	}
}

// TestUndecidedExposureIsNoPass: where the evaluator's budget ran out, no check of exposure passes or fails.
func TestUndecidedExposureIsNoPass(t *testing.T) {
	const why = "the ruleset is too complex to be decided within the budget"
	e := load(t, Options{})
	before := 0
	for _, name := range nodes(t) {
		f := readFacts(t, name)
		for i := range f.Exposure {
			x := &f.Exposure[i]
			x.Verdict, x.Reset, x.Protected, x.Exposed, x.DependsOn = "depends", "depends", false, false, []string{why}
		}
		results, err := e.Evaluate(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if !strings.Contains(render([]report.Result{r}), why) {
				continue
			}
			before++
			if r.Outcome != report.Unknown {
				t.Errorf("%s: %s is %s, and depends on the budget", name, r.Control, r.Outcome)
			}
		}
	}
	if before == 0 {
		t.Error("no result says why it is unknown")
	}
}

// TestKeptTermsAreBounded: nodes that share nothing, and one with long texts, neither fill memory nor get another's values.
func TestKeptTermsAreBounded(t *testing.T) {
	values := newConverter()
	for i := range 2 * maxKept {
		f := facts.Facts{Sysctl: map[string]facts.Fact[string]{
			fmt.Sprintf("net.key%d", i):                 {Known: true, Value: fmt.Sprint(i)},
			strings.Repeat("k", maxKeptText+1):          {Known: true, Value: strings.Repeat("v", i)},
			"net.netfilter.nf_conntrack_tcp_be_liberal": {Why: fmt.Sprint("why ", i%2)},
		}}
		got, err := ast.JSON(values.term(reflect.ValueOf(f.Sysctl)).Value)
		if err != nil {
			t.Fatal(err)
		}
		for key, fact := range f.Sysctl {
			want := map[string]any{"known": fact.Known, "value": fact.Value}
			if fact.Why != "" {
				want["why"] = fact.Why
			}
			if diff := cmp.Diff(want, got.(map[string]any)[key]); diff != "" {
				t.Fatal(i, key, diff)
			}
		}
	}
	if len(values.names) != maxKept || len(values.settings) != maxKept {
		t.Errorf("%d names and %d settings are kept", len(values.names), len(values.settings))
	}
}

// TestEntryPoint: data.ctaudit.results, which others ask with OPA, says what the engine says.
func TestEntryPoint(t *testing.T) {
	e := load(t, Options{})
	for _, name := range nodes(t) {
		f := readFacts(t, name)
		want, err := e.Evaluate(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		set, err := rego.New(rego.Query("data.ctaudit.results"), rego.Compiler(e.compiler), rego.StrictBuiltinErrors(true),
			rego.ParsedInput(e.values.term(reflect.ValueOf(f)).Value)).Eval(context.Background())
		if err != nil || len(set) != 1 {
			t.Fatal(set, err)
		}
		all, n := set[0].Expressions[0].Value.(map[string]any), 0
		for _, list := range all {
			n += len(list.([]any))
		}
		if len(all) != len(e.controls) || n != len(want) {
			t.Errorf("%s: %d results of %d controls, not %d of %d", name, n, len(all), len(want), len(e.controls))
		}
		for _, r := range want {
			if !slices.ContainsFunc(all[r.Control].([]any), func(v any) bool {
				o := v.(map[string]any)
				return o["outcome"] == string(r.Outcome) && o["message"] == r.Message && (len(all[r.Control].([]any)) > 1 || o["subject"] == r.Subject)
			}) {
				t.Errorf("%s: %s %s: not in %v", name, r.Control, r.Message, all[r.Control])
			}
		}
	}
}
