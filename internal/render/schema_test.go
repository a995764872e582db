package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/render/sarif"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/report/schematest"
)

// schemaFile returns a public schema that the project does not carry: CTAUDIT_SCHEMA_DIR says where they lie. Without it the
// structural tests still run, and the skip says what was not done.
func schemaFile(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(given(t, "CTAUDIT_SCHEMA_DIR", "schemas", name), name)
}

// given returns the variable, or skips; a skip is a failure when CTAUDIT_REQUIRE names the feature. "all" does not count:
// neither the schemas nor the validator can be installed as a package.
func given(t *testing.T, variable, feature, what string) string {
	t.Helper()
	value := os.Getenv(variable)
	switch {
	case value != "":
	case strings.Contains(os.Getenv("CTAUDIT_REQUIRE"), feature):
		t.Fatalf("validation by %s is required, and %s is not set", what, variable)
	default:
		t.Skipf("validation by %s was not done: %s is not set", what, variable)
	}
	return value
}

// sample reports by name: the rich one, a clean one, and none at all.
func samples() map[string]*report.Report {
	empty := &report.Report{Tool: "ctaudit 0.1.0"}
	report.Finish(empty, report.DefaultPolicy())
	return map[string]*report.Report{"rich": rich(), "clean": clean(), "proved": proved(), "empty": empty}
}

func sarifOptions() map[string]Options {
	return map[string]Options{
		"plain":  {},
		"waived": {SARIF: sarif.Options{Waived: true, Category: "nodes/eu"}},
		"mapped": {SARIF: sarif.Options{
			Map: []sarif.Mapping{{Pattern: "CT-RST-*", Anchor: sarif.Anchor{Path: "roles/fire wall/tasks:main.yml", Line: 7}}}, Anchor: sarif.Anchor{Path: "README.md", Line: 1},
		}},
	}
}

func TestOwnSchemas(t *testing.T) {
	for name, r := range samples() {
		t.Run(name, func(t *testing.T) { schematest.Validate(t, report.Schema(), render(t, r, "json", Options{})) })
	}
	for _, a := range []report.Answer{exposed("eth0"), protected(), undecided(), {}} {
		report.FinishAnswer(&a)
		if a.Family == "" {
			a.Family = "ip"
		}
		var b bytes.Buffer
		if err := Trace(&b, &a, "json", Options{}); err != nil {
			t.Fatal(err)
		}
		schematest.Validate(t, report.TraceSchema(), b.Bytes())
	}
}

func TestSARIFSchema(t *testing.T) {
	schema, err := os.ReadFile(schemaFile(t, "sarif-schema-2.1.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range samples() {
		for kind, o := range sarifOptions() {
			t.Run(name+" "+kind, func(t *testing.T) { schematest.Validate(t, schema, render(t, r, "sarif", o)) })
		}
	}
}

func TestJUnitSchemas(t *testing.T) {
	for _, xsd := range []string{"junit-10.xsd", "windyroad.xsd"} {
		for name, r := range samples() {
			t.Run(xsd+" "+name, func(t *testing.T) {
				schema := schemaFile(t, xsd)
				doc := render(t, r, "junit", Options{})
				if err := xmllint(t, schema, doc); err != nil {
					t.Error(err)
				}
				bad := bytes.Replace(doc, []byte("</testsuites>"), []byte("<testcase/></testsuites>"), 1)
				if xmllint(t, schema, bad) == nil {
					t.Error("xmllint accepts a test case without a suite")
				}
			})
		}
	}
}

func xmllint(t *testing.T, schema string, doc []byte) error {
	t.Helper()
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Fatalf("CTAUDIT_SCHEMA_DIR is set, and xmllint (Debian: libxml2-utils) is not here: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "xmllint", "--noout", "--nonet", "--schema", schema, "-")
	cmd.Stdin = bytes.NewReader(doc)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// TestMultitool runs the SARIF SDK's own validator when CTAUDIT_MULTITOOL names its binary (hack/sarif-multitool.sh
// fetches it). It ends with status 0 whatever it finds, so its report is read.
func TestMultitool(t *testing.T) {
	tool := given(t, "CTAUDIT_MULTITOOL", "multitool", "the SARIF multitool")
	t.Run("finds what is wrong", func(t *testing.T) { // or its silence means nothing
		bad := bytes.ReplaceAll(render(t, rich(), "sarif", Options{}), []byte(`"startLine": 1`), []byte(`"startLine": 0`))
		if found := multitool(t, tool, bad); len(found) == 0 || found[0].level != "error" {
			t.Errorf("line 0: %v", found)
		}
	})
	check := func(name string, r *report.Report, o Options) {
		t.Run(name, func(t *testing.T) {
			for _, f := range multitool(t, tool, render(t, r, "sarif", o)) {
				t.Errorf("%s", f)
			}
		})
	}
	for kind, o := range sarifOptions() {
		check("rich "+kind, rich(), o)
	}
	check("clean", clean(), Options{})
}

// multitool returns the errors and warnings.
func multitool(t *testing.T, tool string, doc []byte) []multitoolFinding {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.sarif"), filepath.Join(dir, "out.sarif")
	if err := os.WriteFile(in, doc, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool, "validate", in, "--rule-kind", "Sarif;Ghas", "--log", "ForceOverwrite", "--output", out)
	cmd.Env = append(os.Environ(), "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1")
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	found, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return findings(t, found)
}

type multitoolFinding struct{ level, rule, text string }

func (f multitoolFinding) String() string { return fmt.Sprintf("%s %s: %s", f.level, f.rule, f.text) }

func findings(t *testing.T, doc []byte) []multitoolFinding {
	t.Helper()
	var log struct {
		Runs []struct {
			Results []struct {
				RuleID, Level string
				Message       struct {
					Text, ID  string
					Arguments []string
				}
			}
		}
	}
	if err := json.Unmarshal(bytes.TrimPrefix(doc, []byte("\ufeff")), &log); err != nil {
		t.Fatal(err)
	}
	if len(log.Runs) != 1 {
		t.Fatalf("the multitool wrote %d runs", len(log.Runs))
	}
	var out []multitoolFinding
	for _, r := range log.Runs[0].Results {
		level := r.Level
		if level == "" {
			level = "warning" // SARIF's default
		}
		out = append(out, multitoolFinding{level, r.RuleID, r.Message.Text + r.Message.ID + " " + strings.Join(r.Message.Arguments, " | ")})
	}
	return out
}
