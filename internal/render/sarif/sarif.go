// Package sarif writes the report as SARIF 2.1.0 that GitHub code scanning accepts: one run for all hosts, every result
// at a file, a stable fingerprint, and an incomplete audit marked as such, because GitHub takes an absent result for a
// fixed one. Findings alone are results; the outcome of everything else stands in the run's properties.
package sarif

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/ctaudit/ctaudit/internal/render/escape"
	"github.com/ctaudit/ctaudit/internal/report"
)

// GroupAbove is the number of results above which they are grouped: GitHub shows 5,000 and refuses 25,000.
const GroupAbove = 4500

const (
	schemaURI      = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	informationURI = "https://github.com/ctaudit/ctaudit"
)

// Options are the choices of the user.
type Options struct {
	Map      []Mapping    // the files to edit, by control
	Anchor   Anchor       // for everything else; empty: a virtual path
	Category string       // tells several uploads of one commit apart
	Waived   bool         // write waived findings as suppressed results, which GitHub shows as open alerts
	Note     func(string) // told when results are grouped; may be nil
}

// Writer is the handler.
type Writer struct {
	w     io.Writer
	opts  Options
	tool  string
	rules []rule
	index map[string]int    // rule index by control id
	areas map[string]string // by control id

	// What grows with the hosts: at most GroupAbove results, or then their groups; and rows of words, each word held once.
	results  []result
	groups   []string // by result: the host's first inventory group
	at       map[groupKey]int
	findings int
	outcomes []outcome
	hosts    []hostStatus
	troubles []notification
	words    map[string]string
}

// New returns a handler that writes to w when it ends.
func New(w io.Writer, opts Options) *Writer {
	return &Writer{w: w, opts: opts, index: map[string]int{}, areas: map[string]string{}, words: map[string]string{}}
}

// Begin takes the controls.
func (w *Writer) Begin(r *report.Report) error {
	w.tool = r.Tool
	w.rules = rules(r.Controls)
	for i, c := range r.Controls {
		w.index[c.ID], w.areas[c.ID] = i, c.Area
	}
	return nil
}

// Host takes one host's results.
func (w *Writer) Host(h *report.Host) error {
	name := escape.Line(h.Name)
	w.hosts = append(w.hosts, hostStatus{name, string(h.Status), escape.Line(stageOf(h) + h.Error), escape.Line(h.Scope)})
	var unknown []string
	for i := range h.Results {
		r := &h.Results[i]
		w.outcomes = append(w.outcomes, outcome{
			name, w.word(escape.Line(r.Control)), w.word(escape.Line(r.Subject)), w.word(string(r.Outcome)), w.word(string(r.Severity)),
		})
		switch {
		case r.Outcome == report.Fail, r.Outcome == report.Waived && w.opts.Waived:
			w.finding(w.result(h, r), group(h))
		case r.Outcome == report.Unknown:
			unknown = append(unknown, escape.Line(r.Control+" ("+r.Subject+"): "+r.Message))
		}
	}
	switch {
	case h.Status == report.HostError:
		w.trouble("error", h, "could not be audited: "+escape.Line(stageOf(h)+h.Error))
	case len(unknown) > 0:
		w.trouble("warning", h, fmt.Sprintf("%d undecided: %s", len(unknown), strings.Join(unknown, "; ")))
	}
	return nil
}

func (w *Writer) trouble(level string, h *report.Host, what string) {
	w.troubles = append(w.troubles, notification{level, message{Text: text(sentence("Host " + escape.Line(h.Name) + ": " + what))}})
}

// finding takes one result, and groups all of them as soon as there are too many.
func (w *Writer) finding(r result, group string) {
	w.findings++
	if w.at != nil {
		w.addToGroup(r, group)
		return
	}
	w.results, w.groups = append(w.results, r), append(w.groups, group)
	if len(w.results) > GroupAbove {
		w.startGroups()
	}
}

// word is s, of which only one copy is held.
func (w *Writer) word(s string) string {
	if held, ok := w.words[s]; ok {
		return held
	}
	s = strings.Clone(s)
	w.words[s] = s
	return s
}

// stageOf is how far a host came that could not be audited, in front of the error.
func stageOf(h *report.Host) string {
	if h.Stage == "" {
		return ""
	}
	return h.Stage + ": "
}

// End writes the file.
func (w *Writer) End(_ report.Summary, e report.Exit) error {
	if w.at != nil {
		w.describeGroups()
		if w.opts.Note != nil {
			w.opts.Note(fmt.Sprintf("sarif: %d findings are written as %d results, grouped by control and inventory group", w.findings, len(w.results)))
		}
	}
	if err := w.write(e); err != nil {
		return fmt.Errorf("write sarif: %w", err)
	}
	return nil
}

var (
	notSemver = regexp.MustCompile(`[^0-9A-Za-z.-]`)
	semver    = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

func (w *Writer) driver() driver {
	_, version, _ := strings.Cut(w.tool, " ")
	version = escape.Line(strings.TrimPrefix(version, "v"))
	if !semver.MatchString(version) { // a build between releases: viewers want a number in front
		version = "0.0.0+" + notSemver.ReplaceAllString(orElse(version, "unknown"), "-")
	}
	return driver{Name: "ctaudit", Version: version, SemanticVersion: version, InformationURI: informationURI, Rules: w.rules}
}

func (w *Writer) area(control string) string { return orElse(w.areas[control], "control") }

func (w *Writer) result(h *report.Host, r *report.Result) result {
	host, subject := escape.Line(h.Name), escape.Line(r.Subject)
	a := w.anchor(h, r)
	res := result{
		RuleID: escape.Line(r.Control), Kind: "fail", Level: level(r.Severity), Message: message{Text: text(describe(h, r))},
		Locations: []location{{
			PhysicalLocation: physicalLocation{artifactLocation{uri(a.Path)}, region{a.Line}},
			LogicalLocations: []logicalLocation{{Name: subject, FullyQualifiedName: host + "/" + subject, Kind: "resource"}},
		}},
		PartialFingerprints: fingerprint(report.Fingerprint(r.Control, h.Name, r.Subject)),
		Properties: resultProperties{
			Host: host, Group: group(h), Subject: subject, Outcome: string(r.Outcome), Severity: string(r.Severity), Fix: escape.Lines(r.Fix),
		},
	}
	if i, ok := w.index[r.Control]; ok {
		res.RuleIndex = &i
	}
	for _, e := range r.Evidence {
		res.Properties.Evidence = append(res.Properties.Evidence, evidence{escape.Line(e.Kind), escape.Line(e.Name), escape.Line(e.Value)})
	}
	if r.Outcome == report.Waived {
		res.Suppressions = []suppression{{Kind: "external", Status: "accepted"}}
	}
	return res
}

// fingerprint is the only one that GitHub reads.
func fingerprint(hex string) map[string]string {
	return map[string]string{"primaryLocationLineHash": hex[:16] + ":1"}
}

// describe is what a person reads in the alert: host, subject, message and what was seen.
func describe(h *report.Host, r *report.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: %s", escape.Line(h.Name), escape.Line(r.Subject), sentence(escape.Line(r.Message)))
	for _, e := range r.Evidence {
		fmt.Fprintf(&b, "\n%s: %s: %s", escape.Line(e.Kind), escape.Line(e.Name), escape.Line(e.Value))
	}
	return b.String()
}

var (
	link        = regexp.MustCompile(`\[([^\]\n]*)\]\(`)
	placeholder = regexp.MustCompile(`\{([0-9]+)\}`)
)

// text keeps a message plain: what looks like an embedded link or a placeholder to a SARIF viewer is escaped
// (SARIF 2.1.0, sections 3.11.5 and 3.11.6).
func text(s string) string {
	return placeholder.ReplaceAllString(link.ReplaceAllString(s, `\[$1\](`), "{{$1}}")
}

func group(h *report.Host) string {
	if len(h.Groups) == 0 {
		return ""
	}
	return escape.Line(h.Groups[0])
}
