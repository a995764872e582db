// Package render turns a report into a format. A format is a handler over one vocabulary: it is told the head, each host
// as it ends, and the summary, and it writes; it computes nothing. What came from a node is made harmless in each of them
// (package escape).
package render

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/render/json"
	"github.com/ctaudit/ctaudit/internal/render/junit"
	"github.com/ctaudit/ctaudit/internal/render/sarif"
	"github.com/ctaudit/ctaudit/internal/render/text"
	"github.com/ctaudit/ctaudit/internal/report"
)

// Handler writes one report: Begin once, Host for each host, End once. Begin may read of the report what does not depend on
// hosts: version, tool, controls, failOn.
type Handler interface {
	Begin(head *report.Report) error
	Host(h *report.Host) error
	End(s report.Summary, e report.Exit) error
}

// Options are the choices of those formats that have any.
type Options struct {
	Fleet bool // many hosts: text says once what they have in common
	Text  text.Options
	SARIF sarif.Options
}

// Formats lists the names of the formats, in the order in which help shows them.
func Formats() []string { return []string{"text", "json", "sarif", "junit"} }

// TraceFormats lists the formats of a trace.
func TraceFormats() []string { return []string{"text", "json"} }

// New returns the handler of a format.
func New(format string, w io.Writer, o Options) (Handler, error) {
	switch format {
	case "text":
		if o.Fleet {
			return text.NewFleet(w, o.Text), nil
		}
		return text.New(w, o.Text), nil
	case "json":
		return json.New(w), nil
	case "sarif":
		return sarif.New(w, o.SARIF), nil
	case "junit":
		return junit.New(w), nil
	}
	return nil, unknown(format, Formats())
}

// Write writes a whole report in one format.
func Write(w io.Writer, r *report.Report, format string, o Options) error {
	h, err := New(format, w, o)
	if err != nil {
		return err
	}
	if err := h.Begin(r); err != nil {
		return err
	}
	for i := range r.Hosts {
		if err := h.Host(&r.Hosts[i]); err != nil {
			return err
		}
	}
	return h.End(r.Summary, r.Exit)
}

// Trace writes one answer, as text or as the JSON object that is the contract of "trace -f json". The answer has to be
// finished ([report.FinishAnswer]).
func Trace(w io.Writer, a *report.Answer, format string, o Options) error {
	switch format {
	case "text":
		return text.Trace(w, a, o.Text)
	case "json":
		b, err := json.Marshal(a, "")
		if err != nil {
			return err
		}
		_, err = w.Write(append(b, '\n'))
		return err
	}
	return unknown(format, TraceFormats())
}

func unknown(format string, known []string) error {
	if slices.Contains(Formats(), format) {
		return fmt.Errorf("format %q: not for this command, use %s", format, strings.Join(known, ", "))
	}
	return fmt.Errorf("format %q: unknown, use %s", format, strings.Join(known, ", "))
}
