package lab

import (
	"net/netip"

	"github.com/gopacket/gopacket"
)

// ParseSegment reads a frame that carries a TCP segment; ok is false for everything else.
func ParseSegment(packet gopacket.Packet) (s Segment, ok bool) { return parseSegment(packet) }

// Quoted returns the addresses and ports of the segment that an ICMP or ICMPv6 destination-unreachable message quotes.
func Quoted(packet gopacket.Packet) (src, dst netip.AddrPort, ok bool) {
	key, ok := quoted(packet)
	return key.src, key.dst, ok
}

// Reset is what a host without the connection answers a segment.
func (s Segment) Reset() Segment { return s.reset() }
