package nftables

import (
	"fmt"
	"sync"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// Payload bases: enum nft_payload_bases, include/uapi/linux/netfilter/nf_tables.h, Linux 6.18.
const (
	baseLink      = 0
	baseNetwork   = 1
	baseTransport = 2
)

// headerField is a header's field: where it is, and what it is called. spell is nft's name where the model's differs.
type headerField struct {
	off, len int
	field    nf.Field
	spell    nf.Field
}

// ipv4Header is RFC 791's. The protocol is the model's L4Proto.
func ipv4Header() []headerField {
	return []headerField{
		{0, 1, "ip.version-hdrlength", ""},
		{1, 1, nf.TOS, ""},
		{2, 2, "ip.length", ""},
		{4, 2, "ip.id", ""},
		{6, 2, nf.FragOff, ""},
		{8, 1, nf.TTL, ""},
		{9, 1, nf.L4Proto, "ip.protocol"},
		{10, 2, "ip.checksum", ""},
		{12, 4, nf.IPSaddr, ""},
		{16, 4, nf.IPDaddr, ""},
	}
}

// ipv6Header is RFC 8200's. The next header is not L4Proto: an extension header may stand between.
func ipv6Header() []headerField {
	return []headerField{
		{0, 2, "ip6.version-class", ""},
		{1, 3, "ip6.class-flowlabel", ""},
		{4, 2, "ip6.length", ""},
		{6, 1, "ip6.nexthdr", ""},
		{7, 1, nf.TTL, "ip6.hoplimit"},
		{8, 16, nf.IP6Saddr, ""},
		{24, 16, nf.IP6Daddr, ""},
	}
}

func arpHeader() []headerField {
	return []headerField{
		{0, 2, "arp.htype", ""},
		{2, 2, "arp.ptype", ""},
		{4, 1, "arp.hlen", ""},
		{5, 1, "arp.plen", ""},
		{6, 2, "arp.operation", ""},
		{8, 6, "arp.saddr.ether", ""},
		{14, 4, "arp.saddr.ip", ""},
		{18, 6, "arp.daddr.ether", ""},
		{24, 4, "arp.daddr.ip", ""},
	}
}

// linkHeader is Ethernet's, with an 802.1Q tag behind the addresses.
func linkHeader() []headerField {
	return []headerField{{0, 6, "ether.daddr", ""}, {6, 6, "ether.saddr", ""}, {12, 2, "ether.type", ""}, {14, 2, "vlan.tci", ""}, {16, 2, "vlan.type", ""}}
}

func ports() []headerField {
	return []headerField{{0, 2, nf.Sport, ""}, {2, 2, nf.Dport, ""}}
}

// transportHeaders returns the headers by IP protocol; -1 is "not known", which has ports only.
func transportHeaders() map[int][]headerField {
	icmp := func(p string) []headerField {
		f := func(s string) nf.Field { return nf.Field(p + s) }
		return []headerField{{0, 1, f(".type"), ""}, {1, 1, f(".code"), ""}, {2, 2, f(".checksum"), ""}, {4, 2, f(".id"), ""}, {6, 2, f(".sequence"), ""}}
	}
	return map[int][]headerField{
		-1: ports(),
		1:  icmp("icmp"),
		2:  {{0, 1, "igmp.type", ""}, {2, 2, "igmp.checksum", ""}, {4, 4, "igmp.group", ""}},
		6: append(ports(), headerField{4, 4, nf.TCPSeq, ""}, headerField{8, 4, nf.TCPAck, ""}, headerField{12, 1, "tcp.doff-reserved", ""},
			headerField{13, 1, nf.TCPFlags, ""}, headerField{14, 2, nf.TCPWin, ""}, headerField{16, 2, "tcp.checksum", ""}, headerField{18, 2, "tcp.urgptr", ""}),
		17:  append(ports(), headerField{4, 2, "udp.length", ""}, headerField{6, 2, "udp.checksum", ""}),
		33:  append(ports(), headerField{8, 1, "dccp.x-type", ""}),
		50:  {{0, 4, "esp.spi", ""}, {4, 4, "esp.sequence", ""}},
		51:  {{0, 1, "ah.nexthdr", ""}, {1, 1, "ah.hdrlength", ""}, {2, 2, "ah.reserved", ""}, {4, 4, "ah.spi", ""}, {8, 4, "ah.sequence", ""}},
		58:  icmp("icmpv6"),
		108: {{0, 1, "comp.nexthdr", ""}, {1, 1, "comp.flags", ""}, {2, 2, "comp.cpi", ""}},
		132: append(ports(), headerField{4, 4, "sctp.vtag", ""}, headerField{8, 4, "sctp.checksum", ""}),
		136: append(ports(), headerField{4, 2, "udplite.length", ""}, headerField{6, 2, "udplite.checksum", ""}),
	}
}

// layouts are the headers that payload loads are looked up in.
type layouts struct {
	ipv4, ipv6, arp, link []headerField
	transport             map[int][]headerField
}

var headerLayouts = sync.OnceValue(func() *layouts {
	return &layouts{ipv4Header(), ipv6Header(), arpHeader(), linkHeader(), transportHeaders()}
})

// header returns the header at a base as far as the rule has established what it is: a payload load says offsets only, and
// in tables of both families the family is what an earlier match of the rule requires (which nft writes by itself).
func (l *layouts) header(base uint32, c *knowledge) []headerField {
	switch {
	case base == baseLink:
		return l.link
	case base == baseNetwork && c.l3 == nf.IP:
		return l.ipv4
	case base == baseNetwork && c.l3 == nf.IP6:
		return l.ipv6
	case base == baseNetwork && c.l3 == nf.ARP:
		return l.arp
	case base == baseTransport:
		if h := l.transport[c.l4]; h != nil {
			return h
		}
		return l.transport[-1]
	}
	return nil
}

// knowledge is what the rule's matches so far require of the packet; l3 "" and l4 -1: nothing yet.
type knowledge struct {
	l3 nf.Family
	l4 int
}

// slice is a run of a register's bytes that holds a field or a part of it.
type slice struct {
	field, spell nf.Field
	at, len      int // the run in the register
	off, size    int // the run in the field, and the field's own size
}

// payloadSlices splits a load of n bytes at off into the header's fields. Loads may end inside a field (nft loads 3 bytes
// to match a /24) and span several (nft merges neighbouring matches). It returns nil when a byte belongs to no field.
func payloadSlices(h []headerField, off, n int) []slice {
	var out []slice
	for at := 0; at < n; {
		s, ok := fieldAt(h, off+at, n-at, at == 0)
		if !ok {
			return nil
		}
		s.at = at
		out = append(out, s)
		at += s.len
	}
	return out
}

// fieldAt finds the field that holds the byte at off. A field that starts there goes before one that only covers it.
func fieldAt(h []headerField, off, n int, first bool) (slice, bool) {
	best := -1
	for i, f := range h {
		switch {
		case off == f.off && (best < 0 || h[best].off != off || f.len == n):
			best = i
		case first && best < 0 && off > f.off && off < f.off+f.len:
			best = i
		}
	}
	if best < 0 {
		return slice{}, false
	}
	f := h[best]
	skip := off - f.off
	return slice{field: f.field, spell: f.spell, len: min(f.len-skip, n), off: skip, size: f.len}, true
}

// rawPayload names a load that no header describes, in nft's words: @nh,96,32 (base, offset and length in bits).
func rawPayload(base uint32, off, n int) nf.Field {
	names := [...]string{"ll", "nh", "th", "ih", "tun"}
	name := fmt.Sprint(base)
	if int(base) < len(names) {
		name = names[base]
	}
	return nf.Field(fmt.Sprintf("@%s,%d,%d", name, off*8, n*8))
}
