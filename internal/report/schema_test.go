package report_test

import (
	"encoding/json"
	"flag"
	"maps"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/report/schematest"
)

var update = flag.Bool("update", false, "rewrite generated files")

func TestPublishedSchemas(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for file, o := range map[string]schematest.Options{
		"report.schema.json": {Name: "report-1", Root: report.Report{}},
		"trace.schema.json":  {Name: "trace-1", Root: report.Trace{}},
	} {
		o.Dirs = []string{"internal/report", "internal/netfilter"}
		o.Enums = schematest.Netfilter()
		maps.Copy(o.Enums, map[reflect.Type][]string{
			reflect.TypeFor[report.Outcome]():    {"pass", "fail", "not-applicable", "unknown", "waived"},
			reflect.TypeFor[report.Severity]():   {"info", "low", "medium", "high", "critical", "none"},
			reflect.TypeFor[report.HostStatus](): {"complete", "incomplete", "error"},
			reflect.TypeFor[report.State]():      {"exposed", "protected", "undecided", "not-concerned"},
		})
		schematest.UpToDate(t, filepath.Join(here, file), schematest.Generate(t, filepath.Join(here, "../.."), o), *update)
	}
}

func TestReportSchemaRefuses(t *testing.T) {
	r := &report.Report{Tool: "ctaudit test", Hosts: []report.Host{{Name: "a", Results: []report.Result{{Control: "CT-A", Outcome: report.Pass, Severity: report.Low}}}}}
	report.Finish(r, report.DefaultPolicy())
	good := map[string]any{}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	schematest.Validate(t, report.Schema(), b)
	for name, breakIt := range map[string]func(host, result map[string]any){
		"outcome":  func(_, result map[string]any) { result["outcome"] = "perhaps" },
		"severity": func(_, result map[string]any) { delete(result, "severity") },
		"status":   func(host, _ map[string]any) { host["status"] = 7 },
		"unknown":  func(host, _ map[string]any) { host["extra"] = 1 },
		"null":     func(host, _ map[string]any) { host["results"] = nil },
	} {
		if err := json.Unmarshal(b, &good); err != nil {
			t.Fatal(err)
		}
		host := good["hosts"].([]any)[0].(map[string]any)
		breakIt(host, host["results"].([]any)[0].(map[string]any))
		bad, err := json.Marshal(good)
		if err != nil {
			t.Fatal(err)
		}
		if schematest.Check(t, report.Schema(), bad) == nil {
			t.Errorf("%s: the schema accepts\n%s", name, bad)
		}
	}
}
