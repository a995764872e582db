package proof

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/ctaudit/ctaudit/internal/lab"
)

// seen is a TCP segment as a wire had it.
type seen struct {
	lab.Segment
	length int   // octets of payload, by the IP header: the frame may be cut off
	scale  uint8 // the window scale option, of a SYN
}

// parseFrame reads a frame that carries TCP; ok is false for everything else.
func parseFrame(packet gopacket.Packet) (s seen, ok bool) {
	if s.Segment, ok = lab.ParseSegment(packet); !ok {
		return s, false
	}
	switch ip := packet.NetworkLayer().(type) {
	case *layers.IPv4:
		s.length = int(ip.Length) - 4*int(ip.IHL)
	case *layers.IPv6:
		s.length = int(ip.Length)
	}
	tcp := packet.Layer(layers.LayerTypeTCP).(*layers.TCP)
	s.length -= 4 * int(tcp.DataOffset)
	for _, option := range tcp.Options {
		if option.OptionType == layers.TCPOptionKindWindowScale && len(option.OptionData) == 1 {
			s.scale = option.OptionData[0]
		}
	}
	return s, s.length >= 0
}

// snap is how much of a frame is kept: every header.
const snap = 128

// frame is one that passed a wire.
type frame struct {
	wire   string
	time   time.Time
	data   []byte // the first snap octets
	length int    // of the whole frame
	seen   seen
}

// record keeps a frame of this connection, cut.
func (f *flow) record(wire string, data []byte) {
	if !f.keep {
		return
	}
	s, ok := parseFrame(gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy))
	if !ok || s.Src.Port() != f.clientPort && s.Dst.Port() != f.clientPort {
		return
	}
	length := 14 + ipLength(data) // without the padding of short frames
	f.frames = append(f.frames, frame{
		wire: wire, time: time.Now(), data: bytes.Clone(data[:min(len(data), length, snap)]), length: length, seen: s,
	})
}

// ipLength is the length of the IP packet in a frame, header included, as its header says; 0 when there is none.
func ipLength(data []byte) int {
	switch {
	case len(data) >= 34 && data[12] == 0x08 && data[13] == 0x00:
		return int(data[16])<<8 | int(data[17])
	case len(data) >= 54 && data[12] == 0x86 && data[13] == 0xdd:
		return 40 + (int(data[18])<<8 | int(data[19]))
	}
	return 0
}

// delivered says how the client's wire had the injected segment.
func (f *flow) delivered(injected lab.Segment) string {
	for _, x := range f.frames[f.mark:] {
		s := x.seen
		if x.wire != "client" || s.Dst.Port() != f.clientPort || s.Seq != injected.Seq || s.Ack != injected.Ack || s.Flags != injected.Flags {
			continue
		}
		if s.Src == f.remote {
			return "translated"
		}
		return "untranslated"
	}
	return "no"
}

// clientReset says whether a RST left the client: it was the client's own stack that sent it, and not the router's.
func (f *flow) clientReset() bool {
	return slices.ContainsFunc(f.frames[f.mark:], func(x frame) bool {
		return x.wire == "client" && x.seen.Src.Port() == f.clientPort && x.seen.Flags&lab.RST != 0
	})
}

// packets are the frames from the injection on, in the document's words.
func (f *flow) packets() []Packet {
	list := []Packet{}
	for _, x := range f.frames[f.mark:] {
		s := x.seen
		p := Packet{
			Wire: x.wire, Src: s.Src.String(), Dst: s.Dst.String(), Flags: flagNames(s.Flags), Window: uint32(s.Window), Length: s.length,
			Seq: s.Seq - f.serverISN, Ack: s.Ack - f.clientISN,
		}
		scale := uint8(windowScale)
		if s.Src.Port() == f.clientPort {
			p.Seq, p.Ack, scale = s.Seq-f.clientISN, s.Ack-f.serverISN, f.scale
		}
		if p.Window <<= scale; s.Flags&lab.ACK == 0 {
			p.Ack = 0
		}
		list = append(list, p)
	}
	return list
}

func flagNames(flags uint8) string {
	var names []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"} {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// capture is everything that passed the wires during a run.
type capture struct {
	run    Run
	frames []frame
}

// Save writes two captures a run into dir, one for each wire, as pcap files: "a-ipv4-none-stale-ack.server.pcap". Each is
// written whole or not at all.
func (r *Result) Save(dir string) error {
	for _, c := range r.captures {
		for _, wire := range []string{"server", "client"} {
			var b bytes.Buffer
			if err := c.write(&b, wire); err != nil {
				return err
			}
			if err := renameio.WriteFile(filepath.Join(dir, c.name()+"."+wire+".pcap"), b.Bytes(), 0o644); err != nil {
				return fmt.Errorf("write capture: %w", err)
			}
		}
	}
	return nil
}

func (c capture) name() string {
	words := []string{c.run.Question, c.run.Family, c.run.Workaround, c.run.Injection}
	return strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(strings.Join(words, "-")))
}

func (c capture) write(b *bytes.Buffer, wire string) error {
	w := pcapgo.NewWriterNanos(b)
	if err := w.WriteFileHeader(snap, layers.LinkTypeEthernet); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	for _, x := range c.frames {
		if x.wire != wire {
			continue
		}
		info := gopacket.CaptureInfo{Timestamp: x.time, CaptureLength: len(x.data), Length: x.length}
		if err := w.WritePacket(info, x.data); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
	}
	return nil
}
