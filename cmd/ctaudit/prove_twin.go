package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// checkTwin refuses what does not go together.
func (pf proveFlags) checkTwin(src *source) error {
	switch {
	case pf.pcap != "":
		return errors.New("--pcap is for the proof without --snapshot and --this-node")
	case pf.thisNode && len(src.snapshots) > 0:
		return errors.New("--this-node and --snapshot do not go together")
	}
	_, err := pf.options()
	return errors.Join(err, src.check())
}

// proveTwin rebuilds nodes, one after the other, and prints what was foretold beside what the kernel does.
func (a *app) proveTwin(ctx context.Context, src *source, pf proveFlags) error {
	if err := pf.checkTwin(src); err != nil {
		return err
	}
	d := &twin.Document{
		Version: twin.Version, Tool: toolName(), Kernel: kernelRelease(), Time: time.Now().UTC().Truncate(time.Second), Nodes: []twin.Result{},
	}
	err := src.each(ctx, a.in, func(doc *snapshot.Document) error {
		j := judgedOf(doc, facts.Of(doc))
		j.answers = slices.DeleteFunc(slices.Clone(j.answers), func(q packetpath.Answer) bool { return !pf.wants(q) })
		r, err := j.confirm(ctx)
		if err != nil {
			return unproven(ctx, fmt.Errorf("%s: %w", printable(doc.Host), err))
		}
		d.Nodes = append(d.Nodes, *r)
		return nil
	})
	if err != nil {
		return err
	}
	if pf.format == "json" {
		err = a.writeJSON(d)
	} else {
		_, err = fmt.Fprint(a.out, twinText(d))
		err = unwritten(err)
	}
	return errors.Join(err, disagreement(d.Nodes))
}

// wants narrows the questions down to what the flags name.
func (pf proveFlags) wants(a packetpath.Answer) bool {
	family := map[string]netfilter.Family{"ipv4": netfilter.IP, "ipv6": netfilter.IP6}[pf.family]
	return (pf.question == "" || pf.question == string(a.Question)) && (family == "" || family == a.Family)
}

// disagreement is the exit code of several nodes: one difference, or else anything undecided.
func disagreement(nodes []twin.Result) error {
	counts := map[twin.Agreement]int{}
	for _, n := range nodes {
		for _, q := range n.Questions {
			counts[q.Agreement]++
		}
	}
	switch {
	case counts[twin.Differs] > 0:
		return &exitError{exitDiffers, fmt.Sprintf("exit 4: the kernel did something else than was foretold in %d questions: please report this", counts[twin.Differs])}
	case counts[twin.Undecided] > 0:
		return &exitError{exitIncomplete, fmt.Sprintf("exit 3: %d questions were left undecided", counts[twin.Undecided])}
	}
	return nil
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func twinText(d *twin.Document) string {
	var b strings.Builder
	for i := range d.Nodes {
		if i > 0 {
			b.WriteString("\n")
		}
		twinNodeText(&b, d.Kernel, &d.Nodes[i])
	}
	return b.String()
}

func twinNodeText(b *strings.Builder, kernel string, r *twin.Result) {
	fmt.Fprintf(b, "%s (Linux %s), rebuilt on Linux %s: %s\n", printable(r.Host), printable(r.Kernel), kernel, r.Agreement)
	if len(r.Questions) == 0 {
		b.WriteString("\nno question of the audit concerns this node\n")
	} else {
		b.WriteString("\n")
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"", "family", "interface", "foretold", "observed", "", "segments", "decided by"})
	for i := range r.Questions {
		twinRows(t, &r.Questions[i])
	}
	if len(r.Questions) > 0 {
		for line := range strings.Lines(t.Render() + "\n") {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
	reasons(b, r)
}

func twinRows(t table.Writer, q *twin.Question) {
	family := map[string]string{"ip": "IPv4", "ip6": "IPv6"}[q.Family]
	if len(q.Classes) == 0 {
		t.AppendRow(table.Row{q.Question, family, printable(q.Interface), q.Verdict, "-", q.Agreement, 0, ""})
	}
	for _, c := range q.Classes {
		t.AppendRow(table.Row{
			q.Question, family, printable(q.Interface), c.Predicted, observed(c.Segments), c.Agreement, len(c.Segments), deciding(c.By),
		})
	}
}

// observed are the fates seen, each once.
func observed(segments []twin.Sent) string {
	var fates []string
	for _, s := range segments {
		if s.Observed != "" && !slices.Contains(fates, s.Observed) {
			fates = append(fates, s.Observed)
		}
	}
	if len(fates) == 0 {
		return "-"
	}
	return strings.Join(fates, ", ")
}

const longestRule = 60

func deciding(r *netfilter.RuleRef) string {
	if r == nil {
		return ""
	}
	rule := []rune(printable(r.Text))
	if len(rule) > longestRule {
		rule = append(rule[:longestRule-3], []rune("...")...)
	}
	return fmt.Sprintf("%s %s: %s", printable(r.Table), printable(r.Chain), string(rule))
}

// reasons say what was left undecided and why, and what differs.
func reasons(b *strings.Builder, r *twin.Result) {
	for _, q := range r.Questions {
		for _, w := range q.Why {
			fmt.Fprintf(b, "\nundecided: %s %s: %s", q.Question, printable(q.Interface), printable(w))
		}
		for _, c := range q.Classes {
			for _, s := range c.Segments {
				if c.Agreement == twin.Differs {
					fmt.Fprintf(b, "\ndiffers: %s: foretold %s, observed %s", printable(s.Segment), c.Predicted, s.Observed)
				}
			}
			for _, w := range c.Why {
				fmt.Fprintf(b, "\nundecided: %s %s, %s: %s", q.Question, printable(q.Interface), c.Predicted, printable(w))
			}
		}
	}
	for _, g := range r.NotBuilt {
		effect := ""
		if g.Harmless {
			effect = " (no stray segment meets it)"
		}
		fmt.Fprintf(b, "\nnot rebuilt: %s%s", printable(g.String()), effect)
	}
	b.WriteString("\n")
}
