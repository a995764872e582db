package facts

import (
	"net/netip"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// Node is a snapshot with what several facts need worked out once: the joined ruleset, which links are uplinks, which
// lead to containers, and the containers' networks.
type Node struct {
	doc      *snapshot.Document
	ruleset  *netfilter.Ruleset
	unread   gap
	links    []link
	byIndex  map[uint32]*link
	local    []netip.Prefix    // what the kernel delivers to itself
	nets     [2][]netip.Prefix // containers' networks, by familyIndex
	attached [2][]netip.Prefix // those that end at links to containers
	snats    [2]sourceNAT
	ups      [2][]uplink
	packets  *packetpath.Node
	path     *packetpath.Evaluator
	proxy    Fact[string]
	answers  []packetpath.Answer
	drops    []packetpath.Drop
	kinds    *kinds

	named  map[string]*link    // of several of a name the first
	ports  map[uint32][]*link  // by their master's index
	usable [2][]netip.Prefix   // see usableAddrs, by familyIndex
	sets   map[setName]*setUse // looked up in walks of NAT rules

	work     int // what is left of workBudget
	room     int // what is left of keptAnswers
	unlisted bool
}

func newNode(doc *snapshot.Document) *Node {
	n := &Node{
		doc: doc, ruleset: doc.Ruleset(), work: workBudget, room: keptAnswers,
		byIndex: map[uint32]*link{}, named: map[string]*link{}, ports: map[uint32][]*link{}, sets: map[setName]*setUse{},
	}
	n.unread = n.rulesUnread()
	n.addLinks()
	for f, fam := range families {
		n.nets[f], n.attached[f] = n.containerNetworks(fam), n.attachedNetworks(fam)
	}
	for f, fam := range families {
		n.snats[f] = n.sourceNAT(natFlow{fam: fam, hook: netfilter.Postrouting})
		n.ups[f] = n.uplinks(fam)
	}
	return n
}

// packetNode is the node as the evaluator takes it.
func (n *Node) packetNode() *packetpath.Node {
	p := &packetpath.Node{Ruleset: n.ruleset, FwmarkReflect: map[netfilter.Family]bool{
		netfilter.IP:  n.on("net.ipv4.fwmark_reflect"),
		netfilter.IP6: n.on("net.ipv6.fwmark_reflect"),
	}}
	p.BridgeNetfilter = n.mayBeOn("net.bridge.bridge-nf-call-iptables") || n.mayBeOn("net.bridge.bridge-nf-call-ip6tables")
	n.addHooks(p)
	for i := range n.links {
		n.addInterface(p, &n.links[i])
	}
	for _, l := range n.local {
		if l.IsSingleIP() {
			p.Local = append(p.Local, l.Addr())
		}
	}
	return p
}

func (n *Node) addInterface(p *packetpath.Node, l *link) {
	i := packetpath.Interface{Name: l.Name, Index: l.Index, Group: l.Group, Type: l.Type, Kind: l.Kind}
	if m := n.byIndex[l.Master]; m != nil {
		i.Master = m.Name
	}
	for _, a := range l.addrs {
		i.Addrs = append(i.Addrs, a.Addr())
	}
	p.Interfaces = append(p.Interfaces, i)
	p.Broadcast = append(p.Broadcast, l.broadcast...)
	if l.XDP != 0 {
		p.OpaqueHooks = append(p.OpaqueHooks, packetpath.OpaqueHook{Name: "xdp on " + l.Name, Interface: l.Name})
	}
	if len(l.TCPrograms) > 0 {
		name := "tc on " + l.Name + ": " + strings.Join(l.TCPrograms, ", ")
		p.OpaqueHooks = append(p.OpaqueHooks, packetpath.OpaqueHook{Name: name, Interface: l.Name})
	}
}

// addHooks takes over the kernel's own hook order, and its BPF programs, which no ruleset shows
// (net/netfilter/nf_bpf_link.c, Linux 6.18).
func (n *Node) addHooks(p *packetpath.Node) {
	for _, h := range n.doc.NFTables.HookOrder.Or(nil) {
		p.HookOrder = append(p.HookOrder, packetpath.HookPlace{
			Family: h.Family, Hook: h.Hook, Device: h.Device, Priority: h.Priority, Function: h.Function,
			TableFamily: h.TableFamily, Table: h.Table, Chain: h.Chain,
		})
		if strings.Contains(h.Function, "nf_hook_run_bpf") {
			p.OpaqueHooks = append(p.OpaqueHooks, packetpath.OpaqueHook{
				Name: "a BPF program at the " + string(h.Family) + " " + string(h.Hook) + " hook", Interface: h.Device,
			})
		}
	}
}

func (n *Node) on(key string) bool {
	v, ok := n.doc.Sysctl.Live[key]
	s, known := v.Get()
	return ok && known && strings.TrimSpace(s) != "0"
}

// mayBeOn is for settings under which more rules can match: unread counts as on, absent as off.
func (n *Node) mayBeOn(key string) bool {
	v, ok := n.doc.Sysctl.Live[key]
	return n.on(key) || !ok || v.IsUnreadable()
}
