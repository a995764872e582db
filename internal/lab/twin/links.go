package twin

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// mostLinks bounds how many interfaces are rebuilt: each is a veth pair of about a millisecond.
const mostLinks = 512

// fenceLink is the pair in the world whose frames tell that the kernel has done with those before them.
const fenceLink = "fence0"

// addLinks makes the interfaces under their own names and numbers. Bridges are bridges; every other link that gives packets to
// the IP stack is one end of a veth pair, the other end being in the world.
func (t *Twin) addLinks(ctx context.Context) error {
	pair := &netlink.Veth{LinkAttrs: attrs(fenceLink), PeerName: "fence1"}
	if err := t.outside.LinkAdd(pair); err != nil {
		return &Unavailable{fmt.Errorf("add veth: %w", err)}
	}
	count := 0
	bridges := map[uint32]bool{}
	for i := range t.source.Links {
		l := &t.source.Links[i]
		if l.Loopback || ctx.Err() != nil {
			continue
		}
		if count++; count > mostLinks {
			t.gap(Gap{What: "interface " + l.Name, Why: fmt.Sprintf("only %d interfaces are rebuilt", mostLinks), Links: []string{l.Name}})
			continue
		}
		master := t.byIndex[l.Master]
		switch {
		case l.Kind == "bridge":
			t.addBridge(l)
		case master != nil && master.Kind == "bridge":
			if bridges[l.Master] && !t.hooked(l.Name) {
				continue // one port is enough: the IP hooks see the bridge
			}
			bridges[l.Master] = true
			fallthrough
		default:
			if err := t.addVeth(l); err != nil {
				t.gap(Gap{What: "interface " + l.Name, Why: err.Error(), Links: t.under(l)})
			}
		}
	}
	return t.plug()
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// under are the interfaces whose packets a link carries: itself, or the bond or bridge that it is a port of.
func (t *Twin) under(l *Link) []string {
	if m := t.byIndex[l.Master]; m != nil {
		return []string{l.Name, m.Name}
	}
	return []string{l.Name}
}

// hooked reports whether a base chain is registered on the device.
func (t *Twin) hooked(name string) bool {
	for _, table := range t.source.Ruleset.Tables {
		for _, c := range table.Chains {
			if c.Base != nil && slices.Contains(c.Base.Devices, name) {
				return true
			}
		}
	}
	return false
}

func (t *Twin) addBridge(l *Link) {
	a := attrs(l.Name)
	a.Index, a.Group = int(l.Index), l.Group
	if err := t.links.LinkAdd(&netlink.Bridge{LinkAttrs: a}); err == nil {
		return
	}
	plain := *l // a kernel without bridges
	plain.Kind = "veth"
	if err := t.addVeth(&plain); err != nil {
		t.gap(Gap{What: "interface " + l.Name, Why: err.Error(), Links: []string{l.Name}})
		return
	}
	t.substitute(l)
}

func (t *Twin) addVeth(l *Link) error {
	a := attrs(l.Name)
	a.Index, a.Group = int(l.Index), l.Group
	far := fmt.Sprintf("far%d", l.Index)
	if err := t.links.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: far, PeerNamespace: netlink.NsFd(t.world.FD())}); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	if l.Kind != "veth" {
		t.substitute(l)
	}
	return nil
}

// substitute names what a link is that is a veth in the twin, and whom that concerns.
func (t *Twin) substitute(l *Link) {
	g := Gap{What: "interface " + l.Name, Why: "it is a veth in the twin", Links: []string{l.Name}, Harmless: true}
	if l.Kind != "" {
		g.Why = "it is a " + l.Kind + ", and a veth in the twin"
	}
	switch {
	case l.Kind == "vrf":
		g.Why, g.Harmless, g.Links = "a VRF is not rebuilt: its ports' packets pass the hooks twice", false, append(t.portsOf(l), l.Name)
	case t.reads(netfilter.IIFKind, netfilter.OIFKind, "meta.iifkind", "meta.oifkind"):
		g.Why, g.Harmless = g.Why+", and a rule asks for the kind", false
	case l.Type != unix.ARPHRD_ETHER && t.reads(netfilter.IIFType, netfilter.OIFType):
		g.Why, g.Harmless = g.Why+", and a rule asks for the type", false
	case slices.ContainsFunc(t.portsOf(l), t.hooked):
		g.Why, g.Harmless = g.Why+", and a chain is registered on one of its ports", false
	case l.Kind == "" && l.Type == unix.ARPHRD_ETHER:
		return // hardware
	}
	t.gap(g)
}

func (t *Twin) portsOf(l *Link) (names []string) {
	for i := range t.source.Links {
		if p := &t.source.Links[i]; p.Master == l.Index && l.Index != 0 {
			names = append(names, p.Name)
		}
	}
	return names
}

// reads reports whether a rule with steps looks at one of the fields. iptables has no word for them.
func (t *Twin) reads(fields ...netfilter.Field) bool {
	for _, table := range t.source.Ruleset.Tables {
		for _, c := range table.Chains {
			for _, r := range c.Rules {
				if slices.ContainsFunc(r.Ops, func(op netfilter.Op) bool { return readsAny(op, fields) }) {
					return true
				}
			}
		}
	}
	return false
}

func readsAny(op netfilter.Op, fields []netfilter.Field) bool {
	var operands []netfilter.Operand
	switch op := op.(type) {
	case netfilter.Match:
		operands = op.Fields
	case netfilter.VMap:
		operands = op.Fields
	case netfilter.Assign:
		return slices.Contains(fields, op.From)
	}
	return slices.ContainsFunc(operands, func(o netfilter.Operand) bool { return slices.Contains(fields, o.Field) })
}

// plug puts each bridge's ports in, making one for a bridge that has none, and learns the ways into the node. A bridge takes its
// hardware address from its ports, so they come first.
func (t *Twin) plug() error {
	for i := range t.source.Links {
		l := &t.source.Links[i]
		if m := t.byIndex[l.Master]; m != nil && m.Kind == "bridge" && t.built(l.Name) {
			t.enslave(l, m)
		}
	}
	for i := range t.source.Links {
		l := &t.source.Links[i]
		if m := t.byIndex[l.Master]; l.Loopback || m != nil && m.Kind == "bridge" || !t.built(l.Name) {
			continue
		}
		if err := t.learn(l); err != nil {
			t.gap(Gap{What: "interface " + l.Name, Why: err.Error(), Links: []string{l.Name}})
		}
	}
	return nil
}

func (t *Twin) built(name string) bool {
	_, err := t.links.LinkByName(name)
	return err == nil
}

// learn finds the far end of a link, or of a bridge's port.
func (t *Twin) learn(l *Link) error {
	near, err := t.links.LinkByName(l.Name)
	if err != nil {
		return err
	}
	port := l.Index
	if near.Type() == "bridge" {
		if port, err = t.portOf(l); err != nil {
			return err
		}
		if near, err = t.links.LinkByName(l.Name); err != nil {
			return err
		}
	}
	far, err := t.outside.LinkByName(fmt.Sprintf("far%d", port))
	if err != nil {
		return err
	}
	t.ways[l.Name] = &way{
		link: l, index: far.Attrs().Index, far: far.Attrs().HardwareAddr, near: near.Attrs().HardwareAddr,
		ifindex: near.Attrs().Index, prepared: map[string]bool{},
	}
	return nil
}

// portOf is the number of the link that is the bridge's port to the world.
func (t *Twin) portOf(bridge *Link) (uint32, error) {
	for i := range t.source.Links {
		p := &t.source.Links[i]
		if p.Master != bridge.Index {
			continue
		}
		if _, err := t.links.LinkByName(p.Name); err == nil {
			return p.Index, nil
		}
	}
	extra := Link{Index: 1<<20 + bridge.Index, Name: fmt.Sprintf("twin%d", bridge.Index), Kind: "veth", Master: bridge.Index, Up: true}
	if err := t.addVeth(&extra); err != nil {
		return 0, err
	}
	t.enslave(&extra, bridge)
	return extra.Index, t.up(extra.Name)
}

func (t *Twin) enslave(port, bridge *Link) {
	a, b := attrs(port.Name), attrs(bridge.Name)
	a.Index, b.Index = int(port.Index), int(bridge.Index)
	if err := t.links.LinkSetMaster(&netlink.Veth{LinkAttrs: a}, &netlink.Bridge{LinkAttrs: b}); err != nil {
		t.gap(Gap{What: "interface " + port.Name, Why: "not a port of " + bridge.Name + ": " + err.Error(), Links: []string{bridge.Name}})
	}
}

func (t *Twin) up(name string) error {
	l, err := t.links.LinkByName(name)
	if err == nil {
		err = t.links.LinkSetUp(l)
	}
	return err
}

// raise brings up what is up on the node, and the world, and waits for the carriers: IPv6 sends nothing before.
func (t *Twin) raise(ctx context.Context) error {
	far, err := t.outside.LinkList()
	if err != nil {
		return fmt.Errorf("links of the world: %w", err)
	}
	for _, l := range far {
		if err := t.outside.LinkSetUp(l); err != nil {
			return fmt.Errorf("link %s: %w", l.Attrs().Name, err)
		}
	}
	for i := range t.source.Links {
		l := &t.source.Links[i]
		if _, err := t.links.LinkByName(l.Name); err != nil || !l.Up {
			continue
		}
		if err := t.up(l.Name); err != nil {
			t.gap(Gap{What: "interface " + l.Name, Why: "it does not come up: " + err.Error(), Links: t.under(l)})
		}
	}
	return t.carriers(ctx)
}

func (t *Twin) carriers(ctx context.Context) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		all, err := t.links.LinkList()
		if err != nil {
			return fmt.Errorf("links: %w", err)
		}
		waiting := slices.IndexFunc(all, func(l netlink.Link) bool {
			a := l.Attrs()
			return a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_LOOPBACK == 0 && a.OperState != netlink.OperUp
		})
		switch {
		case waiting < 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("link %s: no carrier", all[waiting].Attrs().Name)
		}
	}
}

// address gives the links their addresses, without the routes that the kernel would add: the snapshot has those.
// settle waits until the node takes what is sent to its IPv6 addresses: a work queue puts each into the local table some time
// after it was added. One that it does not take is named.
func (t *Twin) settle(ctx context.Context) error {
	for deadline := time.Now().Add(5 * time.Second); ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		t.local = slices.DeleteFunc(t.local, t.isLocal)
		switch {
		case len(t.local) == 0:
			return nil
		case time.Now().After(deadline):
			for _, a := range t.local {
				t.gap(Gap{What: "address " + a.String(), Why: "the kernel does not make it its own", Families: []netfilter.Family{netfilter.IP6}})
			}
			return nil
		}
	}
	return ctx.Err()
}

func (t *Twin) isLocal(a netip.Addr) bool {
	routes, err := t.links.RouteGet(a.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

func (t *Twin) address(context.Context) error {
	for _, a := range t.source.Addresses {
		l := t.byIndex[a.Link]
		if l == nil || l.Loopback && (strings.HasPrefix(a.Prefix, "127.0.0.1/") || a.Prefix == "::1/128") {
			continue
		}
		if err := t.addAddress(l, a); err != nil {
			p, _ := netip.ParsePrefix(a.Prefix)
			t.gap(Gap{What: "address " + a.Prefix + " of " + l.Name, Why: err.Error(), Families: []netfilter.Family{familyOf(p.Addr())}})
		}
	}
	return nil
}

func familyOf(a netip.Addr) netfilter.Family {
	if a.Is4() {
		return netfilter.IP
	}
	return netfilter.IP6
}

func (t *Twin) addAddress(l *Link, a Address) error {
	link, err := t.links.LinkByName(l.Name)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(a.Prefix)
	if err != nil {
		return err
	}
	addr.Flags = unix.IFA_F_NOPREFIXROUTE
	addr.Scope = map[string]int{"global": unix.RT_SCOPE_UNIVERSE, "link": unix.RT_SCOPE_LINK, "host": unix.RT_SCOPE_HOST}[a.Scope]
	if addr.IP.To4() == nil {
		addr.Flags |= unix.IFA_F_NODAD
	} else {
		addr.Broadcast = make([]byte, 4) // none
		if b, err := netip.ParseAddr(a.Broadcast); err == nil {
			addr.Broadcast = b.AsSlice()
		}
	}
	if err := t.links.AddrAdd(link, addr); err != nil {
		return err
	}
	if p, err := netip.ParsePrefix(a.Prefix); err == nil && l.Up && p.Addr().Is6() {
		t.local = append(t.local, p.Addr())
	}
	return nil
}
