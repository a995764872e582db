package policy

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/tester"
)

// policyDir is the folder of package policies, whose tests are not embedded.
const policyDir = "../../policies"

// minCoverage is the share of policy lines, in percent, that the Rego tests must reach.
const minCoverage = 95

// sources returns every Rego file below policyDir by its path there.
func sources(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(policyDir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".rego" {
			return err
		}
		text, err := os.ReadFile(name)
		rel, _ := filepath.Rel(policyDir, name)
		out[rel] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func parsedSources(t *testing.T) map[string]*ast.Module {
	t.Helper()
	out := map[string]*ast.Module{}
	for name, text := range sources(t) {
		m, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		out[name] = m
	}
	return out
}

// TestRego runs the tests beside the policies and holds their coverage.
func TestRego(t *testing.T) {
	modules := parsedSources(t)
	tracer := cover.New()
	runner := tester.NewRunner().SetModules(modules).RaiseBuiltinErrors(true).SetCoverageQueryTracer(tracer).SetTimeout(time.Minute)
	results, err := runner.RunTests(context.Background(), nil)
	if err != nil {
		t.Fatal(explain(err))
	}
	n := 0
	for r := range results {
		n++
		if !r.Pass() {
			t.Errorf("%s: %s", r.Location, r)
		}
	}
	policies := map[string]*ast.Module{}
	for name, m := range modules {
		if !strings.HasSuffix(name, "_test.rego") {
			policies[name] = m
		}
	}
	report := tracer.Report(policies)
	t.Logf("%d Rego tests, %.1f %% of the policies' lines", n, report.Coverage)
	if report.Coverage < minCoverage {
		t.Errorf("coverage of the policies is %.1f %%, below %d %%", report.Coverage, minCoverage)
	}
	for name, file := range report.Files {
		for _, gap := range file.NotCovered {
			t.Logf("not covered: %s:%d-%d", name, gap.Start.Row, gap.End.Row)
		}
	}
}

// TestRegoCompilesStrictly compiles policies and tests with every stage of the compiler: what a scan skips is proven here.
func TestRegoCompilesStrictly(t *testing.T) {
	caps := capabilities()
	policies, all := map[string]*ast.Module{}, parsedSources(t)
	for name, m := range parsedSources(t) {
		if !strings.HasSuffix(name, "_test.rego") {
			policies[name] = m
		}
	}
	c := ast.NewCompiler().WithCapabilities(caps).WithStrict(true)
	if c.Compile(policies); c.Failed() {
		t.Error(explain(c.Errors))
	}
	c = ast.NewCompiler().WithStrict(true)
	if c.Compile(all); c.Failed() {
		t.Error(explain(c.Errors))
	}
}

func TestRegoIsFormatted(t *testing.T) {
	for name, text := range sources(t) {
		want, err := format.SourceWithOpts(name, text, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(text, want) {
			if os.Getenv("CTAUDIT_UPDATE") != "" {
				if err := os.WriteFile(filepath.Join(policyDir, name), want, 0o644); err != nil {
					t.Error(err)
				}
				continue
			}
			t.Errorf("policies/%s is not formatted (CTAUDIT_UPDATE=1 go test -run Formatted ./internal/policy)%s", name, firstDifference(text, want))
		}
	}
}

func firstDifference(got, want []byte) string {
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("\nline %d: %q\n   want: %q", i+1, g[i], w[i])
		}
	}
	return ""
}
