package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// Fate is what the peer saw of a probe.
type Fate uint8

// The fates. Silence: nothing came back. Reset: a RST for the probe's tuple. Unreachable: an ICMP error that quotes it.
const (
	Silence Fate = iota
	Reset
	Unreachable
)

func (f Fate) String() string { return [...]string{"silence", "reset", "unreachable"}[f] }

// Probe is one segment and the port that it enters by.
type Probe struct {
	Port int // index into Range.Ports
	Segment
}

// Port is one way into the node under test: our end of the wire, and the node's interface at the other.
type Port struct {
	Wire     *Wire
	Hardware net.HardwareAddr // of the node's interface
	Address  netip.Addr       // an IPv4 address of the node that it answers ARP for on this port
	Self     netip.Addr       // an IPv4 address on our side, the ARP question's sender
}

// Range is a node under test with its ports.
type Range struct {
	Ports []Port
	// CPU is where frames are sent from, counted among the CPUs that the process may use; it wraps.
	CPU int
}

// Exchange sends the probes and says what came of each. Tuples must be distinct, also when one is turned
// round: answers are told apart by them.
//
// A fence ends the exchange without waiting: an ARP question behind the last probe on each port. All frames are sent from
// one CPU, so they pass the kernel's per-CPU backlog in order, and when the ARP answers are back every probe has had its
// own. The timeout is for a node that lost a fence; the exchange then fails.
func (r *Range) Exchange(probes []Probe, timeout time.Duration) ([]Fate, error) {
	x := exchange{Range: r, timeout: timeout}
	err := x.pinned(probes, func() error { return x.round(x.probes) })
	return x.fates, err
}

// ExchangeForwarded is Exchange for probes that the node forwards from one port to another. Whoever is behind the other
// port knows no such connection and answers each segment that comes through with a RST; Reset is one that came back.
func (r *Range) ExchangeForwarded(probes []Probe, timeout time.Duration) ([]Fate, error) {
	x := exchange{Range: r, timeout: timeout}
	err := x.pinned(probes, func() error {
		if err := x.round(x.probes); err != nil {
			return err
		}
		return x.round(x.answers)
	})
	return x.fates, err
}

// ExchangeOneWay is Exchange for probes that the node forwards to somebody who answers none of them: through says which came
// out of another port.
func (r *Range) ExchangeOneWay(probes []Probe, timeout time.Duration) (fates []Fate, through []bool, err error) {
	x := exchange{Range: r, timeout: timeout}
	err = x.pinned(probes, func() error { return x.round(x.probes) })
	return x.fates, x.through, err
}

// exchange is one exchange under way.
type exchange struct {
	*Range
	timeout time.Duration
	probes  []Probe
	index   map[tuple]int
	fates   []Fate
	through []bool
	answers []Probe // the RSTs that forwarded probes provoke
}

// pinned prepares the exchange and runs it on one CPU.
func (x *exchange) pinned(probes []Probe, run func() error) error {
	x.probes, x.fates, x.index = probes, make([]Fate, len(probes)), make(map[tuple]int, len(probes))
	x.through = make([]bool, len(probes))
	for i, p := range probes {
		key := tuple{p.Src, p.Dst}
		if _, twice := x.index[key]; twice {
			return fmt.Errorf("probe %s: tuple used twice", p.Segment)
		}
		if _, reversed := x.index[tuple{p.Dst, p.Src}]; reversed {
			return fmt.Errorf("probe %s: tuple used in the other direction, too", p.Segment)
		}
		x.index[key] = i
	}
	return OnCPU(x.CPU, run)
}

// OnCPU runs f on a thread that stays on one of the CPUs that the process may use, counted from 0; it wraps. What f sends
// passes the kernel's per-CPU backlog in order.
func OnCPU(nth int, f func() error) error {
	return onThread(func() error {
		release, err := pin(nth)
		if err != nil {
			return err
		}
		defer release()
		return f()
	})
}

// tuple is a probe's identity in an answer.
type tuple struct{ src, dst netip.AddrPort }

// round sends segments, then the fences, and reads what comes back. A reset may leave by another port than the one its
// probe came by, after that port's fence: each port is read once more at the end.
func (x *exchange) round(probes []Probe) error {
	for _, p := range probes {
		if err := x.send(p); err != nil {
			return err
		}
	}
	for i := range x.Ports {
		if err := x.Ports[i].sendFence(); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(x.timeout)
	for i := range x.Ports {
		if err := x.collect(i, deadline); err != nil {
			return fmt.Errorf("port %d: %w", i, err)
		}
	}
	for i := range x.Ports {
		if err := x.drain(i); err != nil {
			return fmt.Errorf("port %d: %w", i, err)
		}
	}
	return nil
}

func (r *Range) send(p Probe) error {
	port := r.Ports[p.Port]
	frame, err := p.Frame(port.Wire.Hardware, port.Hardware)
	if err != nil {
		return err
	}
	return port.Wire.Send(frame)
}

func (p *Port) sendFence() error {
	ethernet := &layers.Ethernet{SrcMAC: p.Wire.Hardware, DstMAC: p.Hardware, EthernetType: layers.EthernetTypeARP}
	arp := &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: p.Wire.Hardware, SourceProtAddress: p.Self.AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: p.Address.AsSlice(),
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{}, ethernet, arp); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return p.Wire.Send(buf.Bytes())
}

// collect reads a port until its fence comes back.
func (x *exchange) collect(port int, deadline time.Time) error {
	return x.Ports[port].awaitFence(deadline, func(packet gopacket.Packet) { x.note(port, packet) })
}

// Fence puts an ARP question to the node and hands every frame that comes in before its answer to see. When it returns, the
// node has done with all that was sent before from the same CPU (see [OnCPU]).
func (p *Port) Fence(timeout time.Duration, see func(gopacket.Packet)) error {
	if err := p.sendFence(); err != nil {
		return err
	}
	return p.awaitFence(time.Now().Add(timeout), see)
}

func (p *Port) awaitFence(deadline time.Time, see func(gopacket.Packet)) error {
	for {
		frame, err := p.Wire.Receive(time.Until(deadline))
		if err != nil {
			return err
		}
		if frame == nil {
			return errors.New("no answer to the ARP fence in time")
		}
		packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
		if arp, ok := packet.Layer(layers.LayerTypeARP).(*layers.ARP); ok && arp.Operation == layers.ARPReply {
			return nil
		}
		see(packet)
	}
}

func (x *exchange) drain(port int) error {
	for {
		frame, err := x.Ports[port].Wire.Receive(0)
		if err != nil || frame == nil {
			return err
		}
		x.note(port, gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy))
	}
}

// note finds the probe that a frame answers, or that it is. A reset outweighs an ICMP error.
func (x *exchange) note(port int, packet gopacket.Packet) {
	if s, ok := ParseSegment(packet); ok {
		if i, ours := x.index[tuple{s.Dst, s.Src}]; ours && s.Flags&RST != 0 {
			x.fates[i] = Reset
		}
		if i, ours := x.index[tuple{s.Src, s.Dst}]; ours && s.Flags&RST == 0 {
			x.through[i] = true
			x.answers = append(x.answers, Probe{Port: port, Segment: s.Reset()})
		}
		return
	}
	if src, dst, ok := Quoted(packet); ok {
		if i, ours := x.index[tuple{src, dst}]; ours && x.fates[i] == Silence {
			x.fates[i] = Unreachable
		}
	}
}

// Quoted returns the addresses and ports of the segment that an ICMP or ICMPv6 destination-unreachable message quotes.
func Quoted(packet gopacket.Packet) (src, dst netip.AddrPort, ok bool) {
	if icmp, ok := packet.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		if icmp.TypeCode.Type() != layers.ICMPv4TypeDestinationUnreachable || len(icmp.Payload) < 24 {
			return src, dst, false
		}
		return quotedEnds(icmp.Payload[12:16], icmp.Payload[16:20], icmp.Payload[20:24])
	}
	icmp, ok := packet.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if !ok || icmp.TypeCode.Type() != layers.ICMPv6TypeDestinationUnreachable || len(icmp.Payload) < 48 {
		return src, dst, false
	}
	quote := icmp.Payload[4:] // 4 unused bytes stand before the quoted packet
	return quotedEnds(quote[8:24], quote[24:40], quote[40:44])
}

func quotedEnds(from, to, ports []byte) (src, dst netip.AddrPort, ok bool) {
	a, ok1 := netip.AddrFromSlice(from)
	b, ok2 := netip.AddrFromSlice(to)
	sport, dport := binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:])
	return netip.AddrPortFrom(a, sport), netip.AddrPortFrom(b, dport), ok1 && ok2
}

// pin keeps the thread on the nth of its CPUs until release is called.
func pin(nth int) (release func(), err error) {
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	if before.Count() == 0 {
		return nil, errors.New("sched_getaffinity: no CPU")
	}
	cpu := 0
	for skip := nth % before.Count(); skip > 0 || !before.IsSet(cpu); cpu++ {
		if before.IsSet(cpu) {
			skip--
		}
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, fmt.Errorf("sched_setaffinity: %w", err)
	}
	return func() {
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}
