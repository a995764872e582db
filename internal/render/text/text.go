// Package text writes the report for people: who the node is, the verdict on each question with the packet's way as a small
// picture, what was found with its fix, what could not be read, and the counts.
package text

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/report"
)

// Writer is the handler.
type Writer struct {
	*printer
	controls map[string]report.Control
	hosts    int
}

// New returns a handler that writes to w.
func New(w io.Writer, opts Options) *Writer { return &Writer{printer: newPrinter(w, opts)} }

// Begin takes the controls.
func (w *Writer) Begin(r *report.Report) error {
	w.controls = map[string]report.Control{}
	for _, c := range r.Controls {
		w.controls[c.ID] = c
	}
	return nil
}

// Host writes one host.
func (w *Writer) Host(h *report.Host) error {
	if w.hosts++; w.hosts > 1 {
		w.line("")
	}
	w.head(h)
	if h.Status == report.HostError {
		w.line("")
		what := h.Error
		if h.Stage != "" {
			what = h.Stage + ": " + what
		}
		w.wrapped("  "+w.in(red, w.g.bad+" NOT AUDITED")+"  ", w.safe(what))
		w.hint(&report.Result{Hint: h.Hint})
	}
	if h.Scope != "" {
		w.line("")
		w.wrapped("  "+w.in(purple, "SCOPE")+"  ", w.safe(h.Scope))
	}
	w.answers(h.Answers)
	w.findings(h.Results)
	w.undecided(h)
	w.proof(h.Proof)
	w.rest(h.Results)
	w.missing(h.Missing)
	return w.err
}

// End writes the counts.
func (w *Writer) End(s report.Summary, _ report.Exit) error {
	var parts []string
	for _, sev := range slices.Backward(report.Severities[:]) {
		if n := s.Failures[sev]; n > 0 {
			parts = append(parts, w.in(severityStyle(sev), fmt.Sprintf("%d %s", n, sev)))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, w.in(green, "no finding"))
	}
	for _, c := range []struct {
		outcome report.Outcome
		noun    string
		style   style
	}{{report.Unknown, "undecided", purple}, {report.Waived, "waived", dim}, {report.Pass, "passed", green}, {report.NotApplicable, "not applicable", dim}} {
		if n := s.Outcomes[c.outcome]; n > 0 {
			parts = append(parts, w.in(c.style, fmt.Sprintf("%d %s", n, c.noun)))
		}
	}
	if s.Hosts != 1 {
		parts = append(parts, count(s.Hosts, "host"))
	}
	if s.Errors > 0 {
		parts = append(parts, w.in(red, fmt.Sprintf("%d not audited", s.Errors)))
	}
	w.line("")
	w.line(strings.Join(parts, w.g.sep))
	return w.err
}

func (w *Writer) head(h *report.Host) {
	var parts []string
	if h.OS != "" {
		parts = append(parts, w.safe(h.OS))
	}
	if h.Kernel != "" {
		parts = append(parts, "Linux "+w.safe(h.Kernel))
	}
	if !h.Taken.IsZero() {
		parts = append(parts, h.Taken.UTC().Format("2006-01-02 15:04 UTC"))
	}
	line, indent := w.in(bold, w.safe(h.Name)), "  "
	for i, part := range parts {
		sep := w.g.sep
		if i == 0 {
			sep = "  "
		}
		if width(line)+width(sep)+width(part) > w.opts.Width {
			w.line(line)
			line, sep = indent, ""
		}
		line += sep + part
	}
	w.line(line)
}

// section writes a heading once something stands under it.
func (w *Writer) section(title string) {
	w.line("")
	w.line(w.in(bold, title))
}

func (w *Writer) findings(results []report.Result) {
	failed := outcomes(results, report.Fail)
	slices.SortStableFunc(failed, func(a, b *report.Result) int {
		return cmp.Or(cmp.Compare(rank(b.Severity), rank(a.Severity)), cmp.Compare(w.area(a), w.area(b)))
	})
	if len(failed) == 0 {
		return
	}
	w.section("Findings")
	for _, r := range failed {
		w.finding(w.in(severityStyle(r.Severity), fmt.Sprintf("%-8s", strings.ToUpper(string(r.Severity)))), r)
	}
}

// undecided lists what could not be judged, controls that lack the same thing together. Results about the audit itself say
// no more than the list of what could not be read, and leave the word to it.
func (w *Writer) undecided(h *report.Host) {
	groups := w.alikeUnknowns(h)
	if len(groups) == 0 {
		return
	}
	w.section("Undecided")
	for _, g := range groups {
		if len(g) == 1 {
			w.finding(w.in(purple, "UNKNOWN "), g[0])
			continue
		}
		w.line("")
		names := make([]string, len(g))
		for i, r := range g {
			names[i] = w.safe(r.Control)
		}
		w.wrapped("  "+w.in(purple, "UNKNOWN ")+" ", strings.Join(names, ", "))
		w.wrapped(indent, w.safe(g[0].Subject)+": "+w.safe(g[0].Message))
		w.hint(g[0])
	}
}

func (w *Writer) alikeUnknowns(h *report.Host) [][]*report.Result {
	type key struct{ subject, message, hint string }
	var groups [][]*report.Result
	at := map[key]int{}
	for _, r := range outcomes(h.Results, report.Unknown) {
		if w.controls[r.Control].Area == "meta" && len(h.Missing) > 0 && !w.opts.Verbose {
			continue
		}
		k := key{r.Subject, r.Message, r.Hint}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}

func (w *Writer) hint(r *report.Result) {
	if r.Hint != "" && !w.opts.Quiet {
		w.wrapped(indent+w.in(cyan, "hint")+"  ", w.safe(r.Hint))
	}
}

// indent is where a finding's text stands: behind the severity.
const indent = "           "

func (w *Writer) finding(label string, r *report.Result) {
	if !w.opts.Quiet {
		w.line("")
	}
	w.wrapped("  "+label+" "+w.in(bold, w.safe(r.Control))+"  ", w.safe(w.controls[r.Control].Title))
	w.wrapped(indent, w.safe(r.Subject)+": "+w.safe(r.Message))
	if w.opts.Quiet {
		return
	}
	w.evidence(r.Evidence)
	w.hint(r)
	w.fix(r.Fix)
	if advice := w.controls[r.Control].Remediation; r.Outcome == report.Fail && r.Fix == "" && advice != "" {
		w.wrapped(indent+w.in(cyan, "fix")+"   ", w.safe(advice))
	}
}

func (w *Writer) evidence(list []report.Evidence) {
	widest := 0
	for _, e := range list {
		widest = max(widest, width(w.safe(e.Kind)))
	}
	for _, e := range list {
		what := w.safe(e.Name)
		if e.Value != "" && e.Name != "" {
			what += w.relation(e.Kind)
		}
		w.wrapped(indent+w.in(dim, pad(w.safe(e.Kind), widest))+"  ", what+w.safe(e.Value))
	}
}

// relation stands between a fact's name and its value.
func (w *Writer) relation(kind string) string {
	if kind == "sysctl" || kind == "counter" {
		return " = "
	}
	return ": "
}

// fix prints commands as they are to be pasted: never wrapped, nothing in front but blanks.
func (w *Writer) fix(commands string) { w.fixOn("", commands) }

func (w *Writer) fixOn(where, commands string) {
	if commands == "" {
		return
	}
	w.line(indent + w.in(cyan, "fix") + where)
	for l := range strings.Lines(strings.TrimSpace(commands)) {
		w.line(indent + "  " + w.safe(strings.TrimRight(l, "\r\n")))
	}
}

// rest lists what is only counted without -v.
func (w *Writer) rest(results []report.Result) {
	if !w.opts.Verbose {
		return
	}
	for _, s := range []struct {
		outcome report.Outcome
		title   string
	}{{report.Waived, "Waived"}, {report.Pass, "Passed"}, {report.NotApplicable, "Not applicable"}} {
		list := outcomes(results, s.outcome)
		if len(list) == 0 {
			continue
		}
		w.section(s.title)
		for _, r := range list {
			w.wrapped("  "+w.safe(r.Control)+"  ", w.safe(r.Subject)+": "+w.safe(r.Message))
		}
	}
}

// missing names what could not be read, each cause and each hint once.
func (w *Writer) missing(list []report.Missing) {
	if len(list) == 0 {
		return
	}
	w.section("Could not be read")
	causes := unreadBy(list)
	for i, c := range causes {
		w.wrapped("  "+pad(w.safe(c.collector), 9)+"  ", w.safe(strings.Join(c.what, ", "))+": "+w.safe(c.why))
		if c.hint != "" && !(i+1 < len(causes) && causes[i+1].hint == c.hint) {
			w.wrapped(indent+w.in(cyan, "hint")+"  ", w.safe(c.hint))
		}
	}
}

// unread is what one collector could not read for one cause.
type unread struct {
	collector, why, hint string
	what                 []string
}

func unreadBy(list []report.Missing) []*unread {
	type cause struct{ collector, why, hint string }
	at := map[cause]*unread{}
	var out []*unread
	for _, m := range list {
		c := cause{m.Collector, m.Why, m.Hint}
		if at[c] == nil {
			at[c] = &unread{collector: m.Collector, why: m.Why, hint: m.Hint}
			out = append(out, at[c])
		}
		at[c].what = append(at[c].what, m.What)
	}
	return out
}

func outcomes(results []report.Result, o report.Outcome) []*report.Result {
	var out []*report.Result
	for i := range results {
		if results[i].Outcome == o {
			out = append(out, &results[i])
		}
	}
	return out
}

// area puts what resets connections in front of what explains it.
func (w *Writer) area(r *report.Result) int {
	order := []string{"rst", "drop", "lib"}
	if i := slices.Index(order, w.controls[r.Control].Area); i >= 0 {
		return i
	}
	return len(order)
}

func rank(s report.Severity) int { return slices.Index(report.Severities[:], s) }
