package nftables

import (
	"fmt"
	"net"
	"net/netip"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// xtStates are XT_CONNTRACK_STATE_* and the bits of enum ip_conntrack_info (xt_conntrack.h), in iptables' printing order.
func xtStates() []bitName {
	return []bitName{{1, "INVALID"}, {8, "NEW"}, {4, "RELATED"}, {2, "ESTABLISHED"}, {256, "UNTRACKED"}, {64, "SNAT"}, {128, "DNAT"}}
}

// Flags of xt_conntrack_mtinfo's match_flags and invert_flags.
const (
	ctmState = 1 << iota
	ctmProto
	ctmOrigSrc
	ctmOrigDst
	ctmReplSrc
	ctmReplDst
	ctmStatus
	ctmExpires
	ctmOrigSrcPort
	ctmOrigDstPort
	ctmReplSrcPort
	ctmReplDstPort
	ctmDirection
	ctmStateAlias
)

// matchConntrack reads xt_conntrack_mtinfo1, 2 and 3 (xt_conntrack.h): eight addresses of 16 bytes, expires_min and _max at
// 128, l4proto at 136, four ports at 138 (network order before revision 3), match_flags 146, invert_flags 148, state_mask
// 150 (one byte in revision 1), status_mask 152 (151), and in revision 3 the upper ends of the ports at 154.
func matchConntrack(i *info, rev uint32, fam nf.Family) (string, bool) {
	if rev < 1 || rev > 3 {
		return "", false
	}
	flags, inv := i.u16(146), i.u16(148)
	state, status := uint32(i.u16(150)), uint32(i.u16(152))
	if rev == 1 {
		state, status = uint32(i.u8(150)), uint32(i.u8(151))
	}
	var w words
	if flags&ctmState != 0 {
		names, rest := bitList(state, xtStates())
		if rest != 0 || names == "" {
			return "", false
		}
		w.add("%s--ctstate %s", not(inv&ctmState != 0), names)
	}
	if flags&ctmProto != 0 {
		w.add("%s--ctproto %d", not(inv&ctmProto != 0), i.u16(136))
	}
	for n, name := range []string{"origsrc", "origdst", "replsrc", "repldst"} {
		if flag := uint16(ctmOrigSrc << n); flags&flag != 0 {
			w.add("%s--ct%s %s", not(inv&flag != 0), name, xtAddress(i, n*32, n*32+16, fam))
		}
	}
	for n, name := range []string{"origsrc", "origdst", "replsrc", "repldst"} {
		if flag := uint16(ctmOrigSrcPort << n); flags&flag != 0 {
			w.add("%s--ct%sport %s", not(inv&flag != 0), name, ctPorts(i, n, rev))
		}
	}
	if flags&ctmStatus != 0 {
		names, rest := bitList(status, []bitName{{1, "EXPECTED"}, {2, "SEEN_REPLY"}, {4, "ASSURED"}, {8, "CONFIRMED"}})
		if status == 0 {
			names = "NONE"
		}
		if rest != 0 {
			return "", false
		}
		w.add("%s--ctstatus %s", not(inv&ctmStatus != 0), names)
	}
	if flags&ctmExpires != 0 {
		w.add("%s--ctexpire %s", not(inv&ctmExpires != 0), span(i.u32(128), i.u32(132)))
	}
	if flags&ctmDirection != 0 {
		w.add("--ctdir %s", map[bool]string{true: "REPLY", false: "ORIGINAL"}[inv&ctmDirection != 0])
	}
	return w.String(), flags>>14 == 0 && len(w) > 0
}

func ctPorts(i *info, n int, rev uint32) string {
	if rev < 3 {
		return fmt.Sprint(i.be16(138 + 2*n))
	}
	return span(i.u16(138+2*n), i.u16(154+2*n))
}

func span[T uint16 | uint32 | uint8](a, b T) string {
	if a == b {
		return fmt.Sprint(a)
	}
	return fmt.Sprintf("%d:%d", a, b)
}

// xtAddress writes an address and its mask.
func xtAddress(i *info, addr, mask int, fam nf.Family) string {
	n := 16
	if fam == nf.IP {
		n = 4
	}
	a, _ := netip.AddrFromSlice(i.bytes(addr, n))
	m := i.bytes(mask, n)
	ones, bits := net.IPMask(m).Size()
	switch {
	case bits == 0:
		b, _ := netip.AddrFromSlice(m)
		return a.String() + "/" + b.String()
	case ones == bits:
		return a.String()
	}
	return fmt.Sprintf("%s/%d", a, ones)
}

// matchState: xt_state_info, an unsigned int of states (xt_state.h).
func matchState(i *info, rev uint32, _ nf.Family) (string, bool) {
	names, rest := bitList(i.u32(0), xtStates())
	return "--state " + names, rev == 0 && rest == 0 && names != ""
}

// matchTCP: xt_tcp (xt_tcpudp.h): spts[2], dpts[2], option, flg_mask, flg_cmp, invflags (1 sport, 2 dport, 4 flags, 8 option).
func matchTCP(i *info, rev uint32, _ nf.Family) (string, bool) {
	var w words
	inv := i.u8(11)
	xtPorts(&w, i, inv)
	if mask := i.u8(9); mask != 0 {
		w.add("%s--tcp-flags %s %s", not(inv&4 != 0), tcpFlags(mask), tcpFlags(i.u8(10)))
	}
	if o := i.u8(8); o != 0 {
		w.add("%s--tcp-option %d", not(inv&8 != 0), o)
	}
	return w.String(), rev == 0
}

// matchUDP: xt_udp (xt_tcpudp.h): spts[2], dpts[2], invflags.
func matchUDP(i *info, rev uint32, _ nf.Family) (string, bool) {
	var w words
	xtPorts(&w, i, i.u8(8))
	return w.String(), rev == 0
}

func xtPorts(w *words, i *info, inv uint8) {
	for n, name := range []string{"--sport", "--dport"} {
		from, to := i.u16(4*n), i.u16(4*n+2)
		if invert := inv>>n&1 == 1; invert || from != 0 || to != 0xffff {
			w.add("%s%s %s", not(invert), name, span(from, to))
		}
	}
}

func tcpFlags(m uint8) string {
	names, rest := bitList(uint32(m), []bitName{{1, "FIN"}, {2, "SYN"}, {4, "RST"}, {8, "PSH"}, {16, "ACK"}, {32, "URG"}})
	switch {
	case m == 0:
		return "NONE"
	case rest != 0:
		return fmt.Sprintf("0x%02X", m)
	case m == 0x3f:
		return "FIN,SYN,RST,PSH,ACK,URG"
	}
	return names
}

// matchMultiport: xt_multiport_v1 (xt_multiport.h): flags (0 source, 1 destination, 2 either), count, ports[15] at 2,
// pflags[15] at 32 (1: the port begins a range), invert at 47.
func matchMultiport(i *info, rev uint32, _ nf.Family) (string, bool) {
	kind, count := int(i.u8(0)), int(i.u8(1))
	if rev > 1 || kind > 2 || count > 15 || count == 0 {
		return "", false
	}
	list := ""
	for n := range count {
		switch {
		case n == 0:
		case rev == 1 && i.u8(32+n-1) != 0:
			list += ":"
		default:
			list += ","
		}
		list += fmt.Sprint(i.u16(2 + 2*n))
	}
	invert := rev == 1 && i.u8(47) != 0
	return not(invert) + [...]string{"--sports ", "--dports ", "--ports "}[kind] + list, true
}

// matchMark: xt_mark_mtinfo1 and xt_connmark_mtinfo1: mark, mask, invert at 8 (xt_mark.h, xt_connmark.h).
func matchMark(i *info, rev uint32, _ nf.Family) (string, bool) {
	return not(i.u8(8) != 0) + "--mark " + markText(i.u32(0), i.u32(4)), rev == 1
}

func markText(mark, mask uint32) string {
	if mask == 0xffffffff {
		return fmt.Sprintf("0x%x", mark)
	}
	return fmt.Sprintf("0x%x/0x%x", mark, mask)
}

// matchAddrtype: xt_addrtype_info_v1 (xt_addrtype.h): source, dest (bits by RTN_*), flags at 4 (1 and 2 invert, 4 and 8 limit
// to the interface); revision 0 has invert_source and invert_dest at 4 and 8.
func matchAddrtype(i *info, rev uint32, _ nf.Family) (string, bool) {
	types := []bitName{}
	for n, t := range []string{"UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE"} {
		types = append(types, bitName{1 << n, t})
	}
	flags := i.u32(4)
	inv := [2]bool{flags&1 != 0, flags&2 != 0}
	if rev == 0 {
		inv, flags = [2]bool{i.u32(4) != 0, i.u32(8) != 0}, 0
	}
	var w words
	for n, name := range []string{"--src-type", "--dst-type"} {
		if bits := uint32(i.u16(2 * n)); bits != 0 {
			list, rest := bitList(bits, types)
			if rest != 0 {
				return "", false
			}
			w.add("%s%s %s", not(inv[n]), name, list)
		}
	}
	if flags&4 != 0 {
		w.add("--limit-iface-in")
	}
	if flags&8 != 0 {
		w.add("--limit-iface-out")
	}
	return w.String(), rev <= 1 && len(w) > 0
}

// matchIPRange: xt_iprange_mtinfo (xt_iprange.h): src_min, src_max, dst_min, dst_max of 16 bytes, flags at 64 (1 source,
// 2 destination, 16 and 32 invert).
func matchIPRange(i *info, rev uint32, fam nf.Family) (string, bool) {
	n := 16
	if fam == nf.IP {
		n = 4
	}
	var w words
	flags := i.u8(64)
	for k, name := range []string{"--src-range", "--dst-range"} {
		if flags>>k&1 == 1 {
			a, _ := netip.AddrFromSlice(i.bytes(32*k, n))
			b, _ := netip.AddrFromSlice(i.bytes(32*k+16, n))
			w.add("%s%s %s-%s", not(flags>>(k+4)&1 == 1), name, a, b)
		}
	}
	return w.String(), rev == 1 && len(w) > 0
}

// matchComment: char comment[256] (xt_comment.h).
func matchComment(i *info, rev uint32, _ nf.Family) (string, bool) {
	return "--comment " + xtQuote(valid(i.bytes(0, min(256, len(i.b))))), rev == 0
}

// matchLimit: xt_rateinfo (xt_limit.h): avg in ten-thousandths of a second between packets, burst.
func matchLimit(i *info, rev uint32, _ nf.Family) (string, bool) {
	period := i.u32(0)
	if rev != 0 || period == 0 {
		return "", false
	}
	rates := []struct {
		name string
		mult uint32
	}{{"day", 24 * 60 * 60 * 10000}, {"hour", 60 * 60 * 10000}, {"min", 60 * 10000}, {"sec", 10000}}
	n := 1
	for n < len(rates) && period <= rates[n].mult && rates[n].mult/period >= rates[n].mult%period {
		n++
	}
	return limitText(uint64(rates[n-1].mult/period), rates[n-1].name, i.u32(4)), true
}

func limitText(rate uint64, unit string, burst uint32) string {
	text := fmt.Sprintf("--limit %d/%s", rate, unit)
	if burst != 5 {
		text += fmt.Sprintf(" --limit-burst %d", burst)
	}
	return text
}
