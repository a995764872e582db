package host

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A recording is one txtar (golang.org/x/tools/txtar). Its comment says what it is:
//
//	ctaudit recording 1
//	tool: ctaudit 0.1.0
//	host: node7
//	taken: 2026-11-23T14:00:00.123456789Z
//	interval: 1.000412s
//
// Then come the answers in the order of their keys. Answer 7 is "-- 0007/answer.json --", one JSON object (see metaJSON),
// and its data, if it has any: "-- 0007/data --" verbatim, or "-- 0007/data.base64 --" when it would not survive as text.
// A Glob's files are 0007/file-0001 and so on, in the order of their paths; a second reading is 0007/second.json with
// 0007/second-data. The names are numbers, so nothing that was read on the node can choose where it would be unpacked.
// The last section, "-- end --", holds the number of answers: a recording without it was cut.
const (
	recordingTitle   = "ctaudit recording "
	recordingVersion = 1
	endSection       = "end"
	base64Suffix     = ".base64"
	base64Line       = 76
)

// metaJSON is an answer without its data.
type metaJSON struct {
	Key string `json:"key,omitempty"`
	// Data is the form of the data: "" none, "text", "line" (text whose last line has no newline; the section's has), or
	// "base64".
	Data      string            `json:"data,omitempty"`
	Absent    bool              `json:"absent,omitempty"`
	Err       string            `json:"err,omitempty"`
	Denied    bool              `json:"denied,omitempty"`
	Exit      int               `json:"exit,omitempty"`
	Stderr    *blob             `json:"stderr,omitempty"`
	Truncated bool              `json:"truncated,omitempty"`
	Glob      bool              `json:"glob,omitempty"` // has Files, if only none
	Files     []fileJSON        `json:"files,omitempty"`
	Failed    map[string]string `json:"failed,omitempty"`
	Second    bool              `json:"second,omitempty"`
}

// fileJSON is one of a Glob's files.
type fileJSON struct {
	Path blob   `json:"path"`
	Data string `json:"data,omitempty"`
}

// Record writes the evidence as a recording. Equal evidence makes equal bytes. Answers that went to a sink are gone, so
// evidence with one of them is refused.
func Record(w io.Writer, ev *Evidence) error {
	for key, a := range ev.Answers {
		if a.Sink != nil {
			return fmt.Errorf("write recording: %s was handed over to a sink", key)
		}
	}
	r := &recorder{w: bufio.NewWriterSize(w, 64<<10)}
	tool := ev.Tool
	if tool == "" {
		tool = "ctaudit"
	}
	fmt.Fprintf(r.w, "%s%d\n", recordingTitle, recordingVersion)
	fmt.Fprintf(r.w, "tool: %s\n", oneLine(tool))
	fmt.Fprintf(r.w, "host: %s\n", oneLine(ev.Host))
	fmt.Fprintf(r.w, "taken: %s\n", ev.Taken.UTC().Format(time.RFC3339Nano))
	fmt.Fprintf(r.w, "interval: %s\n", ev.Interval)
	for i, key := range slices.Sorted(maps.Keys(ev.Answers)) {
		r.answer(fmt.Sprintf("%04d/", i+1), key, ev.Answers[key])
	}
	fmt.Fprintf(r.w, "-- %s --\n%d\n", endSection, len(ev.Answers))
	if r.err == nil {
		r.err = r.w.Flush()
	}
	if r.err != nil {
		return fmt.Errorf("write recording: %w", r.err)
	}
	return nil
}

// oneLine keeps a header on its line and from looking like a section.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// recorder keeps the first error; bufio keeps those of writing.
type recorder struct {
	w   *bufio.Writer
	err error
}

func (r *recorder) answer(dir, key string, a *Answer) {
	r.meta(dir+"answer.json", key, a)
	r.data(dir+"data", a.Data)
	for i, p := range slices.Sorted(maps.Keys(a.Files)) {
		r.data(fmt.Sprintf("%sfile-%04d", dir, i+1), a.Files[p])
	}
	if a.Second != nil {
		r.meta(dir+"second.json", "", a.Second)
		r.data(dir+"second-data", a.Second.Data)
		for i, p := range slices.Sorted(maps.Keys(a.Second.Files)) {
			r.data(fmt.Sprintf("%ssecond-file-%04d", dir, i+1), a.Second.Files[p])
		}
	}
}

func (r *recorder) meta(name, key string, a *Answer) {
	m := metaJSON{
		Key: key, Data: form(a.Data), Absent: a.Absent, Err: a.Err, Denied: a.Denied, Exit: a.Exit, Truncated: a.Truncated,
		Glob: a.Files != nil, Failed: a.Failed, Second: a.Second != nil,
	}
	if a.Stderr != "" {
		m.Stderr = newBlob([]byte(a.Stderr))
	}
	for _, p := range slices.Sorted(maps.Keys(a.Files)) {
		m.Files = append(m.Files, fileJSON{Path: *newBlob([]byte(p)), Data: form(a.Files[p])})
	}
	b, err := json.Marshal(m)
	if err != nil && r.err == nil {
		r.err = err
	}
	fmt.Fprintf(r.w, "-- %s --\n%s\n", name, b)
}

// form says how data is written.
func form(b []byte) string {
	switch {
	case b == nil:
		return ""
	case !survives(b):
		return "base64"
	case len(b) > 0 && b[len(b)-1] != '\n':
		return "line"
	}
	return "text"
}

// survives says whether the bytes can stand in a txtar, and on a terminal, as they are: UTF-8, no control characters, no
// line that reads as a section.
func survives(b []byte) bool {
	if bytes.HasPrefix(b, []byte("-- ")) || bytes.Contains(b, []byte("\n-- ")) || !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return !bytes.ContainsFunc(b, func(c rune) bool { return c >= 0x80 && c < 0xa0 })
}

func (r *recorder) data(name string, b []byte) {
	switch form(b) {
	case "":
	case "base64":
		fmt.Fprintf(r.w, "-- %s%s --\n", name, base64Suffix)
		lines := &lineWriter{w: r.w}
		enc := base64.NewEncoder(base64.StdEncoding, lines)
		enc.Write(b)
		enc.Close()
		lines.end()
	case "line":
		fmt.Fprintf(r.w, "-- %s --\n%s\n", name, b)
	default:
		fmt.Fprintf(r.w, "-- %s --\n%s", name, b)
	}
}

// lineWriter breaks what is written through it into lines.
type lineWriter struct {
	w      *bufio.Writer
	column int
}

func (l *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(base64Line-l.column, len(rest))
		l.w.Write(rest[:n])
		rest, l.column = rest[n:], l.column+n
		if l.column == base64Line {
			l.end()
		}
	}
	return len(p), nil
}

func (l *lineWriter) end() {
	if l.column > 0 {
		l.w.WriteByte('\n')
		l.column = 0
	}
}
