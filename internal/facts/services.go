package facts

import (
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// The links that hold the addresses of Services: kube-proxy's in ipvs mode, and kube-router's.
const (
	ipvsLink       = "kube-ipvs0"
	kubeRouterLink = "kube-dummy-if"
)

// serviceProxy says who programs Service DNAT, by the names that the proxies give their own tables, chains and links.
func (n *Node) serviceProxy() Fact[string] {
	switch {
	case n.linkNamed(ipvsLink) != nil:
		return known("kube-proxy-ipvs")
	case n.linkNamed(kubeRouterLink) != nil:
		return known("kube-router")
	}
	found := "none"
	for _, t := range n.ruleset.Tables {
		switch {
		case t.Backend == netfilter.NFTables && t.Name == "kube-proxy":
			return known("kube-proxy-nftables")
		case t.Backend.XTables() && t.Name == "nat" && t.Chain("KUBE-SERVICES") != nil:
			found = "kube-proxy-iptables"
		}
	}
	if found != "none" {
		return known(found)
	}
	for _, fam := range families {
		if why, hint := n.natUnread(fam); why != "" {
			return unknown[string](why, hint)
		}
	}
	return known(found)
}

// services says whether Service addresses of the family are translated here: by rules, or by IPVS, which has an address of
// each Service on a link of its own.
func (n *Node) services(fam netfilter.Family, dnat Fact[[]NAT]) Fact[bool] {
	link := map[string]string{"kube-proxy-ipvs": ipvsLink, "kube-router": kubeRouterLink}[n.proxy.Value]
	switch {
	case !n.proxy.Known:
		return unknown[bool](n.proxy.Why, n.proxy.Hint)
	case n.proxy.Value == "none":
		return known(false)
	case link == "":
		return Fact[bool]{Known: dnat.Known, Value: len(dnat.Value) > 0, Why: dnat.Why, Hint: dnat.Hint}
	}
	if v := n.doc.Topology.Addresses; v.IsUnreadable() {
		why, hint := v.Why()
		return unknown[bool]("addresses: "+why, hint)
	}
	for _, a := range n.linkNamed(link).addrs {
		if isFamily(fam, a.Addr()) && !a.Addr().IsLinkLocalUnicast() {
			return known(true)
		}
	}
	return known(false)
}
