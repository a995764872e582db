package oracle_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
)

// ended is a rule that drops a range of something, on packets of a port of its own. Its text says {D} for that port, {A} and
// {B} for the range's ends, {A-1} and {B+1} for their neighbours, {W} for a wider range of ports, {N} for a prefix, {L} for the
// packets' length, {LO} and {HI} for the node's address and {LO-1} and {HI+1} for its neighbours, and {S} for its set.
type ended struct {
	of   string // what is put at the ends: dport, low, high and sport (source ports), source, prefix; "": the rule is all
	rule string
	set  string // the declaration of {S}
	not  bool   // what lies in the range is left alone; of "": the rule does not match
}

// xtEnds are the ranges of iptables' matches. Dropped is what "-p tcp RULE" holds for.
var xtEnds = []ended{
	{of: "dport", rule: "--dport {A}:{B}"},
	{of: "dport", rule: "! --dport {A}:{B} -m multiport --dports {W}", not: true},
	{of: "dport", rule: "-m multiport --dports {A}:{B}"},
	{of: "dport", rule: "-m multiport --dports {A}:{B},9,10"},
	{of: "dport", rule: "-m multiport --dports 9,{A}:{B},10"},
	{of: "dport", rule: "-m multiport --dports 9,10,{A}:{B}"},
	{of: "dport", rule: "--dport {W} -m multiport ! --dports 9,{A}:{B}", not: true},
	{of: "dport", rule: "--dport {W} -m multiport ! --ports {A}:{B}", not: true},
	{of: "sport", rule: "--dport {D} --sport {A}:{B}"},
	{of: "sport", rule: "--dport {D} ! --sport {A}:{B}", not: true},
	{of: "low", rule: "--dport {D} --sport :{B}"},
	{of: "high", rule: "--dport {D} --sport {A}:"},
	{of: "low", rule: "--dport {D} ! --sport 0:{B}", not: true},
	{of: "high", rule: "--dport {D} ! --sport {A}:65535", not: true},
	{of: "sport", rule: "--dport {D} -m multiport --sports 9,{A}:{B}"},
	{of: "sport", rule: "--dport {D} -m multiport ! --sports {A}:{B},9", not: true},
	{of: "source", rule: "--dport {D} -m iprange --src-range {A}-{B}"},
	{of: "source", rule: "--dport {D} -m iprange ! --src-range {A}-{B}", not: true},
	{of: "prefix", rule: "--dport {D} -s {N}"},
	{of: "prefix", rule: "--dport {D} ! -s {N}", not: true},
	{rule: "--dport {D} -m iprange --dst-range {LO-1}-{HI}"},
	{rule: "--dport {D} -m iprange --dst-range {LO}-{HI+1}"},
	{rule: "--dport {D} -m iprange --dst-range {HI+1}-{HI+1}", not: true},
	{rule: "--dport {D} -m length --length 30:{L}"},
	{rule: "--dport {D} -m length --length {L}:90"},
	{rule: "--dport {D} -m length --length 30:{L-1}", not: true},
	{rule: "--dport {D} -m length --length {L+1}:90", not: true},
	{rule: "--dport {D} -m length ! --length {L}:{L}", not: true},
	{rule: "--dport {D} {TTL}-gt 63"},
	{rule: "--dport {D} {TTL}-gt 64", not: true},
	{rule: "--dport {D} {TTL}-lt 65"},
	{rule: "--dport {D} {TTL}-lt 64", not: true},
}

// nftEnds are the ranges of nft's expressions, sets and maps.
var nftEnds = []ended{
	{of: "dport", rule: "tcp dport {A}-{B} drop"},
	{of: "dport", rule: "tcp dport {W} tcp dport != {A}-{B} drop", not: true},
	{of: "dport", rule: "tcp dport >= {A} tcp dport <= {B} drop"},
	{of: "dport", rule: "tcp dport > {A-1} tcp dport < {B+1} drop"},
	{of: "dport", rule: "tcp dport { 9, {A}-{B}, 11-12 } drop"},
	{of: "dport", rule: "tcp dport {W} tcp dport != { 9-10, {A}-{B} } drop", not: true},
	{of: "dport", rule: "tcp dport @{S} drop", set: "set {S} { type inet_service; flags interval; elements = { 9, {A}-{B} }; }"},
	{of: "dport", rule: "tcp dport @{S} drop", set: "set {S} { type inet_service; flags interval; auto-merge; elements = { {A}, {A+1}-{B-1}, {B} }; }"},
	{of: "dport", rule: "tcp dport {W} tcp dport != @{S} drop", set: "set {S} { type inet_service; flags interval; elements = { {A}-{B} }; }", not: true},
	{of: "dport", rule: "tcp dport . tcp sport { {A}-{B} . 443, 9 . 1-2 } drop"},
	{of: "dport", rule: "tcp dport {W} ct state . tcp dport != { invalid . {A}-{B} } drop", not: true},
	{of: "dport", rule: "tcp sport . tcp dport @{S} drop", set: "set {S} { type inet_service . inet_service; flags interval; elements = { 443 . {A}-{B} }; }"},
	{of: "dport", rule: "tcp dport vmap { 9 : accept, {A}-{B} : drop }"},
	{of: "dport", rule: "tcp dport {W} tcp dport vmap { {A}-{B} : accept, * : drop }", not: true},
	{of: "dport", rule: "tcp dport vmap @{S}", set: "map {S} { type inet_service : verdict; flags interval; elements = { {A}-{B} : drop }; }"},
	{of: "dport", rule: "tcp sport . tcp dport vmap { 400-500 . {A}-{B} : drop }"},
	{of: "dport", rule: "th dport {A}-{B} drop"},
	{of: "dport", rule: "meta l4proto tcp @th,16,16 {A}-{B} drop"},
	{of: "sport", rule: "tcp dport {D} tcp sport {A}-{B} drop"},
	{of: "low", rule: "tcp dport {D} tcp sport <= {B} drop"},
	{of: "low", rule: "tcp dport {D} tcp sport { 0-{B} } drop"},
	{of: "low", rule: "tcp dport {D} tcp sport vmap { 0-{B} : accept, * : drop }", not: true},
	{of: "high", rule: "tcp dport {D} tcp sport >= {A} drop"},
	{of: "high", rule: "tcp dport {D} tcp sport { 9, {A}-65535 } drop"},
	{of: "high", rule: "tcp dport {D} tcp sport != @{S} drop", set: "set {S} { type inet_service; flags interval; elements = { {A}-65535 }; }", not: true},
	{of: "source", rule: "tcp dport {D} {IP} saddr {A}-{B} drop"},
	{of: "source", rule: "tcp dport {D} {IP} saddr != {A}-{B} drop", not: true},
	{of: "source", rule: "tcp dport {D} {IP} saddr { {A}-{B} } drop"},
	{of: "source", rule: "{IP} saddr . tcp dport { {A}-{B} . {D} } drop"},
	{of: "source", rule: "tcp dport {D} {IP} saddr vmap { {A}-{B} : drop }"},
	{of: "source", rule: "tcp dport {D} {IP} saddr @{S} drop", set: "set {S} { typeof {IP} saddr; flags interval; elements = { {A}-{B} }; }"},
	{of: "prefix", rule: "tcp dport {D} {IP} saddr {N} drop"},
	{of: "prefix", rule: "tcp dport {D} {IP} saddr { {N} } drop"},
	{of: "prefix", rule: "{IP} saddr . tcp dport != { {N} . {D} } tcp dport {D} drop", not: true},
	{rule: "tcp dport {D} {IP} daddr {LO-1}-{HI} drop"},
	{rule: "tcp dport {D} {IP} daddr {LO}-{HI+1} drop"},
	{rule: "tcp dport {D} {IP} daddr != {LO-1}-{LO-1} drop"},
	{rule: "tcp dport {D} meta length 30-{L} drop"},
	{rule: "tcp dport {D} meta length {L}-90 drop"},
	{rule: "tcp dport {D} meta length < {L} drop", not: true},
	{rule: "tcp dport {D} meta length > {L} drop", not: true},
	{rule: "tcp dport {D} meta mark set 9 meta mark 5-9 drop"},
	{rule: "tcp dport {D} meta mark set 5 meta mark { 5-9 } drop"},
	{rule: "tcp dport {D} meta mark set 10 meta mark 5-9 drop", not: true},
	{rule: "tcp dport {D} meta mark set 4 meta mark { 5-9 } drop", not: true},
}

// placed is a range at its place: the rule's own port, and its ends as numbers to add to what the packets have anyway.
type placed struct {
	ended
	port     uint16
	from, to int
	source   netip.Addr // what source addresses count from
}

func (e ended) at(n int, source netip.Addr) placed {
	p := placed{ended: e, port: uint16(2000 + 20*n), source: source}
	ends := map[string][2]int{
		"dport": {int(p.port), int(p.port) + 9}, "sport": {5000, 5009}, "low": {0, 10}, "high": {65530, 65535},
		"source": {33, 45}, "prefix": {32, 47},
	}[e.of]
	p.from, p.to = ends[0], ends[1]
	return p
}

// words are what the rule's text leaves open.
func (p placed) words(family netfilter.Family, own netip.Addr) *strings.Replacer {
	value := func(n int) string { return fmt.Sprint(n) }
	if p.of == "source" || p.of == "prefix" {
		value = func(n int) string { return oracle.OffsetBy(p.source, uint32(n)).String() }
	}
	length, ip, ttl, wide, bits := 40, "ip", "-m ttl --ttl", ":", 28
	if family == netfilter.IP6 {
		length, ip, ttl, bits = 60, "ip6", "-m hl --hl", 124
	}
	if p.set != "" || strings.Contains(p.rule, " drop") || strings.Contains(p.rule, "vmap") {
		wide = "-"
	}
	return strings.NewReplacer("{D}", fmt.Sprint(p.port), "{S}", fmt.Sprintf("k%d", p.port), "{IP}", ip, "{TTL}", ttl,
		"{A}", value(p.from), "{B}", value(p.to), "{A-1}", value(p.from-1), "{A+1}", value(p.from+1), "{B+1}", value(p.to+1),
		"{B-1}", value(p.to-1), "{W}", fmt.Sprintf("%d%s%d", p.from-2, wide, p.to+2), "{N}", fmt.Sprintf("%s/%d", value(p.from), bits),
		"{L}", fmt.Sprint(length), "{L-1}", fmt.Sprint(length-1), "{L+1}", fmt.Sprint(length+1),
		"{LO}", own.String(), "{HI}", own.String(), "{LO-1}", own.Prev().String(), "{HI+1}", own.Next().String())
}

// values are the numbers at and around both ends, and one further out of a wider range.
func (p placed) values() []int {
	if p.of == "" {
		return []int{0}
	}
	var out []int
	for _, around := range []int{p.from - 1, p.to + 1} {
		for v := around - 2; v <= around+2; v++ {
			if v > 0 && v <= 65535 {
				out = append(out, v)
			}
		}
	}
	return out
}

// packet has the value where the range is about, and says whether the rule drops it.
func (p placed) packet(own netip.Addr, value int) (lab.Probe, bool) {
	src, dst := netip.AddrPortFrom(p.source, 443), netip.AddrPortFrom(own, p.port)
	switch p.of {
	case "dport":
		dst = netip.AddrPortFrom(own, uint16(value))
	case "sport", "low", "high":
		src = netip.AddrPortFrom(p.source, uint16(value))
	case "source", "prefix":
		src = netip.AddrPortFrom(oracle.OffsetBy(p.source, uint32(value)), 443)
	}
	drops := p.of == "" || value >= p.from && value <= p.to
	if p.not {
		drops = !drops && (p.of != "dport" || value >= p.from-2 && value <= p.to+2)
	}
	return lab.Probe{Segment: lab.Segment{Src: src, Dst: dst, Flags: lab.ACK, Seq: 1, Ack: 1000}}, drops
}

// endsDocument writes the rules of all ranges into one chain.
func endsDocument(backend netfilter.Backend, rules, sets []string) string {
	if backend == netfilter.NFTables {
		return "table inet t {\n" + strings.Join(sets, "") + "chain a {\ntype filter hook input priority 0;\n" + strings.Join(rules, "\n") + "\n}\n}\n"
	}
	return "*filter\n-A INPUT -p tcp " + strings.Join(rules, " -j DROP\n-A INPUT -p tcp ") + " -j DROP\nCOMMIT\n"
}

// TestRangeEnds puts packets at and around both ends of every kind of range. Random packets meet an end by luck alone.
func TestRangeEnds(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	for _, backend := range []netfilter.Backend{netfilter.Legacy, netfilter.IPTablesNFT, netfilter.NFTables} {
		for _, family := range families {
			t.Run(fmt.Sprintf("%s/%s", backend, family), func(t *testing.T) {
				t.Parallel()
				ends(t, backend, family)
			})
		}
	}
}

func ends(t *testing.T, backend netfilter.Backend, family netfilter.Family) {
	b, err := freshBench()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	all := xtEnds
	if backend == netfilter.NFTables {
		all = nftEnds
	}
	x := exchanged{universe: oracle.NewUniverse(b.Bench, family)}
	var rules, sets, of []string
	var drops []bool
	own := b.Address(0, family)
	for n, e := range all {
		p := e.at(n, oracle.OffsetBy(b.Sources(0, family).Addr(), 4096))
		words := p.words(family, own)
		rules = append(rules, words.Replace(p.rule))
		if p.set != "" {
			sets = append(sets, words.Replace(p.set+"\n"))
		}
		for _, value := range p.values() {
			probe, drop := p.packet(own, value)
			x.probes, drops, of = append(x.probes, probe), append(drops, drop), append(of, rules[n])
		}
	}
	text := endsDocument(backend, rules, sets)
	x.loaded = oracle.Case{Family: family, Documents: []oracle.Document{{Backend: backend, Family: family, Text: text}}}
	if err := errors.Join(x.loaded.Exactly(b.Node), x.run(b)); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for i, drop := range drops {
		if x.fates[i] != whether(drop) {
			t.Errorf("%s > %s: the kernel: %s, want %s, of %s", x.probes[i].Src, x.probes[i].Dst, x.fates[i], whether(drop), of[i])
		}
	}
	var total tally
	if err := total.holds(b.Bench, &x); err != nil || total.Undecided > 0 || total.Packets < len(drops) {
		t.Errorf("%d of %d undecided: %v, missing: %v", total.Undecided, total.Packets, err, missing(x.doc))
	}
	shown, err := readText(b.Bench)
	if err != nil || part(shown) {
		t.Fatalf("read as text: %v, missing: %v", err, missing(shown))
	}
	if err := total.compare(b.Bench, &x, facts.Of(shown)); err != nil || total.Undecided > 0 {
		t.Errorf("read as text, %d undecided: %v", total.Undecided, err)
	}
	r := x.replay(b.Bench, x.node, t.Name())
	open := false
	r.Asked = r.Asked[:1]
	r.Asked[0].Undecided = &open
	if err := errors.Join(new(replay.Tally).Check(r), recorded.add(r)); err != nil {
		t.Error(err)
	}
}
