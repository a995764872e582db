package text

import (
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// proof tells what the node's own kernel did, where it was asked: what it calls INVALID, and whether the rebuilt node does what was
// worked out.
func (w *Writer) proof(p *report.Proof) {
	if p == nil || len(p.Segments) == 0 && len(p.Twin) == 0 || w.opts.Quiet && p.Contradicted() == 0 {
		return
	}
	w.section("Asked of this kernel")
	w.line("")
	last := ""
	for _, k := range kindsOf(p.Segments) {
		if k.label == last {
			k.label = ""
		} else {
			last = k.label
		}
		w.wrapped("  "+w.in(dim, pad(k.label, 24))+"  ", w.safe(strings.Join(k.where, ", ")+": "+strings.Join(k.segments, "; ")))
	}
	for _, a := range agreementsOf(p.Twin) {
		mark, label, s := w.agreement(a.agreement)
		w.wrapped("  "+w.in(s, mark+" "+pad(label, 22))+"  ", w.safe(question(a.question)+": "+strings.Join(a.where, ", ")))
		for _, d := range a.detail {
			w.wrapped(strings.Repeat(" ", 28), w.safe(d))
		}
	}
	for _, n := range p.NotBuilt {
		w.wrapped("  "+w.in(dim, pad("not rebuilt", 24))+"  ", w.safe(n))
	}
}

// kind is segments that the kernel treats alike, and the families and questions for which it does.
type kind struct {
	label    string
	segments []string
	where    []string // "IPv4", or "IPv4 B" where the questions differ
}

// labels of segments, the worst first.
var labels = []string{"INVALID, answered by RST", "INVALID, no RST", "tracked"}

func labelOf(s report.ProofSegment) string {
	switch {
	case s.Reset:
		return labels[0]
	case s.Invalid:
		return labels[1]
	}
	return labels[2]
}

func kindsOf(segments []report.ProofSegment) []*kind {
	var out []*kind
	for _, label := range labels {
		for _, family := range []string{"IPv4", "IPv6"} {
			a, b := segmentsOf(segments, label, family, "A"), segmentsOf(segments, label, family, "B")
			if slices.Equal(a, b) {
				out = add(out, label, a, family)
				continue
			}
			out = add(out, label, a, family+" A")
			out = add(out, label, b, family+" B")
		}
	}
	return out
}

func segmentsOf(all []report.ProofSegment, label, family, question string) (names []string) {
	for _, s := range all {
		if s.Segment != "control" && s.Question == question && strings.EqualFold(s.Family, family) && labelOf(s) == label {
			names = append(names, s.Segment)
		}
	}
	return names
}

func add(list []*kind, label string, segments []string, where string) []*kind {
	if len(segments) == 0 {
		return list
	}
	for _, k := range list {
		if k.label == label && slices.Equal(k.segments, segments) {
			k.where = append(k.where, where)
			return list
		}
	}
	return append(list, &kind{label: label, segments: segments, where: []string{where}})
}

// agreed is where a question has the same outcome in the rebuilt node.
type agreed struct {
	question  string
	agreement string
	where     []string
	detail    []string
}

func agreementsOf(list []report.ProofTwin) []*agreed {
	var out []*agreed
next:
	for _, q := range list {
		where := strings.TrimSpace(familyName(netfilter.Family(q.Family)) + " " + q.Interface)
		for _, a := range out {
			if a.question == q.Question && a.agreement == q.Agreement && slices.Equal(a.detail, q.Detail) {
				a.where = append(a.where, where)
				continue next
			}
		}
		out = append(out, &agreed{q.Question, q.Agreement, []string{where}, q.Detail})
	}
	return out
}

func (w *Writer) agreement(agreement string) (mark, label string, s style) {
	switch agreement {
	case "agrees":
		return w.g.good, "does as worked out", green
	case "differs":
		return w.g.bad, "CONTRADICTS", red
	}
	return w.g.open, "not decided by it", purple
}
