package text

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/ctaudit/ctaudit/internal/render/escape"
	"github.com/ctaudit/ctaudit/internal/report"
)

// Options say what the terminal can do and how much the user wants to see. Whoever knows the terminal decides them.
type Options struct {
	Color   bool
	Unicode bool // box drawing, arrows, and text in other scripts
	Width   int  // columns; 0: 80
	Verbose bool // list what passed, was waived or did not apply
	Quiet   bool // verdicts and findings without path, evidence and fix
}

// glyphs are the marks of one character set.
type glyphs struct {
	arrow, down, bar     string
	good, bad, open, dot string
	cut, sep             string
}

func (o Options) glyphs() glyphs {
	if o.Unicode {
		return glyphs{"─▶", "▼", "│", "✓", "✗", "?", "·", "…", " · "}
	}
	return glyphs{"->", "v", "|", "+", "x", "?", "-", "...", " | "}
}

// style is a colour, as the parameters of an SGR sequence.
type style string

const (
	bold   style = "1"
	dim    style = "2"
	red    style = "1;31"
	green  style = "32"
	yellow style = "33"
	purple style = "35"
	cyan   style = "36"
)

// printer writes lines and remembers the first error.
type printer struct {
	w    io.Writer
	opts Options
	g    glyphs
	err  error
}

func newPrinter(w io.Writer, opts Options) *printer {
	if opts.Width <= 0 {
		opts.Width = 80
	}
	opts.Width = min(max(opts.Width, 40), 120) // longer lines are hard to read, and shorter ones cannot hold a rule
	return &printer{w: w, opts: opts, g: opts.glyphs()}
}

// line writes one line without trailing blanks.
func (p *printer) line(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, strings.TrimRight(s, " ")+"\n")
	}
}

// in colours text that is already safe to print.
func (p *printer) in(s style, text string) string {
	if !p.opts.Color || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// safe makes text of a node fit to print here.
func (p *printer) safe(s string) string {
	if p.opts.Unicode {
		return escape.Line(s)
	}
	return escape.ASCII(s)
}

// wrapped writes first and then the text, broken at words, its later lines indented by as much as first is wide. A word that
// is too long for a line stays whole: it may have to be copied.
func (p *printer) wrapped(first, s string) {
	indent := width(first)
	if indent > p.opts.Width/2 {
		if strings.TrimSpace(first) != "" {
			p.line(first)
		}
		first, indent = "    ", 4
	}
	lines := wrap(s, max(p.opts.Width-indent, 20))
	for i, l := range lines {
		if i > 0 {
			first = strings.Repeat(" ", indent)
		}
		p.line(first + l)
	}
}

func wrap(s string, columns int) []string {
	var lines []string
	var line strings.Builder
	used := 0
	for _, word := range strings.Fields(s) {
		n := width(word)
		if used > 0 && used+1+n > columns {
			lines = append(lines, line.String())
			line.Reset()
			used = 0
		}
		if used > 0 {
			line.WriteByte(' ')
			used++
		}
		line.WriteString(word)
		used += n
	}
	return append(lines, line.String())
}

// width is how many columns a text takes, colours not counted.
func width(s string) int { return text.StringWidthWithoutEscSequences(s) }

func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-width(s)))
}

// fit cuts a text to so many columns.
func (p *printer) fit(s string, columns int) string {
	if width(s) <= columns {
		return s
	}
	var b strings.Builder
	used := width(p.g.cut)
	for _, r := range s {
		n := width(string(r))
		if used+n > columns {
			break
		}
		b.WriteRune(r)
		used += n
	}
	return b.String() + p.g.cut
}

func severityStyle(s report.Severity) style {
	switch s {
	case report.Critical, report.High:
		return red
	case report.Medium:
		return yellow
	}
	return cyan
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
