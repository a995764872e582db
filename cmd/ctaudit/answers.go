package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/report"
)

// reportAnswer is the evaluator's answer in the report's words.
func reportAnswer(a packetpath.Answer) report.Answer {
	out := report.Answer{
		Question: string(a.Question), Family: a.Family, Interface: a.Interface,
		Verdict: string(a.Verdict), Reset: string(a.Reset), Sentence: sentence(a),
		DecidedBy: a.DecidedBy, Implicit: a.Implicit, ByReset: a.ByReset, DependsOn: a.DependsOn,
	}
	for _, s := range a.Path {
		out.Path = append(out.Path, report.Step{
			Hook: string(s.Hook), Priority: s.Priority, Backend: s.Backend, Family: s.Family, Table: s.Table, Chain: s.Chain,
			Packet: s.Packet, Verdict: s.Verdict, By: s.By,
		})
	}
	for _, o := range a.Outcomes {
		out.Outcomes = append(out.Outcomes, report.Class{
			Fate: o.Fate, Region: o.Region, Witness: o.Witness.String(), By: o.By, Assuming: o.Assuming,
		})
	}
	for _, s := range a.Shadowed {
		out.Shadowed = append(out.Shadowed, report.Shadow{Rule: s.Rule, Reason: string(s.Reason), By: s.By, Detail: s.Detail})
	}
	report.FinishAnswer(&out)
	return out
}

// sentence says what the ruleset does, in one sentence without a full stop. The deciding rule has a field of its own.
func sentence(a packetpath.Answer) string {
	switch a.Verdict {
	case packetpath.Dropped:
		return subjectOf(a) + " is dropped"
	case packetpath.Partly:
		return fmt.Sprintf("some of what %s can be is dropped, the rest %s", subjectOf(a), fate(a))
	case packetpath.Depends:
		return "what becomes of it depends on " + strings.Join(a.DependsOn, "; ")
	}
	if a.Reset == packetpath.ResetNo {
		return subjectOf(a) + " is not dropped, and provokes no reset"
	}
	return subjectOf(a) + " " + fate(a)
}

func subjectOf(a packetpath.Answer) string {
	switch {
	case a.ByReset:
		return "the RST that a stray reply on " + a.Interface + " provokes"
	case a.Question == packetpath.A:
		return "a stray reply on " + a.Interface
	case a.Question == packetpath.B:
		return "a backend's stray reply to " + a.Interface
	}
	return "the packet on " + a.Interface
}

func fate(a packetpath.Answer) string {
	if a.Question == packetpath.B {
		return "reaches the pod untranslated, which answers RST"
	}
	return "reaches this node's TCP stack, which answers RST"
}

// exposureControl is the control that judges a question, so that the picture and the findings never disagree.
var exposureControl = map[string]map[netfilter.Family]string{
	"A": {netfilter.IP: "CT-RST-001", netfilter.IP6: "CT-RST-002"},
	"B": {netfilter.IP: "CT-RST-003", netfilter.IP6: "CT-RST-003"},
}

// judge gives each answer the state that the exposure control's result for its subject implies.
func judge(answers []report.Answer, results []report.Result) {
	for i := range answers {
		a := &answers[i]
		r := resultFor(*a, results)
		if r == nil {
			continue
		}
		switch r.Outcome {
		case report.Fail, report.Waived:
			a.State = report.Exposed
		case report.Pass:
			a.State = report.Protected
			if a.Reset != string(packetpath.ResetNo) { // it is not the rules that protect
				a.Sentence = r.Message
			}
		case report.Unknown:
			a.State = report.Undecided
		case report.NotApplicable:
			a.State, a.Sentence = report.NotConcerned, r.Message
		}
	}
}

// resultFor finds the result about the answer's own subject, or about the whole node when the control gave only that.
func resultFor(a report.Answer, results []report.Result) *report.Result {
	id := exposureControl[a.Question][a.Family]
	var whole *report.Result
	n := 0
	for i := range results {
		if results[i].Control != id {
			continue
		}
		n++
		whole = &results[i]
		if slices.Contains(strings.Fields(results[i].Subject), a.Interface) && sameFamily(results[i].Subject, a.Family) {
			return &results[i]
		}
	}
	if n == 1 {
		return whole
	}
	return nil
}

func sameFamily(subject string, fam netfilter.Family) bool {
	return strings.Contains(subject, "ipv6") == (fam == netfilter.IP6)
}
