package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Up brings an interface up.
func (n *Netns) Up(name string) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := n.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	return nil
}

// End is one end of a veth pair: an interface in a namespace, with its addresses ("192.0.2.1/24").
type End struct {
	NS        *Netns
	Name      string
	Addresses []string
}

// Veth joins two namespaces (or one with itself) by a veth pair, both ends up, with their addresses. IPv6 addresses are
// usable at once: without duplicate address detection.
func Veth(a, b End) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: a.Name},
		PeerName:      b.Name,
		PeerNamespace: netlink.NsFd(b.NS.FD()),
	}
	if err := a.NS.links.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth %s-%s: %w", a.Name, b.Name, err)
	}
	for _, end := range []End{a, b} {
		if err := end.set(); err != nil {
			return err
		}
	}
	return errors.Join(a.ready(), b.ready())
}

// ready waits until the kernel has noticed the carrier (linkwatch, up to a second behind): IPv6 sends nothing before.
func (e End) ready() error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		l, err := e.NS.links.LinkByName(e.Name)
		if err != nil {
			return fmt.Errorf("link %s: %w", e.Name, err)
		}
		switch {
		case l.Attrs().OperState == netlink.OperUp:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("link %s: state %s, no carrier", e.Name, l.Attrs().OperState)
		}
	}
}

func (e End) set() error {
	for _, address := range e.Addresses {
		if err := e.NS.Address(e.Name, address); err != nil {
			return err
		}
	}
	return e.NS.Up(e.Name)
}

// Address adds an address with its prefix length to an interface.
func (n *Netns) Address(link, address string) error {
	l, err := n.links.LinkByName(link)
	if err != nil {
		return fmt.Errorf("link %s: %w", link, err)
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := n.links.AddrAdd(l, addr); err != nil {
		return fmt.Errorf("add address %s to %s: %w", address, link, err)
	}
	return nil
}

// Route adds a route: to "default" or a prefix, by a gateway, or by an interface when gateway names one.
func (n *Netns) Route(dst, gateway string) error {
	route := &netlink.Route{}
	if dst != "default" {
		_, prefix, err := net.ParseCIDR(dst)
		if err != nil {
			return fmt.Errorf("route %s: %w", dst, err)
		}
		route.Dst = prefix
	}
	if via, err := netip.ParseAddr(gateway); err == nil {
		route.Gw = via.AsSlice()
	} else {
		link, err := n.links.LinkByName(gateway)
		if err != nil {
			return fmt.Errorf("route %s: link %s: %w", dst, gateway, err)
		}
		route.LinkIndex, route.Scope = link.Attrs().Index, unix.RT_SCOPE_LINK
		if route.Dst == nil {
			route.Dst = &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		}
	}
	if err := n.links.RouteAdd(route); err != nil {
		return fmt.Errorf("add route %s via %s: %w", dst, gateway, err)
	}
	return nil
}

// Neighbour pins an address to a hardware address on an interface, so that nobody asks for it on the wire.
func (n *Netns) Neighbour(link string, address netip.Addr, hardware net.HardwareAddr) error {
	l, err := n.links.LinkByName(link)
	if err != nil {
		return fmt.Errorf("link %s: %w", link, err)
	}
	entry := &netlink.Neigh{
		LinkIndex: l.Attrs().Index, State: unix.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: hardware,
	}
	if err := n.links.NeighSet(entry); err != nil {
		return fmt.Errorf("neighbour %s on %s: %w", address, link, err)
	}
	return nil
}

// Hardware returns an interface's hardware address and index.
func (n *Netns) Hardware(link string) (net.HardwareAddr, int, error) {
	l, err := n.links.LinkByName(link)
	if err != nil {
		return nil, 0, fmt.Errorf("link %s: %w", link, err)
	}
	return l.Attrs().HardwareAddr, l.Attrs().Index, nil
}
