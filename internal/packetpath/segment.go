package packetpath

import (
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Segment is one concrete TCP segment with every header field that a rule can read.
type Segment struct {
	Packet
	Bits     uint8 // the TCP flags; Packet.Flags is not looked at
	TTL, TOS uint8
	FragOff  uint16 // with its flags: 0x4000 is "don't fragment"
	Length   uint16 // the whole packet, IP header included
	Seq, Ack uint32
	Window   uint16
}

// Segment is the packet as one segment: header fields that it does not name are a usual segment's, as a witness takes them.
func (pk Packet) Segment() Segment {
	pk.Src, pk.Dst = pk.Src.Unmap(), pk.Dst.Unmap()
	p := likely(0)
	if pk.Src.Is6() {
		p = likely(1)
	}
	for f, v := range pk.Fields {
		if d, ok := dimOf(f); ok {
			p.value[d] = netfilter.Num(v)
		}
	}
	num := func(d dim) uint64 { return p.value[d].Lo }
	return Segment{
		Packet: pk, Bits: ParseFlags(pk.Flags), TTL: uint8(num(dTTL)), TOS: uint8(num(dTOS)), FragOff: uint16(num(dFrag)),
		Length: uint16(num(dLength)), Seq: uint32(num(dSeq)), Ack: uint32(num(dAck)), Window: uint16(num(dWin)),
	}
}

// point is the segment as classes are asked for it.
func (g *Segment) point() point {
	num := func(v uint32) netfilter.Value { return netfilter.Num(uint64(v)) }
	return point{flags: g.Bits, value: [nDims]netfilter.Value{
		dSaddr: netfilter.Addr(g.Src), dDaddr: netfilter.Addr(g.Dst), dSport: num(uint32(g.Sport)), dDport: num(uint32(g.Dport)),
		dTTL: num(uint32(g.TTL)), dLength: num(uint32(g.Length)), dTOS: num(uint32(g.TOS)), dFrag: num(uint32(g.FragOff)),
		dSeq: num(g.Seq), dAck: num(g.Ack), dWin: num(uint32(g.Window)),
	}}
}

// Holds reports whether the segment belongs to the outcome. Every segment of the question belongs to one outcome, or to
// several that assume different things.
func (o *Outcome) Holds(g Segment) bool {
	p := g.point()
	return slices.ContainsFunc(o.classes, func(c *class) bool { return c.contains(&p) })
}

// DecidedBy is the rule or policy that decides for a segment of the outcome; By is the one for its witness. Nil: none did.
func (o *Outcome) DecidedBy(g Segment) *netfilter.RuleRef {
	p := g.point()
	for i, c := range o.classes {
		if c.contains(&p) {
			return o.deciders[i].ref(&p, o.byReset)
		}
	}
	return nil
}
