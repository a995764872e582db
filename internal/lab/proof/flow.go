package proof

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/ctaudit/ctaudit/internal/lab"
)

// patience is for a kernel that lost something; a run needs a hundredth of it.
const patience = time.Second

// piece is the payload of the server's segments, octets.
const piece = 1400

// flow is one connection: the client's socket and the scripted server. Sequence numbers are relative to each side's first, as
// unsigned 32 bit they wrap where TCP's do.
type flow struct {
	*scene
	family     string
	remote     netip.AddrPort // what the client connects to
	local      netip.AddrPort // what the server calls itself
	peer       netip.AddrPort // what the server sees of the client
	clientPort uint16
	client     *client

	clientISN, serverISN uint32
	next                 uint32 // the server's next sequence number
	received             uint32 // what the client has sent without a gap
	confirmed            uint32 // what the server has acknowledged of it: its RCV.NXT
	scale                uint8  // of the client's window
	acked                uint32 // what the client has acknowledged
	edge                 uint32 // the largest right edge of the client's window: acknowledged plus window
	largest              uint32 // its largest window

	patience time.Duration // for what the kernel does next

	frames  []frame // seen on both wires, when all are kept or from the injection on
	keep    bool
	mark    int    // the first frame after the injection
	reset   *Reset // the RST after the injection
	watched bool   // resets count: the injection is out
}

func newFlow(s *scene, family string, keep bool) *flow {
	f := &flow{scene: s, family: family, serverISN: 0x20000000, keep: keep, patience: patience}
	server, service := lab.ServerAddress, serviceAddress
	if family == IPv6 {
		server, service = lab.ServerAddress6, serviceAddress6
	}
	f.local = netip.AddrPortFrom(netip.MustParseAddr(server), servicePort)
	f.remote = f.local
	if s.question == QuestionB {
		f.local = netip.AddrPortFrom(f.local.Addr(), podPort)
		f.remote = netip.AddrPortFrom(netip.MustParseAddr(service), servicePort)
	}
	return f
}

// run brings the connection to where the capture has it, injects, and looks.
func (f *flow) run(injection Injection) (r Run, err error) {
	r = Run{Question: f.question, Family: f.family, Injection: injection.Name}
	if err := f.establish(); err != nil {
		return r, fmt.Errorf("%w: %w", errDisturbed, err)
	}
	defer f.finish()
	if injection.download {
		err = f.download()
	}
	if err == nil {
		err = f.upload()
	}
	if err != nil {
		return r, err
	}
	f.keep, f.mark = true, len(f.frames)
	injected, err := f.inject(injection, &r)
	if err != nil {
		return r, err
	}
	if r.Reset = f.reset; r.Reset != nil {
		r.Invalid-- // the RST itself
		if f.clientReset() {
			r.Reset.By = "pod"
		}
	}
	if r.Invalid < 0 || r.Invalid > 1 {
		return r, fmt.Errorf("the router's invalid counter grew by %d more than the resets", r.Invalid)
	}
	if r.Connection, err = f.outcome(); err != nil {
		return r, err
	}
	if r.Reset != nil {
		if r.Reset.Taken, err = f.taken(r.Connection); err != nil {
			return r, err
		}
	}
	r.Delivered = f.delivered(injected)
	r.Packets = f.packets()
	return r, nil
}

// establish is the handshake, and 25 octets from the server ("HTTP/1.1 100 Continue" and two line ends), as in the capture.
func (f *flow) establish() (err error) {
	if f.client, f.clientPort, err = connect(f.nat.Client, f.remote); err != nil {
		return err
	}
	if err := f.await("SYN", func() bool { return f.peer.IsValid() }); err != nil {
		f.finish()
		return err
	}
	f.confirmed = 1
	synack := f.segment(0, 1, 0)
	synack.Flags, synack.Window = lab.SYN|lab.ACK, 65535
	synack.Options = []layers.TCPOption{
		{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{1460 >> 8, 1460 & 0xff}},
		{OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{windowScale}},
	}
	err = f.send(synack)
	f.next = 1
	if err == nil {
		err = f.await("the handshake's ACK", func() bool { return f.acked == 1 })
	}
	if err == nil {
		err = f.send(f.segment(f.next, 1, 25))
		f.next += 25
	}
	if err == nil {
		err = f.await("an ACK of the server's data", func() bool { return f.acked == f.next })
	}
	if err != nil {
		f.finish()
	}
	return err
}

// download sends more than two windows to the client, which reads them.
func (f *flow) download() error {
	for start := f.next; f.next-start < 2*f.largest+4*piece; {
		for burst := 0; burst < 8; burst++ {
			if err := f.send(f.segment(f.next, f.confirmed, piece)); err != nil {
				return err
			}
			f.next += piece
		}
		// What was not read is acknowledged late; so are the last two segments, which the upload will do.
		if err := f.client.read(); err != nil {
			return err
		}
		if err := f.await("an ACK of the download", func() bool { return f.next-f.acked <= 2*piece }); err != nil {
			return err
		}
	}
	return nil
}

// errDisturbed: the client did not come to the state that the injection needs. On a machine that is too busy its timers go
// off, and it then sends less than the window allows. Nothing was injected yet; another connection can be tried.
var errDisturbed = errors.New("disturbed")

// filled is when the window counts as full: a sender may keep the last few segments back for the ACK that is to come.
const filled = sent - 8*1460

// upload has the client send until it has filled the window over what the server acknowledges.
func (f *flow) upload() error {
	f.client.left = sent - 1
	for f.received < filled || f.confirmed != acknowledged {
		if err := f.client.write(); err != nil {
			return err
		}
		before := f.confirmed
		progress := func() bool { return f.received >= filled || before < acknowledged && f.received > before }
		if err := f.await("the upload", progress); err != nil {
			return fmt.Errorf("%w: %w: %d octets came, %d are acknowledged", errDisturbed, err, f.received, f.confirmed)
		}
		if ack := min(f.received, acknowledged); ack > before {
			f.confirmed = ack
			if err := f.send(f.segment(f.next, ack, 0)); err != nil {
				return err
			}
		}
	}
	return f.settle()
}

// inject sends the segment between two readings of the router's counter, and lets the kernel finish.
func (f *flow) inject(injection Injection, r *Run) (s lab.Segment, err error) {
	before, err := f.invalid()
	if err != nil {
		return s, err
	}
	f.watched = true
	if injection.segment != nil {
		s = injection.segment(f)
		err = f.send(s)
	}
	if err == nil {
		err = f.settle()
	}
	if err != nil {
		return s, err
	}
	after, err := f.invalid()
	r.Invalid = int(after - before)
	return s, err
}

// outcome lets the server answer the RST if there was one that it takes, and finds out whether data still flows.
func (f *flow) outcome() (string, error) {
	if f.reset != nil && f.reset.Window != "outside" {
		if err := f.abort(); err != nil {
			return "", err
		}
	}
	failed, err := f.client.failure()
	if err != nil {
		return "", err
	}
	if failed != 0 {
		return "reset", nil
	}
	f.confirmed = f.received
	if err := f.send(f.segment(f.next, f.confirmed, 0)); err != nil {
		return "", err
	}
	f.client.left = piece
	if err := errors.Join(f.settle(), f.client.write(), f.settle()); err != nil {
		return "", err
	}
	if f.received == sent+piece {
		return "alive", nil
	}
	return "stalled", nil
}

// abort is a server that has taken a RST: it knows no such connection any more, and answers the client's data with one.
func (f *flow) abort() error {
	rst := f.segment(f.next, 0, 0)
	rst.Flags, rst.Ack, rst.Window = lab.RST, 0, 0
	return errors.Join(f.send(rst), f.settle())
}

// taken is what becomes of a connection that the RST left as it is, when the server takes it all the same.
func (f *flow) taken(connection string) (string, error) {
	if f.reset.Window != "outside" {
		return connection, nil
	}
	if err := f.abort(); err != nil {
		return "", err
	}
	failed, err := f.client.failure()
	if failed != 0 {
		connection = "reset"
	}
	return connection, err
}

// finish closes the client's socket, which sends a RST, and clears the wires.
func (f *flow) finish() {
	f.client.close()
	f.watched = false
	f.settle() //nolint:errcheck // the next run notices
}

// segment is one of the server's, with relative numbers; length octets of payload.
func (f *flow) segment(seq, ack uint32, length int) lab.Segment {
	return lab.Segment{
		Src: f.local, Dst: f.peer, Flags: lab.ACK, Seq: f.serverISN + seq, Ack: f.clientISN + ack,
		Window: window >> windowScale, Payload: make([]byte, length),
	}
}

func (f *flow) send(s lab.Segment) error {
	bytes, err := s.Frame(f.port.Wire.Hardware, f.port.Hardware)
	if err != nil {
		return err
	}
	f.record("server", bytes)
	return f.port.Wire.Send(bytes)
}

// await reads the wires until done says so.
func (f *flow) await(what string, done func() bool) error {
	for deadline := time.Now().Add(f.patience); ; {
		bytes, err := f.port.Wire.Receive(0)
		if err == nil && bytes == nil {
			if done() {
				return f.listen()
			}
			bytes, err = f.port.Wire.Receive(time.Until(deadline))
		}
		if err != nil {
			return err
		}
		if bytes == nil {
			return fmt.Errorf("waited %s for %s", f.patience, what)
		}
		f.see(gopacket.NewPacket(bytes, layers.LayerTypeEthernet, gopacket.NoCopy))
	}
}

// settle waits until the kernel is done with what was sent: each fence is behind one more hop of the segment and its answer.
func (f *flow) settle() error {
	for range 4 {
		if err := f.port.Fence(patience, f.see); err != nil {
			return err
		}
	}
	return f.listen()
}

// listen empties the client's wire.
func (f *flow) listen() error {
	for {
		bytes, err := f.tap.Receive(0)
		if err != nil || bytes == nil {
			return err
		}
		f.record("client", bytes)
	}
}

// see is what the server learns from a frame.
func (f *flow) see(packet gopacket.Packet) {
	s, ok := parseFrame(packet)
	if !ok || s.Dst != f.local || s.Src.Port() != f.clientPort {
		return
	}
	if s.Flags&lab.SYN != 0 && !f.peer.IsValid() {
		f.peer, f.clientISN, f.scale = s.Src, s.Seq, s.scale
		f.received = 1
	}
	f.record("server", packet.Data())
	if s.Flags&lab.RST != 0 {
		f.notice(s)
		return
	}
	if seq := s.Seq - f.clientISN; int32(f.received-seq) >= 0 && int32(seq+uint32(s.length)-f.received) > 0 {
		f.received = seq + uint32(s.length)
	}
	width := uint32(s.Window)
	if s.Flags&lab.SYN == 0 {
		f.acked = s.Ack - f.serverISN
		width <<= f.scale
	}
	f.largest = max(f.largest, width)
	if edge := f.acked + width; int32(edge-f.edge) > 0 {
		f.edge = edge
	}
}

// notice is what the server makes of a RST: RFC 9293, section 3.10.7.4, and RFC 5961, section 3.2.
func (f *flow) notice(s seen) {
	if !f.watched || f.reset != nil {
		return
	}
	r := &Reset{By: "router", Seq: s.Seq - f.clientISN, Window: "outside"}
	switch past := r.Seq - f.confirmed; {
	case past == 0:
		r.Window = "next"
	case past < window:
		r.Window = "inside"
	}
	f.reset = r
}
