package proof_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/proof"
)

// TestServerOfThisKernel holds the proof's scripted server against a real one: which of the router's resets a Linux server
// takes, by where they lie in its window ([proof.Reset].Window), and that a stale ACK, which is answered with one far below
// it, costs a Linux server nothing even where conntrack calls it INVALID.
func TestServerOfThisKernel(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket")
	fix := prove(t, proof.Options{Questions: []string{proof.QuestionA}, Workarounds: []string{proof.NoWorkaround}}).Document.KernelFix
	for _, server := range []string{lab.ServerAddress, lab.ServerAddress6} {
		s := connectReal(t, server)
		reset := s.stale()
		if reset != (fix == "none") {
			t.Errorf("%s: the stale ACK provoked a RST: %t; kernel fix %s", server, reset, fix)
		}
		s.alive("a stale ACK")
		t.Logf("%s: the stale ACK provoked a RST: %t; the connection lives", server, reset)
		s.rst(s.total + 1 - 39008) // as far below as the capture's
		s.alive("a RST outside the window, below")
		s.rst(s.total + 1 + 1<<30)
		s.alive("a RST outside the window, above")
		s.rst(s.total + 1 + 1000)
		s.alive("a RST inside the window")
		s.rst(s.total + 1)
		s.dead()
	}
}

// real is a connection between two kernels through the router.
type real struct {
	t              *testing.T
	nat            *lab.NAT
	client, server *net.TCPConn
	total          uint32 // octets that the server has read
	isn            uint32 // the client's
	early          lab.Segment
	tap            *lab.Wire // the server's end, both directions
	port           lab.Port
	uplink         *lab.Wire // the router's end
}

func connectReal(t *testing.T, address string) *real {
	t.Helper()
	s := &real{t: t}
	var err error
	if s.nat, err = lab.NewNAT(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nat.Close)
	s.must(s.nat.Router.Masquerade(lab.UplinkLink))
	s.port = lab.Port{Address: netip.MustParseAddr(lab.RouterAddress), Self: netip.MustParseAddr(lab.ServerAddress)}
	s.port.Wire, err = s.nat.Server.OpenWire(lab.ServerLink)
	s.must(err)
	t.Cleanup(func() { s.port.Wire.Close() })
	s.port.Hardware, _, err = s.nat.Router.Hardware(lab.UplinkLink)
	s.must(err)
	s.tap, err = s.nat.Server.OpenTap(lab.ServerLink)
	s.must(err)
	t.Cleanup(func() { s.tap.Close() })
	s.uplink, err = s.nat.Router.OpenWire(lab.UplinkLink)
	s.must(err)
	t.Cleanup(func() { s.uplink.Close() })
	s.dial(address)
	// More than the largest window that conntrack allows ACKs to be late by, which is 66000 or the server's.
	s.must(s.flow(1 << 20))
	s.learn()
	return s
}

func (s *real) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// dial makes the connection; the server's window stays small.
func (s *real) dial(address string) {
	s.t.Helper()
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlled := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 32<<10) })
		return errors.Join(err, controlled)
	}}
	var listener net.Listener
	s.must(s.nat.Server.Do(func() (err error) {
		listener, err = small.Listen(context.Background(), "tcp", net.JoinHostPort(address, "80"))
		return err
	}))
	defer listener.Close()
	s.must(s.nat.Client.Do(func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, "80"), 5*time.Second)
		if err == nil {
			s.client = conn.(*net.TCPConn)
		}
		return err
	}))
	s.t.Cleanup(func() { s.client.Close() })
	conn, err := listener.Accept()
	s.must(err)
	s.server = conn.(*net.TCPConn)
	s.t.Cleanup(func() { s.server.Close() })
}

// flow has the client write and the server read n octets.
func (s *real) flow(n int) error {
	written := make(chan error, 1)
	deadline := time.Now().Add(20 * time.Second)
	s.client.SetDeadline(deadline)
	s.server.SetDeadline(deadline)
	go func() {
		_, err := s.client.Write(make([]byte, n))
		written <- err
	}()
	_, err := io.CopyN(io.Discard, s.server, int64(n))
	s.total += uint32(n)
	return errors.Join(err, <-written)
}

// learn finds the client's first number and the server's first ACK of data among what passed.
func (s *real) learn() {
	s.t.Helper()
	for s.early.Ack == 0 {
		frame, err := s.tap.Receive(0)
		s.must(err)
		if frame == nil {
			s.t.Fatal("no ACK of the server's was seen")
		}
		x, ok := segment(frame)
		switch {
		case ok && x.Flags == lab.SYN:
			s.isn = x.Seq
		case ok && x.Flags == lab.ACK && x.Src.Port() == 80 && x.Ack-s.isn > 1:
			s.early = x
		}
	}
}

// segment reads a frame's TCP header.
func segment(frame []byte) (s lab.Segment, ok bool) {
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	tcp, ok := packet.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok || packet.NetworkLayer() == nil {
		return s, false
	}
	flow := packet.NetworkLayer().NetworkFlow()
	src, _ := netip.AddrFromSlice(flow.Src().Raw())
	dst, _ := netip.AddrFromSlice(flow.Dst().Raw())
	return lab.Segment{
		Src: netip.AddrPortFrom(src, uint16(tcp.SrcPort)), Dst: netip.AddrPortFrom(dst, uint16(tcp.DstPort)),
		Flags: tcp.Contents[13], Seq: tcp.Seq, Ack: tcp.Ack, Window: tcp.Window,
	}, true
}

// stale sends the server's first ACK once more, a megabyte late, and says whether a RST with its number came back. The
// segment is built anew: a captured one has no checksum yet.
func (s *real) stale() (reset bool) {
	s.t.Helper()
	s.drain(func(lab.Segment) {})
	frame, err := s.early.Frame(s.port.Wire.Hardware, s.port.Hardware)
	s.must(err)
	s.must(lab.OnCPU(0, func() error {
		return errors.Join(s.port.Wire.Send(frame), s.port.Fence(5*time.Second, func(gopacket.Packet) {}))
	}))
	s.drain(func(x lab.Segment) { reset = reset || x.Flags == lab.RST && x.Seq == s.early.Ack })
	return reset
}

func (s *real) drain(see func(lab.Segment)) {
	s.t.Helper()
	for {
		frame, err := s.tap.Receive(0)
		s.must(err)
		if frame == nil {
			return
		}
		if x, ok := segment(bytes.Clone(frame)); ok {
			see(x)
		}
	}
}

// rst sends the server a RST as the router does; seq is relative to the client's first number.
func (s *real) rst(seq uint32) {
	s.t.Helper()
	x := lab.Segment{Src: s.early.Dst, Dst: s.early.Src, Flags: lab.RST, Seq: s.isn + seq}
	frame, err := x.Frame(s.port.Hardware, s.port.Wire.Hardware)
	s.must(err)
	s.must(s.uplink.Send(frame))
}

// alive has data flow.
func (s *real) alive(after string) {
	s.t.Helper()
	if err := s.flow(1000); err != nil {
		s.t.Fatalf("after %s no data flows: %v", after, err)
	}
}

// dead expects the server to give up, and to make the client do so with its next data.
func (s *real) dead() {
	s.t.Helper()
	if _, err := s.server.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		s.t.Errorf("the server reads %v after a RST with the number that it expects", err)
	}
	_, err := s.client.Write([]byte{0})
	s.must(err)
	if _, err = s.client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		s.t.Errorf("the client reads %v from a server that was reset", err)
	}
}
