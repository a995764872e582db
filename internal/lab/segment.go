package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// The TCP flags, as the wire has them.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Segment is a TCP segment.
type Segment struct {
	Src, Dst netip.AddrPort
	Flags    uint8
	Seq, Ack uint32
	Window   uint16 // as the header has it, not scaled; 0 is sent as 1024, except in a RST
	Options  []layers.TCPOption
	Payload  []byte
	TTL, TOS uint8  // hop limit (0 is sent as 64) and the whole byte of type of service or traffic class
	FragOff  uint16 // IPv4: the fragment offset with its flags, 0x4000 is "don't fragment"
}

// Frame is the segment as an Ethernet frame with correct checksums.
func (s Segment) Frame(src, dst net.HardwareAddr) ([]byte, error) {
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(s.Src.Port()), DstPort: layers.TCPPort(s.Dst.Port()), Seq: s.Seq, Ack: s.Ack, Window: s.Window,
		FIN: s.Flags&FIN != 0, SYN: s.Flags&SYN != 0, RST: s.Flags&RST != 0, PSH: s.Flags&PSH != 0,
		ACK: s.Flags&ACK != 0, URG: s.Flags&URG != 0, ECE: s.Flags&ECE != 0, CWR: s.Flags&CWR != 0, Options: s.Options,
	}
	if tcp.Window == 0 && !tcp.RST {
		tcp.Window = 1024
	}
	ttl := s.TTL
	if ttl == 0 {
		ttl = 64
	}
	ethernet := &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv4}
	var ip gopacket.SerializableLayer
	if s.Src.Addr().Is4() {
		v4 := &layers.IPv4{
			Version: 4, TTL: ttl, TOS: s.TOS, Flags: layers.IPv4Flag(s.FragOff >> 13), FragOffset: s.FragOff & 0x1fff,
			Protocol: layers.IPProtocolTCP, SrcIP: s.Src.Addr().AsSlice(), DstIP: s.Dst.Addr().AsSlice(),
		}
		ip = v4
		if err := tcp.SetNetworkLayerForChecksum(v4); err != nil {
			return nil, fmt.Errorf("segment %s: %w", s, err)
		}
	} else {
		ethernet.EthernetType = layers.EthernetTypeIPv6
		v6 := &layers.IPv6{
			Version: 6, HopLimit: ttl, TrafficClass: s.TOS, NextHeader: layers.IPProtocolTCP,
			SrcIP: s.Src.Addr().AsSlice(), DstIP: s.Dst.Addr().AsSlice(),
		}
		ip = v6
		if err := tcp.SetNetworkLayerForChecksum(v6); err != nil {
			return nil, fmt.Errorf("segment %s: %w", s, err)
		}
	}
	buf := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, options, ethernet, ip, tcp, gopacket.Payload(s.Payload)); err != nil {
		return nil, fmt.Errorf("segment %s: %w", s, err)
	}
	return buf.Bytes(), nil
}

func (s Segment) String() string {
	return fmt.Sprintf("%s > %s flags %#02x", s.Src, s.Dst, s.Flags)
}

// Reset is what a host without the connection answers. Source: RFC 9293, section 3.5.2 ("reset generation").
func (s Segment) Reset() Segment {
	r := Segment{Src: s.Dst, Dst: s.Src, Flags: RST, Seq: s.Ack}
	if s.Flags&ACK == 0 {
		r.Flags, r.Seq, r.Ack = RST|ACK, 0, s.Seq
		if s.Flags&(SYN|FIN) != 0 {
			r.Ack++
		}
	}
	return r
}

// ParseSegment reads the ends, flags, numbers and window of a TCP segment; ok is false for a frame that carries none.
func ParseSegment(packet gopacket.Packet) (s Segment, ok bool) {
	tcp, ok := packet.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok || len(tcp.Contents) < 20 || packet.NetworkLayer() == nil { // a header that is cut off is a layer too
		return s, false
	}
	flow := packet.NetworkLayer().NetworkFlow()
	src, ok1 := netip.AddrFromSlice(flow.Src().Raw())
	dst, ok2 := netip.AddrFromSlice(flow.Dst().Raw())
	s = Segment{
		Src: netip.AddrPortFrom(src, uint16(tcp.SrcPort)), Dst: netip.AddrPortFrom(dst, uint16(tcp.DstPort)),
		Flags: tcp.Contents[13], Seq: tcp.Seq, Ack: tcp.Ack, Window: tcp.Window,
	}
	return s, ok1 && ok2
}
