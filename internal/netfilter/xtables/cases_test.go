package xtables

import "github.com/ctaudit/ctaudit/internal/netfilter"

// ruleCases are rules as iptables-save prints them. The tools print and load nearly all of them here, in kernel_test.go;
// those with an empty table column are loaded into mangle.
func ruleCases() []ruleCase {
	cases := append(headerCases(), transportCases()...)
	cases = append(cases, fieldCases()...)
	cases = append(cases, stateCases()...)
	cases = append(cases, extCases()...)
	return append(cases, targetCases()...)
}

func headerCases() []ruleCase {
	const ip, ip6 = netfilter.IP, netfilter.IP6
	v6 := netfilter.Value{Hi: 0x20010db8_00000000, Lo: 1}
	all := netfilter.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	net6 := netfilter.Interval{From: netfilter.Value{Hi: 0x20010db8_00000000}, To: netfilter.Value{Hi: 0x20010db8_ffffffff, Lo: ^uint64(0)}}
	mask6 := netfilter.Value{Hi: 0xffff, Lo: ^uint64(0)}
	return []ruleCase{
		{text: "", want: netfilter.Ops{}},
		{text: "-s 10.0.0.0/8 -j DROP", only: ip, want: steps(m(netfilter.IPSaddr, 0x0a000000, 0x0affffff), drop)},
		{
			text: "! -s 10.1.2.3/32 ! -d 192.168.0.0/16 -j DROP", only: ip,
			want: steps(not(m(netfilter.IPSaddr, 0x0a010203, 0x0a010203)), not(m(netfilter.IPDaddr, 0xc0a80000, 0xc0a8ffff)), drop),
		},
		{text: "-d 10.0.0.5/255.0.0.255 -j DROP", only: ip, want: steps(masked(netfilter.IPDaddr, 0xff0000ff, 0x0a000005), drop)},
		{text: "-d 2001:db8::1/128 -j DROP", only: ip6, want: steps(in(netfilter.IP6Daddr, netfilter.Exactly(v6)), drop)},
		{text: "! -s 2001:db8::/32 -j DROP", only: ip6, want: steps(not(in(netfilter.IP6Saddr, net6)), drop)},
		{text: "-s ::1/::ffff:ffff:ffff:ffff:ffff -j DROP", only: ip6, want: steps(netfilter.Match{
			Fields: []netfilter.Operand{{Field: netfilter.IP6Saddr, Mask: &mask6}},
			In:     []netfilter.Interval{netfilter.Nums(1, 1)},
		}, drop)},
		{text: "-i eth0 -o cali+ -j DROP", table: "filter", want: steps(names(netfilter.IIFName, "eth0"), names(netfilter.OIFName, "cali+"), drop)},
		{text: "! -i lo ! -o br-+ -j DROP", table: "filter", want: steps(not(names(netfilter.IIFName, "lo")), not(names(netfilter.OIFName, "br-+")), drop)},
		{text: "-i eth* -j DROP", want: steps(in(netfilter.IIFName, netfilter.Exactly(netfilter.Name("eth*"))), drop)},
		{text: "-i abcdefghijklmno -j DROP", want: steps(names(netfilter.IIFName, "abcdefghijklmno"), drop)},
		{text: "-p tcp -j DROP", want: steps(tcp, drop)},
		{text: "! -p udp -j DROP", want: steps(not(udp), drop)},
		{text: "-p 253 -j DROP", want: steps(m(netfilter.L4Proto, 253, 253), drop)},
		{text: "-p gre -j DROP", want: steps(m(netfilter.L4Proto, 47, 47), drop)},
		{text: "-p all -j DROP", load: "-j DROP", want: steps(drop)},
		{text: "-f -j DROP", only: ip, want: steps(not(masked(netfilter.FragOff, 0x1fff, 0)), drop)},
		{text: "! -f -j DROP", only: ip, want: steps(masked(netfilter.FragOff, 0x1fff, 0), drop)},
		{text: "-c 12 3400 -j DROP", load: "-j DROP", want: steps(drop)},
		{text: "! -i + -j DROP", load: "-", want: steps(not(in(netfilter.IIFName, netfilter.Interval{To: all})), drop)},
	}
}

func transportCases() []ruleCase {
	sctp := m(netfilter.L4Proto, 132, 132)
	return []ruleCase{
		{text: "-p tcp -m tcp --sport 1:1023 --dport 80 -j DROP", want: steps(tcp, m(netfilter.Sport, 1, 1023), m(netfilter.Dport, 80, 80), drop)},
		{text: "-p tcp -m tcp ! --dport 1024:65535 -j DROP", want: steps(tcp, not(m(netfilter.Dport, 1024, 65535)), drop)},
		{text: "-p tcp -m tcp --dport :1023 -j DROP", load: "-", want: steps(tcp, m(netfilter.Dport, 0, 1023), drop)},
		{text: "-p tcp -m tcp --dport 1024: -j DROP", load: "-", want: steps(tcp, m(netfilter.Dport, 1024, 65535), drop)},
		{text: "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", want: steps(tcp, masked(netfilter.TCPFlags, 23, 2), drop)},
		{text: "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j DROP", want: steps(tcp, not(masked(netfilter.TCPFlags, 63, 0)), drop)},
		{text: "-p tcp -m tcp --tcp-flags ALL NONE -j DROP", load: "-", want: steps(tcp, masked(netfilter.TCPFlags, 63, 0), drop)},
		{text: "-p tcp -m tcp ! --syn -j DROP", load: "-", want: steps(tcp, not(masked(netfilter.TCPFlags, 23, 2)), drop)},
		{text: "-p tcp -m tcp --tcp-flags NON SYN -j DROP", load: "-", want: steps(tcp, ext("tcp", "--tcp-flags NON SYN"), drop)},
		{text: "-p tcp -m tcp --dport 80 --tcp-option 8 -j DROP", want: steps(tcp, m(netfilter.Dport, 80, 80), ext("tcp", "--tcp-option 8"), drop)},
		{text: "-p tcp -m tcp ! --tcp-option 8 -j DROP", want: steps(tcp, noExt("tcp", "--tcp-option 8"), drop)},
		{text: "-p tcp -m tcp -j DROP", load: "-", want: steps(tcp, drop)},
		{text: "-m tcp --dport 80 -j DROP", load: "-", want: steps(ext("tcp", "--dport 80"), drop)},
		{text: "! -p tcp -m tcp --dport 80 -j DROP", load: "-", want: steps(not(tcp), ext("tcp", "--dport 80"), drop)},
		{text: "-p tcp -m tcp --dport 80 --new-thing -j DROP", load: "-", want: steps(tcp, ext("tcp", "--dport 80 --new-thing"), drop)},
		{text: "-p tcp -m tcp --dport 90:80 -j DROP", load: "-", want: steps(tcp, ext("tcp", "--dport 90:80"), drop)},
		{text: "-p tcp -m tcp [unsupported revision] -j DROP", load: "-", want: steps(tcp, ext("tcp", "[unsupported revision]"), drop)},
		{text: "-p udp -m udp --sport 53 ! --dport 53 -j DROP", want: steps(udp, m(netfilter.Sport, 53, 53), not(m(netfilter.Dport, 53, 53)), drop)},
		{text: "-p sctp -m sctp --dport 80 -j DROP", want: steps(sctp, m(netfilter.Dport, 80, 80), drop)},
		{text: "-p sctp -m sctp --chunk-types any DATA,INIT -j DROP", want: steps(sctp, ext("sctp", "--chunk-types any DATA,INIT"), drop)},
		{
			text: "-p dccp -m dccp --sport 1:2 --dccp-types REQUEST,DATA -j DROP",
			want: steps(m(netfilter.L4Proto, 33, 33), m(netfilter.Sport, 1, 2), ext("dccp", "--dccp-types REQUEST,DATA"), drop),
		},
		{text: "-p tcp -m multiport --dports 22,80:90 -j DROP", want: steps(tcp, in(netfilter.Dport, netfilter.Nums(22, 22), netfilter.Nums(80, 90)), drop)},
		{text: "-p udp -m multiport ! --sports 53 -j DROP", want: steps(udp, not(m(netfilter.Sport, 53, 53)), drop)},
		{text: "-p tcp -m multiport --ports 1,2 -j DROP", want: steps(tcp, ext("multiport", "--ports 1,2"), drop)},
		{text: "-p tcp -m multiport ! --ports 1:2 -j DROP", want: steps(tcp, not(m(netfilter.Sport, 1, 2)), not(m(netfilter.Dport, 1, 2)), drop)},
		{text: "-m multiport --dports 1 -j DROP", load: "-", want: steps(ext("multiport", "--dports 1"), drop)},
	}
}

func fieldCases() []ruleCase {
	const ip, ip6 = netfilter.IP, netfilter.IP6
	local, localSrc := m(netfilter.FIBDaddrType, 2, 2), m(netfilter.FIBSaddrType, 2, 2)
	multicast6 := netfilter.Interval{From: netfilter.Value{Hi: 0xff << 56}, To: netfilter.Value{Hi: ^uint64(0), Lo: ^uint64(0)}}
	return []ruleCase{
		{
			text: "-m iprange --src-range 10.0.0.1-10.0.0.9 ! --dst-range 10.1.0.0-10.1.0.7 -j DROP", only: ip,
			want: steps(m(netfilter.IPSaddr, 0x0a000001, 0x0a000009), not(m(netfilter.IPDaddr, 0x0a010000, 0x0a010007)), drop),
		},
		{text: "-m iprange --dst-range ::1-::9 -j DROP", only: ip6, want: steps(m(netfilter.IP6Daddr, 1, 9), drop)},
		{text: "-m mark --mark 0x4000/0x4000 -j DROP", want: steps(masked(netfilter.Mark, 0x4000, 0x4000), drop)},
		{text: "-m mark ! --mark 0x1 -j DROP", want: steps(not(m(netfilter.Mark, 1, 1)), drop)},
		{text: "-m pkttype --pkt-type unicast -j DROP", want: steps(m(netfilter.PktType, 0, 0), drop)},
		{text: "-m pkttype ! --pkt-type multicast -j DROP", want: steps(not(m(netfilter.PktType, 2, 2)), drop)},
		{text: "-m length --length 40:60 -j DROP", want: steps(m(netfilter.Length, 40, 60), drop)},
		{text: "-m length ! --length 40 -j DROP", want: steps(not(m(netfilter.Length, 40, 40)), drop)},
		{text: "-m ttl --ttl-eq 64 -j DROP", only: ip, want: steps(m(netfilter.TTL, 64, 64), drop)},
		{text: "-m ttl ! --ttl-eq 64 -j DROP", only: ip, want: steps(not(m(netfilter.TTL, 64, 64)), drop)},
		{text: "-m ttl --ttl-lt 5 -j DROP", only: ip, want: steps(not(m(netfilter.TTL, 5, 255)), drop)},
		{text: "-m hl --hl-gt 5 -j DROP", only: ip6, want: steps(not(m(netfilter.TTL, 0, 5)), drop)},
		{text: "-m dscp --dscp 0x2e -j DROP", want: steps(m(netfilter.DSCP, 0x2e, 0x2e), drop)},
		{text: "-m dscp ! --dscp 0x0a -j DROP", want: steps(not(m(netfilter.DSCP, 10, 10)), drop)},
		{text: "-m tos --tos 0x10/0x3f -j DROP", want: steps(masked(netfilter.TOS, 0x3f, 0x10), drop)},
		{text: "-m tos ! --tos 0x08/0xff -j DROP", want: steps(not(m(netfilter.TOS, 8, 8)), drop)},
		{
			text: "-p tcp -m ecn --ecn-tcp-cwr ! --ecn-tcp-ece -j DROP", load: "-",
			want: steps(tcp, masked(netfilter.TCPFlags, 128, 128), not(masked(netfilter.TCPFlags, 64, 64)), drop),
		},
		{text: "-m ecn --ecn-ip-ect 1 -j DROP", want: steps(masked(netfilter.TOS, 3, 1), drop)},
		{text: "-m devgroup --src-group 0x1 -j DROP", want: steps(m(netfilter.IIFGroup, 1, 1), drop)},
		{text: "-m devgroup ! --src-group 0x1/0xf -j DROP", want: steps(not(masked(netfilter.IIFGroup, 15, 1)), drop)},
		{text: "-m addrtype --dst-type LOCAL -j DROP", want: steps(local, drop)},
		{text: "-m addrtype ! --src-type LOCAL --dst-type LOCAL -j DROP", want: steps(not(localSrc), local, drop)},
		{
			text: "-m addrtype --dst-type UNICAST,BROADCAST -j DROP", only: ip,
			want: steps(in(netfilter.FIBDaddrType, netfilter.Nums(1, 1), netfilter.Nums(3, 3)), drop),
		},
		{text: "-m addrtype --dst-type MULTICAST -j DROP", only: ip6, want: steps(in(netfilter.IP6Daddr, multicast6), drop)},
		{text: "-m addrtype --src-type UNICAST -j DROP", only: ip6, want: steps(in(netfilter.IP6Saddr, unicast6()...), drop)},
		{text: "-m addrtype ! --src-type UNICAST,LOCAL -j DROP", only: ip6, want: steps(noExt("addrtype", "--src-type UNICAST,LOCAL"), drop)},
		{text: "-m addrtype --dst-type LOCAL --limit-iface-in -j DROP", table: "filter", want: steps(ext("addrtype", "--dst-type LOCAL --limit-iface-in"), drop)},
	}
}

func stateCases() []ruleCase {
	state := func(states uint32, invert bool, others ...string) netfilter.XtState {
		return netfilter.XtState{HasState: true, States: states, Invert: invert, Others: others}
	}
	return []ruleCase{
		{text: "-m conntrack --ctstate INVALID -j DROP", want: steps(state(1, false), drop)},
		{text: "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", want: steps(state(6, false), accept)},
		{text: "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP", want: steps(state(6|netfilter.StateDNAT, true), drop)},
		{text: "-m conntrack --ctstate INVALID,NEW,UNTRACKED,SNAT -j DROP", want: steps(state(1|8|64|netfilter.StateSNAT, false), drop)},
		{text: "-m conntrack --ctstate INVALID --ctdir ORIGINAL -j DROP", want: steps(state(1, false, "ctdir"), drop)},
		{
			text: "-m conntrack ! --ctstatus ASSURED --ctproto 6 --ctorigdst 10.0.0.1 -j DROP", only: netfilter.IP, load: "-",
			want: steps(netfilter.XtState{Others: []string{"ctstatus", "ctproto", "ctorigdst"}}, drop),
		},
		{text: "-m state --state INVALID -j DROP", want: steps(state(1, false), drop)},
		{text: "-m state ! --state NEW -j DROP", want: steps(state(8, true), drop)},
		{text: "-m conntrack --ctstate FUTURE -j DROP", load: "-", want: steps(ext("conntrack", "--ctstate FUTURE"), drop)},
		{text: "-m conntrack -j DROP", load: "-", want: steps(ext("conntrack", ""), drop)},
		{text: "-m comment --comment \"drop INVALID -j ACCEPT\" -m conntrack --ctstate INVALID -j DROP", want: steps(state(1, false), drop)},
		{text: "-m comment --comment -j -j DROP", load: "-", want: steps(drop)},
		{text: `-m comment --comment "a \"quoted\" \\ word" -j DROP`, want: steps(drop)},
	}
}

func extCases() []ruleCase {
	const ip, ip6 = netfilter.IP, netfilter.IP6
	icmp, icmp6 := m(netfilter.L4Proto, 1, 1), m(netfilter.L4Proto, 58, 58)
	return []ruleCase{
		{text: "-m limit --limit 5/min --limit-burst 10 -j DROP", want: steps(ext("limit", "--limit 5/min --limit-burst 10"), drop)},
		{text: "-m statistic --mode random --probability 0.50000000000 -j DROP", want: steps(ext("statistic", "--mode random --probability 0.50000000000"), drop)},
		{text: "-m statistic --mode random ! --probability 0.50000000000 -j DROP", want: steps(noExt("statistic", "--mode random --probability 0.50000000000"), drop)},
		{
			text: "-m recent --rcheck --seconds 10 --reap --name x --mask 255.255.255.255 --rsource -j DROP", only: ip,
			want: steps(ext("recent", "--rcheck --seconds 10 --reap --name x --mask 255.255.255.255 --rsource"), drop),
		},
		{text: "-m recent ! --update --name -j --rsource -j DROP", load: "-", want: steps(noExt("recent", "--update --name -j --rsource"), drop)},
		{text: `-m string --string "-j ACCEPT" --algo bm -j DROP`, want: steps(ext("string", `--string "-j ACCEPT" --algo bm`), drop)},
		{text: `-m string --algo bm ! --string "x y" -j DROP`, load: "-", want: steps(noExt("string", `--algo bm --string "x y"`), drop)},
		{text: `-m u32 --u32 "0x0>>0x16&0x3c=0x1" -j DROP`, want: steps(ext("u32", `--u32 "0x0>>0x16&0x3c=0x1"`), drop)},
		{text: `-m bpf --bytecode "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0" -j DROP`, want: steps(ext("bpf", `--bytecode "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0"`), drop)},
		{text: "-m set ! --match-set blocked src,dst -j DROP", load: "-", want: steps(noExt("set", "--match-set blocked src,dst"), drop)},
		{
			text: "-m set --match-set -j src -m set ! --match-set b dst ! --update-counters -j DROP", load: "-",
			want: steps(ext("set", "--match-set -j src"), ext("set", "! --match-set b dst ! --update-counters"), drop),
		},
		{text: "-m socket --transparent --nowildcard -j DROP", want: steps(ext("socket", "--transparent --nowildcard"), drop)},
		{text: "-m socket --nowildcard --restore-skmark -j DROP", want: steps(ext("socket", "--nowildcard --restore-skmark"), computed(netfilter.Mark, 0xffffffff), drop)},
		{
			text: "-m rpfilter --loose --validmark --invert -j DROP", load: "-m rpfilter --loose --validmark --invert -j DROP",
			want: steps(noExt("rpfilter", "--loose --validmark"), drop),
		},
		{
			text: "-m physdev ! --physdev-in eth0 --physdev-is-bridged -j DROP", load: "-",
			want: steps(noExt("physdev", "--physdev-in eth0"), ext("physdev", "--physdev-is-bridged"), drop),
		},
		{text: "-m owner ! --uid-owner 0 --gid-owner 5 -j DROP", load: "-", want: steps(noExt("owner", "--uid-owner 0"), ext("owner", "--gid-owner 5"), drop)},
		{text: "-m owner --gid-owner 5 --suppl-groups -j DROP", load: "-", want: steps(ext("owner", "--gid-owner 5 --suppl-groups"), drop)},
		{text: "-m mac ! --mac-source 00:11:22:33:44:55 -j DROP", want: steps(ext("mac", "! --mac-source 00:11:22:33:44:55"), drop)},
		{text: "-m connmark ! --mark 0x1/0xff -j DROP", want: steps(noExt("connmark", "--mark 0x1/0xff"), drop)},
		{text: "-m helper --helper ftp -j DROP", want: steps(ext("helper", "--helper ftp"), drop)},
		{text: "-m helper ! --helper \"ftp\" -j DROP", load: "-", want: steps(noExt("helper", "--helper \"ftp\""), drop)},
		{text: "-p icmp -m icmp --icmp-type 8 -j ACCEPT", only: ip, want: steps(icmp, ext("icmp", "--icmp-type 8"), accept)},
		{text: "-p icmp -m icmp ! --icmp-type 3/4 -j ACCEPT", only: ip, want: steps(icmp, noExt("icmp", "--icmp-type 3/4"), accept)},
		{text: "-p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT", only: ip6, want: steps(icmp6, ext("icmp6", "--icmpv6-type 135"), accept)},
		{text: "-m policy --dir in --pol ipsec --reqid 1 --proto esp -j ACCEPT", want: steps(ext("policy", "--dir in --pol ipsec --reqid 1 --proto esp"), accept)},
		{text: "-m cpu --cpu 0 -j DROP", want: steps(ext("cpu", "--cpu 0"), drop)},
		{
			text: "-m time --timestart 01:00:00 --timestop 02:00:00 ! --weekdays Sat,Sun -j DROP", load: "-",
			want: steps(ext("time", "--timestart 01:00:00 --timestop 02:00:00 ! --weekdays Sat,Sun"), drop),
		},
		{
			text: "-m connlimit --connlimit-upto 3 --connlimit-mask 32 --connlimit-saddr -j DROP", only: ip,
			want: steps(ext("connlimit", "--connlimit-upto 3 --connlimit-mask 32 --connlimit-saddr"), drop),
		},
		{text: "-m future --a b ! --c -m mark --mark 0x1 -j DROP", load: "-", want: steps(ext("future", "--a b ! --c"), m(netfilter.Mark, 1, 1), drop)},
		{
			text: "-m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 5 --hashlimit-mode srcip --hashlimit-name h -j DROP",
			want: steps(ext("hashlimit", "--hashlimit-upto 5/sec --hashlimit-burst 5 --hashlimit-mode srcip --hashlimit-name h"), drop),
		},
		{text: "-m quota --quota 1000 -j DROP", want: steps(ext("quota", "--quota 1000"), drop)},
		{text: "-p tcp -m tcpmss ! --mss 1:536 -j DROP", load: "-", want: steps(tcp, noExt("tcpmss", "--mss 1:536"), drop)},
	}
}
