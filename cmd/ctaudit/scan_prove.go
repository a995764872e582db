package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab/proof"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// kernelAsked is what scan --prove learns; nil where it was not asked for.
type kernelAsked struct {
	proof   report.Proof
	missing []report.Missing
}

// askKernel runs the proof and the twin. What cannot be run is said, and is missing from the report; only the end of the context
// is an error. The node was read before: what the proof loads into the kernel is not the node's.
func (a *app) askKernel(ctx context.Context, wanted bool, doc *snapshot.Document, node *facts.Node) (*kernelAsked, error) {
	if !wanted {
		return nil, nil
	}
	k := &kernelAsked{proof: report.Proof{Segments: []report.ProofSegment{}, Twin: []report.ProofTwin{}, NotBuilt: []string{}}}
	if err := k.prove(ctx, doc); err != nil {
		k.miss("the kernel's fix, measured", err, "its version decides")
	}
	if err := k.rebuild(ctx, judgedOf(doc, node)); err != nil {
		k.miss("the node's twin", err, "nothing confirms what was worked out")
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, m := range k.missing {
		a.say("warning: --prove: %s: %s", m.What, m.Why)
	}
	return k, nil
}

func (k *kernelAsked) miss(what string, err error, then string) {
	m := report.Missing{Collector: "proof", What: what, Why: printable(err.Error()) + ": " + then}
	var unavailable *proof.Unavailable
	var none *twin.Unavailable
	switch {
	case errors.As(err, &unavailable):
		m.Hint = unavailable.Hint
	case errors.As(err, &none):
		m.Hint = "run it as root"
	}
	k.missing = append(k.missing, m)
}

// prove measures with the fewest runs that decide: no workaround, and the families that the node has.
func (k *kernelAsked) prove(ctx context.Context, doc *snapshot.Document) error {
	r, err := proof.Prove(ctx, proof.Options{Families: proofFamilies(doc), Workarounds: []string{proof.NoWorkaround}})
	if err != nil {
		return err
	}
	switch r.Document.KernelFix {
	case "none", "partial", "full":
		k.proof.KernelFix = r.Document.KernelFix
	default:
		return fmt.Errorf("the proof shows a fix %q", r.Document.KernelFix)
	}
	for _, run := range r.Document.Runs {
		k.proof.Segments = append(k.proof.Segments, report.ProofSegment{
			Question: run.Question, Family: run.Family, Segment: run.Injection,
			Invalid: run.Invalid > 0, Reset: run.Reset != nil, Connection: run.Connection,
		})
	}
	return nil
}

// proofFamilies are those that the node has an address of; IPv4 where that is not known.
func proofFamilies(doc *snapshot.Document) []string {
	has := map[netfilter.Family]bool{}
	for _, a := range doc.Topology.Addresses.Or(nil) {
		if p, err := netip.ParsePrefix(a.Prefix); err == nil && a.Scope == "global" {
			has[map[bool]netfilter.Family{true: netfilter.IP, false: netfilter.IP6}[p.Addr().Is4()]] = true
		}
	}
	out := []string{}
	if has[netfilter.IP] || !has[netfilter.IP6] {
		out = append(out, proof.IPv4)
	}
	if has[netfilter.IP6] {
		out = append(out, proof.IPv6)
	}
	return out
}

func (k *kernelAsked) rebuild(ctx context.Context, j judged) error {
	r, err := j.confirm(ctx)
	if err != nil {
		return err
	}
	for _, g := range r.NotBuilt {
		if !g.Harmless {
			k.proof.NotBuilt = append(k.proof.NotBuilt, g.String())
		}
	}
	for _, q := range r.Questions {
		k.proof.Twin = append(k.proof.Twin, report.ProofTwin{
			Question: q.Question, Family: q.Family, Interface: q.Interface, Agreement: string(q.Agreement), Detail: twinDetail(q),
		})
	}
	return nil
}

// twinDetail says what differs, or why a question is undecided.
func twinDetail(q twin.Question) []string {
	out := append([]string{}, q.Why...)
	for _, c := range q.Classes {
		for _, s := range c.Segments {
			if c.Agreement == twin.Differs {
				out = append(out, fmt.Sprintf("%s: worked out: %s, observed: %s", s.Segment, c.Predicted, s.Observed))
			}
		}
		out = append(out, c.Why...)
	}
	return out
}

// measured puts what the kernel showed into the facts, before policies see them.
func (k *kernelAsked) measured(f *facts.Facts) {
	if k == nil {
		return
	}
	if k.proof.KernelFix != "" {
		f.Kernel.Measure(k.proof.KernelFix)
	}
	for _, m := range k.missing {
		f.Missing = append(f.Missing, facts.Missing{Collector: m.Collector, What: m.What, Why: m.Why, Hint: m.Hint})
	}
}

// contradict takes back every judgement of an exposure that the kernel contradicts.
func (k *kernelAsked) contradict(results []report.Result) {
	if k == nil {
		return
	}
	for _, q := range k.proof.Twin {
		if q.Agreement != string(twin.Differs) {
			continue
		}
		a := report.Answer{Question: q.Question, Family: netfilter.Family(q.Family), Interface: q.Interface}
		r := resultFor(a, results)
		if r == nil || r.Outcome == report.NotApplicable {
			continue
		}
		r.Message = fmt.Sprintf("The kernel does something else to a stray reply on %s than was worked out from its rules (%s, by the rules alone).", q.Interface, r.Outcome)
		r.Outcome, r.Fix, r.Hint = report.Unknown, "", "this is a mistake of ctaudit: please report it, with ctaudit collect --record"
		r.Evidence = append(r.Evidence, report.Evidence{Kind: "note", Name: "observed in the node's twin", Value: strings.Join(q.Detail, "; ")})
	}
}

// add puts what was learned into the host's report.
func (k *kernelAsked) add(h report.Host) report.Host {
	if k == nil {
		return h
	}
	h.Proof = &k.proof
	h.Missing = append(h.Missing, k.missing...)
	return h
}
