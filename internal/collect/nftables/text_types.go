package nftables

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// settle gives a set without types those of the registers that a rule looks up in it: the kernel compares bytes, so its
// keys are in the registers' order, whatever nft believes of them.
func (w *walker) settle(s *setInfo, sreg uint32, verdicts bool) {
	if s == nil || !s.infer {
		return
	}
	s.infer = false
	length := 0
	for _, e := range s.late {
		if e.flags&2 == 0 {
			length = len(e.key)
		}
	}
	types, ok := w.typesOf(sreg, length)
	if !ok || !s.declared && s.mayCover() && !w.plainKeys {
		s.late = nil
		return // it stays incomplete
	}
	s.types, s.set.Incomplete = types, ""
	s.keyLen = 0
	for _, t := range types {
		s.keyLen += align4(t.size)
		s.set.Types = append(s.set.Types, t.name)
	}
	if len(types) == 1 {
		s.keyLen = types[0].size
	}
	s.interval = s.interval || slices.ContainsFunc(s.late, func(e rawElement) bool { return e.flags&1 != 0 })
	for i := range types {
		if s.interval && types[i].order == hostEndian {
			types[i].order = networkOrder // in which nft puts the registers first
		}
	}
	w.mapOf(s, verdicts)
	for i := range s.late {
		if why := w.parser.addRaw(s, &s.late[i]); why != "" {
			s.set.Incomplete = why
			break
		}
	}
	s.late = nil
}

// mapOf tells what a map without types maps to.
func (w *walker) mapOf(s *setInfo, verdicts bool) {
	data := 0
	for _, e := range s.late {
		data = max(data, len(e.data))
	}
	if s.set.Map = verdicts || data > 0; s.set.Map {
		s.set.Verdicts = verdicts
	}
	if data == 0 || verdicts {
		return
	}
	s.dataType, s.data = dataType{"integer", data, networkOrder}, data
	types := w.parser.typesNamed(jsontext.Value(`"` + w.wanted + `"`))
	size := 0
	for _, t := range types {
		size += align4(t.size)
	}
	if size != data {
		return
	}
	s.dataType = types[0]
	if len(types) == 1 {
		s.data = types[0].size
	}
	for _, t := range types {
		s.set.DataTypes = append(s.set.DataTypes, t.name)
	}
}

// mayCover reports whether a set of single keys may be one of intervals that cover everything: their starts alone would
// stand there, and the first is zero.
func (s *setInfo) mayCover() bool {
	zero, ends := false, false
	for _, e := range s.late {
		zero = zero || e.flags&2 == 0 && len(bytes.Trim(e.key, "\x00")) == 0
		ends = ends || e.flags&1 != 0 || e.end != nil
	}
	return zero && !ends
}

// typesOf returns the types of the registers from sreg on that fill length bytes; of one register when length is 0.
func (w *walker) typesOf(sreg uint32, length int) (out []dataType, ok bool) {
	start, ok := word(sreg)
	if !ok {
		return nil, false
	}
	for used := 0; used < length || used == 0; {
		l := w.regs.word(start + used/4)
		if l.size == 0 || l.imm != nil {
			return nil, false
		}
		order := l.order
		if l.opaque != nil { // numgen and hashes are numbers of the machine
			order = hostEndian
		}
		out = append(out, dataType{typeName(l), l.size, order})
		used += align4(l.size)
		if used > length && length > 0 {
			return nil, false
		}
	}
	return out, true
}

// typeName is nft's name for the type of what a register holds; "integer" where it has none.
func typeName(l *load) string {
	if len(l.slices) != 1 || l.opaque != nil {
		return "integer"
	}
	f := string(l.slices[0].field)
	for _, t := range [...]struct{ prefix, name string }{
		{"ct.original.", ""}, {"ct.reply.", ""}, {"ct.", ""},
	} {
		f = strings.TrimPrefix(f, t.prefix)
	}
	switch f {
	case "ip.saddr", "ip.daddr", "rt.ip.nexthop", "arp.saddr.ip", "arp.daddr.ip":
		return "ipv4_addr"
	case "ip6.saddr", "ip6.daddr", "rt.ip6.nexthop":
		return "ipv6_addr"
	case "th.sport", "th.dport", "proto-src", "proto-dst":
		return "inet_service"
	case "meta.l4proto", "protocol", "ip6.nexthdr":
		return "inet_proto"
	case "meta.iifname", "meta.oifname", "meta.ibrname", "meta.obrname", "meta.sdifname", "meta.iifkind", "meta.oifkind":
		return "ifname"
	case "meta.iif", "meta.oif", "meta.sdif":
		return "iface_index"
	case "meta.iiftype", "meta.oiftype":
		return "iface_type"
	case "meta.mark", "mark", "socket.mark":
		return "mark"
	case "meta.iifgroup", "meta.oifgroup":
		return "devgroup"
	case "meta.pkttype":
		return "pkt_type"
	case "meta.nfproto", "l3proto":
		return "nf_proto"
	case "meta.protocol", "ether.type", "vlan.type":
		return "ether_type"
	case "ether.saddr", "ether.daddr":
		return "ether_addr"
	case "meta.skuid":
		return "uid"
	case "meta.skgid":
		return "gid"
	case "meta.priority":
		return "classid"
	case "meta.rtclassid", "rt.classid":
		return "realm"
	case "state":
		return "ct_state"
	case "direction":
		return "ct_dir"
	case "status":
		return "ct_status"
	case "label":
		return "ct_label"
	case "tcp.flags":
		return "tcp_flag"
	case "icmp.type":
		return "icmp_type"
	case "icmpv6.type":
		return "icmpv6_type"
	case "icmp.code":
		return "icmp_code"
	case "icmpv6.code":
		return "icmpv6_code"
	case "igmp.type":
		return "igmp_type"
	case "arp.operation":
		return "arp_op"
	case "ip.dscp", "ip6.dscp":
		return "dscp"
	case "ip.ecn", "ip6.ecn":
		return "ecn"
	case "meta.hour":
		return "hour"
	case "meta.day":
		return "day"
	case "meta.time", "expiration":
		return "time"
	}
	if strings.HasPrefix(f, "fib.") && strings.HasSuffix(f, ".type") {
		return "fib_addrtype"
	}
	return "integer"
}
