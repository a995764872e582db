package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/proof"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/policy"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/report/schematest"
)

// scan --prove measures the kernel, and the node's twin confirms what was worked out; the findings say so.
func TestScanProve(t *testing.T) {
	requireTwin(t)
	node := scenarioNode(t)
	if err := node.Load(netfilter.Legacy, netfilter.IP, "*nat\n-A POSTROUTING -s 10.88.0.0/16 -o eth0 -j MASQUERADE\nCOMMIT\n"); err != nil {
		t.Fatal(err)
	}
	var out, talk bytes.Buffer
	err := run(context.Background(), []string{"scan", "--prove", "-f", "json", "--netns", node.Path()}, nil, streams{nil, &out, &talk})
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != exitFindings || strings.Contains(talk.String(), "warning") {
		t.Fatalf("%v: %s", err, talk.String())
	}
	schematest.Validate(t, report.Schema(), out.Bytes())
	var r report.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	p := r.Hosts[0].Proof
	if p == nil || len(p.Segments) != 4*len(proof.Injections()) || len(p.Twin) == 0 || p.Contradicted() != 0 {
		t.Fatalf("proof %+v", p)
	}
	for _, q := range p.Twin {
		if q.Agreement != "agrees" {
			t.Errorf("%+v", q)
		}
	}
	at := slices.IndexFunc(r.Hosts[0].Results, func(r report.Result) bool { return r.Control == "CT-RST-001" && r.Outcome == report.Fail })
	if at < 0 {
		t.Fatalf("no finding: %+v", r.Hosts[0].Results)
	}
	want := "kernel_fix " + p.KernelFix + ", measured"
	if !slices.ContainsFunc(r.Hosts[0].Results[at].Evidence, func(e report.Evidence) bool { return e.Name == want }) {
		t.Errorf("no evidence %q: %+v", want, r.Hosts[0].Results[at].Evidence)
	}
}

// A measurement goes before the version.
func TestMeasuredFixGoesBeforeTheVersion(t *testing.T) {
	f := facts.Of(decodeShape(t, "docker-plain")).Facts()
	if f.Kernel.Fix != "partial" || f.Kernel.Measured {
		t.Fatalf("by the version: %+v", f.Kernel)
	}
	k := &kernelAsked{proof: report.Proof{KernelFix: "none"}}
	k.measured(f)
	if f.Kernel.Fix != "none" || !f.Kernel.Measured || !strings.Contains(f.Kernel.FixWhy, "measured by the proof") {
		t.Errorf("measured: %+v", f.Kernel)
	}
}

// What the kernel contradicts is unknown, whatever it was, and the run says so with a code of its own.
func TestScanContradicted(t *testing.T) {
	requireTwin(t)
	doc := decodeShape(t, "dualstack")
	node := facts.Of(doc)
	engine, err := policy.Load(policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	results, err := engine.Evaluate(context.Background(), *node.Facts())
	if err != nil {
		t.Fatal(err)
	}
	j := judgedOf(doc, node)
	j.answers = wrong(j.answers)
	k := &kernelAsked{}
	if err := k.rebuild(context.Background(), j); err != nil {
		t.Fatal(err)
	}
	k.contradict(results)
	r := &report.Report{Hosts: []report.Host{k.add(hostReport(doc, node, results))}, Controls: engine.Controls()}
	report.Finish(r, report.Policy{FailOn: report.Medium, MinCoverage: 100, ExitZero: true})
	if r.Exit.Code != report.ExitContradicted || !r.Exit.Incomplete {
		t.Errorf("exit %+v", r.Exit)
	}
	seen := 0
	for _, res := range r.Hosts[0].Results {
		if res.Control != "CT-RST-001" && res.Control != "CT-RST-002" {
			continue
		}
		seen++
		if res.Outcome != report.Unknown || !slices.ContainsFunc(res.Evidence, func(e report.Evidence) bool { return strings.Contains(e.Value, "observed:") }) {
			t.Errorf("%+v", res)
		}
	}
	if seen < 2 {
		t.Errorf("%d results", seen)
	}
}

// Where the proof cannot be run the audit goes on with the version, and says so.
func TestScanProveWithoutRoot(t *testing.T) {
	labtest.Require(t, "root")
	cmd := asNobody(t)
	cmd.Args = []string{cmd.Path, "scan", "--prove", "-f", "json"}
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	_ = cmd.Run() // its exit code is that of the audit
	var r report.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s%s", err, out.String(), talk.String())
	}
	missing := 0
	for _, m := range r.Hosts[0].Missing {
		if m.Collector == "proof" && strings.Contains(m.Hint, "run it as root") {
			missing++
		}
	}
	if missing != 2 || strings.Count(talk.String(), "warning: --prove: ") != 2 || r.Hosts[0].Proof.KernelFix != "" {
		t.Errorf("%+v\n%s", r.Hosts[0].Missing, talk.String())
	}
}

func TestScanProveUsage(t *testing.T) {
	var out, talk bytes.Buffer
	ctx := context.Background()
	err := run(ctx, []string{"scan", "--prove", "--snapshot", shapes + "bare.json"}, nil, streams{nil, &out, &talk})
	if code := exitCode(ctx, err, &talk); code != exitUsage || !strings.Contains(talk.String(), "hint: to rebuild the node of a snapshot") {
		t.Errorf("exit code %d: %s", code, talk.String())
	}
}
