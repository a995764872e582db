package nftables

import (
	"fmt"
	"net/netip"
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

func targetNone(*info, uint32, nf.Family) (string, bool) { return "", true }

// targetReject: ipt_reject_info and ip6t_reject_info: enum with (netfilter_ipv4/ipt_REJECT.h, netfilter_ipv6/ip6t_REJECT.h).
func targetReject(i *info, rev uint32, fam nf.Family) (string, bool) {
	names := []string{
		"icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable", "",
		"icmp-net-prohibited", "icmp-host-prohibited", "tcp-reset", "icmp-admin-prohibited",
	}
	if fam == nf.IP6 {
		names = []string{
			"icmp6-no-route", "icmp6-adm-prohibited", "", "icmp6-addr-unreachable", "icmp6-port-unreachable", "", "tcp-reset",
			"icmp6-policy-fail", "icmp6-reject-route",
		}
	}
	with := i.u32(0)
	if int(with) >= len(names) || names[with] == "" || rev != 0 {
		return "", false
	}
	return "--reject-with " + names[with], true
}

// targetMark: xt_mark_tginfo2 (xt_mark.h): mark, mask: mark = (mark & ~mask) ^ value.
func targetMark(i *info, rev uint32, _ nf.Family) (string, bool) {
	return fmt.Sprintf("--set-xmark 0x%x/0x%x", i.u32(0), i.u32(4)), rev == 2
}

// targetConnmark: xt_connmark_tginfo1 and 2 (xt_connmark.h): ctmark, ctmask, nfmask, mode (0 set, 1 save, 2 restore); in
// revision 2 a shift's direction and width stand before the mode.
func targetConnmark(i *info, rev uint32, _ nf.Family) (string, bool) {
	ctmark, ctmask, nfmask, mode := i.u32(0), i.u32(4), i.u32(8), i.u8(12)
	if rev < 1 || rev > 2 || rev == 2 && i.u8(13) != 0 { // shifted marks have no option that iptables-save shows alike
		return "", false
	}
	if rev == 2 {
		mode = i.u8(14)
	}
	masks := fmt.Sprintf(" --nfmask 0x%x --ctmask 0x%x", nfmask, ctmask)
	switch mode {
	case 0:
		return fmt.Sprintf("--set-xmark 0x%x/0x%x", ctmark, ctmask), true
	case 1:
		return "--save-mark" + masks, true
	case 2:
		return "--restore-mark" + masks, true
	}
	return "", false
}

// targetCT: xt_ct_target_info and _v1 (xt_CT.h): flags (1 notrack, 2 notrack alias, 4 and 8 zone direction, 16 zone from the
// mark), zone, ct_events, exp_events, helper[16] at 12, timeout[32] at 28.
func targetCT(i *info, rev uint32, _ nf.Family) (string, bool) {
	flags := i.u16(0)
	var w words
	if flags&1 != 0 {
		w.add("--notrack")
	}
	if h := i.text(12, 16); h != "" {
		w.add("--helper %s", xtQuote(h))
	}
	if rev >= 1 {
		if t := i.text(28, 32); t != "" {
			w.add("--timeout %s", xtQuote(t))
		}
	}
	if zone := i.u16(2); zone != 0 {
		w.add("--zone%s %d", map[uint16]string{4: "-orig", 8: "-reply"}[flags&12], zone)
	}
	if flags&16 != 0 {
		w.add("--zone mark")
	}
	return w.String(), rev <= 2 && i.u32(4) == 0 && i.u32(8) == 0
}

// targetNfqueue: xt_NFQ_info, _v1 to _v3 (xt_NFQUEUE.h): queuenum, queues_total, and bypass (v2) or flags (v3: 1 bypass,
// 2 by CPU).
func targetNfqueue(i *info, rev uint32, _ nf.Family) (string, bool) {
	num, total, flags := i.u16(0), uint16(1), uint16(0)
	if rev >= 1 {
		total = i.u16(2)
	}
	if rev >= 2 {
		flags = i.u16(4)
	}
	var w words
	if total > 1 {
		w.add("--queue-balance %d:%d", num, int(num)+int(total)-1)
	} else {
		w.add("--queue-num %d", num)
	}
	if flags&1 != 0 {
		w.add("--queue-bypass")
	}
	if flags&2 != 0 {
		w.add("--queue-cpu-fanout")
	}
	return w.String(), rev <= 3 && flags>>2 == 0
}

// targetLog: xt_log_info (xt_LOG.h): level, logflags (1 TCP sequence, 2 TCP options, 4 IP options, 8 uid, 32 MAC), prefix[30].
func targetLog(i *info, rev uint32, _ nf.Family) (string, bool) {
	var w words
	if p := i.bytes(2, 30); p[0] != 0 {
		w.add("--log-prefix %s", xtQuote(valid(p)))
	}
	if l := i.u8(0); l != 4 {
		w.add("--log-level %d", l)
	}
	for _, f := range []struct {
		bit  uint8
		name string
	}{{1, "--log-tcp-sequence"}, {2, "--log-tcp-options"}, {4, "--log-ip-options"}, {8, "--log-uid"}, {32, "--log-macdecode"}} {
		if i.u8(1)&f.bit != 0 {
			w.add("%s", f.name)
		}
	}
	return w.String(), rev == 0
}

// targetNflog: xt_nflog_info (xt_NFLOG.h): len, group, threshold, flags (1: len is meant), pad, prefix[64].
func targetNflog(i *info, rev uint32, _ nf.Family) (string, bool) {
	size := i.u32(0)
	if i.u16(8)&1 == 0 {
		size = 0
	}
	return nflogText(i.u16(4), size, i.u16(6), valid(i.bytes(12, 64))), rev == 0
}

func nflogText(group uint16, size uint32, threshold uint16, prefix string) string {
	var w words
	if prefix != "" {
		w.add("--nflog-prefix %s", xtQuote(prefix))
	}
	if group != 0 {
		w.add("--nflog-group %d", group)
	}
	if size != 0 {
		w.add("--nflog-size %d", size)
	}
	if threshold > 1 {
		w.add("--nflog-threshold %d", threshold)
	}
	return w.String()
}

// targetNAT reads the range of a NAT target; option is what the target calls it. It tells the layouts apart by their size: nf_nat_ipv4_multi_range_compat (20 bytes: a count, flags, two addresses,
// two ports), nf_nat_range (40) and nf_nat_range2 (42; linux/netfilter/nf_nat.h). Ports are in network order.
func targetNAT(option string) decoder {
	return func(i *info, rev uint32, fam nf.Family) (string, bool) {
		r := natRange{flags: i.u32(0), min: 4, max: 20, ports: 36, size: 16}
		switch {
		case len(i.b) < 36 && (i.u32(0) != 1 || fam != nf.IP):
			return "", false
		case len(i.b) < 36:
			r = natRange{flags: i.u32(4), min: 8, max: 12, ports: 16, size: 4}
		case fam == nf.IP:
			r.size = 4
		}
		return natText(i, r, option), r.flags>>5 == 0 && rev <= 2
	}
}

// natRange says where a range's parts are.
type natRange struct {
	flags           uint32
	min, max, ports int
	size            int
}

func natText(i *info, r natRange, option string) string {
	a, _ := netip.AddrFromSlice(i.bytes(r.min, r.size))
	b, _ := netip.AddrFromSlice(i.bytes(r.max, r.size))
	text := ""
	if r.flags&1 != 0 {
		if text = a.String(); r.flags&2 != 0 && !a.Is4() {
			text = "[" + text + "]"
		}
		if b != a {
			text += "-" + b.String()
		}
	}
	if r.flags&2 != 0 {
		text += fmt.Sprintf(":%d", i.be16(r.ports))
		if p := i.be16(r.ports + 2); p != i.be16(r.ports) {
			text += fmt.Sprintf("-%d", p)
		}
	}
	var w words
	if text != "" {
		w.add("%s %s", option, strings.TrimPrefix(text, map[bool]string{true: ":"}[option == "--to-ports"]))
	}
	for _, f := range []struct {
		bit  uint32
		name string
	}{{4, "--random"}, {16, "--random-fully"}, {8, "--persistent"}} {
		if r.flags&f.bit != 0 {
			w.add("%s", f.name)
		}
	}
	return w.String()
}

// targetTCPMSS: xt_tcpmss_info (xt_TCPMSS.h): mss; 0xffff clamps to the path's MTU.
func targetTCPMSS(i *info, rev uint32, _ nf.Family) (string, bool) {
	if mss := i.u16(0); mss != 0xffff {
		return fmt.Sprintf("--set-mss %d", mss), rev == 0
	}
	return "--clamp-mss-to-pmtu", rev == 0
}

// targetClassify: xt_classify_target_info (xt_CLASSIFY.h): priority, major and minor.
func targetClassify(i *info, rev uint32, _ nf.Family) (string, bool) {
	p := i.u32(0)
	return fmt.Sprintf("--set-class %04x:%04x", p>>16, p&0xffff), rev == 0
}
