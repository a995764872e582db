package text

import (
	"fmt"
	"io"

	"github.com/ctaudit/ctaudit/internal/report"
)

// Trace writes one answer in full: the picture, then each base chain on the way, the classes of packets with a witness of
// each, the drop rules that do not help and why, and what the answer depends on.
func Trace(out io.Writer, a *report.Answer, opts Options) error {
	w := newPrinter(out, opts)
	mark, label, s := w.state(a)
	w.line(w.in(s, mark+" "+label) + "  " + w.in(bold, question(a.Question)) + "  " + w.in(dim, w.safe(where(a))))
	if a.Sentence != "" {
		w.wrapped("  ", w.safe(a.Sentence))
	}
	if len(a.Path) > 0 && !w.opts.Quiet {
		w.line("")
		w.picture(a)
	}
	w.verdict(a)
	w.hops(a.Path)
	w.classes(a.Outcomes)
	w.shadowed(a.Shadowed)
	w.depends(a.DependsOn)
	return w.err
}

func (w *printer) heading(s string) {
	w.line("")
	w.line(w.in(bold, s))
}

func (w *printer) verdict(a *report.Answer) {
	w.line("")
	w.line("   " + w.in(dim, "verdict     ") + w.safe(a.Verdict))
	reset := w.safe(a.Reset)
	if a.ByReset {
		reset += " (what is dropped is the RST)"
	}
	w.line("   " + w.in(dim, "reset       ") + reset)
	if a.DecidedBy == nil {
		return
	}
	w.decidedBy("   ", a.DecidedBy)
	if a.Implicit {
		w.wrapped("               ", "It does not name INVALID: one more accept in front of it opens the node.")
	}
}

func (w *printer) hops(path []report.Step) {
	if len(path) == 0 {
		return
	}
	w.heading("Path")
	packet := "packet"
	for _, s := range path {
		if s.Packet == "reset" && packet != "reset" {
			packet = "reset"
			w.line("  " + w.in(dim, "the RST that it provokes"))
		}
		c := verdictCell(s.Verdict)
		place := fmt.Sprintf("%-12s %6d  %s %s %s %s", w.safe(s.Hook), s.Priority, s.Backend, s.Family, w.safe(s.Table), w.safe(s.Chain))
		w.line("  " + w.in(c.style, pad(w.safe(c.text), 9)) + place)
		if s.By != nil {
			w.line(indent + w.in(dim, chainOf(w, s)) + w.safe(report.Brief(s.By)))
		}
	}
}

// chainOf names the chain of the rule when it is not the base chain itself.
func chainOf(w *printer, s report.Step) string {
	if s.By.Chain == s.Chain {
		return ""
	}
	return w.safe(s.By.Chain) + " "
}

func verdictCell(v string) cell {
	switch v {
	case "drop", "queue":
		return cell{v, green}
	case "reject":
		return cell{v, red}
	case "accept":
		return cell{v, yellow}
	case "depends":
		return cell{v, purple}
	}
	return cell{v, dim}
}

func (w *printer) classes(list []report.Class) {
	if len(list) == 0 {
		return
	}
	w.heading("Which packets")
	for _, c := range list {
		f := fateCell(c.Fate)
		w.wrapped("  "+w.in(f.style, pad(w.safe(f.text), 15)), w.safe(orElse(c.Region, "all of them")))
		w.line("                 " + w.in(dim, "for example  ") + w.safe(c.Witness))
		if c.By != nil {
			w.line("                 " + w.in(dim, "by           ") + w.safe(report.Ref(c.By)+" "+report.Brief(c.By)))
		}
		for _, x := range c.Assuming {
			w.wrapped("                 "+w.in(dim, "assuming     "), w.safe(x))
		}
	}
}

func fateCell(f string) cell {
	switch f {
	case "dropped", "rejected-icmp":
		return cell{f, green}
	case "reset":
		return cell{f, red}
	case "depends":
		return cell{f, purple}
	}
	return cell{f, dim}
}

func (w *printer) shadowed(list []report.Shadow) {
	if len(list) == 0 {
		return
	}
	w.heading("Drop rules that do not help")
	for _, s := range list {
		w.line("  " + w.in(yellow, pad(w.safe(s.Reason), 18)) + w.safe(report.Ref(&s.Rule)))
		w.line("                    " + w.safe(report.Brief(&s.Rule)))
		if s.Detail != "" {
			w.wrapped("                    ", w.safe(s.Detail))
		}
		if s.By != nil {
			w.line("                    " + w.in(dim, "behind  ") + w.safe(report.Ref(s.By)+" "+report.Brief(s.By)))
		}
	}
}

func (w *printer) depends(list []string) {
	if len(list) == 0 {
		return
	}
	w.heading("It depends on")
	for _, d := range list {
		w.wrapped("  "+w.g.dot+" ", w.safe(d))
	}
}
