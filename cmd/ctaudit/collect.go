package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/render"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func (a *app) collectCommand() *cobra.Command {
	var (
		src    source
		record string
		output string
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "collect",
		Short: "Write this node's snapshot, to be audited later or elsewhere",
		Long: `Write what an audit of this node would read, as one JSON document (ctaudit schema snapshot). It can be audited later,
elsewhere, without root: ctaudit scan --snapshot FILE. With --record the raw evidence is written too, as it came from the
kernel and the tools: the best thing to attach to a bug report.`,
		Example: "  ctaudit collect > node.json\n  ctaudit collect --record evidence.txtar -O node.json\n  ctaudit collect --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun {
				return a.printNeeds()
			}
			if err := src.check(); err != nil {
				return err
			}
			return a.collect(cmd.Context(), &src, record, output)
		},
	}
	f := cmd.Flags()
	src.liveFlags(f)
	f.StringVar(&record, "record", "", "write the raw evidence to `file` (- for stdout, instead of the snapshot)")
	f.StringVarP(&output, "output-file", "O", "-", "write the snapshot to `file`")
	f.BoolVar(&dryRun, "dry-run", false, "print what would be read, and read nothing")
	return cmd
}

func (a *app) collect(ctx context.Context, src *source, record, output string) error {
	src.keep = record != ""
	doc, ev, err := src.live(ctx)
	if err != nil {
		return err
	}
	if record != "" {
		if err := a.write(record, func(w io.Writer) error { return host.Record(w, ev) }); err != nil {
			return err
		}
		if output == "-" {
			a.sayMissing(doc)
			return nil
		}
	}
	a.sayMissing(doc)
	return a.write(output, func(w io.Writer) error { return snapshot.Encode(w, doc) })
}

func (a *app) sayMissing(doc *snapshot.Document) {
	for _, c := range doc.Collectors {
		for _, m := range c.Missing {
			a.say("%s: %s: %s", c.Name, printable(m.What), printable(m.Why))
			if m.Hint != "" {
				a.say("hint: %s", printable(m.Hint))
			}
		}
	}
}

// printNeeds prints everything that an audit reads, one need a line.
func (a *app) printNeeds() error {
	for _, n := range collect.NeedsOf(registry.All()) {
		note := ""
		if n.Only != "" {
			note = "  (only if " + n.Only + ")"
		}
		if n.Sampled {
			note += "  (twice with --sample)"
		}
		if _, err := fmt.Fprintf(a.out, "%-10s %s%s\n", n.Kind, strings.Join(n.Args, " "), note); err != nil {
			return err
		}
	}
	return nil
}

// write writes a whole file or none, or stdout for "-".
func (a *app) write(path string, content func(io.Writer) error) error {
	if path == "-" {
		return unwritten(noRoom(content(a.out), againHint))
	}
	return unwritten(noRoom(render.File(path, content), againHint))
}
