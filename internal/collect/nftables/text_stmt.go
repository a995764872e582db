package nftables

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// statementLine reads the expressions that do something. Attribute numbers as in expr_stmt.go.
func statementLine(name string, c *cursor) *builder {
	b := &builder{}
	switch name {
	case "notrack":
	case "counter": // "pkts 0 bytes 0"
		c.must("pkts")
		b.u64(2, c.number())
		c.must("bytes")
		b.u64(1, c.number())
	case "limit":
		return limitLine(c)
	case "reject": // "type 0 code 3"
		c.must("type")
		b.u32(1, c.u32())
		c.must("code")
		b.u8(2, uint8(c.u32()))
	case "quota": // "bytes 100 consumed 0 flags 1"
		c.must("bytes")
		b.u64(1, c.number())
		c.must("consumed")
		b.u64(4, c.number())
		c.must("flags")
		b.u32(2, c.u32())
	case "connlimit": // "count 5 flags 1", in hexadecimal
		c.must("count")
		b.u32(1, c.u32())
		c.must("flags")
		b.u32(2, uint32(c.parse(c.take(), 16)))
	case "last": // "never" or a time
		c.take()
	case "flow_offload": // "flowtable NAME"
		c.must("flowtable")
		b.text(1, c.take())
	case "synproxy": // "mss 1460 wscale 7"
		c.must("mss")
		b.u16(1, uint16(c.u32()))
		c.must("wscale")
		b.u8(2, uint8(c.u32()))
	case "objref":
		return objrefLine(c)
	default:
		return nil
	}
	return b
}

// limitLine reads "rate 10/second burst 5 type packets flags 0x1".
func limitLine(c *cursor) *builder {
	b := &builder{}
	c.must("rate")
	rate, unit, _ := strings.Cut(c.take(), "/")
	seconds := map[string]uint64{"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}[unit]
	if seconds == 0 {
		return nil
	}
	b.u64(1, c.parse(rate, 10))
	b.u64(2, seconds)
	c.must("burst")
	b.u32(3, c.u32())
	c.must("type")
	b.u32(4, c.key("packets", "bytes"))
	c.must("flags")
	b.u32(5, uint32(c.hex()))
	return b
}

// objrefLine reads "type 1 name NAME" and "sreg 1 set NAME".
func objrefLine(c *cursor) *builder {
	b := &builder{}
	if c.is("sreg") {
		b.u32(3, c.u32())
		c.must("set")
		b.text(4, c.take())
		return b
	}
	c.must("type")
	b.u32(1, c.u32())
	c.must("name")
	b.text(2, c.take())
	return b
}

// logShape is what stands behind "log". A prefix may hold anything, so the rest is looked for from the end.
var logShape = regexp.MustCompile(`^(?: prefix (.*))?(?: group (\d+) snaplen (\d+) qthreshold (\d+)| level (\d+)((?: (?:tcpseq|tcpopt|ipopt|uid|macdecode))*))$`)

func logLine(text string) *builder {
	m := logShape.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	b := &builder{}
	if m[1] != "" {
		b.text(2, m[1])
	}
	n := func(i int) uint32 {
		v, _ := strconv.ParseUint(m[i], 10, 32)
		return uint32(v)
	}
	if m[2] != "" {
		b.u16(1, uint16(n(2)))
		b.u32(3, n(3))
		b.u16(4, uint16(n(4)))
		return b
	}
	b.u32(5, n(5))
	flags := uint32(0)
	for _, f := range strings.Fields(m[6]) {
		flags |= map[string]uint32{"tcpseq": 1, "tcpopt": 2, "ipopt": 4, "uid": 8, "macdecode": 32}[f]
	}
	if flags != 0 {
		b.u32(6, flags)
	}
	return b
}

// registersLine reads the statements that take their addresses, ports and devices from registers.
func registersLine(name string, c *cursor) *builder {
	switch name {
	case "nat":
		return natLine(c)
	case "masq":
		return rangeOfPorts(c, 2, 3, 1)
	case "redir":
		return rangeOfPorts(c, 1, 2, 3)
	case "queue":
		return queueLine(c)
	}
	b := &builder{}
	switch name {
	case "dup": // "sreg_addr 1 sreg_dev 2"
		b.optional(c, "sreg_addr", 1)
		b.optional(c, "sreg_dev", 2)
	case "fwd": // "sreg_dev 1 sreg_addr 2 nfproto 2"
		b.optional(c, "sreg_dev", 1)
		b.optional(c, "sreg_addr", 2)
		b.optional(c, "nfproto", 3)
	case "tproxy": // "ip addr reg 1 port reg 2"
		if c.is("ip") {
			b.u32(1, 2)
		} else if c.is("ip6") {
			b.u32(1, 10)
		}
		b.register(c, "addr", 2)
		b.register(c, "port", 3)
	}
	return b
}

func (b *builder) optional(c *cursor, word string, typ uint16) {
	if c.is(word) {
		b.u32(typ, c.u32())
	}
}

func (b *builder) register(c *cursor, word string, typ uint16) {
	if c.is(word) {
		b.u32(typ, c.reg())
	}
}

func (b *builder) flags(c *cursor, typ uint16) {
	if c.is("flags") {
		b.u32(typ, uint32(c.hex()))
	}
}

// natLine reads "dnat ip addr_min reg 1 addr_max reg 2 proto_min reg 3 proto_max reg 4 flags 0x2".
func natLine(c *cursor) *builder {
	b := &builder{}
	b.u32(1, c.key("snat", "dnat"))
	b.u32(2, [...]uint32{2, 10, 1}[c.key("ip", "ip6", "inet")])
	b.register(c, "addr_min", 3)
	b.register(c, "addr_max", 4)
	b.register(c, "proto_min", 5)
	b.register(c, "proto_max", 6)
	b.flags(c, 7)
	return b
}

// rangeOfPorts reads "proto_min reg 1 proto_max reg 2 flags 0x4".
func rangeOfPorts(c *cursor, from, to, flags uint16) *builder {
	b := &builder{}
	b.register(c, "proto_min", from)
	b.register(c, "proto_max", to)
	b.flags(c, flags)
	return b
}

// queueLine reads "num 1-5 bypass fanout" and "sreg_qnum 1 bypass".
func queueLine(c *cursor) *builder {
	b := &builder{}
	if c.is("sreg_qnum") {
		b.u32(4, c.u32())
	} else {
		c.must("num")
		first, last, several := strings.Cut(c.take(), "-")
		from := c.parse(first, 10)
		b.u16(1, uint16(from))
		if several {
			b.u16(2, uint16(c.parse(last, 10)-from+1))
		}
	}
	flags := uint16(0)
	if c.is("bypass") {
		flags |= 1
	}
	if c.is("fanout") {
		flags |= 2
	}
	if flags != 0 {
		b.u16(3, flags)
	}
	return b
}

// wanted says what the lines behind an expression take its register for, as nft's types: a map's data and a constant have
// no type of their own.
func wanted(line string, behind []string) string {
	if !strings.HasPrefix(line, "lookup ") && !strings.HasPrefix(line, "immediate reg ") {
		return ""
	}
	reg := ""
	if _, after, ok := strings.Cut(line, " dreg "); ok {
		reg, _, _ = strings.Cut(after, " ")
	} else if after, ok := strings.CutPrefix(line, "immediate reg "); ok {
		reg, _, _ = strings.Cut(after, " ")
	}
	if reg == "" || reg == "0" {
		return ""
	}
	for _, l := range behind {
		if l += " "; !strings.Contains(l, "reg "+reg+" ") {
			continue
		}
		return wantedBy(l, reg)
	}
	return ""
}

// wantedBy says what a line takes a register for.
func wantedBy(l, reg string) string {
	address := "ipv4_addr"
	if strings.Contains(l, "nat ip6 ") || strings.Contains(l, "proxy ip6 ") {
		address = "ipv6_addr"
	}
	switch {
	case strings.Contains(l, " set mark with "):
		return "mark"
	case strings.Contains(l, "[ meta set priority with "):
		return "classid"
	case strings.Contains(l, "addr_min reg "+reg+" ") && strings.Contains(l, "proto_min reg "):
		return address + " . inet_service"
	case takes(l, reg, "addr_min", "addr_max", "addr"):
		return address
	case takes(l, reg, "proto_min", "proto_max", "port"):
		return "inet_service"
	case strings.Contains(l, "[ exthdr write ") && strings.Contains(l, " => 2b "):
		return "inet_service" // of 2 bytes, whatever it is called
	}
	return ""
}

// takes reports whether one of the words stands in front of the register.
func takes(l, reg string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(l, " "+w+" reg "+reg+" ") })
}

// wantedSize is the length of a constant whose type is known to be shorter than a word.
func wantedSize(types string) int {
	return map[string]int{"inet_service": 2}[types]
}
