package facts

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// link is an interface with what its addresses, routes and neighbours say about where it leads.
type link struct {
	snapshot.Link
	addrs     []address
	broadcast []netip.Addr
	defaults  [2]bool // carries a default route, by familyIndex
	routes    []route
	inside    bool // a veth into a namespace that was found
	container bool // leads to containers
	overlay   bool // vxlan, geneve ...: leads to other nodes' containers
	relays    bool // a gateway behind it leads further: a router or VPN in a container
}

type address struct {
	netip.Prefix      // with the host part
	usable       bool // masquerade may take it: neither link-local nor the loopback's
}

type route struct {
	dst     netip.Prefix
	gateway bool
}

func familyIndex(fam netfilter.Family) int {
	if fam == netfilter.IP6 {
		return 1
	}
	return 0
}

func isFamily(fam netfilter.Family, a netip.Addr) bool { return a.Is4() == (fam == netfilter.IP) }

func (n *Node) addLinks() {
	list := n.doc.Topology.Links.Or(nil)
	n.links = make([]link, len(list))
	for i := range list {
		l := &n.links[i]
		l.Link = list[i]
		n.byIndex[l.Index] = l
		if n.named[l.Name] == nil {
			n.named[l.Name] = l
		}
		if l.Master != 0 {
			n.ports[l.Master] = append(n.ports[l.Master], l)
		}
	}
	n.addAddresses()
	n.addRoutes()
	n.markContainers()
}

func (n *Node) addAddresses() {
	for _, a := range n.doc.Topology.Addresses.Or(nil) {
		l := n.byIndex[a.Link]
		p, err := netip.ParsePrefix(a.Prefix)
		if l == nil || err != nil {
			continue
		}
		n.local = append(n.local, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		l.addrs = append(l.addrs, address{p, usable(p.Addr(), a.Scope)})
		if b, err := netip.ParseAddr(a.Broadcast); err == nil {
			l.broadcast = append(l.broadcast, b)
		}
	}
}

// usable reports whether masquerade takes the address: it asks for one of universal scope, and a 169.254 address can have
// that. Source: net/netfilter/nf_nat_masquerade.c and net/ipv4/devinet.c, inet_select_addr(), Linux 6.18.
func usable(a netip.Addr, scope string) bool {
	switch scope {
	case "link", "host", "nowhere":
		return false
	}
	return !a.IsLoopback() && !a.IsMulticast() && (a.Is4() || !a.IsLinkLocalUnicast())
}

const tableLocal = 255 // RT_TABLE_LOCAL, include/uapi/linux/rtnetlink.h

// defaultBits: 0.0.0.0/0, the two halves that a VPN routes, and 2000::/3, all of IPv6 that is in use.
const defaultBits = 3

func (n *Node) addRoutes() {
	for _, r := range n.doc.Topology.Routes.Or(nil) {
		dst, err := netip.ParsePrefix(r.Dst)
		if err != nil {
			continue
		}
		if r.Type == "local" {
			n.local = append(n.local, dst)
		}
		if r.Type != "unicast" || r.Table == tableLocal {
			continue
		}
		for _, i := range r.Links {
			n.addRoute(n.byIndex[i], route{dst, r.Gateway != ""})
		}
	}
}

func (n *Node) addRoute(l *link, r route) {
	if l == nil || r.dst.Addr().IsMulticast() {
		return
	}
	fam := netfilter.IP6
	if r.dst.Addr().Is4() {
		fam = netfilter.IP
	}
	if r.dst.Bits() <= 1 || fam == netfilter.IP6 && r.dst.Bits() <= defaultBits {
		l.defaults[familyIndex(fam)] = true
		return
	}
	l.routes = append(l.routes, r)
	l.relays = l.relays || r.gateway
}

func (l *link) hasDefault() bool { return l.defaults != [2]bool{} }

// guestKind reports kinds of bridge ports that lead to containers or virtual machines, or nowhere, never to the wire.
func guestKind(kind string) bool {
	switch kind {
	case "veth", "netkit", "tun", "dummy":
		return true
	}
	return false
}

func overlayKind(kind string) bool {
	switch kind {
	case "vxlan", "geneve", "ipip", "sit", "gre", "gretap", "ip6gre", "ip6tnl":
		return true
	}
	return false
}

// markContainers decides which links lead to containers: a veth into another namespace, a bridge all of whose ports do, and
// a bridge without any port (docker0 before its first container). A veth with a default route is the way out of a node that
// is itself a container; one whose other end's namespace was not found can be that, too.
func (n *Node) markContainers() {
	inside := map[uint32]bool{}
	for _, ns := range n.doc.Topology.Namespaces.Or(nil) {
		for _, i := range ns.Links {
			inside[i] = true
		}
	}
	blind := n.doc.Topology.Routes.IsUnreadable() // any veth may be the way out
	foreign := map[uint32]bool{}                  // bridges with a port that is no guest's
	for i := range n.links {
		l := &n.links[i]
		away := (l.Kind == "veth" || l.Kind == "netkit") && l.PeerNS != nil
		l.overlay = overlayKind(l.Kind)
		l.inside = inside[l.Index] && !blind
		l.container = (inside[l.Index] || away) && !l.hasDefault()
		if l.Master != 0 && !l.container && !guestKind(l.Kind) {
			foreign[l.Master] = true
		}
	}
	for i := range n.links {
		l := &n.links[i]
		l.container = l.container || l.Kind == "bridge" && !foreign[l.Index]
	}
}

// enslaved: a port gives its packets to the IP hooks under its master's name.
func (n *Node) enslaved(l *link) bool {
	m := n.byIndex[l.Master]
	if m == nil {
		return false
	}
	switch m.Kind {
	case "bridge", "bond", "team", "openvswitch", "hsr":
		return true
	}
	return false
}

func (n *Node) linkNamed(name string) *link { return n.named[name] }

// usableAddrs are the link's addresses of the family that masquerade may take.
func (l *link) usableAddrs(fam netfilter.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range l.addrs {
		if a.usable && isFamily(fam, a.Addr()) {
			out = append(out, netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
		}
	}
	return out
}

// networks are the prefixes of the family behind the link: its own networks and what is routed over it.
func (l *link) networks(fam netfilter.Family) []netip.Prefix {
	var out []netip.Prefix
	add := func(p netip.Prefix) {
		if p = p.Masked(); isFamily(fam, p.Addr()) && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			out = append(out, p)
		}
	}
	for _, a := range l.addrs {
		add(a.Prefix)
	}
	for _, r := range l.routes {
		add(r.dst)
	}
	return sorted(out)
}

// attached are the networks of the family that end at the link: its own, and routes without a gateway.
func (l *link) attached(fam netfilter.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range l.addrs {
		if isFamily(fam, a.Addr()) {
			out = append(out, a.Masked())
		}
	}
	for _, r := range l.routes {
		if isFamily(fam, r.dst.Addr()) && !r.gateway {
			out = append(out, r.dst.Masked())
		}
	}
	return out
}

func sorted(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, byAddress)
	return slices.Compact(list)
}

func byAddress(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// strictlySorted reports whether sorted would change nothing.
func strictlySorted(list []netip.Prefix) bool {
	for i := 1; i < len(list); i++ {
		if byAddress(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}

// containerLinks are the links of the family's packets to containers; ports of a bridge are left out for their bridge. A
// link of which neither addresses nor routes tell the network (Cilium's lxc*) is in for every family that the node has.
func (n *Node) containerLinks(fam netfilter.Family) []*link {
	var out []*link
	for i := range n.links {
		l := &n.links[i]
		if !l.container || !l.Up || n.enslaved(l) {
			continue
		}
		known := len(l.networks(netfilter.IP))+len(l.networks(netfilter.IP6)) > 0
		if len(l.networks(fam)) > 0 || !known && l.Kind != "bridge" && len(n.usableAddrs(fam)) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// containerNetworks are the networks of all containers of this node.
func (n *Node) containerNetworks(fam netfilter.Family) []netip.Prefix {
	var out []netip.Prefix
	for i := range n.links {
		if l := &n.links[i]; l.container {
			out = append(out, l.networks(fam)...)
		}
	}
	return sorted(out)
}

// attachedNetworks are the networks of the family that end at links to containers.
func (n *Node) attachedNetworks(fam netfilter.Family) []netip.Prefix {
	var out []netip.Prefix
	for i := range n.links {
		if l := &n.links[i]; l.container && !n.mayLeaveBy(l, fam) {
			out = append(out, l.attached(fam)...)
		}
	}
	return sorted(out)
}

// usableAddrs are all addresses of the node that masquerade may take where the outgoing link has none of its own. Nobody may
// change them.
func (n *Node) usableAddrs(fam netfilter.Family) []netip.Prefix {
	if n.usable[familyIndex(fam)] == nil {
		n.usable[familyIndex(fam)] = n.allUsable(fam)
	}
	return n.usable[familyIndex(fam)]
}

func (n *Node) allUsable(fam netfilter.Family) []netip.Prefix {
	out := []netip.Prefix{}
	for i := range n.links {
		if l := &n.links[i]; l.Kind != "dummy" || !serviceDummy(l.Name) {
			out = append(out, l.usableAddrs(fam)...)
		}
	}
	return sorted(out)
}

// serviceDummy reports links that hold Services' addresses, which nothing is masqueraded to.
func serviceDummy(name string) bool {
	return name == ipvsLink || name == kubeRouterLink || name == "nodelocaldns"
}
