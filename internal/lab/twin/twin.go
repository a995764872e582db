// Package twin rebuilds a node in throw-away namespaces: its interfaces under their own names, addresses, routes, settings and
// rules, read from a snapshot. Segments are put on its wires, and the kernel says what becomes of them.
//
//	server -- uplink NODE link -- pod
//
// Everything outside the node is one namespace with one packet socket: it is the server that sends the stray segment, and the
// pod that answers RST to what it does not know.
//
// What cannot be rebuilt is a [Gap]: it is named, and it says which segments it may concern. Nothing is left out in silence.
package twin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Node is what is rebuilt.
type Node struct {
	Links     []Link
	Addresses []Address
	Routes    []Route
	Rules     []PolicyRule
	Sysctls   map[string]string // by dotted name, as [lab.Netns.Sysctl] takes it; of interest are those of [settings]
	Ruleset   *netfilter.Ruleset
	HookOrder []Hooked // empty: the snapshot does not tell
}

// Link is an interface.
type Link struct {
	Index    uint32
	Name     string
	Kind     string // of rtnl: veth, bridge, vlan ...; empty: hardware or loopback
	Type     uint16 // ARPHRD_*
	Group    uint32
	Master   uint32 // index
	Up       bool
	Loopback bool
}

// Address is an address of the link with that index, with its prefix length.
type Address struct {
	Link              uint32
	Prefix, Broadcast string
	Scope             string // global, link, host
}

// Route is a route of any table; Links has more than one for a multipath route.
type Route struct {
	Family               netfilter.Family
	Table                uint32
	Type                 string // unicast, local, blackhole ...
	Dst, Gateway, Source string
	Metric               uint32
	Links                []uint32
}

// PolicyRule is one entry of "ip rule".
type PolicyRule struct {
	Family   netfilter.Family
	Priority uint32
	Table    uint32
	Src, Dst string
	Mark     string // "0x1/0xff"
	In       string
	Invert   bool
	Action   string // lookup ...
}

// Gap is something of the node that the twin does not have, and the segments that it may concern: those of Families (empty:
// both) by Links (empty: every link) at Hooks (empty: every hook). Harmless: none of them.
type Gap struct {
	What     string             `json:"what"`
	Why      string             `json:"why"`
	Families []netfilter.Family `json:"families,omitempty"`
	Links    []string           `json:"links,omitempty"`
	Hooks    []netfilter.Hook   `json:"hooks,omitempty"`
	Harmless bool               `json:"harmless,omitempty"` // no stray segment meets it
}

func (g Gap) String() string { return g.What + ": " + g.Why }

// Touches reports whether a segment of the family that comes in by one link and, when it is forwarded, leaves by another may
// meet what is missing.
func (g Gap) Touches(family netfilter.Family, in, out string) bool {
	return !g.Harmless &&
		(len(g.Families) == 0 || slices.Contains(g.Families, family)) &&
		(len(g.Links) == 0 || slices.Contains(g.Links, in) || out != "" && slices.Contains(g.Links, out)) &&
		(len(g.Hooks) == 0 || slices.ContainsFunc(g.Hooks, func(h netfilter.Hook) bool { return onTheWay(h, out != "") }))
}

// onTheWay reports whether a segment, or the RST that answers it, crosses the hook.
func onTheWay(h netfilter.Hook, forwarded bool) bool {
	switch h {
	case netfilter.Input, netfilter.Output:
		return !forwarded || h == netfilter.Output // a REJECT rule sends its RST through OUTPUT
	case netfilter.Forward:
		return forwarded
	}
	return true
}

// Twin is a node rebuilt.
type Twin struct {
	Gaps []Gap

	source  *Node
	node    *lab.Netns
	world   *lab.Netns
	links   *netlink.Handle // of the node
	outside *netlink.Handle // of the world
	socket  *socket
	ways    map[string]*way // by the node's interface
	local   []netip.Addr    // IPv6 addresses of links that are up
	byIndex map[uint32]*Link
}

// way is how to put a frame on one of the node's links.
type way struct {
	link     *Link
	index    int    // of the far end, in the world
	far      []byte // hardware addresses: of the far end, and of the interface that the node's IP stack sees
	near     []byte
	ifindex  int // of the node's interface
	prepared map[string]bool
}

// Build rebuilds the node. It needs root. An error means that there is no twin at all; the caller closes what is returned.
func Build(ctx context.Context, n *Node) (*Twin, error) {
	t := &Twin{source: n, ways: map[string]*way{}, byIndex: map[uint32]*Link{}}
	for i := range n.Links {
		t.byIndex[n.Links[i].Index] = &n.Links[i]
	}
	for _, step := range []func(context.Context) error{t.open, t.addLinks, t.set, t.address, t.raise, t.settle, t.route, t.load} {
		err := ctx.Err()
		if err == nil {
			err = step(ctx)
		}
		if err != nil {
			t.Close()
			return nil, fmt.Errorf("twin: %w", err)
		}
	}
	return t, nil
}

// Close takes it down.
func (t *Twin) Close() {
	if t.socket != nil {
		t.socket.close()
	}
	for _, h := range []*netlink.Handle{t.links, t.outside} {
		if h != nil {
			h.Close()
		}
	}
	for _, n := range []*lab.Netns{t.node, t.world} {
		if n != nil {
			n.Close()
		}
	}
}

// Path names the twin's namespace for readers.
func (t *Twin) Path() string { return t.node.Path() }

// Unavailable is why there can be no twin here.
type Unavailable struct{ Err error }

func (u *Unavailable) Error() string { return "network namespaces with veth pairs: " + u.Err.Error() }
func (u *Unavailable) Unwrap() error { return u.Err }

func (t *Twin) open(context.Context) (err error) {
	for _, n := range []**lab.Netns{&t.node, &t.world} {
		if *n, err = lab.New(); err != nil {
			return &Unavailable{err}
		}
	}
	var err1, err2 error
	t.links, err1 = netlink.NewHandleAt(netns.NsHandle(t.node.FD()))
	t.outside, err2 = netlink.NewHandleAt(netns.NsHandle(t.world.FD()))
	if err := errors.Join(err1, err2); err != nil {
		return &Unavailable{err}
	}
	// The world does nothing by itself, and the node has the addresses that the snapshot names, at once.
	return errors.Join(
		t.world.Sysctl("net.ipv6.conf.all.disable_ipv6", "1"),
		t.world.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"),
		t.node.Sysctl("net.ipv6.conf.default.addr_gen_mode", "1"),
		t.node.Sysctl("net.ipv6.conf.default.accept_dad", "0"),
		t.node.Sysctl("net.ipv6.conf.default.accept_ra", "0"),
		t.node.Sysctl("net.ipv6.conf.default.router_solicitations", "0"),
	)
}

func (t *Twin) gap(g Gap) { t.Gaps = append(t.Gaps, g) }
