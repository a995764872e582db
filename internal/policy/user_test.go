package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/report"
)

const header = `# METADATA
# title: Uplinks are named by the site's scheme
# description: Uplinks begin with "up".
# custom:
#   severity: low
#   remediation: Rename the interface.
`

const site = header + `package control.site["ORG-SITE-001"]

`

const always = `results contains {"outcome": "pass", "subject": "node", "message": "Fine.", "evidence": []}
`

// write makes a policy folder of the files, by name.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func find(controls []report.Control, id string) *report.Control {
	for i := range controls {
		if controls[i].ID == id {
			return &controls[i]
		}
	}
	return nil
}

func TestUserAddsAControl(t *testing.T) {
	dir := write(t, map[string]string{
		"site/policy.rego": site + `import data.lib.result
import data.site.names

results contains result.fail(u.name, "The uplink has a name of its own.", {"evidence": []}) if {
	some u in input.uplinks
	not names.ours(u.name)
}

results contains result.pass("node", "All uplinks are named by the scheme.", []) if {
	every u in input.uplinks {
		names.ours(u.name)
	}
}
`,
		"site/README.md":        "# ORG-SITE-001: ours\n",
		"site/policy_test.rego": "this is not Rego, and not read",
		"names.rego":            "package site.names\n\nours(name) if startswith(name, \"up\")\n",
	})
	e := load(t, Options{Dir: dir})
	c := find(e.Controls(), "ORG-SITE-001")
	if c == nil || c.Source != filepath.Join(dir, "site/policy.rego") || c.Help != "# ORG-SITE-001: ours\n" || c.Area != "site" {
		t.Fatalf("control is %+v", c)
	}
	results, err := e.Evaluate(context.Background(), readFacts(t, "docker-exposed"))
	if err != nil {
		t.Fatal(err)
	}
	last := results[len(results)-1]
	if last.Control != "ORG-SITE-001" || last.Outcome != report.Fail || last.Severity != report.Low || last.Subject != "eth0" {
		t.Errorf("last result is %+v", last)
	}
}

func TestUserOverridesAControl(t *testing.T) {
	text := strings.Replace(site, `control.site["ORG-SITE-001"]`, `control.rst["CT-RST-001"]`, 1)
	dir := write(t, map[string]string{"mine.rego": text + always})
	e := load(t, Options{Dir: dir})
	if c := find(e.Controls(), "CT-RST-001"); c == nil || !strings.HasSuffix(c.Source, "mine.rego") || c.Severity != report.Low {
		t.Fatalf("control is %+v", c)
	}
	if got, want := len(e.Controls()), len(load(t, Options{}).Controls()); got != want {
		t.Errorf("%d controls, want %d", got, want)
	}
	results, err := e.Evaluate(context.Background(), readFacts(t, "docker-exposed"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Control == "CT-RST-001" && r.Outcome != report.Pass {
			t.Errorf("the embedded control still speaks: %+v", r)
		}
	}
}

func TestUserPolicyThatDoesNotLoad(t *testing.T) {
	for name, tt := range map[string]struct{ file, want string }{
		"not Rego":          {"package control.site[\"ORG-SITE-001\"]\n\nresults contains {", "policy.rego:3: "},
		"old Rego":          {"package control.site[\"ORG-SITE-001\"]\n\nresults[x] { x := 1 }", "hint: the file is read as Rego v1"},
		"http.send":         {site + "x := http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"})\n" + always, "hint: http.send is not available to policies"},
		"net.lookup":        {site + "x := net.lookup_ip_addr(\"localhost\")\n" + always, "hint: net.lookup_ip_addr is not available"},
		"opa.runtime":       {site + "x := opa.runtime()\n" + always, "hint: opa.runtime is not available"},
		"rego.parse_module": {site + "x := rego.parse_module(\"a\", \"package a\")\n" + always, "hint: rego.parse_module is not available"},
		"io.jwt":            {site + "x := io.jwt.decode(\"a\")\n" + always, "hint: io.jwt.decode is not available"},
		"crypto":            {site + "x := crypto.parse_private_keys(\"a\")\n" + always, "hint: crypto.parse_private_keys is not available"},
		"time":              {site + "x := time.now_ns()\n" + always, "hint: time.now_ns is not available"},
		"random":            {site + "x := rand.intn(\"a\", 5)\n" + always, "hint: rand.intn is not available"},
		"no such function":  {site + "x := frobnicate(1)\n" + always, "hint: check the function's name"},
		"unused import":     {site + "import data.lib.node\n" + always, "import data.lib.node unused"},
		"unsafe":            {site + "x := y if not y == 1\n" + always, "is unsafe"},
		"recursion":         {site + "f(x) := f(x)\n" + always, "hint: Rego has no recursion"},
		"type error":        {site + "x := count(5)\n" + always, "policy.rego:9: "},
		"no METADATA":       {"package control.site[\"ORG-SITE-001\"]\n" + always, "policy.rego:1: control ORG-SITE-001: no METADATA above the package"},
		"no title":          {strings.Replace(site, "# title: Uplinks are named by the site's scheme\n", "", 1) + always, "METADATA without title"},
		"no severity":       {strings.Replace(site, "#   severity: low\n", "", 1) + always, "METADATA without custom.severity"},
		"odd severity":      {strings.Replace(site, "severity: low", "severity: urgent", 1) + always, "custom.severity is \"urgent\"\nhint: one of info, low"},
		"no remediation":    {strings.Replace(site, "#   remediation: Rename the interface.\n", "", 1) + always, "METADATA without custom.remediation"},
		"odd package":       {"package control.site\n" + always, "is not the package of a control\nhint: write package control.AREA"},
		"lower-case id":     {"package control.site[\"mine\"]\n" + always, "is not the package of a control"},
		"into our library":  {"package lib.node\n\nwindow_checks := \"off\"\n", "belongs to ctaudit\nhint: import it"},
		"into main":         {"package ctaudit\n\nresults[\"CT-RST-001\"] contains 1\n", "belongs to ctaudit"},
		"deep nesting":      {site + "x := " + strings.Repeat("[", 200000) + strings.Repeat("]", 200000) + "\n" + always, "policy.rego:"},
		"NUL bytes":         {site + "\x00\x00", "policy.rego:"},
		"huge":              {site + strings.Repeat("# filler\n", 200000), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Options{Dir: write(t, map[string]string{"policy.rego": tt.file})})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v\nwant %q in it", err, tt.want)
			}
		})
	}
}

func TestUserFolderThatDoesNotLoad(t *testing.T) {
	two := map[string]string{"a.rego": site + always, "b.rego": site + always}
	for name, tt := range map[string]struct{ dir, want string }{
		"missing":  {filepath.Join(t.TempDir(), "none"), "no such file or directory"},
		"empty":    {t.TempDir(), "no .rego file in it"},
		"twice":    {write(t, two), "control ORG-SITE-001 is in"},
		"a device": {"/dev/null", "no .rego file in it"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Options{Dir: tt.dir})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v\nwant %q in it", err, tt.want)
			}
		})
	}
}

// TestUserPolicyThatBreaksItsContract: what a control says is checked, and the error names the control.
func TestUserPolicyThatBreaksItsContract(t *testing.T) {
	for name, tt := range map[string]struct{ body, want string }{
		"silent":        {`results contains 1 if false`, "control ORG-SITE-001: no result"},
		"no results":    {`other := 1`, "control ORG-SITE-001: no result"},
		"not an object": {`results contains 1`, "a result is not an object"},
		"outcome":       {`results contains {"outcome": "maybe", "subject": "a", "message": "b"}`, `outcome "maybe"`},
		"waived":        {`results contains {"outcome": "waived", "subject": "a", "message": "b"}`, `outcome "waived"`},
		"severity":      {`results contains {"outcome": "fail", "severity": "urgent", "subject": "a", "message": "b"}`, `severity "urgent"`},
		"subject":       {`results contains {"outcome": "pass", "message": "b"}`, "without subject or message"},
		"field":         {`results contains {"outcome": "pass", "subject": "a", "message": "b", "fingerprint": "c"}`, `unknown result field "fingerprint"`},
		"number":        {`results contains {"outcome": "pass", "subject": 1, "message": "b"}`, `result field "subject" is not text`},
		"evidence":      {`results contains {"outcome": "pass", "subject": "a", "message": "b", "evidence": "c"}`, "evidence is not an array"},
		"evidence item": {`results contains {"outcome": "pass", "subject": "a", "message": "b", "evidence": [{"kind": "rule"}]}`, "evidence 0 is not an object"},
		"builtin error": {`results contains {"outcome": "pass", "subject": "a", "message": "b", "hint": sprintf("%v", [to_number(input.host)])}`, "policy.rego:9: "},
		"conflict":      {"x := 1 if input.host\n\nx := 2 if input.host\n\nresults contains x", "policy.rego:"},
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, Options{Dir: write(t, map[string]string{"policy.rego": site + tt.body + "\n"})})
			_, err := e.Evaluate(context.Background(), readFacts(t, "docker-exposed"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v\nwant %q in it", err, tt.want)
			}
		})
	}
}

// TestUserPolicyThatDoesNotEnd is stopped, and named.
func TestUserPolicyThatDoesNotEnd(t *testing.T) {
	body := `digits := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

results contains {"outcome": "pass", "subject": "a", "message": "b"} if {
	some a in digits
	some b in digits
	some c in digits
	some d in digits
	some e in digits
	some f in digits
	some g in digits
	some h in digits
	some i in digits
	some j in digits
	a + b + c + d + e + f + g + h + i + j > 100
}
`
	dir := write(t, map[string]string{
		"slow.rego": site + body,
		"good.rego": strings.Replace(site, "001", "000", 1) + always,
	})
	e := load(t, Options{Dir: dir, Timeout: 300 * time.Millisecond})
	start := time.Now()
	_, err := e.Evaluate(context.Background(), readFacts(t, "docker-exposed"))
	if err == nil || !strings.Contains(err.Error(), "control ORG-SITE-001 (") || !strings.Contains(err.Error(), "no end after 300ms") {
		t.Errorf("error is %v", err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
}

// TestUsersResultsOfOtherKinds: what is not a set is gathered into one, and evidence may be a set; no results are an error.
func TestUsersResultsOfOtherKinds(t *testing.T) {
	const one = `{"outcome": "pass", "subject": "node", "message": "Fine.", "evidence": {{"kind": "note", "name": "b", "value": "2"}, {"kind": "note", "name": "a", "value": "1"}}}`
	for name, c := range map[string]struct {
		results string
		n       int
		error   string
	}{
		"array":     {"results := [" + one + ", " + one + "]", 1, ""},
		"object":    {`results := {"x": ` + one + `}`, 1, ""},
		"undefined": {"results := " + one + " if input.host == \"\"", 0, "ORG-SITE-001: no result"},
		"none":      {"x := 1", 0, "ORG-SITE-001: no result"},
		"text":      {`results := "x"`, 0, "ORG-SITE-001: no result"},
		"base":      {"results := data.site.rules", 0, "ORG-SITE-001: no result"},
		"number":    {`results contains {1: "pass"}`, 0, "ORG-SITE-001: unknown result field 1"},
	} {
		e := load(t, Options{Dir: write(t, map[string]string{"policy.rego": site + c.results + "\n"})})
		all, err := e.Evaluate(context.Background(), readFacts(t, "bare"))
		if c.error != "" {
			if err == nil || !strings.Contains(err.Error(), c.error) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var got []report.Result
		for _, r := range all {
			if r.Control == "ORG-SITE-001" {
				got = append(got, r)
			}
		}
		if err != nil || len(got) != c.n || len(got[0].Evidence) != 2 || got[0].Evidence[0].Name != "a" {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
}
