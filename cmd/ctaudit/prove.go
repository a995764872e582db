package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/internal/lab/proof"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
)

// proveFlags are what prove takes.
type proveFlags struct {
	question, family, format, pcap string
	thisNode                       bool
}

func (a *app) proveCommand() *cobra.Command {
	var (
		pf  proveFlags
		src source
	)
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Reproduce the reset on this node's kernel, in throw-away namespaces",
		Long: `Build a client, a router with NAT and a server in throw-away network namespaces, and have the server send, one connection
each, the segments that conntrack may call INVALID; print which make the router (question A: masquerade) or the client pod
(question B: a Service's DNAT) answer RST, whether the connection dies, and what each workaround does about it.

The node's own network, rules and settings are neither used nor changed, and nothing stays behind. Needs root, or
"unshare -rn" in front of it where the kernel lets users make namespaces.

With --snapshot or --this-node: the twin. The node's interfaces, addresses, routes, settings and rules are rebuilt in a
throw-away namespace, stray segments of every kind that the audit tells apart are put to it, and what the kernel does stands
beside what ctaudit foretold. What cannot be rebuilt is named, and nothing that depends on it is decided.

Exit codes: 0 the proof was run, and every prediction held; 2 usage error; 3 it cannot be run here, was not finished, or a
question was left undecided; 4 the kernel did something else than was foretold: a bug of ctaudit, please report it.`,
		Example: `  ctaudit prove
  ctaudit prove --question A --family ipv4 -f json
  ctaudit prove --pcap captures
  ctaudit prove --this-node
  ctaudit prove --snapshot node1.json --snapshot node2.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if pf.thisNode || len(src.snapshots) > 0 {
				return a.proveTwin(cmd.Context(), &src, pf)
			}
			if src.netns != "" || src.hostName != "" {
				return errors.New("--netns and --host-name go with --this-node")
			}
			return a.prove(cmd.Context(), pf)
		},
	}
	f := cmd.Flags()
	f.StringVar(&pf.question, "question", "", "A or B (default: both)")
	f.StringVar(&pf.family, "family", "", "ipv4 or ipv6 (default: both)")
	f.StringVar(&pf.pcap, "pcap", "", "write what passed the server's and the client's wire to `dir`, two pcap files a connection")
	f.StringVarP(&pf.format, "format", "f", "text", "text or json")
	f.BoolVar(&pf.thisNode, "this-node", false, "rebuild this node, and compare what is foretold with what the kernel does")
	f.StringArrayVar(&src.snapshots, "snapshot", nil, "the same for a node whose snapshot or recording is in `file`; repeatable, - for stdin")
	f.StringVar(&src.netns, "netns", "", "with --this-node: another network namespace of this machine: a `name`, a path or a process id")
	f.StringVar(&src.hostName, "host-name", "", "name the node so (default: its own `name`)")
	return cmd
}

// options refuses wrong words before anything is built.
func (pf proveFlags) options() (o proof.Options, err error) {
	switch pf.question {
	case "":
	case proof.QuestionA, proof.QuestionB:
		o.Questions = []string{pf.question}
	default:
		return o, fmt.Errorf("--question %q: want A or B", pf.question)
	}
	switch pf.family {
	case "":
	case proof.IPv4, proof.IPv6:
		o.Families = []string{pf.family}
	default:
		return o, fmt.Errorf("--family %q: want ipv4 or ipv6", pf.family)
	}
	if pf.format != "text" && pf.format != "json" {
		return o, fmt.Errorf("--format %q: want text or json", pf.format)
	}
	if pf.pcap == "" {
		return o, nil
	}
	o.Captures = true
	if st, err := os.Stat(pf.pcap); err != nil || !st.IsDir() {
		return o, withHint(fmt.Errorf("--pcap %q: no such directory", pf.pcap), "mkdir -p "+pf.pcap)
	}
	return o, nil
}

func (a *app) prove(ctx context.Context, pf proveFlags) error {
	o, err := pf.options()
	if err != nil {
		return err
	}
	r, err := proof.Prove(ctx, o)
	if err != nil {
		return unproven(ctx, err)
	}
	if pf.pcap != "" {
		if err := r.Save(pf.pcap); err != nil {
			return unwritten(err)
		}
	}
	r.Document.Tool = toolName()
	if pf.format == "json" {
		return a.writeJSON(r.Document)
	}
	_, err = fmt.Fprint(a.out, proofText(&r.Document))
	return unwritten(err)
}

func (a *app) writeJSON(document any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return unwritten(enc.Encode(document))
}

// unproven is why there is no proof, with exit code 3: it is no verdict.
func unproven(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	reason := fmt.Sprintf("ctaudit: prove: %v", err)
	var missing *proof.Unavailable
	if errors.As(err, &missing) {
		reason += "\nhint: " + missing.Hint
	}
	var none *twin.Unavailable
	if errors.As(err, &none) {
		reason += "\nhint: run it as root"
	}
	return &exitError{exitIncomplete, reason}
}

// proofText is a table for each question and family: a row for each segment, a column for each workaround.
func proofText(d *proof.Document) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s: %s\n", d.Kernel, kernelFixText(d.KernelFix))
	for first := 0; first < len(d.Runs); {
		end := first
		for end < len(d.Runs) && d.Runs[end].Question == d.Runs[first].Question && d.Runs[end].Family == d.Runs[first].Family {
			end++
		}
		proofTable(&b, d.Runs[first:end])
		first = end
	}
	b.WriteString(`
INVALID     conntrack calls the segment so, without a workaround
-           no RST, and data still flows
RST         a RST outside the server's window: Linux discards it; a server or load balancer that takes it resets the client
RST, dead   a RST that the server takes: it resets the client
be_liberal  nf_conntrack_tcp_be_liberal=1; INPUT, FORWARD, mangle: INVALID dropped there (mangle: in PREROUTING)
both        be_liberal and INPUT
`)
	return b.String()
}

func kernelFixText(fix string) string {
	switch fix {
	case "none":
		return "conntrack calls the stale ACK INVALID"
	case "partial":
		return "conntrack ignores the stale ACK, but still calls other segments INVALID"
	case "full":
		return "conntrack calls none of these segments INVALID"
	}
	return "not every segment was tried"
}

func proofTable(b *strings.Builder, runs []proof.Run) {
	title := "A: client - MASQUERADE - server; who answers RST is the router"
	if runs[0].Question == proof.QuestionB {
		title = "B: client pod - Service DNAT - backend pod; who answers RST is the client pod"
	}
	fmt.Fprintf(b, "\n%s (%s)\n", title, map[string]string{proof.IPv4: "IPv4", proof.IPv6: "IPv6"}[runs[0].Family])
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header = text.FormatDefault
	header := table.Row{"segment", "conntrack"}
	for _, w := range proof.Workarounds() {
		header = append(header, w.Name)
	}
	t.AppendHeader(header)
	for _, injection := range proof.Injections() {
		row := table.Row{injection.Name, ""}
		for _, r := range runs {
			if r.Injection != injection.Name {
				continue
			}
			if r.Workaround == proof.NoWorkaround && r.Invalid > 0 {
				row[1] = "INVALID"
			}
			row = append(row, proofCell(r))
		}
		t.AppendRow(row)
	}
	for line := range strings.Lines(t.Render() + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

// proofCell is a run in two words at most.
func proofCell(r proof.Run) string {
	words := []string{}
	if r.Reset != nil {
		words = append(words, "RST")
	}
	switch r.Connection {
	case "reset":
		words = append(words, "dead")
	case "stalled":
		words = append(words, "stalled")
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}
