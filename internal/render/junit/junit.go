// Package junit writes the report as JUnit XML: one suite a host, one case a result. It keeps to what both Jenkins'
// junit-10.xsd and windyroad's JUnit.xsd accept, which GitLab, Azure DevOps and the GitHub reporters read too.
package junit

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ctaudit/ctaudit/internal/render/escape"
	"github.com/ctaudit/ctaudit/internal/report"
)

// Writer is the handler.
type Writer struct {
	w     io.Writer
	tool  string
	areas map[string]string // control id -> area
	next  int

	// GitLab drops the second of two cases that share class and name.
	classes map[string]int // of all hosts -> how often: "a.b" and "a_b" give the same
	class   string         // of the host that is written
	seen    map[string]int // its classnames and names -> how often
}

// New returns a handler that writes to w.
func New(w io.Writer) *Writer {
	return &Writer{w: w, areas: map[string]string{}, classes: map[string]int{}}
}

type suite struct {
	XMLName    xml.Name   `xml:"testsuite"`
	Name       string     `xml:"name,attr"`
	Package    string     `xml:"package,attr"`
	ID         int        `xml:"id,attr"`
	Hostname   string     `xml:"hostname,attr"`
	Timestamp  string     `xml:"timestamp,attr"`
	Tests      int        `xml:"tests,attr"`
	Failures   int        `xml:"failures,attr"`
	Errors     int        `xml:"errors,attr"`
	Skipped    int        `xml:"skipped,attr"`
	Time       string     `xml:"time,attr"`
	Properties properties `xml:"properties"`
	Cases      []testcase `xml:"testcase"`
	Out        string     `xml:"system-out"`
	Err        string     `xml:"system-err"`
}

type properties struct {
	List []property `xml:"property"`
}

type property struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type testcase struct {
	Name      string   `xml:"name,attr"`
	Classname string   `xml:"classname,attr"`
	Time      string   `xml:"time,attr"`
	Skipped   *skipped `xml:"skipped"`
	Error     *trouble `xml:"error"`
	Failure   *trouble `xml:"failure"`
}

type skipped struct {
	Message string `xml:"message,attr"`
	Body    string `xml:",chardata"`
}

type trouble struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Body    string `xml:",chardata"`
}

// Begin writes the head.
func (j *Writer) Begin(r *report.Report) error {
	j.tool = r.Tool
	for _, c := range r.Controls {
		j.areas[c.ID] = c.Area
	}
	_, err := io.WriteString(j.w, xml.Header+"<testsuites>\n")
	return err
}

// Host writes one suite.
func (j *Writer) Host(h *report.Host) error {
	b, err := xml.MarshalIndent(j.suite(h), "  ", "  ")
	if err != nil {
		return err
	}
	_, err = j.w.Write(append(b, '\n'))
	return err
}

// End writes the foot.
func (j *Writer) End(report.Summary, report.Exit) error {
	_, err := io.WriteString(j.w, "</testsuites>\n")
	return err
}

func (j *Writer) suite(h *report.Host) *suite {
	name := orElse(escape.Line(strings.TrimSpace(h.Name)), "localhost")
	s := &suite{
		Name: "ctaudit " + name, Package: "ctaudit", ID: j.next, Hostname: name, Timestamp: timestamp(h.Taken), Time: seconds(h.Seconds),
		Properties: properties{[]property{
			{"tool", escape.Line(j.tool)}, {"status", string(h.Status)}, {"kernel", escape.Line(h.Kernel)}, {"os", escape.Line(h.OS)},
		}},
		Err: missing(h),
	}
	if h.Scope != "" {
		s.Properties.List = append(s.Properties.List, property{"scope", escape.Line(h.Scope)})
	}
	j.next++
	j.begin(h)
	if h.Status == report.HostError {
		s.add(j.unaudited(h))
	}
	for i := range h.Results {
		s.add(j.testcase(h, &h.Results[i]))
	}
	return s
}

func (s *suite) add(c testcase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

// unaudited is the one case of a host that was not audited: without it the host's suite would look green.
func (j *Writer) unaudited(h *report.Host) testcase {
	c := j.named("audit", "host")
	msg := escape.Line(orElse(h.Error, "the host could not be audited"))
	if h.Stage != "" {
		msg = escape.Line(h.Stage) + ": " + msg
	}
	c.Error = &trouble{Type: "unreachable", Message: msg, Body: msg}
	if h.Hint != "" {
		c.Error.Body += "\nhint: " + escape.Lines(h.Hint)
	}
	return c
}

func (j *Writer) testcase(h *report.Host, r *report.Result) testcase {
	c := j.named(escape.Line(r.Control+" "+r.Subject), orElse(j.areas[r.Control], "control"))
	msg := escape.Line(r.Message)
	switch r.Outcome {
	case report.Pass:
	case report.Fail:
		c.Failure = &trouble{Type: string(r.Severity), Message: msg, Body: body(r)}
	case report.NotApplicable, report.Waived:
		c.Skipped = &skipped{Message: string(r.Outcome) + ": " + msg, Body: string(r.Outcome) + ": " + body(r)}
	default: // unknown, and anything that a newer report may hold
		c.Error = &trouble{Type: string(r.Outcome), Message: msg, Body: body(r)}
	}
	return c
}

func (j *Writer) begin(h *report.Host) {
	j.class = "ctaudit." + strings.ReplaceAll(escape.Line(h.Name), ".", "_")
	if j.classes[j.class]++; j.classes[j.class] > 1 {
		j.class = fmt.Sprintf("%s~%d", j.class, j.classes[j.class])
	}
	j.seen = map[string]int{}
}

func (j *Writer) named(name, area string) testcase {
	c := testcase{Name: name, Classname: j.class + "." + area, Time: "0"}
	key := c.Classname + "\x00" + c.Name
	if j.seen[key]++; j.seen[key] > 1 {
		c.Name = fmt.Sprintf("%s #%d", c.Name, j.seen[key])
	}
	return c
}

// body repeats the message, which GitLab does not read from the attribute, and adds what supports it.
func body(r *report.Result) string {
	var b strings.Builder
	b.WriteString(escape.Lines(r.Message))
	for _, e := range r.Evidence {
		fmt.Fprintf(&b, "\n%s: %s: %s", escape.Line(e.Kind), escape.Line(e.Name), escape.Line(e.Value))
	}
	if r.Fix != "" {
		b.WriteString("\nfix:\n" + escape.Lines(r.Fix))
	}
	if r.Hint != "" {
		b.WriteString("\nhint: " + escape.Lines(r.Hint))
	}
	return b.String()
}

func missing(h *report.Host) string {
	var b strings.Builder
	for _, m := range h.Missing {
		fmt.Fprintf(&b, "%s: %s: %s\n", escape.Line(m.Collector), escape.Line(m.What), escape.Line(m.Why))
	}
	return b.String()
}

// timestamp has no zone (UTC), as windyroad's schema wants it; a host that was never reached has the epoch.
func timestamp(t time.Time) string {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return t.UTC().Format("2006-01-02T15:04:05")
}

// seconds has at most three decimals.
func seconds(s float64) string {
	return strconv.FormatFloat(float64(int64(s*1000+0.5))/1000, 'f', -1, 64)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
