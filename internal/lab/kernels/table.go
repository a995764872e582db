package kernels

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/ctaudit/ctaudit/internal/lab/proof"
)

// Table is a proof as text, for comparison: a line for each question, family and segment, a column for each workaround.
// It has nothing that differs between two runs on one kernel.
func Table(d *proof.Document) string {
	cells := map[string]string{}
	for _, r := range d.Runs {
		cells[r.Question+r.Family+r.Injection+r.Workaround] = cell(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "kernel_fix %s\n", d.KernelFix)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, question := range []string{proof.QuestionA, proof.QuestionB} {
		for _, family := range []string{proof.IPv4, proof.IPv6} {
			fmt.Fprintf(w, "\n%s %s\t", question, family)
			for _, workaround := range proof.Workarounds() {
				fmt.Fprintf(w, "%s\t", workaround.Name)
			}
			for _, injection := range proof.Injections() {
				fmt.Fprintf(w, "\n%s\t", injection.Name)
				for _, workaround := range proof.Workarounds() {
					fmt.Fprintf(w, "%s\t", cells[question+family+injection.Name+workaround.Name])
				}
			}
			fmt.Fprintln(w)
		}
	}
	w.Flush() //nolint:errcheck // into memory
	var trimmed strings.Builder
	for line := range strings.Lines(b.String()) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return trimmed.String()
}

// cell says what happened: how conntrack classed the segment, whether somebody answered RST and where that lies in the
// server's window, and what became of the connection when it did not live. "ok": none of these.
func cell(r proof.Run) string {
	var words []string
	if r.Invalid > 0 {
		words = append(words, "INVALID")
	}
	if r.Reset != nil {
		words = append(words, "RST:"+r.Reset.By+":"+r.Reset.Window)
	}
	if r.Connection != "alive" {
		words = append(words, r.Connection)
	} else if r.Reset != nil && r.Reset.Taken != "alive" {
		words = append(words, r.Reset.Taken+"-if-taken")
	}
	if len(words) == 0 {
		return "ok"
	}
	return strings.Join(words, ",")
}
