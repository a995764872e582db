package netfilter

import (
	"fmt"
	"strconv"
	"strings"
)

// interval writes an interval of a field's values in nft's words.
func (w *textWriter) interval(f Field, in Interval) {
	switch {
	case f.kind() == kindName:
		w.add(`"`, strings.ReplaceAll(string(appendInterval(nil, kindName, in)), `"`, `\"`), `"`)
	case in.From == in.To:
		w.value(f, in.From)
	case f.kind() == kindIP4 || f.kind() == kindIP6:
		w.b = appendInterval(w.b, f.kind(), in)
	default:
		w.value(f, in.From)
		w.add("-")
		w.value(f, in.To)
	}
}

// value writes one value: by name where nft has names.
func (w *textWriter) value(f Field, v Value) {
	if v.Hi == 0 {
		if name := valueName(f, v.Lo); name != "" {
			w.add(name)
			return
		}
	}
	switch {
	case f.kind() == kindHex && v.Hi == 0:
		w.b = fmt.Appendf(w.b, "0x%08x", v.Lo)
	case f.kind() == kindName:
		w.interval(f, Exactly(v))
	case strings.HasSuffix(string(f), ".ether") || f == "ether.saddr" || f == "ether.daddr":
		b := v.bytes()
		w.b = fmt.Appendf(w.b, "%02x:%02x:%02x:%02x:%02x:%02x", b[10], b[11], b[12], b[13], b[14], b[15])
	case f == "arp.saddr.ip" || f == "arp.daddr.ip":
		w.b = appendValue(w.b, kindIP4, v)
	case strings.HasPrefix(string(f), "@"):
		w.b = appendHexAll(w.b, v)
	default:
		w.b = appendValue(w.b, f.kind(), v)
	}
}

func appendHexAll(b []byte, v Value) []byte {
	if v.Hi == 0 {
		return strconv.AppendUint(append(b, "0x"...), v.Lo, 16)
	}
	return fmt.Appendf(b, "0x%x%016x", v.Hi, v.Lo)
}

// bitmask reports whether nft treats a field's values as sets of bits.
func bitmask(f Field) bool { return len(bitNames(f)) > 0 }

type named struct {
	v    uint64
	name string
}

// bitNames are the bits of a field by name (linux/netfilter/nf_conntrack_common.h, linux/tcp.h).
func bitNames(f Field) []named {
	switch f {
	case CTState:
		return []named{{1, "invalid"}, {2, "established"}, {4, "related"}, {8, "new"}, {64, "untracked"}}
	case "ct.status":
		return []named{{1, "expected"}, {2, "seen-reply"}, {4, "assured"}, {8, "confirmed"}, {16, "snat"}, {32, "dnat"}, {512, "dying"}}
	case TCPFlags:
		return []named{{1, "fin"}, {2, "syn"}, {4, "rst"}, {8, "psh"}, {16, "ack"}, {32, "urg"}, {64, "ecn"}, {128, "cwr"}}
	}
	return nil
}

// valueName names a value of a field, or returns "".
func valueName(f Field, v uint64) string {
	if bits := bitNames(f); bits != nil {
		return bitsName(bits, v)
	}
	var names []named
	switch f {
	case L4Proto, "ip.protocol", "ip6.nexthdr", "ct.protocol", "ct.original.protocol", "ct.reply.protocol":
		return protocolName(v)
	case NFProto, "ct.l3proto", "ct.original.l3proto", "ct.reply.l3proto":
		names = []named{{2, "ipv4"}, {10, "ipv6"}}
	case EthProto, "ether.type", "vlan.type":
		names = []named{{0x0800, "ip"}, {0x86dd, "ip6"}, {0x0806, "arp"}, {0x8100, "8021q"}, {0x88a8, "8021ad"}}
	case PktType:
		names = []named{{0, "host"}, {1, "broadcast"}, {2, "multicast"}, {3, "other"}}
	case "ct.direction":
		names = []named{{0, "original"}, {1, "reply"}}
	case "arp.operation":
		names = []named{{1, "request"}, {2, "reply"}}
	case "icmp.type":
		names = []named{
			{0, "echo-reply"},
			{3, "destination-unreachable"},
			{4, "source-quench"},
			{5, "redirect"},
			{8, "echo-request"},
			{9, "router-advertisement"},
			{10, "router-solicitation"},
			{11, "time-exceeded"},
			{12, "parameter-problem"},
			{13, "timestamp-request"},
			{14, "timestamp-reply"},
			{15, "info-request"},
			{16, "info-reply"},
			{17, "address-mask-request"},
			{18, "address-mask-reply"},
		}
	case "icmpv6.type":
		names = []named{
			{1, "destination-unreachable"},
			{2, "packet-too-big"},
			{3, "time-exceeded"},
			{4, "parameter-problem"},
			{128, "echo-request"},
			{129, "echo-reply"},
			{130, "mld-listener-query"},
			{131, "mld-listener-report"},
			{132, "mld-listener-done"},
			{133, "nd-router-solicit"},
			{134, "nd-router-advert"},
			{135, "nd-neighbor-solicit"},
			{136, "nd-neighbor-advert"},
			{137, "nd-redirect"},
			{143, "mld2-listener-report"},
		}
	case DSCP, "ip6.dscp":
		return dscpName(v)
	case IIFType, OIFType:
		names = []named{{1, "ether"}, {512, "ppp"}, {768, "ipip"}, {769, "ipip6"}, {772, "loopback"}, {776, "sit"}, {778, "ipgre"}}
	}
	if names == nil && strings.HasPrefix(string(f), "fib.") && strings.HasSuffix(string(f), ".type") {
		names = []named{{0, "unspec"}, {1, "unicast"}, {2, "local"}, {3, "broadcast"}, {4, "anycast"}, {5, "multicast"}, {6, "blackhole"}, {7, "unreachable"}, {8, "prohibit"}}
	}
	if names == nil && (strings.HasSuffix(string(f), ".present") || strings.HasSuffix(string(f), " exists")) {
		names = []named{{0, "missing"}, {1, "exists"}}
	}
	for _, n := range names {
		if n.v == v {
			return n.name
		}
	}
	return ""
}

func bitsName(bits []named, v uint64) string {
	out := ""
	for _, b := range bits {
		if v&b.v == 0 {
			continue
		}
		if v &^= b.v; out != "" {
			out += ","
		}
		out += b.name
	}
	if v != 0 || out == "" {
		return ""
	}
	return out
}

// protocolName names an IP protocol as /etc/protocols does.
func protocolName(n uint64) string {
	switch n {
	case 1:
		return "icmp"
	case 2:
		return "igmp"
	case 4:
		return "ipencap"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 33:
		return "dccp"
	case 41:
		return "ipv6"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	case 58:
		return "ipv6-icmp"
	case 89:
		return "ospf"
	case 103:
		return "pim"
	case 108:
		return "comp"
	case 112:
		return "vrrp"
	case 115:
		return "l2tp"
	case 132:
		return "sctp"
	case 136:
		return "udplite"
	}
	return ""
}

// dscpName names a differentiated services code point (RFC 2474, 2597, 3246, 5865).
func dscpName(v uint64) string {
	switch {
	case v < 64 && v%8 == 0:
		return "cs" + strconv.Itoa(int(v/8))
	case v >= 10 && v <= 38 && v%2 == 0:
		return fmt.Sprintf("af%d%d", v/8, v%8/2)
	case v == 46:
		return "ef"
	case v == 44:
		return "va"
	}
	return ""
}
