// Package json writes the report as one JSON document: the contract with scripts, described by the published schema
// (internal/report/report.schema.json). It is [report.Report] as it stands, one host at a time.
package json

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/ctaudit/ctaudit/internal/render/escape"
	"github.com/ctaudit/ctaudit/internal/report"
)

// Writer is the handler.
type Writer struct {
	w      io.Writer
	head   report.Report
	hosts  int
	failed error
}

// New returns a handler that writes to w.
func New(w io.Writer) *Writer { return &Writer{w: w} }

// Begin writes the head.
func (j *Writer) Begin(r *report.Report) error {
	j.head = *r
	j.text("{")
	j.member("version", r.Version, "")
	j.member("tool", r.Tool, ",")
	if r.Shard != "" {
		j.member("shard", r.Shard, ",")
	}
	j.member("controls", r.Controls, ",")
	j.text(",\n  \"hosts\": [")
	return j.failed
}

// Host writes one host.
func (j *Writer) Host(h *report.Host) error {
	if j.hosts++; j.hosts > 1 {
		j.text(",")
	}
	j.text("\n    ")
	j.value(h, "    ")
	return j.failed
}

// End writes what is known only then.
func (j *Writer) End(s report.Summary, e report.Exit) error {
	if j.hosts > 0 {
		j.text("\n  ")
	}
	j.text("]")
	if j.head.FailOn != "" {
		j.member("failOn", j.head.FailOn, ",")
	}
	j.member("summary", s, ",")
	j.member("exit", e, ",")
	j.text("\n}\n")
	return j.failed
}

func (j *Writer) member(key string, v any, before string) {
	j.text(before + "\n  \"" + key + "\": ")
	j.value(v, "  ")
}

func (j *Writer) value(v any, prefix string) {
	b, err := Marshal(v, prefix)
	if err != nil && j.failed == nil {
		j.failed = err
	}
	j.text(string(b))
}

func (j *Writer) text(s string) {
	if j.failed == nil {
		_, j.failed = io.WriteString(j.w, s)
	}
}

// Marshal returns v indented by two spaces, its lines behind the first with prefix in front, and safe to print.
func Marshal(v any, prefix string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return escape.JSON(bytes.TrimRight(b.Bytes(), "\n")), nil
}
