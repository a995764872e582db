package nftables

import (
	"fmt"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// matchPkttype: xt_pkttype_info (xt_pkttype.h): int pkttype (PACKET_*), int invert.
func matchPkttype(i *info, rev uint32, _ nf.Family) (string, bool) {
	names := []string{"unicast", "broadcast", "multicast"}
	t := i.u32(0)
	if rev != 0 || int(t) >= len(names) {
		return "", false
	}
	return not(i.u32(4) != 0) + "--pkt-type " + names[t], true
}

// matchLength: xt_length_info (xt_length.h): min, max, invert.
func matchLength(i *info, rev uint32, _ nf.Family) (string, bool) {
	return not(i.u8(4) != 0) + "--length " + span(i.u16(0), i.u16(2)), rev == 0
}

// matchMAC: xt_mac_info (xt_mac.h): srcaddr[6], int invert at 8.
func matchMAC(i *info, rev uint32, _ nf.Family) (string, bool) {
	b := i.bytes(0, 6)
	return not(i.u32(8) != 0) + fmt.Sprintf("--mac-source %02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]), rev == 0
}

// matchStatistic: xt_statistic_info (xt_statistic.h): mode (0 random, 1 nth), flags (1 invert), then probability out of
// 2^31, or every (less one), packet, count.
func matchStatistic(i *info, rev uint32, _ nf.Family) (string, bool) {
	mode, flags := i.u16(0), i.u16(2)
	inv := not(flags&1 != 0)
	switch {
	case rev != 0 || flags>>1 != 0:
		return "", false
	case mode == 0:
		return fmt.Sprintf("--mode random %s--probability %.11f", inv, float64(i.u32(4))/0x80000000), true
	case mode == 1:
		return fmt.Sprintf("--mode nth %s--every %d --packet %d", inv, i.u32(4)+1, i.u32(8)), true
	}
	return "", false
}

// matchICMP: ipt_icmp (netfilter_ipv4/ip_tables.h): type, code[2], invflags (1 invert); type 255 is any. matchICMP6: ip6t_icmp.
func matchICMP(i *info, rev uint32, _ nf.Family) (string, bool) {
	return icmpText(i, "--icmp-type", rev)
}

func matchICMP6(i *info, rev uint32, _ nf.Family) (string, bool) {
	return icmpText(i, "--icmpv6-type", rev)
}

func icmpText(i *info, option string, rev uint32) (string, bool) {
	typ, from, to := i.u8(0), i.u8(1), i.u8(2)
	text := fmt.Sprint(typ)
	switch {
	case typ == 255 && option == "--icmp-type":
		text = "any"
	case from == to:
		text += fmt.Sprintf("/%d", from)
	case from != 0 || to != 255:
		return "", false
	}
	return not(i.u8(3)&1 != 0) + option + " " + text, rev == 0
}

// matchPhysdev: xt_physdev_info (xt_physdev.h): physindev[16], in_mask[16], physoutdev[16], out_mask[16], invert at 64 and
// bitmask at 65 (1 in, 2 out, 4 bridged, 8 is-in, 16 is-out).
func matchPhysdev(i *info, rev uint32, _ nf.Family) (string, bool) {
	inv, bits := i.u8(64), i.u8(65)
	var w words
	for _, o := range []struct {
		bit  uint8
		text string
	}{{8, "--physdev-is-in"}, {1, "--physdev-in " + maskedName(i, 0)}, {16, "--physdev-is-out"}, {2, "--physdev-out " + maskedName(i, 32)}, {4, "--physdev-is-bridged"}} {
		if bits&o.bit != 0 {
			w.add("%s%s", not(inv&o.bit != 0), o.text)
		}
	}
	return w.String(), rev == 0 && bits>>5 == 0 && len(w) > 0
}

// maskedName writes a name whose mask ends before it does as a pattern.
func maskedName(i *info, off int) string {
	name, mask := i.text(off, 16), i.bytes(off+16, 16)
	n := 0
	for n < 16 && mask[n] != 0 {
		n++
	}
	if n <= len(name) { // the name's end is not compared
		return name[:min(n, len(name))] + "+"
	}
	return name
}

// matchDevgroup: xt_devgroup_info (xt_devgroup.h): flags (1 source, 2 invert it, 4 destination, 8 invert it), src_group,
// src_mask, dst_group, dst_mask.
func matchDevgroup(i *info, rev uint32, _ nf.Family) (string, bool) {
	flags := i.u32(0)
	var w words
	for n, name := range []string{"--src-group", "--dst-group"} {
		if flags>>(2*n)&1 == 1 {
			w.add("%s%s %s", not(flags>>(2*n+1)&1 == 1), name, markText(i.u32(4+8*n), i.u32(8+8*n)))
		}
	}
	return w.String(), rev == 0 && len(w) > 0
}

// matchRpfilter: xt_rpfilter_info (xt_rpfilter.h): flags: 1 loose, 2 valid mark, 4 accept local, 8 invert.
func matchRpfilter(i *info, rev uint32, _ nf.Family) (string, bool) {
	flags := i.u8(0)
	var w words
	for n, name := range []string{"--loose", "--validmark", "--accept-local", "--invert"} {
		if flags>>n&1 == 1 {
			w.add("%s", name)
		}
	}
	return w.String(), rev == 0
}

// matchHelper: xt_helper_info (xt_helper.h): int invert, char name[30].
func matchHelper(i *info, rev uint32, _ nf.Family) (string, bool) {
	return not(i.u32(0) != 0) + "--helper " + xtQuote(valid(i.bytes(4, 30))), rev == 0
}

// matchTTL: ipt_ttl_info and ip6t_hl_info: mode (0 eq, 1 ne, 2 lt, 3 gt), value.
func matchTTL(i *info, rev uint32, fam nf.Family) (string, bool) {
	name := "ttl"
	if fam == nf.IP6 {
		name = "hl"
	}
	mode := i.u8(0)
	if mode > 3 {
		return "", false
	}
	word := [...]string{"eq", "eq", "lt", "gt"}[mode]
	return fmt.Sprintf("%s--%s-%s %d", not(mode == 1), name, word, i.u8(1)), rev == 0
}
