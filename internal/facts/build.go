package facts

import (
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// families are the packet families that questions are asked for, in report order.
var families = [...]netfilter.Family{netfilter.IP, netfilter.IP6}

// Result is the facts, and the full answers that Facts.Exposure sums up: one for each entry, in the same order.
type Result struct {
	Facts   *Facts
	Answers []packetpath.Answer
}

// From answers every question about the snapshot.
func From(doc *snapshot.Document) Result {
	n := newNode(doc)
	f := &Facts{
		Host:          doc.Host,
		Kernel:        kernelFacts(doc),
		Liberal:       intSysctl(doc, keyLiberal),
		Sysctl:        sysctlFacts(doc),
		Forwarding:    forwardingFacts(doc),
		ConntrackUsed: conntrackUsed(doc, n.ruleset),
		SNAT:          map[netfilter.Family]Fact[[]NAT]{},
		DNAT:          map[netfilter.Family]Fact[[]NAT]{},
		DNATCount:     map[netfilter.Family]int{},
		ServiceProxy:  n.serviceProxy(),
		Drops:         n.drops(),
		Containers:    containerFacts(doc),
		Uplinks:       n.uplinkFacts(),
		Conntrack:     conntrackFacts(doc),
		Persisted:     persistedFacts(doc),
		Missing:       missingFacts(doc),
	}
	for _, fam := range families {
		f.SNAT[fam] = n.snat(fam)
		f.DNAT[fam], f.DNATCount[fam] = n.dnat(fam)
	}
	answers := n.answers(f)
	f.Exposure = make([]Exposure, 0, len(answers))
	for _, a := range answers {
		f.Exposure = append(f.Exposure, exposure(a))
	}
	return Result{Facts: f, Answers: answers}
}

// fact turns a snapshot value into a fact.
func fact[T any](v snapshot.Value[T]) Fact[T] {
	if x, ok := v.Get(); ok {
		return known(x)
	}
	if v.IsAbsent() {
		return Fact[T]{Known: true, Absent: true}
	}
	why, hint := v.Why()
	return unknown[T](why, hint)
}

func known[T any](v T) Fact[T] { return Fact[T]{Known: true, Value: v} }

func unknown[T any](why, hint string) Fact[T] { return Fact[T]{Why: why, Hint: hint} }

func missingFacts(doc *snapshot.Document) []Missing {
	out := []Missing{}
	for _, c := range doc.Collectors {
		for _, m := range c.Missing {
			out = append(out, Missing{Collector: c.Name, What: m.What, Why: m.Why, Hint: m.Hint})
		}
	}
	return out
}
