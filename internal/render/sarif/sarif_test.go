package sarif

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/report"
)

func control(id string, s report.Severity) report.Control {
	return report.Control{ID: id, Area: "rst", Title: "A title of " + id, Severity: s, Description: strings.Repeat("A long description. ", 100)}
}

func judged(control, subject string, o report.Outcome) report.Result {
	return report.Result{Control: control, Outcome: o, Severity: report.High, Subject: subject, Message: "something is wrong"}
}

// write returns the file as a decoded document, and its bytes.
func write(t *testing.T, o Options, hosts ...report.Host) (run, []byte) {
	t.Helper()
	r := &report.Report{Tool: "ctaudit v1.2.3", Controls: []report.Control{control("CT-RST-001", report.High), control("CT-RST-002", report.Info)}, Hosts: hosts}
	report.Finish(r, report.DefaultPolicy())
	var b bytes.Buffer
	w := New(&b, o)
	if err := w.Begin(r); err != nil {
		t.Fatal(err)
	}
	for i := range r.Hosts {
		if err := w.Host(&r.Hosts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(r.Summary, r.Exit); err != nil {
		t.Fatal(err)
	}
	var doc log
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Runs) != 1 {
		t.Fatalf("%d runs: GitHub wants one", len(doc.Runs))
	}
	checkGitHub(t, doc.Runs[0])
	return doc.Runs[0], b.Bytes()
}

var relative = regexp.MustCompile(`^[A-Za-z0-9._~%-]+(/[A-Za-z0-9._~%-]+)*$`)

// checkGitHub asserts what GitHub refuses or silently cuts, and what the validators do not know about.
func checkGitHub(t *testing.T, r run) {
	t.Helper()
	if len(r.Results) > 25_000 {
		t.Errorf("%d results", len(r.Results))
	}
	for i, res := range r.Results {
		if len(res.Locations) == 0 || len(res.Locations) > maxLocations+1 {
			t.Errorf("result %d has %d locations", i, len(res.Locations))
		}
		for _, l := range res.Locations {
			uri := l.PhysicalLocation.ArtifactLocation.URI
			if !relative.MatchString(uri) || strings.Contains(uri, "/../") || l.PhysicalLocation.Region.StartLine < 1 {
				t.Errorf("result %d is at %q line %d", i, uri, l.PhysicalLocation.Region.StartLine)
			}
		}
		if fp := res.PartialFingerprints["primaryLocationLineHash"]; !regexp.MustCompile(`^[0-9a-f]{16}:1$`).MatchString(fp) || len(res.PartialFingerprints) != 1 {
			t.Errorf("result %d has fingerprints %v", i, res.PartialFingerprints)
		}
		if res.RuleIndex == nil || r.Tool.Driver.Rules[*res.RuleIndex].ID != res.RuleID {
			t.Errorf("result %d: rule %s is not at its index", i, res.RuleID)
		}
	}
	for _, rule := range r.Tool.Driver.Rules {
		if n := len(rule.FullDescription.Text); n == 0 || n > maxDescription {
			t.Errorf("%s: description of %d characters", rule.ID, n)
		}
		if len(rule.Properties.Tags) > maxTags || rule.Help.Text == "" || rule.Help.Markdown == "" || rule.Name == "" {
			t.Errorf("%s: %+v", rule.ID, rule)
		}
	}
}

func TestClean(t *testing.T) {
	r, b := write(t, Options{}, report.Host{Name: "a", Results: []report.Result{judged("CT-RST-001", "node", report.Pass), judged("CT-RST-002", "node", report.Pass)}})
	if !bytes.Contains(b, []byte(`"results": []`)) {
		t.Error("a clean audit writes no empty list of results")
	}
	if !r.Invocations[0].ExecutionSuccessful || r.Invocations[0].ExitCode != 0 || len(r.Properties.Outcomes) != 2 {
		t.Errorf("invocation %+v, outcomes %+v", r.Invocations[0], r.Properties.Outcomes)
	}
	if bytes.Contains(b, []byte("automationDetails")) {
		t.Error("automationDetails without a category")
	}
	if d := r.Tool.Driver; d.SemanticVersion != "1.2.3" || d.Version != "1.2.3" {
		t.Errorf("driver: %+v", d)
	}
}

// TestIncomplete: findings alone do not make an audit fail, what could not be audited does, or GitHub would close its alerts.
func TestIncomplete(t *testing.T) {
	failed := report.Host{Name: "a", Results: []report.Result{judged("CT-RST-001", "node", report.Fail), judged("CT-RST-002", "node", report.Pass)}}
	if r, _ := write(t, Options{}, failed); !r.Invocations[0].ExecutionSuccessful || r.Invocations[0].ExitCode != 1 || len(r.Results) != 1 {
		t.Errorf("findings alone: %+v", r.Invocations[0])
	}
	r, _ := write(t, Options{}, failed, report.Host{Name: "b\x1b", Status: report.HostError, Error: "no route to host"},
		report.Host{Name: "c", Results: []report.Result{judged("CT-RST-001", "eth0", report.Unknown), judged("CT-RST-002", "node", report.Pass)}})
	inv := r.Invocations[0]
	if inv.ExecutionSuccessful || inv.ExitCode != 1 || len(inv.ToolExecutionNotifications) != 2 {
		t.Fatalf("incomplete: %+v", inv)
	}
	if n := inv.ToolExecutionNotifications[0]; n.Level != "error" || n.Message.Text != `Host b\x1b: could not be audited: no route to host.` {
		t.Errorf("unreachable: %+v", n)
	}
	if n := inv.ToolExecutionNotifications[1]; n.Level != "warning" || n.Message.Text != "Host c: 1 undecided: CT-RST-001 (eth0): something is wrong." {
		t.Errorf("unknown: %+v", n)
	}
}

func TestWaivedAndCategory(t *testing.T) {
	h := report.Host{Name: "a", Results: []report.Result{judged("CT-RST-001", "node", report.Waived)}}
	if r, _ := write(t, Options{}, h); len(r.Results) != 0 || r.Properties.Outcomes[0].Outcome != "waived" {
		t.Errorf("waived by default: %+v", r)
	}
	for given, want := range map[string]string{"x": "x/", "x/": "x/"} {
		r, _ := write(t, Options{Waived: true, Category: given}, h)
		if len(r.Results) != 1 || r.Results[0].Suppressions[0].Kind != "external" || r.AutomationDetails.ID != want {
			t.Errorf("waived with a flag: %+v", r)
		}
	}
}

func TestAnchors(t *testing.T) {
	all := Options{
		Map:    []Mapping{{"CT-RST-001", Anchor{"roles/net work.yml", 3}}, {"CT-*", Anchor{"other.yml", 9}}},
		Anchor: Anchor{"README.md", 2},
	}
	for name, c := range map[string]struct {
		o                      Options
		host, control, subject string
		want                   string
	}{
		"map":             {all, "web.1", "CT-RST-001", "node", "roles/net%20work.yml:3"},
		"map, glob":       {all, "web.1", "CT-RST-002", "node", "other.yml:9"},
		"inventory":       {Options{Anchor: all.Anchor}, "web.1", "CT-RST-001", "node", "inventory/hosts.yml:12"},
		"anchor":          {Options{Anchor: all.Anchor}, "b", "CT-RST-001", "node", "README.md:2"},
		"virtual":         {Options{}, "Web.1", "CT-RST-001", "IPv4 eth0", "ctaudit/web.1/rst/ipv4%20eth0:1"},
		"container id":    {Options{}, "a", "CT-RST-001", "container 0123456789ab", "ctaudit/a/rst/container:1"},
		"address":         {Options{}, "a", "CT-RST-001", "uplink 203.0.113.9 (2001:db8::/32)", "ctaudit/a/rst/uplink:1"},
		"nothing left":    {Options{}, "a", "CT-RST-001", "10.0.0.1:80", "ctaudit/a/rst/node:1"},
		"dots and slashs": {Options{}, "..", "CT-RST-001", "a/../b:c", "ctaudit/node/rst/a-..-b%3Ac:1"},
		"hostile":         {Options{}, "a", "CT-RST-001", "\x1b[1m\xffé", "ctaudit/a/rst/%1B%5B1m%EF%BF%BD%C3%A9:1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := report.Host{Name: c.host, Results: []report.Result{judged(c.control, c.subject, report.Fail)}}
			if c.host == "web.1" {
				h.File, h.Line = "inventory/hosts.yml", 12
			}
			r, _ := write(t, c.o, h)
			l := r.Results[0].Locations[0].PhysicalLocation
			if got := fmt.Sprintf("%s:%d", l.ArtifactLocation.URI, l.Region.StartLine); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestParseAnchor(t *testing.T) {
	for in, want := range map[string]Anchor{"a.yml": {"a.yml", 1}, "a/b.yml:7": {"a/b.yml", 7}, "./a//b": {"a/b", 1}, "a:b": {"a:b", 1}} {
		if got, err := ParseAnchor(in); err != nil || got != want {
			t.Errorf("%s: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "/etc/passwd", "../x", "a/../../x", ".", "a:0", "a:-1", ":3"} {
		if got, err := ParseAnchor(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
	for _, in := range []string{"", "CT-RST-001", "=a", "CT-[=a", "CT-*=/etc"} {
		if got, err := ParseMapping(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
	if m, err := ParseMapping("CT-RST-*=a.yml:3"); err != nil || m != (Mapping{"CT-RST-*", Anchor{"a.yml", 3}}) {
		t.Errorf("got %v, %v", m, err)
	}
}

// TestGrouped: above the limit nothing is cut, and it is said.
func TestGrouped(t *testing.T) {
	var hosts []report.Host
	for i := range GroupAbove + 1 {
		hosts = append(hosts, report.Host{Name: fmt.Sprintf("h%d", i), Groups: []string{[]string{"web", "db"}[i%2]}, Results: []report.Result{judged("CT-RST-001", "node", report.Fail)}})
	}
	said := ""
	r, _ := write(t, Options{Note: func(s string) { said = s }}, hosts...)
	if len(r.Results) != 2 || said != "sarif: 4501 findings are written as 2 results, grouped by control and inventory group" {
		t.Fatalf("%d results; said %q", len(r.Results), said)
	}
	n := 0
	for _, res := range r.Results {
		n += len(res.Properties.Findings)
	}
	if n != GroupAbove+1 || len(r.Properties.Outcomes) != n {
		t.Errorf("%d findings and %d outcomes are left", n, len(r.Properties.Outcomes))
	}
	if got := r.Results[0].Message.Text; got != "2251 findings on 2251 hosts of group web; each is listed in this result's properties." {
		t.Error(got)
	}
	if r, _ := write(t, Options{}, hosts[:GroupAbove]...); len(r.Results) != GroupAbove {
		t.Errorf("at the limit: %d results", len(r.Results))
	}
}

func TestMessageIsPlain(t *testing.T) {
	res := judged("CT-RST-001", "node", report.Fail)
	res.Message = "see [this](http://evil) and {0} {x} [a] (b)"
	r, _ := write(t, Options{}, report.Host{Name: "a", Results: []report.Result{res}})
	if got, want := r.Results[0].Message.Text, `a, node: see \[this\](http://evil) and {{0}} {x} [a] (b).`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestVersion(t *testing.T) {
	for tool, want := range map[string]string{"ctaudit v1.2.3": "1.2.3", "ctaudit 1.2.3-rc.1+x": "1.2.3-rc.1+x", "ctaudit dev": "0.0.0+dev", "ctaudit": "0.0.0+unknown", "ctaudit 1f8 x\x1b": "0.0.0+1f8-x-x1b"} {
		if got := (&Writer{tool: tool}).driver(); got.Version != want || got.SemanticVersion != want {
			t.Errorf("%q: got %s, want %s", tool, got.Version, want)
		}
	}
}

func TestLevels(t *testing.T) {
	for s, want := range map[report.Severity][2]string{
		report.Critical: {"error", "9.5"}, report.High: {"error", "8.0"}, report.Medium: {"warning", "5.5"}, report.Low: {"note", "2.0"}, report.Info: {"note", ""},
	} {
		r := rules([]report.Control{control("CT-A", s)})[0]
		if got := [2]string{r.DefaultConfiguration.Level, r.Properties.SecuritySeverity}; got != want {
			t.Errorf("%s: got %v, want %v", s, got, want)
		}
	}
}

// FuzzVirtual: whatever a host or a subject is called, GitHub accepts the place.
func FuzzVirtual(f *testing.F) {
	f.Add("web-1", "rst", "ipv4 eth0")
	f.Add("..", "", "C:\\x / .. 10.0.0.1")
	f.Add("\xff\x00", "a/b", "file:///etc/passwd?x#y")
	f.Fuzz(func(t *testing.T, host, area, subject string) {
		got := uri(virtual(host, area, subject))
		if !relative.MatchString(got) || strings.Count(got, "/") != 3 {
			t.Fatalf("%q", got)
		}
		for part := range strings.SplitSeq(got, "/") {
			if part == "." || part == ".." {
				t.Fatalf("%q", got)
			}
		}
	})
}
