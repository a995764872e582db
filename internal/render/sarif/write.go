package sarif

import (
	"bufio"
	"io"
	"strings"

	"github.com/ctaudit/ctaudit/internal/render/escape"
	"github.com/ctaudit/ctaudit/internal/render/json"
	"github.com/ctaudit/ctaudit/internal/report"
)

// write writes the document member by member, and the long lists element by element: a fleet's is larger than what may be in memory.
// It is what encoding/json makes of a log (model.go).
func (w *Writer) write(e report.Exit) error {
	out := &printer{w: bufio.NewWriter(w.w)}
	out.open("")
	out.member("$schema", schemaURI)
	out.member("version", "2.1.0")
	out.key("runs")
	out.text("[\n    ")
	w.run(out, e)
	out.text("\n  ]")
	out.end("\n")
	return out.flush()
}

func (w *Writer) run(out *printer, e report.Exit) {
	out.open("    ")
	out.member("tool", tool{w.driver()})
	if w.opts.Category != "" {
		out.member("automationDetails", automationDetails{escape.Line(strings.TrimSuffix(w.opts.Category, "/")) + "/"})
	}
	out.member("invocations", []invocation{{
		ExecutionSuccessful: !e.Incomplete, ExitCode: e.Code, ExitCodeDescription: sentence(e.Reason), ToolExecutionNotifications: w.troubles,
	}})
	list(out, "results", w.results)
	out.key("properties")
	out.open("      ")
	list(out, "hosts", w.hosts)
	list(out, "outcomes", w.outcomes)
	out.end("")
	out.end("")
}

// printer writes JSON of two blanks a level, and remembers the first error.
type printer struct {
	w      *bufio.Writer
	indent []string // of the objects that are open
	begun  []bool   // whether each has a member
	err    error
}

func (p *printer) text(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

// open begins an object that stands at this indent.
func (p *printer) open(indent string) {
	p.text("{")
	p.indent, p.begun = append(p.indent, indent), append(p.begun, false)
}

func (p *printer) end(after string) {
	n := len(p.indent) - 1
	p.text("\n" + p.indent[n] + "}" + after)
	p.indent, p.begun = p.indent[:n], p.begun[:n]
}

// inner is the indent of the members of the object that is open.
func (p *printer) inner() string { return p.indent[len(p.indent)-1] + "  " }

func (p *printer) key(name string) {
	if n := len(p.begun) - 1; p.begun[n] {
		p.text(",")
	} else {
		p.begun[n] = true
	}
	p.text("\n" + p.inner() + `"` + name + `": `)
}

func (p *printer) member(name string, v any) {
	p.key(name)
	p.value(v, p.inner())
}

func (p *printer) value(v any, prefix string) {
	if p.err != nil {
		return
	}
	var b []byte
	if b, p.err = json.Marshal(v, prefix); p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

func (p *printer) flush() error {
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// list writes a member that is an array, which is never null.
func list[T any](p *printer, name string, elements []T) {
	p.key(name)
	if len(elements) == 0 {
		p.text("[]")
		return
	}
	before := "["
	for i := range elements {
		p.text(before + "\n" + p.inner() + "  ")
		p.value(&elements[i], p.inner()+"  ")
		before = ","
	}
	p.text("\n" + p.inner() + "]")
}
