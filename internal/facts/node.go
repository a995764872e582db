package facts

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// Node is a snapshot with what several facts need worked out once: the joined ruleset, which links are uplinks, which
// lead to containers, and the containers' networks.
type Node struct {
	doc     *snapshot.Document
	ruleset *netfilter.Ruleset
	links   []link
	byIndex map[uint32]*link
	packets *packetpath.Node
	path    *packetpath.Evaluator
	proxy   Fact[string]
	answers []packetpath.Answer
}

type link struct {
	snapshot.Link
	addrs     []netip.Prefix // with the host part
	broadcast []netip.Addr
	deflt     map[netfilter.Family]bool // carries a default route of that family
	container bool                      // leads to containers
	overlay   bool                      // vxlan, geneve ...: leads to other nodes' containers
	routed    []netip.Prefix            // destinations routed over it
}

func newNode(doc *snapshot.Document) *Node {
	n := &Node{doc: doc, ruleset: doc.Ruleset(), byIndex: map[uint32]*link{}}
	for _, l := range doc.Topology.Links.Or(nil) {
		n.links = append(n.links, link{Link: l, deflt: map[netfilter.Family]bool{}})
	}
	for i := range n.links {
		n.byIndex[n.links[i].Index] = &n.links[i]
	}
	n.addAddresses()
	n.addRoutes()
	n.markContainers()
	return n
}

func (n *Node) addAddresses() {
	for _, a := range n.doc.Topology.Addresses.Or(nil) {
		l := n.byIndex[a.Link]
		p, err := netip.ParsePrefix(a.Prefix)
		if l == nil || err != nil {
			continue
		}
		l.addrs = append(l.addrs, p)
		if b, err := netip.ParseAddr(a.Broadcast); err == nil {
			l.broadcast = append(l.broadcast, b)
		}
	}
}

const tableLocal = 255 // RT_TABLE_LOCAL, include/uapi/linux/rtnetlink.h

func (n *Node) addRoutes() {
	for _, r := range n.doc.Topology.Routes.Or(nil) {
		dst, err := netip.ParsePrefix(r.Dst)
		if err != nil || r.Type != "unicast" || r.Table == tableLocal {
			continue
		}
		for _, i := range r.Links {
			l := n.byIndex[i]
			switch {
			case l == nil:
			case dst.Bits() <= 1: // 0.0.0.0/0, or a VPN's two halves
				l.deflt[r.Family] = true
			default:
				l.routed = append(l.routed, dst)
			}
		}
	}
}

// guestKinds are the kinds of bridge ports that lead to containers, virtual machines or nowhere, never to the wire.
var guestKinds = map[string]bool{"veth": true, "tun": true, "vxlan": true, "geneve": true, "dummy": true}

// markContainers decides which links lead to containers: a veth into a namespace with processes, a bridge that has such a
// veth as its port, and a bridge without any port that forwards for nobody else (docker0 before its first container). A link
// with a default route never does: that is how a node that is itself a container is told from its own containers.
func (n *Node) markContainers() {
	inside := map[uint32]bool{}
	for _, ns := range n.doc.Topology.Namespaces.Or(nil) {
		for _, i := range ns.Links {
			inside[i] = true
		}
	}
	ports := map[uint32]int{} // ports of a bridge that are not containers'
	for i := range n.links {
		l := &n.links[i]
		l.overlay = l.Kind == "vxlan" || l.Kind == "geneve" || l.Kind == "ipip"
		l.container = inside[l.Index]
		if l.Master != 0 && !l.container && !guestKinds[l.Kind] {
			ports[l.Master]++
		}
	}
	for i := range n.links {
		l := &n.links[i]
		if l.Kind == "bridge" && ports[l.Index] == 0 {
			l.container = true
		}
		if l.hasDefault() {
			l.container = false
		}
	}
}

func (l *link) hasDefault() bool { return len(l.deflt) > 0 }

// enslaved: a bridge's port gives its packets to the IP hooks under the bridge's name.
func (n *Node) enslaved(l *link) bool {
	m := n.byIndex[l.Master]
	return m != nil && m.Kind == "bridge"
}

func isFamily(fam netfilter.Family, a netip.Addr) bool { return a.Is4() == (fam == netfilter.IP) }

// global are the link's own addresses of the family, link-local ones left out: nothing is masqueraded to those.
func (l *link) global(fam netfilter.Family) []netip.Addr {
	var out []netip.Addr
	for _, p := range l.addrs {
		if a := p.Addr(); isFamily(fam, a) && !a.IsLinkLocalUnicast() && !a.IsLoopback() {
			out = append(out, a)
		}
	}
	return out
}

// uplinks are the links that masqueraded traffic of the family can leave by: every link that is up, has an address of the
// family and does not lead to containers, those with a default route first.
func (n *Node) uplinks(fam netfilter.Family) []*link {
	var with, without []*link
	for i := range n.links {
		l := &n.links[i]
		switch {
		case !l.Up || l.Loopback || l.container || l.overlay || l.Kind == "dummy" || len(l.global(fam)) == 0:
		case l.deflt[fam]:
			with = append(with, l)
		default:
			without = append(without, l)
		}
	}
	return append(with, without...)
}

func (n *Node) uplinkFacts() []Uplink {
	out := []Uplink{}
	at := map[string]int{}
	for _, fam := range families {
		for _, l := range n.uplinks(fam) {
			i, ok := at[l.Name]
			if !ok {
				i = len(out)
				at[l.Name] = i
				out = append(out, Uplink{Name: l.Name, Families: []netfilter.Family{}})
			}
			out[i].Families = append(out[i].Families, fam)
		}
	}
	return out
}

// containerLinks are the links of the family's packets to containers; ports of a bridge are left out for their bridge.
func (n *Node) containerLinks(fam netfilter.Family) []*link {
	var out []*link
	for i := range n.links {
		l := &n.links[i]
		if l.container && l.Up && !n.enslaved(l) && len(l.networks(fam)) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// networks are the prefixes of the family behind the link: its own networks and what is routed over it.
func (l *link) networks(fam netfilter.Family) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range append(slices.Clone(l.addrs), l.routed...) {
		p = p.Masked()
		if isFamily(fam, p.Addr()) && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

func (n *Node) containerNetworks(fam netfilter.Family) []netip.Prefix {
	var out []netip.Prefix
	for i := range n.links {
		if l := &n.links[i]; l.container {
			out = append(out, l.networks(fam)...)
		}
	}
	return out
}

// packetNode is the node as the evaluator takes it.
func (n *Node) packetNode() *packetpath.Node {
	p := &packetpath.Node{Ruleset: n.ruleset, FwmarkReflect: map[netfilter.Family]bool{
		netfilter.IP:  n.on("net.ipv4.fwmark_reflect"),
		netfilter.IP6: n.on("net.ipv6.fwmark_reflect"),
	}}
	for _, h := range n.doc.NFTables.HookOrder.Or(nil) {
		p.HookOrder = append(p.HookOrder, packetpath.HookPlace{
			Family: h.Family, Hook: h.Hook, Device: h.Device, Priority: h.Priority, Function: h.Function,
			TableFamily: h.TableFamily, Table: h.Table, Chain: h.Chain,
		})
	}
	p.BridgeNetfilter = n.on("net.bridge.bridge-nf-call-iptables") || n.on("net.bridge.bridge-nf-call-ip6tables")
	for i := range n.links {
		l := &n.links[i]
		master := ""
		if m := n.byIndex[l.Master]; m != nil {
			master = m.Name
		}
		p.Interfaces = append(p.Interfaces, packetpath.Interface{
			Name: l.Name, Index: l.Index, Group: l.Group, Type: l.Type, Kind: l.Kind, Master: master,
		})
		for _, a := range l.addrs {
			p.Local = append(p.Local, a.Addr())
		}
		p.Broadcast = append(p.Broadcast, l.broadcast...)
		if l.XDP != 0 {
			p.OpaqueHooks = append(p.OpaqueHooks, packetpath.OpaqueHook{Name: "xdp on " + l.Name, Interface: l.Name})
		}
		if len(l.TCPrograms) > 0 {
			p.OpaqueHooks = append(p.OpaqueHooks, packetpath.OpaqueHook{Name: "tc on " + l.Name + ": " + strings.Join(l.TCPrograms, ", "), Interface: l.Name})
		}
	}
	return p
}

func (n *Node) on(key string) bool {
	v, ok := n.doc.Sysctl.Live[key]
	s, known := v.Get()
	return ok && known && s != "0"
}
