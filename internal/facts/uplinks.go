package facts

import (
	"net/netip"
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// uplink is an interface that source-NATed flows of a family can leave by.
type uplink struct {
	*link
	ways  []*link        // the links that packets leave by under this name: itself, or the ports of a VRF
	addrs []netip.Prefix // the node's own addresses that their sources are translated to; not to be written
}

// mayLeaveBy reports whether flows to the outside can leave by the link: it carries a default route, or it has an address
// and does not lead to containers alone. Overlays are in: what a node masquerades to a pod of another node leaves by them.
func (n *Node) mayLeaveBy(l *link, fam netfilter.Family) bool {
	switch {
	case !l.Up || l.Loopback || n.enslaved(l):
		return false
	case l.defaults[familyIndex(fam)]:
		return true
	case l.Kind == "dummy" || len(l.usableAddrs(fam)) == 0:
		return false
	}
	return !l.container || l.relays || !l.inside && l.Kind != "bridge"
}

// candidates are the uplinks of the family by addresses and routes, those with a default route first.
func (n *Node) candidates(fam netfilter.Family) []uplink {
	var with, without []uplink
	seen := map[*link]bool{}
	for i := range n.links {
		if !n.mayLeaveBy(&n.links[i], fam) {
			continue
		}
		l := n.standsFor(&n.links[i])
		if seen[l] {
			continue
		}
		seen[l] = true
		u := n.uplinkBy(l, fam)
		if len(u.addrs) == 0 {
			continue
		}
		if slices.ContainsFunc(u.ways, func(l *link) bool { return l.defaults[familyIndex(fam)] }) {
			with = append(with, u)
		} else {
			without = append(without, u)
		}
	}
	return append(with, without...)
}

// standsFor is the link that packets of a link come in by.
func (n *Node) standsFor(l *link) *link {
	if m := n.byIndex[l.Master]; m != nil && m.Kind == "vrf" {
		return m
	}
	return l
}

// uplinkBy is the uplink that the link is, with its ports where it has some. A VRF stands for its ports: INPUT sees the packet come in by the
// VRF. Source: drivers/net/vrf.c, vrf_ip_rcv(), Linux 6.18; read, not measured.
func (n *Node) uplinkBy(l *link, fam netfilter.Family) uplink {
	u := uplink{link: l, ways: []*link{l}, addrs: l.usableAddrs(fam)}
	if l.Kind == "vrf" {
		for _, p := range n.ports[l.Index] {
			if n.mayLeaveBy(p, fam) {
				u.ways, u.addrs = append(u.ways, p), append(u.addrs, p.usableAddrs(fam)...)
			}
		}
	}
	if len(u.addrs) == 0 {
		u.addrs = n.usableAddrs(fam)
	}
	return u
}

// filteredRules is the number of source NAT rules up to which they are held against every uplink.
const filteredRules = 256

// uplinks are the candidates that a source NAT rule can apply to, with the addresses that it translates to. Where the rules
// are not known, or none applies, no candidate is left out.
func (n *Node) uplinks(fam netfilter.Family) []uplink {
	all := n.candidates(fam)
	s := n.snats[familyIndex(fam)]
	if why, _ := n.natUnread(fam); why == "" && s.opaque == "" && s.count > 0 && s.count <= filteredRules {
		if by := n.translated(all, fam); len(by) > 0 && n.work >= 0 {
			return by
		}
	}
	for i := range all {
		all[i].addrs = n.join(all[i].addrs, s.to)
	}
	return all
}

// join is the union of two lists of addresses.
func (n *Node) join(a, b []netip.Prefix) []netip.Prefix {
	if len(b) == 0 && n.spend(len(a)/4) && strictlySorted(a) {
		return a
	}
	if !n.spend(8 * (len(a) + len(b))) {
		return a
	}
	return sorted(slices.Concat(a, b))
}

// translated are the uplinks that some source NAT rule applies to, each with what its own rules translate to.
func (n *Node) translated(all []uplink, fam netfilter.Family) []uplink {
	var out []uplink
	for _, u := range all {
		s := n.sourceNAT(natFlow{fam: fam, hook: netfilter.Postrouting, out: u.ways})
		if s.own {
			u.addrs = n.join(u.addrs, s.to)
		} else {
			u.addrs = s.to
		}
		if len(u.addrs) > 0 {
			out = append(out, u)
		}
	}
	return out
}

func (n *Node) uplinkFacts() []Uplink {
	out := []Uplink{}
	at := map[string]int{}
	for f, fam := range families {
		for _, l := range n.ups[f][:min(len(n.ups[f]), mostUplinks+1)] {
			i, ok := at[l.Name]
			if !ok {
				i = len(out)
				at[l.Name] = i
				out = append(out, Uplink{Name: l.Name, Families: []netfilter.Family{}})
			}
			if !slices.Contains(out[i].Families, fam) {
				out[i].Families = append(out[i].Families, fam)
			}
		}
	}
	return out
}
