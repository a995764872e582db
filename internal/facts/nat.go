package facts

import (
	"net/netip"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// listedSNAT and listedDNAT bound how many rules the facts name; a kube-proxy node has tens of thousands of DNAT rules.
const (
	listedSNAT = 100
	listedDNAT = 5
)

// sourceNAT is what the nat POSTROUTING chains can do to the sources of a flow.
type sourceNAT struct {
	rules    []NAT // the first listedSNAT, one that counts for egress among them if there is any
	count    int
	egress   bool           // some rule translates what leaves by an uplink to an address of the node
	own      bool           // to the outgoing link's address, or to one that is not known
	to       []netip.Prefix // to addresses that a rule names, as far as they are this node's
	opaque   string         // a rule that is not understood may translate
	distinct int            // of to, when they were counted last
}

// maxSNAT bounds the walk; with so many rules all of the node's addresses are asked about anyway.
const maxSNAT = 20000

func (n *Node) sourceNAT(flow natFlow) sourceNAT {
	var s sourceNAT
	s.opaque = n.walkNAT(flow, func(at natAt) bool {
		if nat := n.natRule(at); nat.source() {
			own, to := n.translation(at)
			nat.Own = own || len(to) > 0
			s.own = s.own || own
			s.gather(to)
			s.add(nat)
		}
		return s.count < maxSNAT && n.work >= 0
	})
	if s.count >= maxSNAT {
		s.own = true
	}
	s.to = sorted(s.to)
	return s
}

// gather adds addresses, each of which is kept once: there are no more than the node has, and rules name.
func (s *sourceNAT) gather(more []netip.Prefix) {
	const few = 1024
	if s.to = append(s.to, more...); len(s.to) > max(few, 2*s.distinct) {
		s.to = sorted(s.to)
		s.distinct = len(s.to)
	}
}

func (s *sourceNAT) add(nat NAT) {
	counts := nat.Own && nat.Egress
	switch {
	case len(s.rules) < listedSNAT:
		s.rules = append(s.rules, nat)
	case counts && !s.egress:
		s.rules[listedSNAT-1] = nat
	}
	s.count++
	s.egress = s.egress || counts
}

// snat lists the source NAT rules that nat POSTROUTING reaches for the family. Where none of them translates what leaves
// by an uplink, all must have been read for that to be known.
func (n *Node) snat(fam netfilter.Family) Fact[[]NAT] {
	s := n.snats[familyIndex(fam)]
	if !s.egress {
		if why, hint := n.natUnread(fam); why != "" {
			return unknown[[]NAT](why, hint)
		}
		if s.opaque != "" {
			return unknown[[]NAT](s.opaque, "")
		}
		if l := n.openVSwitch(); l != "" {
			return unknown[[]NAT]("Open vSwitch ("+l+") can translate addresses in its own datapath, which no ruleset shows", "")
		}
	}
	return known(append([]NAT{}, s.rules...))
}

func (n *Node) openVSwitch() string {
	for i := range n.links {
		if n.links[i].Kind == "openvswitch" {
			return n.links[i].Name
		}
	}
	return ""
}

// dnat lists the first destination NAT rules that nat PREROUTING and OUTPUT reach.
func (n *Node) dnat(fam netfilter.Family) Fact[[]NAT] {
	found := []NAT{}
	seen := map[*netfilter.Rule]bool{}
	visit := func(at natAt) bool {
		if nat := n.natRule(at); !nat.source() && !seen[at.rule] {
			seen[at.rule] = true
			found = append(found, nat)
		}
		return len(found) < listedDNAT
	}
	opaque := ""
	for _, hook := range []netfilter.Hook{netfilter.Prerouting, netfilter.Output} {
		if len(found) < listedDNAT {
			why := n.walkNAT(natFlow{fam: fam, hook: hook}, visit)
			if opaque == "" {
				opaque = why
			}
		}
	}
	if len(found) == 0 {
		if why, hint := n.natUnread(fam); why != "" {
			return unknown[[]NAT](why, hint)
		}
		if opaque != "" {
			return unknown[[]NAT](opaque, "")
		}
	}
	return known(found)
}

func (n NAT) source() bool { return n.Action == "masquerade" || n.Action == "snat" }

// natRule reads a NAT rule's scope: what is not a plain address match (an ipset, a mark) does not narrow it, since the
// flows behind it cannot be told.
func (n *Node) natRule(at natAt) NAT {
	nat := NAT{Rule: ref(at.table, at.chain, at.rule), Action: at.stmt.Name, To: at.stmt.Args, Egress: true}
	if nat.Action == "netmap" && at.flow.hook == netfilter.Postrouting {
		nat.Action = "snat"
	}
	scope := natScope{at: at, nat: &nat}
	for _, op := range at.ops {
		if m, ok := op.(netfilter.Match); ok {
			n.take(&scope, m)
		}
	}
	n.cover(scope)
	return nat
}

// natScope gathers what a rule's matches say of its flows.
type natScope struct {
	at      natAt
	nat     *NAT
	sources []netip.Prefix
	dst     []netip.Prefix
	out     []netfilter.Interval // names that it must leave by
	allOut  bool                 // out is all there is
}

func (n *Node) take(s *natScope, m netfilter.Match) {
	if len(m.Fields) != 1 || m.Fields[0].Mask != nil || m.Fields[0].Xor != nil {
		return
	}
	in, known := m.In, true
	if m.Set != "" {
		u := n.setOf(s.at.table, m.Set)
		if in, known = u.keys, u.known; !known {
			return
		}
	}
	switch m.Fields[0].Field {
	case addressField(s.at.flow.fam, true):
		list := n.prefixes(s.at.flow.fam, in)
		if m.Invert {
			s.nat.Excluded = append(s.nat.Excluded, texts(list)...)
			return
		}
		s.sources = append(s.sources, list...)
		s.nat.Sources = append(s.nat.Sources, texts(list)...)
	case addressField(s.at.flow.fam, false):
		if !m.Invert {
			s.dst = append(s.dst, n.prefixes(s.at.flow.fam, in)...)
		}
	case netfilter.OIFName:
		s.nat.OutInterface = namesText(in, m.Invert)
		if !m.Invert {
			s.out, s.allOut = append(s.out, in...), true
		}
	}
}

// namesText writes interface patterns as iptables does.
func namesText(in []netfilter.Interval, invert bool) string {
	const listed = 5
	var out []string
	for i, x := range in {
		if i == listed {
			out = append(out, "...")
			break
		}
		name := x.From.Ifname()
		if x.From != x.To {
			name += "+"
		}
		out = append(out, name)
	}
	text := strings.Join(out, ",")
	if invert {
		return "! " + text
	}
	return text
}

// listedPrefixes bounds how many prefixes of a set are named.
const listedPrefixes = 100

func (n *Node) prefixes(fam netfilter.Family, in []netfilter.Interval) []netip.Prefix {
	var out []netip.Prefix
	if !n.spend(prefixCost * len(in)) {
		return out
	}
	for _, i := range in {
		if p, ok := prefixOf(fam, i); ok {
			out = append(out, p)
		}
	}
	return out
}

// prefixOf is the smallest prefix that holds the interval.
func prefixOf(fam netfilter.Family, i netfilter.Interval) (netip.Prefix, bool) {
	from, to := i.From.IP6(), i.To.IP6()
	if fam == netfilter.IP {
		from, to = i.From.IP4(), i.To.IP4()
	}
	for bits := from.BitLen(); bits >= 0; bits-- {
		if p, err := from.Prefix(bits); err == nil && p.Contains(to) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func texts(list []netip.Prefix) []string {
	var out []string
	for i, p := range list {
		if i == listedPrefixes {
			break
		}
		out = append(out, p.String())
	}
	return out
}

// cover says whose flows the rule can translate. CoversContainers: its sources meet a container network, or are any. Egress
// is false only where it is certain: the rule is for destinations that end at links to containers (Docker's hairpin rule),
// or for such links and the loopback alone.
func (n *Node) cover(s natScope) {
	nat, fam := s.nat, s.at.flow.fam
	nets := n.nets[familyIndex(fam)]
	if !n.spend(len(s.sources)*len(nets) + len(s.dst)*len(n.attached[familyIndex(fam)]) + len(s.out)) {
		return
	}
	nat.CoversContainers = len(s.sources) == 0
	for _, p := range s.sources {
		nat.CoversContainers = nat.CoversContainers || p.Bits() == 0 || overlapsAny(p, nets)
	}
	if len(nat.Sources) == 0 {
		nat.Sources = []string{"any"}
	}
	if len(s.dst) > 0 && allInside(s.dst, n.attached[familyIndex(fam)]) {
		nat.Egress = false
	}
	if s.allOut && n.onlyInward(s.out, fam) {
		nat.Egress = false
	}
	nat.CoversContainers = nat.CoversContainers && nat.Egress
}

// onlyInward reports whether the names are those of the loopback and of links to containers that are no uplinks.
func (n *Node) onlyInward(out []netfilter.Interval, fam netfilter.Family) bool {
	for _, i := range out {
		l := n.linkNamed(i.From.Ifname())
		if i.From != i.To || l == nil || !l.Loopback && !(l.container && !n.mayLeaveBy(l, fam)) {
			return false
		}
	}
	return true
}

func overlapsAny(p netip.Prefix, list []netip.Prefix) bool {
	for _, q := range list {
		if p.Overlaps(q) {
			return true
		}
	}
	return false
}

func allInside(list, nets []netip.Prefix) bool {
	for _, p := range list {
		inside := false
		for _, q := range nets {
			inside = inside || q.Bits() <= p.Bits() && q.Contains(p.Addr())
		}
		if !inside {
			return false
		}
	}
	return true
}

func ref(t *netfilter.Table, c *netfilter.Chain, r *netfilter.Rule) netfilter.RuleRef {
	return netfilter.RuleRef{
		Backend: t.Backend, Family: t.Family, Table: t.Name, Chain: c.Name,
		Number: r.Number, Handle: r.Handle, Text: r.Excerpt(),
	}
}
