package twin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/lab"
)

// The fates that are observed, in the evaluator's words.
const (
	Dropped  = "dropped"       // nothing came back
	Reset    = "reset"         // a RST for the segment's tuple came back
	Rejected = "rejected-icmp" // an ICMP error that quotes it came back
)

// Packet is one stray segment: it comes in by one link, and is meant for the node itself, or (Out is set) for what is behind
// another link.
type Packet struct {
	In, Out string
	lab.Segment
}

// Seen is what became of a segment. Why is set where it could not be put to the node.
type Seen struct {
	Fate      string
	Delivered bool   // it reached the other side: the pod
	Why       string // why there is no fate
}

// Send puts segments on the node's wires, one after the other, and says what became of each.
func (t *Twin) Send(ctx context.Context, packets []Packet) (seen []Seen, err error) {
	if t.socket == nil {
		if t.socket, err = t.openSocket(); err != nil {
			return nil, err
		}
	}
	err = lab.OnCPU(0, func() error {
		for _, p := range packets {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s, err := t.send(p)
			if err != nil {
				return fmt.Errorf("segment %s: %w", p.Segment, err)
			}
			seen = append(seen, s)
		}
		return nil
	})
	return seen, err
}

func (t *Twin) send(p Packet) (Seen, error) {
	in, out := t.ways[p.In], t.ways[p.Out]
	switch {
	case in == nil || !in.link.Up:
		return Seen{Why: "interface " + p.In + " is not rebuilt"}, nil
	case p.Out != "" && (out == nil || !out.link.Up):
		return Seen{Why: "interface " + p.Out + " is not rebuilt"}, nil
	}
	if why := t.prepare(in, p.Src.Addr()); why != "" {
		return Seen{Why: why}, nil
	}
	if out != nil {
		if why := t.prepare(out, p.Dst.Addr()); why != "" {
			return Seen{Why: why}, nil
		}
	}
	return t.exchange(p, in)
}

// prepare makes the question's premise hold, that what comes in by a link goes back by it: where the node's routes lead
// elsewhere, the address gets a route of its own. Neighbours are pinned, so that nobody asks for them.
func (t *Twin) prepare(w *way, a netip.Addr) string {
	if w.prepared[a.String()] {
		return ""
	}
	hops := []netip.Addr{a}
	gateway, index, err := t.lookup(a)
	if err != nil || index != w.ifindex {
		bits := netip.PrefixFrom(a, a.BitLen())
		route := &netlink.Route{Dst: network(bits), LinkIndex: w.ifindex, Scope: unix.RT_SCOPE_LINK, Table: tableMain}
		if err := t.links.RouteReplace(route); err != nil {
			return fmt.Sprintf("no route to %s over %s: %v", a, w.link.Name, err)
		}
		if gateway, index, err = t.lookup(a); err != nil || index != w.ifindex {
			return fmt.Sprintf("the node's routes to %s do not lead over %s, as the question has it", a, w.link.Name)
		}
	}
	if gateway.IsValid() {
		hops = append(hops, gateway)
	}
	for _, hop := range hops {
		entry := &netlink.Neigh{LinkIndex: w.ifindex, State: unix.NUD_PERMANENT, IP: hop.AsSlice(), HardwareAddr: w.far}
		if err := t.links.NeighSet(entry); err != nil {
			return fmt.Sprintf("neighbour %s on %s: %v", hop, w.link.Name, err)
		}
	}
	w.prepared[a.String()] = true
	return ""
}

// lookup asks the twin's routes for an address.
func (t *Twin) lookup(a netip.Addr) (gateway netip.Addr, index int, err error) {
	routes, err := t.links.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 {
		return gateway, 0, errors.Join(err, errors.New("no route"))
	}
	if gw, ok := netip.AddrFromSlice(routes[0].Gw); ok {
		gateway = gw.Unmap()
	}
	return gateway, routes[0].LinkIndex, nil
}

// exchange sends a segment and answers it, where it comes out, as a pod that knows no such connection.
func (t *Twin) exchange(p Packet, in *way) (seen Seen, err error) {
	if err := t.socket.drain(); err != nil {
		return seen, err
	}
	frame, err := p.Frame(in.far, in.near)
	if err != nil {
		return seen, err
	}
	seen.Fate = Dropped
	var answers []answer
	note := func(index int, packet gopacket.Packet) {
		if s, ok := lab.ParseSegment(packet); ok {
			switch {
			case s.Src == p.Dst && s.Dst == p.Src && s.Flags&lab.RST != 0:
				seen.Fate = Reset
			case s.Src == p.Src && s.Dst == p.Dst && s.Flags&lab.RST == 0 && !seen.Delivered:
				seen.Delivered = true
				answers = append(answers, answer{index, s.Reset()})
			}
			return
		}
		if src, dst, ok := lab.Quoted(packet); ok && src == p.Src && dst == p.Dst && seen.Fate == Dropped {
			seen.Fate = Rejected
		}
	}
	if err := t.socket.send(in.index, frame); err != nil {
		return Seen{Why: fmt.Sprintf("%d octets cannot be sent: %v", len(frame), err)}, nil
	}
	if err := t.socket.fence(note); err != nil {
		return seen, err
	}
	for _, a := range answers {
		if err := t.reply(a); err != nil {
			return seen, err
		}
		if err := t.socket.fence(note); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// answer is a RST for a segment that came out of the node, and the far end that it came out by.
type answer struct {
	index int
	lab.Segment
}

func (t *Twin) reply(a answer) error {
	for _, w := range t.ways {
		if w.index != a.index {
			continue
		}
		frame, err := a.Frame(w.far, w.near)
		if err != nil {
			return err
		}
		return t.socket.send(w.index, frame)
	}
	return nil
}

// socket is the world's packet socket: it sees what comes in by every link, in order.
type socket struct {
	fd           int
	fenceOut     int // indexes of the fence's two ends
	fenceIn      int
	fenceAddress net.HardwareAddr
	count        byte
	buf          [1 << 16]byte // of the last frame received
}

// fenceType is the Ethernet type for local experiments (IEEE 802).
const fenceType = 0x88b5

func (t *Twin) openSocket() (*socket, error) {
	out, err1 := t.outside.LinkByName(fenceLink)
	in, err2 := t.outside.LinkByName("fence1")
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("fence: %w", err)
	}
	s := &socket{fd: -1, fenceOut: out.Attrs().Index, fenceIn: in.Attrs().Index, fenceAddress: in.Attrs().HardwareAddr}
	err := t.world.Do(func() (err error) {
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		s.close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	return s, nil
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

func (s *socket) close() { unix.Close(s.fd) }

func (s *socket) send(index int, frame []byte) error {
	for {
		err := unix.Sendto(s.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Protocol: htons(unix.ETH_P_ALL)})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// rounds is how many fences follow a frame. All frames pass one CPU's backlog in order, whatever namespace they are for: behind
// the first fence the node has done with the frame, behind the second its answer has come out, the third is for bridges.
const rounds = 3

// fence waits until the kernel has done with what was sent, and hands over what came out meanwhile.
func (s *socket) fence(note func(index int, packet gopacket.Packet)) error {
	for range rounds {
		s.count++
		frame := slices.Concat(s.fenceAddress, make([]byte, 6), []byte{fenceType >> 8, fenceType & 0xff, s.count}, make([]byte, 45))
		if err := s.send(s.fenceOut, frame); err != nil {
			return fmt.Errorf("fence: %w", err)
		}
		if err := s.await(note); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a fence may take: the machine may be busy, but the frame is not lost.
const patience = 5 * time.Second

func (s *socket) await(note func(int, gopacket.Packet)) error {
	for deadline := time.Now().Add(patience); ; {
		frame, index, err := s.receive()
		switch {
		case err != nil:
			return err
		case frame == nil && time.Now().After(deadline):
			return errors.New("no fence came back in time")
		case frame == nil:
			poll := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(poll, 100); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("poll: %w", err)
			}
		case index == s.fenceIn:
			if len(frame) > 14 && frame[12] == fenceType>>8 && frame[13] == fenceType&0xff && frame[14] == s.count {
				return nil
			}
		default:
			note(index, gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy))
		}
	}
}

// receive returns the next frame and the link that it came in by, or nil when there is none yet. It is good until the next.
func (s *socket) receive() ([]byte, int, error) {
	n, from, err := unix.Recvfrom(s.fd, s.buf[:], 0)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil, 0, nil
	}
	if err != nil {
		if errors.Is(err, unix.ENETDOWN) {
			return nil, 0, nil
		}
		return nil, 0, fmt.Errorf("receive frame: %w", err)
	}
	link, ok := from.(*unix.SockaddrLinklayer)
	if !ok {
		return nil, 0, nil
	}
	return s.buf[:n], link.Ifindex, nil
}

func (s *socket) drain() error {
	for {
		frame, _, err := s.receive()
		if err != nil || frame == nil {
			return err
		}
	}
}
