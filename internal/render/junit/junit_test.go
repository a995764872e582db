package junit

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/report"
)

func write(t testing.TB, hosts ...report.Host) string {
	t.Helper()
	r := &report.Report{Tool: "ctaudit 1", Controls: []report.Control{{ID: "CT-A", Area: "rst"}}, Hosts: hosts}
	report.Finish(r, report.DefaultPolicy())
	var b bytes.Buffer
	w := New(&b)
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
	return b.String()
}

type document struct {
	Attrs  []xml.Attr `xml:",any,attr"`
	Suites []suite    `xml:"testsuite"`
}

func parse(t testing.TB, s string) document {
	t.Helper()
	var d document
	if err := xml.Unmarshal([]byte(s), &d); err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return d
}

func host(name string, outcomes ...report.Outcome) report.Host {
	h := report.Host{Name: name, Taken: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), Seconds: 1.23456}
	for i, o := range outcomes {
		h.Results = append(h.Results, report.Result{Control: "CT-A", Subject: fmt.Sprintf("eth%d", i), Outcome: o, Severity: report.High, Message: "why <&>\x01", Fix: "a\nb"})
	}
	return h
}

func TestOutcomes(t *testing.T) {
	d := parse(t, write(t, host("web.1", report.Pass, report.Fail, report.NotApplicable, report.Unknown, report.Waived)))
	if len(d.Attrs) != 0 || len(d.Suites) != 1 {
		t.Fatalf("attributes %v, %d suites", d.Attrs, len(d.Suites))
	}
	s := d.Suites[0]
	if s.Tests != 5 || s.Failures != 1 || s.Errors != 1 || s.Skipped != 2 || s.Timestamp != "2026-01-02T02:04:05" || s.Time != "1.235" || s.Hostname != "web.1" {
		t.Errorf("suite: %+v", s)
	}
	want := []string{"", "failure high", "skipped not-applicable: why", "error unknown", "skipped waived: why"}
	for i, c := range s.Cases {
		if c.Name != fmt.Sprintf("CT-A eth%d", i) || c.Classname != "ctaudit.web_1.rst" {
			t.Errorf("case %d: %s %s", i, c.Classname, c.Name)
		}
		if got := fate(c); !strings.HasPrefix(got, want[i]) || want[i] == "" && got != "" {
			t.Errorf("case %d: got %s, want %s", i, got, want[i])
		}
	}
	if f := s.Cases[1].Failure; f.Message != `why <&>\x01` || f.Body != "why <&>\\x01\nfix:\na\nb" {
		t.Errorf("failure: %q, body %q", f.Message, f.Body)
	}
}

// fate is the case's one child, if any.
func fate(c testcase) string {
	var all []string
	if c.Failure != nil {
		all = append(all, "failure "+c.Failure.Type)
	}
	if c.Error != nil {
		all = append(all, "error "+c.Error.Type)
	}
	if c.Skipped != nil {
		all = append(all, "skipped "+c.Skipped.Message)
	}
	return strings.Join(all, " and ")
}

func TestUnreachable(t *testing.T) {
	d := parse(t, write(t, host("a", report.Pass), report.Host{Name: "b", Status: report.HostError, Error: "no route"}))
	s := d.Suites[1]
	if s.ID != 1 || s.Tests != 1 || s.Errors != 1 || s.Timestamp != "1970-01-01T00:00:00" || s.Cases[0].Error.Type != "unreachable" || s.Cases[0].Error.Body != "no route" {
		t.Errorf("%+v", s)
	}
}

// TestUniqueNames: GitLab drops the second of two cases that share class and name.
func TestUniqueNames(t *testing.T) {
	twice := host("a.b", report.Fail, report.Fail)
	twice.Results[1].Subject = twice.Results[0].Subject
	seen := map[string]bool{}
	for _, s := range parse(t, write(t, twice, host("a_b", report.Fail))).Suites {
		for _, c := range s.Cases {
			if key := c.Classname + " " + c.Name; seen[key] {
				t.Errorf("twice: %s", key)
			} else {
				seen[key] = true
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d cases", len(seen))
	}
}

func TestSeconds(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 0.0004: "0", 0.1234: "0.123", 2: "2", 12.3456: "12.346"} {
		if got := seconds(in); got != want {
			t.Errorf("%v: got %s, want %s", in, got, want)
		}
	}
}

// FuzzWrite: whatever a node's strings hold, the file is well-formed XML and carries them.
func FuzzWrite(f *testing.F) {
	f.Add("web-1", "eth0", "a rule: -j DROP")
	f.Add("\x00\x1b[0m", "]]>", "<!-- &amp; --> \xff\ufffe\u2028\r\n\t")
	f.Add("", " ", "\U000e0001\u202e\ud7ff")
	f.Fuzz(func(t *testing.T, name, subject, text string) {
		h := host(name, report.Fail, report.Unknown, report.Waived)
		h.Kernel, h.OS = text, text
		h.Missing = []report.Missing{{What: text}}
		for i := range h.Results {
			r := &h.Results[i]
			r.Subject, r.Message, r.Fix, r.Hint = subject, text, text, text
			r.Evidence = []report.Evidence{{Kind: text, Name: text, Value: text}}
		}
		out := write(t, h, report.Host{Name: name, Status: report.HostError, Error: text})
		dec := xml.NewDecoder(strings.NewReader(out))
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		if d := parse(t, out); len(d.Suites) != 2 || len(d.Suites[0].Cases) != 3 || d.Suites[0].Name == "" || d.Suites[0].Hostname == "" {
			t.Fatalf("%+v", d)
		}
	})
}
