package render

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/render/escape"
	"github.com/ctaudit/ctaudit/internal/render/text"
	"github.com/ctaudit/ctaudit/internal/report"
)

var update = flag.Bool("update", false, "rewrite golden files")

func unicodeText() Options { return Options{Text: text.Options{Unicode: true, Width: 80}} }

func TestGolden(t *testing.T) {
	ascii := Options{Text: text.Options{Width: 80}}
	coloured := Options{Text: text.Options{Unicode: true, Color: true, Width: 80}}
	narrow := Options{Text: text.Options{Unicode: true, Width: 48, Verbose: true}}
	quiet := Options{Text: text.Options{Unicode: true, Width: 80, Quiet: true}}
	for _, c := range []struct {
		name   string
		report *report.Report
		format string
		opts   Options
	}{
		{"rich.txt", rich(), "text", unicodeText()},
		{"rich.ascii.txt", rich(), "text", ascii},
		{"rich.colour.txt", rich(), "text", coloured},
		{"rich.narrow.txt", rich(), "text", narrow},
		{"rich.quiet.txt", rich(), "text", quiet},
		{"rich.json", rich(), "json", Options{}},
		{"rich.sarif", rich(), "sarif", Options{}},
		{"rich.xml", rich(), "junit", Options{}},
		{"clean.txt", clean(), "text", unicodeText()},
		{"clean.json", clean(), "json", Options{}},
		{"clean.sarif", clean(), "sarif", Options{}},
		{"clean.xml", clean(), "junit", Options{}},
		{"proved.txt", proved(), "text", unicodeText()},
		{"proved.narrow.txt", proved(), "text", narrow},
		{"proved.quiet.txt", proved(), "text", quiet},
		{"proved.sarif", proved(), "sarif", Options{}},
	} {
		t.Run(c.name, func(t *testing.T) { golden(t, c.name, render(t, c.report, c.format, c.opts)) })
	}
}

func TestGoldenTrace(t *testing.T) {
	for name, a := range map[string]report.Answer{"exposed": exposed("eth0"), "protected": protected(), "undecided": undecided()} {
		report.FinishAnswer(&a)
		for format, ext := range map[string]string{"text": ".txt", "json": ".json"} {
			var b bytes.Buffer
			if err := Trace(&b, &a, format, unicodeText()); err != nil {
				t.Fatal(err)
			}
			golden(t, "trace-"+name+ext, b.Bytes())
		}
	}
}

// TestNothingUnprintable: whatever a node says, no format lets a control or an invisible character through.
func TestNothingUnprintable(t *testing.T) {
	for _, format := range Formats() {
		for _, r := range string(render(t, rich(), format, unicodeText())) {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: %U", format, r)
			}
		}
	}
	for _, sample := range []*report.Report{rich(), proved()} {
		for _, r := range string(render(t, sample, "text", Options{})) {
			if r != '\n' && (r < ' ' || r > '~') {
				t.Errorf("text in ascii: %U", r)
			}
		}
	}
}

// row is what all formats have to carry of a result.
type row struct{ host, control, subject, outcome string }

// TestSameOutcomes: the formats of one run tell the same.
func TestSameOutcomes(t *testing.T) {
	for name, r := range map[string]*report.Report{"rich": rich(), "clean": clean()} {
		want := fromJSON(t, render(t, r, "json", Options{}))
		if len(want) == 0 {
			t.Fatal("no outcome")
		}
		if diff := cmp.Diff(want, fromSARIF(t, render(t, r, "sarif", Options{})), cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%s: sarif differs (-json +sarif):\n%s", name, diff)
		}
		if diff := cmp.Diff(undistinguished(want), fromJUnit(t, render(t, r, "junit", Options{})), cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%s: junit differs (-json +junit):\n%s", name, diff)
		}
		verbose := Options{Text: text.Options{Unicode: true, Width: 120, Verbose: true}}
		if diff := cmp.Diff(withoutSubject(want), fromText(render(t, r, "text", verbose)), cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%s: text differs (-json +text):\n%s", name, diff)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	_, err := New("yaml", io.Discard, Options{})
	if err == nil || err.Error() != `format "yaml": unknown, use text, json, sarif, junit` {
		t.Error(err)
	}
	err = Trace(io.Discard, &report.Answer{}, "sarif", Options{})
	if err == nil || err.Error() != `format "sarif": not for this command, use text, json` {
		t.Error(err)
	}
}

// TestWriteErrors: a full disk is an error in every format, and is not swallowed.
func TestWriteErrors(t *testing.T) {
	full := errors.New("no space left on device")
	for _, format := range Formats() {
		size := len(render(t, rich(), format, Options{}))
		for _, room := range []int{0, 1, size / 2, size - 1} {
			if err := Write(&fullWriter{room, full}, rich(), format, Options{}); !errors.Is(err, full) {
				t.Errorf("%s: room for %d of %d bytes: %v", format, room, size, err)
			}
		}
	}
}

type fullWriter struct {
	room int
	err  error
}

func (w *fullWriter) Write(b []byte) (int, error) {
	if len(b) > w.room {
		return 0, w.err
	}
	w.room -= len(b)
	return len(b), nil
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	put := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error { _, werr := io.WriteString(w, s); return errors.Join(werr, err) }
	}
	if err := File(path, put("first", nil)); err != nil {
		t.Fatal(err)
	}
	if err := File(path, put("second, half", io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "first" || err != nil {
		t.Errorf("after an error: %q, %v", b, err)
	}
	if err := os.Symlink("a.json", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := File(filepath.Join(dir, "link"), put("third", nil)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); string(b) != "third" || err != nil {
		t.Errorf("through a link: %q, %v", b, err)
	}
	if err := File(filepath.Join(dir, "none", "b"), put("x", nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such folder: %v", err)
	}
	if list, err := os.ReadDir(dir); len(list) != 2 || err != nil {
		t.Errorf("left behind: %v, %v", list, err)
	}
	if err := File(os.DevNull, put("x", nil)); err != nil {
		t.Errorf("device: %v", err)
	}
}

func render(t testing.TB, r *report.Report, format string, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r, format, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got), -update rewrites it:\n%s", name, diff)
	}
}

func sorted(rows []row) []row {
	slices.SortFunc(rows, func(a, b row) int {
		return strings.Compare(a.host+a.control+a.subject+a.outcome, b.host+b.control+b.subject+b.outcome)
	})
	return rows
}

func fromJSON(t *testing.T, b []byte) []row {
	t.Helper()
	var doc report.Report
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, h := range doc.Hosts {
		for _, r := range h.Results {
			rows = append(rows, row{line(h.Name), r.Control, line(r.Subject), string(r.Outcome)})
		}
	}
	return sorted(rows)
}

func fromSARIF(t *testing.T, b []byte) []row {
	t.Helper()
	var doc struct {
		Runs []struct {
			Results []struct {
				RuleID     string
				Properties struct{ Host, Subject, Outcome string }
			}
			Properties struct {
				Outcomes []struct{ Host, Control, Subject, Outcome string }
			}
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var rows, failed, results []row
	for _, o := range doc.Runs[0].Properties.Outcomes {
		rows = append(rows, row{o.Host, o.Control, o.Subject, o.Outcome})
		if o.Outcome == "fail" {
			failed = append(failed, rows[len(rows)-1])
		}
	}
	for _, r := range doc.Runs[0].Results {
		results = append(results, row{r.Properties.Host, r.RuleID, r.Properties.Subject, r.Properties.Outcome})
	}
	if diff := cmp.Diff(sorted(failed), sorted(results), cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("sarif results are not its failed outcomes (-outcomes +results):\n%s", diff)
	}
	return sorted(rows)
}

// undistinguished leaves out what JUnit cannot tell apart: waived and not applicable are both skipped.
func undistinguished(rows []row) []row {
	out := slices.Clone(rows)
	for i := range out {
		if out[i].outcome == "waived" || out[i].outcome == "not-applicable" {
			out[i].outcome = "skipped"
		}
	}
	return sorted(out)
}

func fromJUnit(t *testing.T, b []byte) []row {
	t.Helper()
	var doc struct {
		Suites []struct {
			Host  string `xml:"hostname,attr"`
			Cases []struct {
				Name    string    `xml:"name,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, s := range doc.Suites {
		for _, c := range s.Cases {
			control, subject, _ := strings.Cut(c.Name, " ")
			r := row{s.Host, control, subject, "pass"}
			switch {
			case c.Failure != nil:
				r.outcome = "fail"
			case c.Error != nil:
				r.outcome = "unknown"
			case c.Skipped != nil:
				r.outcome = "skipped"
			}
			if control != "audit" { // the case of a host that was not audited
				rows = append(rows, r)
			}
		}
	}
	return sorted(rows)
}

func withoutSubject(rows []row) []row {
	out := slices.Clone(rows)
	for i := range out {
		out[i].subject, out[i].host = "", ""
	}
	return sorted(out)
}

var controlID = regexp.MustCompile(`^  (?:(\w+) +)?(CT-[A-Z]+-\d+)  `)

// fromText reads the verbose report back by its headings.
func fromText(b []byte) []row {
	headings := map[string]string{"Findings": "fail", "Undecided": "unknown", "Waived": "waived", "Passed": "pass", "Not applicable": "not-applicable"}
	var rows []row
	outcome := ""
	for l := range strings.Lines(string(b)) {
		if o, ok := headings[strings.TrimSpace(l)]; ok {
			outcome = o
		}
		if m := controlID.FindStringSubmatch(l); m != nil {
			rows = append(rows, row{control: m[2], outcome: outcome})
		}
	}
	return sorted(rows)
}

// line is how the other formats show a string of the JSON document.
func line(s string) string { return escape.Line(s) }
