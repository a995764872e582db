package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/ctaudit/ctaudit/internal/render"
	"github.com/ctaudit/ctaudit/internal/render/escape"
	"github.com/ctaudit/ctaudit/internal/render/sarif"
	"github.com/ctaudit/ctaudit/internal/render/text"
	"github.com/ctaudit/ctaudit/internal/report"
)

// outputFlags say in which formats a report goes where.
type outputFlags struct {
	format   string
	outputs  []string
	maps     []string
	anchor   string
	category string
	waived   bool
}

func (o *outputFlags) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "format", "f", "text", "format on stdout: "+strings.Join(render.Formats(), ", "))
	f.StringArrayVarP(&o.outputs, "output", "o", nil, "also write `format=file`; repeatable")
	f.StringArrayVar(&o.maps, "sarif-map", nil, "anchor a control's SARIF results to the file to edit: `CONTROL=path[:line]`, globs allowed; repeatable")
	f.StringVar(&o.anchor, "sarif-anchor", "", "anchor all other SARIF results to `path[:line]`")
	f.StringVar(&o.category, "sarif-category", "", "SARIF category, when one commit gets several uploads")
	f.BoolVar(&o.waived, "sarif-waived", false, "write waived findings to SARIF too, as suppressed")
}

// check refuses what cannot be written before anything is audited.
func (o *outputFlags) check() error {
	if !slices.Contains(render.Formats(), o.format) {
		return fmt.Errorf("--format %q: want one of %s", o.format, strings.Join(render.Formats(), ", "))
	}
	for _, out := range o.outputs {
		format, path, ok := strings.Cut(out, "=")
		if !ok || path == "" || !slices.Contains(render.Formats(), format) {
			return fmt.Errorf("--output %q: want format=file, with a format of %s", out, strings.Join(render.Formats(), ", "))
		}
	}
	_, err := o.sarif(nil)
	return err
}

func (o *outputFlags) sarif(note func(string)) (sarif.Options, error) {
	opts := sarif.Options{Category: o.category, Waived: o.waived, Note: note}
	for _, m := range o.maps {
		mapping, err := sarif.ParseMapping(m)
		if err != nil {
			return opts, fmt.Errorf("--sarif-map: %w", err)
		}
		opts.Map = append(opts.Map, mapping)
	}
	if o.anchor != "" {
		anchor, err := sarif.ParseAnchor(o.anchor)
		if err != nil {
			return opts, fmt.Errorf("--sarif-anchor: %w", err)
		}
		opts.Anchor = anchor
	}
	return opts, nil
}

// render writes the report to its files first, each whole or not at all, and then to stdout.
func (a *app) render(r *report.Report, o outputFlags) error {
	var errs []error
	for _, out := range o.outputs {
		format, path, _ := strings.Cut(out, "=")
		opts, err := a.renderOptions(o, text.Options{Width: plainWidth, Unicode: true})
		write := func(w io.Writer) error { return render.Write(w, r, format, opts) }
		errs = append(errs, err, render.File(path, write))
	}
	opts, err := a.renderOptions(o, a.textOptions())
	return errors.Join(append(errs, err, render.Write(a.out, r, o.format, opts))...)
}

func (a *app) renderOptions(o outputFlags, t text.Options) (render.Options, error) {
	s, err := o.sarif(func(note string) { a.say("%s", note) })
	return render.Options{Text: t, SARIF: s}, err
}

// plainWidth is the width of text that goes to no terminal.
const plainWidth = 80

// textOptions are the terminal's manners: colour only on a terminal that wants it, its width, and characters that it can show.
func (a *app) textOptions() text.Options {
	o := text.Options{Width: plainWidth, Verbose: a.verbose, Unicode: a.utf8()}
	f, ok := a.out.(*os.File)
	terminal := ok && term.IsTerminal(int(f.Fd()))
	if terminal {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			o.Width = w
		}
	}
	if n, err := strconv.Atoi(a.env["COLUMNS"]); err == nil && n > 0 && terminal {
		o.Width = n
	}
	o.Color = a.color(terminal)
	return o
}

// color follows no-color.org and bixense.com/clicolors: a flag wins, then NO_COLOR, then CLICOLOR_FORCE, then the terminal.
func (a *app) color(terminal bool) bool {
	switch {
	case a.noColor, a.env["NO_COLOR"] != "":
		return false
	case a.env["CLICOLOR_FORCE"] != "" && a.env["CLICOLOR_FORCE"] != "0":
		return true
	}
	return terminal && a.env["TERM"] != "dumb"
}

// utf8 reads the locale as setlocale(3) does: LC_ALL, then LC_CTYPE, then LANG. No locale at all (a container, CI) takes UTF-8.
func (a *app) utf8() bool {
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := a.env[key]; v != "" {
			v = strings.ToUpper(v)
			return strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8")
		}
	}
	return a.env["TERM"] != "linux" && a.env["TERM"] != "dumb"
}

// printable is text from a node or a file made safe for a terminal.
func printable(s string) string { return escape.Line(s) }
