package policy

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// sections are the parts of every control's page, in order; ctaudit explain prints them.
var sections = [...]string{"What", "Why", "Fails when", "False alarms", "Fix", "Sources"}

// TestControlFolders: one name for one thing. The folder is the id, the package and the tests carry it, nothing is missing.
func TestControlFolders(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(policyDir, "control", "*", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatal("no control folders", err)
	}
	var ids []string
	for _, dir := range folders {
		area, id := filepath.Base(filepath.Dir(dir)), filepath.Base(dir)
		ids = append(ids, id)
		if !controlID.MatchString(id) || !strings.Contains(id, "-"+strings.ToUpper(area)+"-") {
			t.Errorf("%s: the folder's name is not an id of its area", dir)
		}
		checkPackage(t, filepath.Join(dir, "policy.rego"), fmt.Sprintf("data.control.%s[%q]", area, id))
		checkPackage(t, filepath.Join(dir, "policy_test.rego"), fmt.Sprintf("data.test.%s[%q]", area, id))
		checkPage(t, filepath.Join(dir, "README.md"), id)
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 3 {
			t.Errorf("%s: holds something other than policy.rego, policy_test.rego and README.md", dir)
		}
	}
	var loaded []string
	for _, c := range load(t, Options{}).Controls() {
		loaded = append(loaded, c.ID)
	}
	slices.Sort(ids)
	if !slices.Equal(ids, loaded) {
		t.Errorf("folders %v, but embedded are %v", ids, loaded)
	}
}

func checkPackage(t *testing.T, file, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	m, err := ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		t.Error(err)
		return
	}
	if got := m.Package.Path.String(); got != want {
		t.Errorf("%s: package is %s, want %s", file, got, want)
	}
}

func checkPage(t *testing.T, file, id string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	if !strings.HasPrefix(string(text), "# "+id+": ") {
		t.Errorf("%s: does not begin with # %s: title", file, id)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^## (.*)\n+(.)?`).FindAllStringSubmatch(string(text), -1) {
		got = append(got, m[1])
		if m[2] == "" || m[2] == "#" {
			t.Errorf("%s: section %q is empty", file, m[1])
		}
	}
	if !slices.Equal(got, sections[:]) {
		t.Errorf("%s: sections are %q, want %q", file, got, sections)
	}
}

// TestMetadata: every text that reports print is there, and the page carries the title of METADATA.
func TestMetadata(t *testing.T) {
	for _, c := range load(t, Options{}).Controls() {
		if !strings.HasPrefix(c.Help, "# "+c.ID+": "+c.Title+"\n") {
			t.Errorf("%s: the page's title is not METADATA's %q", c.ID, c.Title)
		}
		if len(c.Description) > 1024 {
			t.Errorf("%s: description has %d characters; SARIF readers cut at 1024", c.ID, len(c.Description))
		}
		if c.Source != "embedded" || c.Remediation == "" || strings.HasSuffix(c.Title, ".") {
			t.Errorf("%s: source %q, remediation %q, title %q", c.ID, c.Source, c.Remediation, c.Title)
		}
		for _, ref := range c.References {
			if u, err := url.Parse(ref); err != nil || u.Scheme != "https" || u.Host == "" {
				t.Errorf("%s: reference %q is not an https address", c.ID, ref)
			}
			if !strings.Contains(c.Help, ref) {
				t.Errorf("%s: reference %s is not among the page's sources", c.ID, ref)
			}
		}
	}
}

// TestMoreTestThanPolicy: there is at least as much test as policy, counted in lines that are neither blank nor comment.
func TestMoreTestThanPolicy(t *testing.T) {
	policy, test := 0, 0
	for name, text := range sources(t) {
		n := 0
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				n++
			}
		}
		if strings.HasSuffix(name, "_test.rego") {
			test += n
		} else {
			policy += n
		}
	}
	t.Logf("%d lines of policy, %d of tests", policy, test)
	if test < policy {
		t.Errorf("%d lines of tests for %d lines of policy", test, policy)
	}
}

// TestLiteralSeverities: a severity written in a policy is one of the closed set.
func TestLiteralSeverities(t *testing.T) {
	literal := regexp.MustCompile(`"severity": "([a-z]+)"`)
	for name, text := range sources(t) {
		for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains([]string{"info", "low", "medium", "high", "critical"}, m[1]) {
				t.Errorf("%s: severity %q", name, m[1])
			}
		}
	}
}
