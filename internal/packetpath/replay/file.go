package replay

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
)

// packetsFile is the file in a txtar archive that makes it a case of this package.
const packetsFile = "packets"

// IsCase reports an archive that holds packets with their fates.
func IsCase(ar *txtar.Archive) bool {
	for _, f := range ar.Files {
		if f.Name == packetsFile {
			return true
		}
	}
	return false
}

// Format writes a case as a txtar archive. Its files:
//
//	legacy.ip, legacy.ip6, nft.ip, nft.ip6  iptables-restore documents of iptables-legacy and iptables-nft
//	nftables                                an nft script
//	settings                                the word fwmark_reflect, where it was on
//	node.json                               the node as our collectors read it
//	packets                                 lines of QUESTION IN OUT SRC > DST FLAGS: FATE
//
// A document stands once; OUT is "-" for question A, FLAGS are names joined by commas or "none".
func Format(c *Case) ([]byte, error) {
	ar := &txtar.Archive{Comment: []byte(strings.TrimSpace(c.Name) + "\n")}
	add := func(name, text string) {
		ar.Files = append(ar.Files, txtar.File{Name: name, Data: []byte(strings.TrimRight(text, "\n") + "\n")})
	}
	for _, d := range c.Documents {
		add(documentName(d), d.Text)
	}
	if c.Reflect {
		add("settings", "fwmark_reflect")
	}
	node, err := json.Marshal(c.Node)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	add("node.json", string(node))
	var b strings.Builder
	for _, asked := range c.Asked {
		for i := range asked.Packets {
			b.WriteString(packetLine(&asked.Query, &asked.Packets[i]) + "\n")
		}
	}
	add(packetsFile, b.String())
	return txtar.Format(ar), nil
}

func documentName(d Document) string {
	switch d.Backend {
	case netfilter.Legacy:
		return "legacy." + string(d.Family)
	case netfilter.IPTablesNFT:
		return "nft." + string(d.Family)
	}
	return "nftables"
}

func packetLine(q *packetpath.Query, p *Packet) string {
	out, g := "-", &p.Segment
	if q.Out != "" {
		out = q.Out
	}
	return fmt.Sprintf("%s %s %s %s > %s %s: %s", q.Question, q.In, out,
		netip.AddrPortFrom(g.Src, g.Sport), netip.AddrPortFrom(g.Dst, g.Dport), packetpath.FlagsText(g.Bits), p.Fate)
}

// Parse reads what Format wrote. Node stays nil where there is no node.json.
func Parse(ar *txtar.Archive) (*Case, error) {
	c := &Case{Name: strings.TrimSpace(string(ar.Comment))}
	for _, f := range ar.Files {
		name, family, _ := strings.Cut(f.Name, ".")
		switch {
		case f.Name == packetsFile:
			for line := range strings.Lines(string(f.Data)) {
				if err := c.addLine(strings.TrimSpace(line)); err != nil {
					return nil, err
				}
			}
		case f.Name == "node.json":
			if err := json.Unmarshal(f.Data, &c.Node); err != nil {
				return nil, fmt.Errorf("node.json: %w", err)
			}
		case f.Name == "settings":
			c.Reflect = strings.TrimSpace(string(f.Data)) == "fwmark_reflect"
		case name == "legacy":
			c.Documents = append(c.Documents, Document{netfilter.Legacy, netfilter.Family(family), string(f.Data)})
		case name == "nft":
			c.Documents = append(c.Documents, Document{netfilter.IPTablesNFT, netfilter.Family(family), string(f.Data)})
		case f.Name == "nftables":
			c.Documents = append(c.Documents, Document{netfilter.NFTables, netfilter.INET, string(f.Data)})
		default:
			return nil, fmt.Errorf("file %s: not one of a case", f.Name)
		}
	}
	return c, nil
}

// addLine reads one line of packets; packets of one question stand together.
func (c *Case) addLine(line string) error {
	if line == "" {
		return nil
	}
	head, fate, _ := strings.Cut(line, ": ")
	w := strings.Fields(head)
	if len(w) != 7 || w[4] != ">" {
		return fmt.Errorf("packets: %q is not QUESTION IN OUT SRC > DST FLAGS: FATE", line)
	}
	src, err := netip.ParseAddrPort(w[3])
	if err != nil {
		return fmt.Errorf("packets: %w", err)
	}
	dst, err := netip.ParseAddrPort(w[5])
	if err != nil {
		return fmt.Errorf("packets: %w", err)
	}
	q := query(packetpath.Question(w[0]), src.Addr(), dst.Addr())
	q.In = w[1]
	if w[2] != "-" {
		q.Out = w[2]
	}
	p := Packet{Segment: Plain(q.In, src, dst, packetpath.ParseFlags(w[6])), Fate: Fate(fate)}
	if n := len(c.Asked); n > 0 && sameQuestion(&c.Asked[n-1].Query, &q) {
		c.Asked[n-1].Packets = append(c.Asked[n-1].Packets, p)
		return nil
	}
	c.Asked = append(c.Asked, Asked{Query: q, Packets: []Packet{p}})
	return nil
}

func sameQuestion(a, b *packetpath.Query) bool {
	return a.Question == b.Question && a.Family == b.Family && a.In == b.In && a.Out == b.Out && a.Src[0] == b.Src[0] && a.Dst[0] == b.Dst[0]
}

// query asks for everything around a packet: all ports, all flags without RST, and the network that its addresses are in.
// A's destination is the node's own address.
func query(question packetpath.Question, src, dst netip.Addr) packetpath.Query {
	around := func(a netip.Addr) netip.Prefix {
		if a.Is4() {
			return netip.PrefixFrom(a, 6).Masked()
		}
		return netip.PrefixFrom(a, 24).Masked()
	}
	all := []packetpath.PortRange{{From: 1, To: 65535}}
	q := packetpath.Query{Question: question, Family: netfilter.IP6, Src: []netip.Prefix{around(src)}, Sport: all, Dport: all}
	if src.Is4() {
		q.Family = netfilter.IP
	}
	q.Dst = []netip.Prefix{netip.PrefixFrom(dst, dst.BitLen())}
	if question == packetpath.B {
		q.Dst = []netip.Prefix{around(dst)}
	}
	q.Flags = WithoutRST()
	return q
}

// WithoutRST are all combinations of TCP flags without RST: a RST provokes none.
func WithoutRST() []uint8 {
	const rst = 4
	var out []uint8
	for f := range 256 {
		if f&rst == 0 {
			out = append(out, uint8(f))
		}
	}
	return out
}

// Plain is a segment as the bench of internal/lab sends it: no payload, no options, TTL 64, a window of 1024.
func Plain(in string, src, dst netip.AddrPort, flags uint8) packetpath.Segment {
	length := uint16(40)
	if src.Addr().Is6() {
		length = 60
	}
	return packetpath.Segment{
		Packet: packetpath.Packet{In: in, Src: src.Addr(), Dst: dst.Addr(), Sport: src.Port(), Dport: dst.Port()},
		Bits:   flags, TTL: 64, Length: length, Seq: 1, Ack: 1000, Window: 1024,
	}
}
