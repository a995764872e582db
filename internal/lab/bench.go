package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Bench is one node under test with two uplinks, u0 and u1, whose other ends are ours. It answers every TCP segment that
// its ruleset lets through with a RST, for nothing listens on it, and has no connection that a segment could belong to.
// It tracks no flow from the middle (nf_conntrack_tcp_loose=0): every segment without a plain SYN is INVALID to conntrack.
//
// Way back: sources in [Bench.Sources] of a port are routed out of that port. It forwards from one port to the other.
type Bench struct {
	Node  *Netns
	peer  *Netns
	Range Range
}

// uplink is one of the bench's two ports: the node's and our address, and the sources that live behind it.
type uplink struct {
	node, peer         string // interface names
	address, address6  string
	gateway, gateway6  string
	sources, sources6  string
	default4, default6 string // the routes to the sources
}

func uplinks() [2]uplink {
	return [2]uplink{
		{
			node: "u0", peer: "p0", address: "198.51.100.1/24", address6: "2001:db8:1::1/64", gateway: "198.51.100.254",
			gateway6: "2001:db8:1::fe", sources: "8.0.0.0/6", sources6: "2600::/24", default4: "default", default6: "::/0",
		},
		{
			node: "u1", peer: "p1", address: "192.0.2.1/24", address6: "2001:db8:2::1/64", gateway: "192.0.2.254",
			gateway6: "2001:db8:2::fe", sources: "52.0.0.0/6", sources6: "2a00::/24", default4: "52.0.0.0/6", default6: "2a00::/24",
		},
	}
}

// NewBench builds the bench. It needs root.
func NewBench() (*Bench, error) {
	b := &Bench{}
	if err := b.build(); err != nil {
		b.Close()
		return nil, fmt.Errorf("bench: %w", err)
	}
	return b, nil
}

// Close takes it down.
func (b *Bench) Close() {
	for _, port := range b.Range.Ports {
		port.Wire.Close()
	}
	for _, n := range []*Netns{b.Node, b.peer} {
		if n != nil {
			n.Close()
		}
	}
}

// Sources is where the probes of a port may come from.
func (b *Bench) Sources(port int, family netfilter.Family) netip.Prefix {
	u := uplinks()[port]
	if family == netfilter.IP6 {
		return netip.MustParsePrefix(u.sources6)
	}
	return netip.MustParsePrefix(u.sources)
}

// Address is the node's own address on a port.
func (b *Bench) Address(port int, family netfilter.Family) netip.Addr {
	u := uplinks()[port]
	if family == netfilter.IP6 {
		return netip.MustParsePrefix(u.address6).Addr()
	}
	return netip.MustParsePrefix(u.address).Addr()
}

// Interface is the node's interface name on a port.
func (b *Bench) Interface(port int) string { return uplinks()[port].node }

func (b *Bench) build() (err error) {
	if b.Node, err = New(); err != nil {
		return err
	}
	if b.peer, err = New(); err != nil {
		return err
	}
	if err := b.settings(); err != nil {
		return err
	}
	for _, u := range uplinks() {
		port, err := b.connect(u)
		if err != nil {
			return err
		}
		b.Range.Ports = append(b.Range.Ports, port)
	}
	return b.warm()
}

// warm waits until the node answers on every port in both families: IPv6 takes a moment after its link is up.
func (b *Bench) warm() error {
	var probes []Probe
	for port := range b.Range.Ports {
		for _, family := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
			probes = append(probes, Probe{Port: port, Segment: Segment{
				Src: netip.AddrPortFrom(b.Sources(port, family).Addr().Next(), 9), Dst: netip.AddrPortFrom(b.Address(port, family), 9),
				Flags: ACK, Ack: 1,
			}})
		}
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		fates, err := b.Range.Exchange(probes, 5*time.Second)
		if err != nil {
			return err
		}
		silent := slices.Index(fates, Silence)
		if silent < 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer to %s", probes[silent].Segment)
		}
	}
}

func (b *Bench) settings() error {
	var errs []error
	for _, s := range [][2]string{
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
		{"net.ipv4.ip_forward", "1"},
		{"net.ipv6.conf.all.forwarding", "1"},
		{"net.ipv6.conf.all.accept_ra", "0"},
		{"net.ipv6.conf.default.accept_ra", "0"},
		{"net.ipv6.conf.default.accept_dad", "0"},
		{"net.ipv6.conf.default.router_solicitations", "0"},
		// An ICMP error for every probe, and not a few a second.
		{"net.ipv4.icmp_ratemask", "0"},
		{"net.ipv6.icmp.ratelimit", "0"},
		{"net.netfilter.nf_conntrack_tcp_loose", "0"},
	} {
		errs = append(errs, b.Node.Sysctl(s[0], s[1]))
	}
	// These belong to the initial namespace alone before Linux 6.13: there, fewer ICMP errors come back.
	for _, key := range []string{"net.ipv4.icmp_msgs_per_sec", "net.ipv4.icmp_msgs_burst"} {
		if err := b.Node.Sysctl(key, "1000000"); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (b *Bench) connect(u uplink) (Port, error) {
	err := Veth(
		End{NS: b.Node, Name: u.node, Addresses: []string{u.address, u.address6}},
		End{NS: b.peer, Name: u.peer})
	if err != nil {
		return Port{}, err
	}
	wire, err := b.peer.OpenWire(u.peer)
	if err != nil {
		return Port{}, err
	}
	port := Port{Wire: wire, Address: netip.MustParsePrefix(u.address).Addr(), Self: netip.MustParseAddr(u.gateway)}
	if port.Hardware, _, err = b.Node.Hardware(u.node); err != nil {
		wire.Close()
		return Port{}, err
	}
	errs := []error{b.Node.Route(u.default4, u.gateway), b.Node.Route(u.default6, u.gateway6)}
	for _, gateway := range []string{u.gateway, u.gateway6} {
		errs = append(errs, b.Node.Neighbour(u.node, netip.MustParseAddr(gateway), wire.Hardware))
	}
	if err := errors.Join(errs...); err != nil {
		wire.Close()
		return Port{}, err
	}
	return port, nil
}
