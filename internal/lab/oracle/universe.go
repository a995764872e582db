package oracle

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Universe is the few values that packets and rules are drawn from, so that they meet often.
type Universe struct {
	Family  netfilter.Family
	Sources [][]netip.Addr // by port of the bench
	Local   []netip.Addr   // the node's own address, by port
	Links   []string       // the node's interfaces, by port
	Sports  []uint16
	Dports  []uint16
	Flags   []uint8
	// Through: the packets are forwarded from one port to the other (question B), not delivered to the node (question A).
	Through bool
}

// NewUniverse is the universe of a bench in one family.
func NewUniverse(b *lab.Bench, family netfilter.Family) Universe {
	u := Universe{
		Family: family,
		Sports: []uint16{1, 80, 443, 5000, 5001, 5002, 65535},
		Dports: []uint16{22, 1024, 1025, 8080, 30000, 30001, 30002, 30010, 65535},
		Flags:  invalidFlags(),
	}
	for port := range b.Range.Ports {
		u.Local = append(u.Local, b.Address(port, family))
		u.Links = append(u.Links, b.Interface(port))
		var sources []netip.Addr
		for _, offset := range []uint32{1, 2, 3, 16, 17, 255, 256, 65536} {
			sources = append(sources, OffsetBy(b.Sources(port, family).Addr(), offset))
		}
		u.Sources = append(u.Sources, sources)
	}
	return u
}

// OffsetBy adds to the last 32 bits of an address.
func OffsetBy(a netip.Addr, n uint32) netip.Addr {
	b := a.AsSlice()
	low := b[len(b)-4:]
	binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)+n)
	a, _ = netip.AddrFromSlice(b)
	return a
}

// invalidFlags are the combinations that conntrack finds INVALID without an entry (loose tracking off) and that provoke a
// RST: all without RST, and SYN only together with ACK or FIN.
func invalidFlags() []uint8 {
	flags := []uint8{lab.ACK, lab.ACK, lab.ACK, lab.ACK, lab.PSH | lab.ACK, lab.FIN | lab.ACK, lab.SYN | lab.ACK}
	return append(flags, 0, lab.FIN, lab.PSH, lab.URG, lab.FIN|lab.SYN, lab.FIN|lab.PSH|lab.URG, lab.URG|lab.ACK,
		lab.ACK|lab.ECE, lab.ACK|lab.CWR)
}

// Probes draws n segments with tuples that are distinct in both directions: an ICMP error about the RST that answers one would
// else be taken for one about the other.
func (u Universe) Probes(r *rand.Rand, n int) []lab.Probe {
	type key struct{ src, dst netip.AddrPort }
	taken := map[key]bool{}
	var out []lab.Probe
	for len(out) < n {
		port := r.IntN(len(u.Links))
		dst := u.Local[port]
		if u.Through {
			dst = pick(r, u.Sources[1-port])
		}
		p := lab.Probe{Port: port, Segment: lab.Segment{
			Src:   netip.AddrPortFrom(pick(r, u.Sources[port]), pick(r, u.Sports)),
			Dst:   netip.AddrPortFrom(dst, pick(r, u.Dports)),
			Flags: pick(r, u.Flags), Seq: 1, Ack: 1000,
		}}
		if k := (key{p.Src, p.Dst}); !taken[k] && !taken[key{p.Dst, p.Src}] {
			taken[k] = true
			out = append(out, p)
		}
	}
	return out
}

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

// source is an address that packets may come from.
func (g *generator) source() netip.Addr { return pick(g.Rand, pick(g.Rand, g.universe.Sources)) }

// prefix is a network of sources or of the node's addresses, as rules write it.
func (g *generator) prefix(a netip.Addr) string {
	lengths := []int{0, 1, 6, 8, 16, 24, 28, 31, 32}
	if a.Is6() {
		lengths = []int{0, 3, 16, 24, 64, 96, 112, 120, 127, 128}
	}
	p, err := a.Prefix(pick(g.Rand, lengths))
	if err != nil {
		return a.String()
	}
	return p.String()
}

// span is a range of sources in order.
func (g *generator) span() string {
	all := pick(g.Rand, g.universe.Sources)
	a, b := pick(g.Rand, all), pick(g.Rand, all)
	if b.Less(a) {
		a, b = b, a
	}
	return a.String() + "-" + b.String()
}

func (g *generator) sport() string { return port(pick(g.Rand, g.universe.Sports)) }
func (g *generator) dport() string { return port(pick(g.Rand, g.universe.Dports)) }

func port(n uint16) string { return strconv.Itoa(int(n)) }

// ports is a port range in order, joined by sep.
func (g *generator) ports(all []uint16, sep string) string {
	a, b := pick(g.Rand, all), pick(g.Rand, all)
	if b < a {
		a, b = b, a
	}
	return fmt.Sprintf("%d%s%d", a, sep, b)
}
