package facts

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// questionB bounds how many interfaces question B is asked for: a node has a few bridges, or a veth a pod.
const questionB = 256

func (n *Node) askA() []packetpath.Answer {
	out := []packetpath.Answer{}
	for _, fam := range families {
		for _, l := range n.uplinks(fam) {
			out = append(out, n.ask(packetpath.Query{
				Question: packetpath.A, Family: fam, In: l.Name, Dst: hosts(l.global(fam)),
			}))
		}
	}
	return out
}

func (n *Node) askB() []packetpath.Answer {
	out := []packetpath.Answer{}
	for _, fam := range families {
		links := n.containerLinks(fam)
		for _, l := range links[:min(len(links), questionB)] {
			out = append(out, n.worstReply(fam, l))
		}
	}
	return out
}

// worstReply asks question B for every side that a backend's reply can come from, and returns the least protected.
func (n *Node) worstReply(fam netfilter.Family, out *link) packetpath.Answer {
	var worst *packetpath.Answer
	for _, in := range n.backendLinks(fam, out) {
		a := n.ask(packetpath.Query{
			Question: packetpath.B, Family: fam, In: in.Name, Out: out.Name, Dst: out.networks(fam),
		})
		if worst == nil || Rank(a) > Rank(*worst) {
			worst = &a
		}
	}
	return *worst
}

// backendLinks are where backends' replies come in: the uplinks, overlays to other nodes, and one link to containers of
// this node (the same bridge, or another veth).
func (n *Node) backendLinks(fam netfilter.Family, out *link) []*link {
	var in []*link
	in = append(in, n.uplinks(fam)...)
	for i := range n.links {
		if l := &n.links[i]; l.overlay && l.Up {
			in = append(in, l)
		}
	}
	local := out
	if out.Kind != "bridge" {
		for _, l := range n.containerLinks(fam) {
			if l != out {
				local = l
				break
			}
		}
	}
	return append(in, local)
}

// Rank orders answers from protected to exposed; what is undecided stands between.
func Rank(a packetpath.Answer) int {
	switch a.Reset {
	case packetpath.ResetNo:
		return 0
	case packetpath.ResetDepends:
		return 1
	case packetpath.ResetSome:
		return 2
	}
	return 3
}

// doubt takes back every answer when a whole reader saw nothing: the rules that it would have shown may reset, accept or
// untrack the packet anywhere. A table that was read in part is the evaluator's business.
func (n *Node) doubt(a packetpath.Answer) packetpath.Answer {
	why, _ := rulesUnread(n.doc)
	if why == "" {
		return a
	}
	a.Verdict, a.Reset = packetpath.Depends, packetpath.ResetDepends
	a.DependsOn = append(slices.Clone(a.DependsOn), why)
	return a
}

// unreadFor says which rules of the family were not read and why; empty when all were.
func (n *Node) unreadFor(fam netfilter.Family) (why, hint string) {
	if why, hint = rulesUnread(n.doc); why != "" {
		return why, hint
	}
	for _, t := range n.ruleset.Tables {
		if t.Incomplete != "" && t.Family.Covers(fam) {
			return fmt.Sprintf("table %s %s %s was not read whole: %s", t.Backend, t.Family, t.Name, t.Incomplete), ""
		}
	}
	return "", ""
}

// rulesUnread says which of the two rule readers could not see anything.
func rulesUnread(doc *snapshot.Document) (why, hint string) {
	for _, name := range []string{"iptables", "nftables", "topology"} {
		c := collector(doc, name)
		if c == nil {
			return "the " + name + " collector did not run", "collect again without leaving it out"
		}
		if c.Status == snapshot.StatusUnreadable {
			for _, m := range c.Missing {
				return m.What + ": " + m.Why, m.Hint
			}
			return name + " could not be read", ""
		}
	}
	return "", ""
}

func collector(doc *snapshot.Document, name string) *snapshot.Collector {
	for i := range doc.Collectors {
		if doc.Collectors[i].Name == name {
			return &doc.Collectors[i]
		}
	}
	return nil
}

func hosts(addrs []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range addrs {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

func exposure(a packetpath.Answer) Exposure {
	e := Exposure{
		Question: string(a.Question), Family: a.Family, Interface: a.Interface,
		Verdict: string(a.Verdict), Reset: string(a.Reset),
		Protected: a.Reset == packetpath.ResetNo,
		Exposed:   a.Reset == packetpath.ResetYes || a.Reset == packetpath.ResetSome,
		Implicit:  a.Implicit, DecidedBy: a.DecidedBy,
		DependsOn: append([]string{}, a.DependsOn...), Shadowed: []Shadow{},
	}
	for _, s := range a.Shadowed {
		e.Shadowed = append(e.Shadowed, Shadow{Rule: s.Rule, Reason: string(s.Reason), By: s.By, Detail: s.Detail})
	}
	for _, o := range a.Outcomes {
		if o.Fate == "reset" || len(a.Outcomes) == 1 {
			e.Witness = witness(o.Witness)
			break
		}
	}
	return e
}

func witness(p packetpath.Packet) string {
	out := ""
	if p.Out != "" {
		out = " out " + p.Out
	}
	return fmt.Sprintf("in %s%s %s > %s %s", p.In, out,
		netip.AddrPortFrom(p.Src, p.Sport), netip.AddrPortFrom(p.Dst, p.Dport), p.Flags)
}

func (n *Node) drops() []Drop {
	out := []Drop{}
	for _, d := range packetpath.Drops(n.packets) {
		fd := Drop{
			Rule: d.Rule, Hooks: []string{}, Priority: int(d.Priority), Action: string(d.Action), With: d.With,
			Limited: d.Limited, InInterfaces: append([]string{}, d.InInterfaces...), Catastrophic: d.Catastrophic,
			ChainType: n.chainType(d), Families: []netfilter.Family{},
		}
		for _, h := range d.Hooks {
			fd.Hooks = append(fd.Hooks, string(h))
		}
		for _, fam := range families {
			if d.Rule.Family.Covers(fam) {
				fd.Families = append(fd.Families, fam)
			}
		}
		out = append(out, fd)
	}
	return out
}

// chainType is the type of the base chains that reach the drop.
func (n *Node) chainType(d packetpath.Drop) string {
	types := []string{}
	for _, t := range n.ruleset.Tables {
		if t.Family != d.Rule.Family || t.Name != d.Rule.Table || t.Backend != d.Rule.Backend {
			continue
		}
		for _, c := range t.Chains {
			if c.Base != nil && slices.Contains(d.Hooks, c.Base.Hook) && !slices.Contains(types, string(c.Base.Type)) {
				types = append(types, string(c.Base.Type))
			}
		}
	}
	return strings.Join(types, ",")
}
