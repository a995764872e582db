package nftables

import "strings"

// The expressions as libnftnl 1.1.9 to 1.3.2 print them (nftnl_expr_*_snprintf), back into the attributes of the wire. A nil builder
// is "not understood". Attribute numbers as in expr_load.go.

// key returns the number of a key's name; an unknown one makes the cursor bad.
func (c *cursor) key(names ...string) uint32 { return uint32(max(0, c.oneOf(names...))) }

// metaNames are enum nft_meta_keys as libnftnl names them.
func metaNames() []string {
	return []string{
		"len", "protocol", "priority", "mark", "iif", "oif", "iifname", "oifname", "iiftype", "oiftype", "skuid", "skgid", "nftrace",
		"rtclassid", "secmark", "nfproto", "l4proto", "bri_iifname", "bri_oifname", "pkttype", "cpu", "iifgroup", "oifgroup", "cgroup",
		"prandom", "secpath", "iifkind", "oifkind", "bri_iifpvid", "bri_iifvproto", "time", "day", "hour", "sdif", "sdifname",
	}
}

// metaLine reads "load mark => reg 1" and "set mark with reg 1".
func metaLine(c *cursor) *builder {
	b := &builder{}
	set := c.oneOf("load", "set") == 1
	b.u32(2, c.key(metaNames()...))
	b.direction(c, set, 1, 3)
	return b
}

// direction reads where a key goes, or what it is set to: "=> reg 1" or "with reg 1".
func (b *builder) direction(c *cursor, set bool, dreg, sreg uint16) {
	if set {
		c.must("with")
		b.u32(sreg, c.reg())
		return
	}
	c.must("=>")
	b.u32(dreg, c.reg())
}

// ctLine reads "load state => reg 1 [, dir original]" and "set mark with reg 1".
func ctLine(c *cursor) *builder {
	b := &builder{}
	set := c.oneOf("load", "set") == 1
	b.u32(2, c.key("state", "direction", "status", "mark", "secmark", "expiration", "helper", "l3protocol", "src", "dst", "protocol",
		"proto_src", "proto_dst", "label", "packets", "bytes", "avgpkt", "zone", "event", "src_ip", "dst_ip", "src_ip6", "dst_ip6"))
	b.direction(c, set, 1, 4)
	if c.is(",", "dir") {
		b.u8(3, uint8(c.key("original", "reply")))
	}
	return b
}

// payloadLine reads "load 2b @ transport header + 2 => reg 1" and "write reg 1 => 2b @ network header + 8 csum_type 1
// csum_off 10 csum_flags 0x0".
func payloadLine(c *cursor) *builder {
	b := &builder{}
	if c.is("write") {
		b.u32(5, c.reg())
		c.must("=>")
		b.place(c)
		c.must("csum_type")
		b.u32(6, c.u32())
		c.must("csum_off")
		b.u32(7, c.u32())
		c.must("csum_flags")
		b.u32(8, uint32(c.hex()))
		return b
	}
	c.must("load")
	b.place(c)
	c.must("=>")
	b.u32(1, c.reg())
	return b
}

// place reads "2b @ transport header + 2".
func (b *builder) place(c *cursor) {
	b.u32(4, c.bytes())
	c.must("@")
	b.u32(2, c.key("link", "network", "transport", "inner"))
	c.must("header", "+")
	b.u32(3, c.u32())
}

// bytes reads "2b".
func (c *cursor) bytes() uint32 {
	s, ok := strings.CutSuffix(c.take(), "b")
	if !ok {
		c.bad = true
	}
	return uint32(min(c.parse(s, 10), 1<<31))
}

// byteorderLine reads "reg 1 = hton(reg 1, 4, 4)".
func byteorderLine(c *cursor) *builder {
	b := &builder{}
	b.u32(2, c.reg())
	c.must("=")
	b.u32(3, c.key("ntoh(reg", "hton(reg"))
	b.u32(1, c.until(","))
	b.u32(5, c.until(","))
	b.u32(4, c.until(")"))
	return b
}

// until reads a number with something behind it.
func (c *cursor) until(end string) uint32 {
	s, ok := strings.CutSuffix(c.take(), end)
	if !ok {
		c.bad = true
	}
	return uint32(min(c.parse(s, 10), 1<<31))
}

// fibLine reads "saddr . iif oif present => reg 1": the keys with dots between them, then the result.
func fibLine(c *cursor) *builder {
	b := &builder{}
	flags := uint32(1) << c.key("saddr", "daddr", "mark", "iif", "oif")
	for c.is(".") {
		flags |= 1 << c.key("saddr", "daddr", "mark", "iif", "oif")
	}
	b.u32(2, 1+c.key("oif", "oifname", "type"))
	if c.is("present") {
		flags |= 32
	}
	b.u32(3, flags)
	c.must("=>")
	b.u32(1, c.reg())
	return b
}

// keyLine reads "load KEY => reg 1".
func keyLine(c *cursor, key, dreg uint16, names ...string) *builder {
	b := &builder{}
	c.must("load")
	b.u32(key, c.key(names...))
	c.must("=>")
	b.u32(dreg, c.reg())
	return b
}

// numgenLine reads "reg 1 = inc mod 10 [offset 5]".
func numgenLine(c *cursor) *builder {
	b := &builder{}
	b.u32(1, c.reg())
	c.must("=")
	b.u32(3, c.key("inc", "random"))
	c.must("mod")
	b.u32(2, c.u32())
	b.offset(c, 4)
	return b
}

func (b *builder) offset(c *cursor, typ uint16) {
	if c.is("offset") {
		b.u32(typ, c.u32())
	}
}

// hashLine reads "reg 1 = jhash(reg 2, 8, 0xdeadbeef) % mod 2 [offset 1]" and "reg 1 = symhash() % mod 5".
func hashLine(c *cursor) *builder {
	b := &builder{}
	b.u32(2, c.reg())
	c.must("=")
	if c.is("symhash()") {
		b.u32(7, 1)
	} else {
		c.must("jhash(reg")
		b.u32(1, c.until(","))
		b.u32(3, c.until(","))
		seed, _ := strings.CutSuffix(c.take(), ")")
		seed, _ = strings.CutPrefix(seed, "0x")
		if v := c.parse(seed, 16); v != 0 { // else the kernel's own
			b.u32(5, uint32(v))
		}
	}
	c.must("%", "mod")
	b.u32(4, c.u32())
	b.offset(c, 6)
	return b
}

// exthdrLine reads "load tcpopt 2b @ 2 + 2 [present] => reg 1", "write tcpopt reg 1 => 2b @ 2 + 2" and "reset tcpopt 2".
func (w *walker) exthdrLine(c *cursor) bool {
	b := &builder{}
	do := c.oneOf("load", "write", "reset")
	op := c.oneOf("ipv6", "tcpopt", "ipv4")
	if op < 0 || do == 2 && op != 1 {
		return false
	}
	b.u32(6, uint32(op))
	switch do {
	case 1:
		b.u32(7, c.reg())
		c.must("=>")
		b.option(c)
	case 2:
		b.u8(2, uint8(c.u32()))
	default:
		b.option(c)
		if c.is("present") {
			b.u32(5, 1)
		}
		c.must("=>")
		b.u32(1, c.reg())
	}
	return c.done() && w.expression("exthdr", b)
}

// option reads "2b @ 2 + 2": length, type and offset.
func (b *builder) option(c *cursor) {
	b.u32(4, c.bytes())
	c.must("@")
	b.u8(2, uint8(c.u32()))
	c.must("+")
	b.u32(3, c.u32())
}
