package facts

import (
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
)

func (n *Node) askA() []packetpath.Answer {
	out := []packetpath.Answer{}
	for f, fam := range families {
		for i, u := range n.ups[f] {
			if i == mostUplinks {
				out = append(out, beyond(packetpath.A, fam, u.link, notAsked("uplinks", len(n.ups[f]), i)))
				break
			}
			out = append(out, n.keep(n.ask(packetpath.Query{Question: packetpath.A, Family: fam, In: u.Name, Dst: u.addrs})))
		}
	}
	return out
}

func (n *Node) askB() []packetpath.Answer {
	out := []packetpath.Answer{}
	for _, fam := range families {
		links := n.containerLinks(fam)
		sides := n.backendLinks(fam, links)
		most := min(mostLinks, max(1, mostReplies/(1+len(sides.remote))))
		for i, l := range links {
			if i == most {
				out = append(out, beyond(packetpath.B, fam, l, notAsked("links to containers", len(links), i)))
				break
			}
			out = append(out, n.keep(n.worstReply(fam, l, sides)))
		}
	}
	return out
}

// worstReply asks question B for every side that a backend's reply can come from, and returns the least protected.
func (n *Node) worstReply(fam netfilter.Family, out *link, sides backends) packetpath.Answer {
	var worst *packetpath.Answer
	dst := out.networks(fam)
	for _, in := range sides.of(out) {
		a := n.ask(packetpath.Query{Question: packetpath.B, Family: fam, In: in.Name, Out: out.Name, Dst: dst})
		if worst == nil || Rank(a) > Rank(*worst) {
			worst = &a
		}
		if Rank(*worst) == exposed {
			break
		}
	}
	if sides.more > 0 && Rank(*worst) < exposed {
		worst.Verdict, worst.Reset = packetpath.Depends, packetpath.ResetDepends
		worst.DependsOn = append(slices.Clone(worst.DependsOn), notAsked("interfaces that replies come in by", mostSides+sides.more, mostSides))
	}
	return *worst
}

// backends are where backends' replies come in: the uplinks, overlays to other nodes, and links to containers of this node.
type backends struct {
	remote []*link
	local  []*link // at most two, so that there is another one for each
	more   int     // remote ones that are not listed
}

func (n *Node) backendLinks(fam netfilter.Family, containers []*link) backends {
	var b backends
	for _, u := range n.candidates(fam) {
		if u.link.container && !u.link.hasDefault() {
			continue
		}
		b.remote = append(b.remote, u.link)
	}
	listed := make(map[*link]bool, len(b.remote))
	for _, l := range b.remote {
		listed[l] = true
	}
	for i := range n.links {
		if l := &n.links[i]; l.overlay && l.Up && !n.enslaved(l) && !listed[l] {
			b.remote = append(b.remote, l)
		}
	}
	if b.more = max(0, len(b.remote)-mostSides); b.more > 0 {
		b.remote = b.remote[:mostSides]
	}
	b.local = containers[:min(2, len(containers))]
	return b
}

// of are the sides for a link: the same bridge, or another veth.
func (b backends) of(out *link) []*link {
	local := out
	if out.Kind != "bridge" {
		for _, l := range b.local {
			if l != out {
				local = l
				break
			}
		}
	}
	return append(slices.Clone(b.remote), local)
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
	return exposed
}

// exposed is the highest rank.
const exposed = 3

// doubt takes back every answer when rules may have been missed altogether: they may reset, accept or untrack the packet
// anywhere. A table that was read in part is the evaluator's business.
func (n *Node) doubt(a packetpath.Answer) packetpath.Answer {
	if n.unread.why == "" {
		return a
	}
	a.Verdict, a.Reset = packetpath.Depends, packetpath.ResetDepends
	a.DependsOn = append(slices.Clone(a.DependsOn), n.unread.why)
	return a
}

func exposure(a packetpath.Answer) Exposure {
	e := Exposure{
		Question: string(a.Question), Family: a.Family, Interface: a.Interface,
		Verdict: string(a.Verdict), Reset: string(a.Reset),
		Protected: a.Reset == packetpath.ResetNo,
		Exposed:   a.Reset == packetpath.ResetYes || a.Reset == packetpath.ResetSome,
		Implicit:  a.Implicit, DecidedBy: a.DecidedBy,
		DependsOn: append([]string{}, a.DependsOn...),
	}
	for _, o := range a.Outcomes {
		if o.Fate == "reset" || len(a.Outcomes) == 1 {
			e.Witness = o.Witness.String()
			break
		}
	}
	return e
}
