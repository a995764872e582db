package facts

import (
	"context"
	"fmt"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// families are the packet families that questions are asked for, in report order.
var families = [...]netfilter.Family{netfilter.IP, netfilter.IP6}

// Of works out what questions about the snapshot need in common, and asks them.
func Of(doc *snapshot.Document) *Node { return Within(context.Background(), doc) }

// Within is Of for as long as somebody waits: when ctx ends it returns soon, and nobody should read what it returns. However long it
// may take, the answers to one document are always the same.
func Within(ctx context.Context, doc *snapshot.Document) *Node {
	n := newNode(doc)
	n.packets = n.packetNode()
	n.path = packetpath.Compile(n.packets)
	n.path.Until(ctx.Done())
	n.proxy = n.serviceProxy()
	n.drops = n.path.Drops()
	n.kinds = newKinds(n.drops)
	n.answers = n.askA()
	if !n.proxy.Known || n.proxy.Value != "none" {
		n.answers = append(n.answers, n.askB()...)
	}
	return n
}

// Answers are question A for every uplink, then question B for every link to containers where Services are translated;
// IPv4 before IPv6.
func (n *Node) Answers() []packetpath.Answer { return n.answers }

// Ask puts one question for every interface that it concerns, premise or not: B also where no Service is translated.
func (n *Node) Ask(q packetpath.Question) []packetpath.Answer {
	if q == packetpath.B {
		return n.askB()
	}
	return n.askA()
}

// Packet follows one packet that a user describes. The interface must be one of the node's.
func (n *Node) Packet(q packetpath.Query) (packetpath.Answer, error) {
	for _, name := range []string{q.In, q.Out} {
		if name != "" && n.linkNamed(name) == nil {
			return packetpath.Answer{}, fmt.Errorf("this node has no interface %q", name)
		}
	}
	a, err := n.path.Evaluate(q)
	return n.doubt(a), err
}

// Evaluated is the node as the packet-path evaluator has it. It must not be changed.
func (n *Node) Evaluated() *packetpath.Node { return n.packets }

// ask puts a question of ours; what keeps it from being answered makes the answer depend on that.
func (n *Node) ask(q packetpath.Query) packetpath.Answer {
	a, err := n.path.Evaluate(q)
	if err != nil {
		a = packetpath.Answer{
			Question: q.Question, Family: q.Family, Interface: q.In,
			Verdict: packetpath.Depends, Reset: packetpath.ResetDepends, DependsOn: []string{err.Error()},
		}
	}
	return n.doubt(a)
}

// Interfaces are the names that the standard questions are asked for.
func (n *Node) Interfaces() []string {
	out := []string{}
	seen := map[string]bool{}
	for _, a := range n.answers {
		if !seen[a.Interface] {
			seen[a.Interface] = true
			out = append(out, a.Interface)
		}
	}
	return out
}

// Facts answers every question about the snapshot.
func (n *Node) Facts() *Facts {
	doc := n.doc
	f := &Facts{
		Host:          doc.Host,
		Kernel:        kernelFacts(doc),
		Liberal:       intSysctl(doc, keyLiberal),
		Sysctl:        sysctlFacts(doc),
		Forwarding:    forwardingFacts(doc),
		ConntrackUsed: n.conntrackUsed(),
		SNAT:          map[netfilter.Family]Fact[[]NAT]{},
		DNAT:          map[netfilter.Family]Fact[[]NAT]{},
		Services:      map[netfilter.Family]Fact[bool]{},
		ServiceProxy:  n.proxy,
		Exposure:      make([]Exposure, 0, len(n.answers)),
		Containers:    n.containerFacts(),
		Uplinks:       n.uplinkFacts(),
		Conntrack:     conntrackFacts(doc),
		Persisted:     persistedFacts(doc),
		Missing:       missingFacts(doc),
	}
	for _, fam := range families {
		f.SNAT[fam] = n.snat(fam)
		f.DNAT[fam] = n.dnat(fam)
		f.Services[fam] = n.services(fam, f.DNAT[fam])
	}
	k := newKinds(n.drops)
	for _, a := range n.answers {
		e := exposure(a)
		e.Shadowed = k.shadows(a.Shadowed)
		f.Exposure = append(f.Exposure, e)
	}
	f.Drops = n.dropFacts(k)
	f.Missing = append(append(f.Missing, k.missing()...), undecided(n.drops)...)
	f.Missing = append(f.Missing, n.unlistedDrops()...)
	return f
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
		for i, m := range c.Missing {
			if i == mostMissing {
				what := fmt.Sprintf("%d more things", len(c.Missing)-i)
				out = append(out, Missing{Collector: c.Name, What: what, Why: fmt.Sprintf("the first %d are named", i)})
				break
			}
			out = append(out, Missing{Collector: c.Name, What: m.What, Why: m.Why, Hint: m.Hint})
		}
	}
	return out
}
