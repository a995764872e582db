package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ctaudit/ctaudit/internal/config"
	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/policy"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// scanFlags are what scan takes besides its source and its outputs.
type scanFlags struct {
	policyDir   string
	failOn      string
	failOnNew   bool
	exitZero    bool
	minCoverage float64
	waivers     string
	baseline    string
}

func (a *app) scanCommand() *cobra.Command {
	var (
		src source
		out outputFlags
		sf  scanFlags
	)
	cmd := &cobra.Command{
		Use:   "scan [localhost | --snapshot FILE...]",
		Short: "Audit this node, or snapshots of nodes",
		Long: `Read this node, work out what its rules do to a segment that conntrack calls INVALID, and judge the controls.

With --prove the kernel is asked, in throw-away namespaces (root): which segments conntrack calls INVALID decides over what its
version says, and this node's rules, rebuilt, must do to stray segments what was worked out. A contradiction makes the controls
that it concerns unknown.

Exit codes: 0 nothing at or above --fail-on; 1 findings; 2 usage error, nothing was audited; 3 something could not be read,
so that a control is undecided; 4 --prove: the kernel did something else than was worked out, a bug of ctaudit. See ctaudit
explain CONTROL for each finding.`,
		Example: `  ctaudit scan localhost
  ctaudit scan -f json
  ctaudit scan --prove
  ctaudit scan -o sarif=ctaudit.sarif -o junit=ctaudit.xml --fail-on high
  ctaudit scan --snapshot node1.json node2.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := src.arguments(args); err != nil {
				return err
			}
			return a.scan(cmd.Context(), &src, sf, out)
		},
		ValidArgs: []string{"localhost"},
	}
	f := cmd.Flags()
	src.flags(f)
	out.flags(f)
	f.StringVar(&sf.policyDir, "policy", "", "add the controls in `dir`, or override those of the same id")
	f.BoolVar(&src.prove, "prove", false, "ask this node's kernel: measure which segments it calls INVALID, and rebuild the node to confirm what was worked out")
	sf.flags(f)
	return cmd
}

func (sf *scanFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&sf.failOn, "fail-on", string(report.Medium), "exit 1 on findings at or above: none, low, medium, high, critical")
	f.BoolVar(&sf.failOnNew, "fail-on-new", false, "exit 1 only for findings that --baseline does not have")
	f.StringVar(&sf.baseline, "baseline", "", "an earlier report (-f json) in `file`")
	f.BoolVar(&sf.exitZero, "exit-zero", false, "exit 0 whatever was found: for jobs that only report")
	f.Float64Var(&sf.minCoverage, "min-coverage", 100, "percent of the controls that must be decided")
	f.StringVar(&sf.waivers, "waivers", "", "accepted failures, in a YAML `file`")
}

// arguments takes the host, or the files behind --snapshot.
func (s *source) arguments(args []string) error {
	if len(s.snapshots) > 0 {
		s.snapshots = append(s.snapshots, args...)
		return nil
	}
	if len(args) > 1 || len(args) == 1 && args[0] != "localhost" {
		return withHint(fmt.Errorf("scan audits this node only: %q is not localhost", args[0]), "to audit a file: ctaudit scan --snapshot FILE")
	}
	return nil
}

func (a *app) scan(ctx context.Context, src *source, sf scanFlags, out outputFlags) error {
	judge, err := sf.policy()
	if err != nil {
		return err
	}
	if err := errors.Join(src.check(), out.check()); err != nil {
		return err
	}
	waivers, err := a.waivers(sf.waivers)
	if err != nil {
		return err
	}
	r, err := a.audit(ctx, src, sf.policyDir)
	if err != nil {
		return err
	}
	a.waive(r.Hosts, waivers)
	report.Finish(r, judge)
	a.sayScoped(scopedOf(r.Hosts))
	failure := unwritten(noRoom(a.render(r, out), againHint))
	switch {
	case r.Exit.Code == 0 && failure == nil:
		a.say("%s", r.Exit)
	case r.Exit.Code != 0:
		return errors.Join(failure, &exitError{r.Exit.Code, r.Exit.String()})
	}
	return failure
}

// policy is what makes the run fail.
func (sf scanFlags) policy() (report.Policy, error) {
	failOn, err := report.ParseFailOn(sf.failOn)
	if err != nil {
		return report.Policy{}, err
	}
	p := report.Policy{FailOn: failOn, MinCoverage: sf.minCoverage, ExitZero: sf.exitZero}
	if !(sf.minCoverage >= 0 && sf.minCoverage <= 100) { // NaN is neither
		return p, fmt.Errorf("--min-coverage %g: want a percentage", sf.minCoverage)
	}
	if sf.failOnNew != (sf.baseline != "") {
		return p, errors.New("--fail-on-new and --baseline FILE go together")
	}
	if sf.baseline == "" {
		return p, nil
	}
	p.Baseline, err = readBaseline(sf.baseline)
	return p, err
}

// readBaseline takes the fingerprints out of an earlier report.
func readBaseline(path string) (map[string]bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withHint(fmt.Errorf("read baseline: %w", err), "write one with: ctaudit scan -o json="+path)
	}
	defer f.Close()
	known := map[string]bool{}
	if _, err := eachHost(bufio.NewReader(f), func(h *report.Host) error { h.Known(known); return nil }); err != nil {
		return nil, fmt.Errorf("read baseline: %s is no report of version %d: %w", path, report.Version, err)
	}
	return known, nil
}

// loaded is an engine, or why there is none.
type loaded struct {
	engine *policy.Engine
	err    error
}

// audit collects and judges. The policies compile while the node is read.
func (a *app) audit(ctx context.Context, src *source, policyDir string) (*report.Report, error) {
	load := make(chan loaded, 1)
	go func() {
		engine, err := policy.Load(policy.Options{Dir: policyDir})
		load <- loaded{engine, err}
	}()
	var (
		engine *policy.Engine
		r      = &report.Report{Tool: toolName()}
	)
	err := src.each(ctx, a.in, func(doc *snapshot.Document) error {
		node := facts.Within(ctx, doc)
		f := node.Facts()
		if ctx.Err() != nil {
			return fmt.Errorf("judge %s: %w", printable(doc.Host), ctx.Err())
		}
		asked, err := a.askKernel(ctx, src.prove, doc, node)
		if err != nil {
			return err
		}
		asked.measured(f)
		if engine == nil {
			l := <-load
			if engine = l.engine; l.err != nil {
				return l.err
			}
		}
		results, err := engine.Evaluate(ctx, *f)
		if err != nil {
			return fmt.Errorf("judge %s: %w", printable(doc.Host), err)
		}
		asked.contradict(results)
		h := asked.add(hostReport(doc, node, results))
		if src.netns == "" { // what was asked for is what was read
			h.Scope = scopeOf(doc)
		}
		r.Hosts = append(r.Hosts, h)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Controls = engine.Controls()
	return r, nil
}

func hostReport(doc *snapshot.Document, node *facts.Node, results []report.Result) report.Host {
	h := report.Host{
		Name: doc.Host, Taken: doc.Taken, Results: results,
		Kernel: doc.Kernel.Release.Or(""), OS: doc.Kernel.OSRelease["PRETTY_NAME"],
	}
	for _, a := range node.Answers() {
		h.Answers = append(h.Answers, reportAnswer(a))
	}
	judge(h.Answers, results)
	for _, c := range doc.Collectors {
		for _, m := range c.Missing {
			h.Missing = append(h.Missing, report.Missing{Collector: c.Name, What: m.What, Why: m.Why, Hint: m.Hint})
		}
	}
	return h
}

func (a *app) waivers(path string) ([]report.Waiver, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read waivers: %w", err)
	}
	active, expired, err := config.ParseWaivers(text, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, w := range expired {
		a.say("warning: the waiver of %s expired on %s", w.Control, w.Expires.Format(time.DateOnly))
	}
	return active, nil
}

func (a *app) waive(hosts []report.Host, waivers []report.Waiver) {
	for i, n := range report.Waive(hosts, waivers) {
		if n == 0 {
			a.say("warning: the waiver of %s waives nothing here", waivers[i].Control)
		}
	}
}
