package text

import (
	"reflect"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// alike is answers that differ in family and interface only.
type alike struct {
	*report.Answer
	where []string // "IPv4 eth0"
}

func (w *Writer) answers(list []report.Answer) {
	for _, a := range group(list) {
		w.line("")
		w.answer(a)
	}
}

func group(list []report.Answer) []*alike {
	var groups []*alike
next:
	for i := range list {
		a := &list[i]
		for _, g := range groups {
			if same(g.Answer, a) {
				g.where = append(g.where, where(a))
				continue next
			}
		}
		groups = append(groups, &alike{a, []string{where(a)}})
	}
	return groups
}

// same reports whether one picture and one sentence can stand for both.
func same(a, b *report.Answer) bool {
	return a.Question == b.Question && a.State == b.State && a.Verdict == b.Verdict && a.Reset == b.Reset &&
		a.Sentence == b.Sentence && reflect.DeepEqual(a.DecidedBy, b.DecidedBy) && reflect.DeepEqual(a.Path, b.Path)
}

func where(a *report.Answer) string {
	return strings.TrimSpace(familyName(a.Family) + " " + a.Interface)
}

func familyName(f netfilter.Family) string {
	switch f {
	case netfilter.IP:
		return "IPv4"
	case netfilter.IP6:
		return "IPv6"
	}
	return string(f)
}

// question is the heading of what is asked.
func question(q string) string {
	switch q {
	case "A":
		return "Replies through source NAT"
	case "B":
		return "Service replies to pods"
	}
	return "The packet described"
}

func (w *Writer) answer(a *alike) {
	mark, label, s := w.state(a.Answer)
	w.wrapped(w.in(s, mark+" "+pad(label, 13)), w.in(bold, question(a.Question))+": "+w.safe(strings.Join(a.where, ", ")))
	if a.Sentence != "" {
		w.wrapped(strings.Repeat(" ", 15), w.safe(a.Sentence))
	}
	if w.opts.Quiet || len(a.Path) == 0 || !w.opts.Verbose && withoutRules(a.Answer) {
		return
	}
	w.line("")
	w.picture(a.Answer)
	if a.DecidedBy != nil {
		w.line("")
		w.decidedBy("   ", a.DecidedBy)
	}
}

// withoutRules says that it is not the rules that keep the node from answering: what they would let through says nothing then.
func withoutRules(a *report.Answer) bool {
	return a.State == report.NotConcerned || a.State == report.Protected && a.Reset != "no"
}

// state is the verdict in a word: of the node when the report says it, else of the ruleset alone.
func (w *printer) state(a *report.Answer) (mark, label string, s style) {
	switch {
	case a.State == report.NotConcerned:
		return w.g.dot, "NO CONCERN", dim
	case a.State == report.Protected:
		return w.g.good, "PROTECTED", green
	case a.State == report.Exposed && a.Reset == "some":
		return w.g.bad, "PARTLY OPEN", red
	case a.State == report.Exposed:
		return w.g.bad, "EXPOSED", red
	case a.State != "":
	case a.Reset == "no":
		return w.g.good, "NO RESET", green
	case a.Reset == "some":
		return w.g.bad, "SOME RESET", red
	case a.Reset == "yes":
		return w.g.bad, "RESET", red
	}
	return w.g.open, "UNDECIDED", purple
}

// decidedBy names the rule and repeats it whole, in a line that can be copied.
func (w *printer) decidedBy(indent string, r *netfilter.RuleRef) {
	w.line(indent + w.in(dim, "decided by  ") + w.safe(report.Ref(r)))
	w.line(indent + w.in(dim, "            ") + w.safe(report.Brief(r)))
}
