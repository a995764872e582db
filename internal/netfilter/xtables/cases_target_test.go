package xtables

import "github.com/ctaudit/ctaudit/internal/netfilter"

func targetCases() []ruleCase {
	const ip, ip6 = netfilter.IP, netfilter.IP6
	queue := netfilter.Verdict{Kind: netfilter.Queue, Queue: "0"}
	return []ruleCase{
		{text: "-j ACCEPT", want: steps(accept)},
		{text: "-j RETURN", want: steps(netfilter.Verdict{Kind: netfilter.Return})},
		{text: "-j QUEUE", load: "-", want: steps(queue)},
		{text: "-j USER-1", load: "-", want: steps(jump("USER-1"))},
		{text: "-g USER-1", load: "-", want: steps(netfilter.Verdict{Kind: netfilter.Goto, Chain: "USER-1"})},
		{text: "-j TARPIT --tarpit", load: "-", want: steps(stmt(Unparsed, "TARPIT --tarpit"))},
		{text: "-p tcp -j REJECT --reject-with tcp-reset", table: "filter", want: steps(tcp, reject("tcp-reset"))},
		{text: "-j REJECT --reject-with icmp-admin-prohibited", only: ip, table: "filter", want: steps(reject("icmp-admin-prohibited"))},
		{text: "-j REJECT --reject-with icmp6-adm-prohibited", only: ip6, table: "filter", want: steps(reject("icmp6-adm-prohibited"))},
		{text: "-j REJECT", only: ip, load: "-", want: steps(reject("icmp-port-unreachable"))},
		{text: "-j REJECT", only: ip6, load: "-", want: steps(reject("icmp6-port-unreachable"))},
		{text: "-j REJECT --reject-with", load: "-", want: steps(stmt(Unparsed, "REJECT --reject-with"))},
		{text: "-j NFQUEUE --queue-num 3 --queue-bypass", want: steps(netfilter.Verdict{Kind: netfilter.Queue, Queue: "3", Bypass: true})},
		{text: "-j NFQUEUE --queue-balance 0:3 --queue-cpu-fanout", want: steps(netfilter.Verdict{Kind: netfilter.Queue, Queue: "0-3"})},
		{text: "-j NFQUEUE --queue-num 0", want: steps(queue)},
		{text: "-j MARK --set-xmark 0x4000/0x4000", want: steps(setMark(0xffffbfff, 0x4000))},
		{text: "-j MARK --set-xmark 0x5/0xffffffff", want: steps(setMark(0, 5))},
		{text: "-j MARK --set-mark 0x1", load: "-", want: steps(setMark(0, 1))},
		{text: "-j MARK --set-mark 0x11/0x1", load: "-", want: steps(setMark(0xffffffee, 0x11))},
		{text: "-j MARK --and-mark 0xff", load: "-", want: steps(setMark(0xff, 0))},
		{text: "-j MARK --or-mark 0x10", load: "-", want: steps(setMark(0xffffffef, 0x10))},
		{text: "-j MARK --xor-mark 0x10", load: "-", want: steps(setMark(0xffffffff, 0x10))},
		{text: "-j MARK --set-xmark lots", load: "-", want: steps(stmt(Unparsed, "MARK --set-xmark lots"))},
		{text: "-j CONNMARK --restore-mark --nfmask 0xffff --ctmask 0xffff", want: steps(stmt("connmark", "--restore-mark --nfmask 0xffff --ctmask 0xffff"))},
		{text: "-j CONNMARK --set-xmark 0x1/0xffffffff", want: steps(stmt("connmark", "--set-xmark 0x1/0xffffffff"))},
		{text: "-j CT --notrack", table: "raw", want: steps(stmt("notrack", ""))},
		{text: "-j NOTRACK", load: "-", want: steps(stmt("notrack", ""))},
		{text: "-j CT --zone 5", table: "raw", want: steps(stmt("ct", "--zone 5"))},
		{text: "-j MASQUERADE --random-fully", table: "nat", want: steps(stmt("masquerade", "--random-fully"))},
		{text: "-j SNAT --to-source 192.0.2.1", only: ip, table: "nat", want: steps(stmt("snat", "--to-source 192.0.2.1"))},
		{text: "-p tcp -j DNAT --to-destination 10.0.0.1:80", only: ip, table: "dnat", want: steps(tcp, stmt("dnat", "--to-destination 10.0.0.1:80"))},
		{text: "-p tcp -j REDIRECT --to-ports 15001", table: "dnat", want: steps(tcp, stmt("redirect", "--to-ports 15001"))},
		{text: `-j LOG --log-prefix "-j DROP: " --log-level 4`, load: "-", want: steps(stmt("log", `--log-prefix "-j DROP: " --log-level 4`))},
		{text: `-j LOG --log-prefix "in: "`, want: steps(stmt("log", `--log-prefix "in: "`))},
		{text: "-j NFLOG --nflog-group 2", want: steps(stmt("log", "--nflog-group 2"))},
		{text: "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu", want: steps(tcp, masked(netfilter.TCPFlags, 6, 2), stmt("tcpmss", "--clamp-mss-to-pmtu"))},
		{
			text: "-p tcp -j TPROXY --on-port 1234 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1", only: ip, table: "pre",
			want: steps(tcp, stmt("tproxy", "--on-port 1234 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1")),
		},
		{text: "-j TEE --gateway 10.0.0.1", only: ip, want: steps(stmt("dup", "--gateway 10.0.0.1"))},
		{text: "-j TRACE", table: "raw", want: steps(stmt("trace", ""))},
		{text: "-j CLASSIFY --set-class 0001:0002", table: "post", want: steps(stmt("classify", "--set-class 0001:0002"), computed(netfilter.Priority, 0xffffffff))},
		{text: "-j DSCP --set-dscp 0x10", want: steps(stmt("dscp", "--set-dscp 0x10"), computed(netfilter.DSCP, 0xff), computed(netfilter.TOS, 0xff))},
		{text: "-j TTL --ttl-set 64", only: ip, want: steps(stmt("ttl", "--ttl-set 64"), computed(netfilter.TTL, 0xff))},
		{text: "-j HL --hl-dec 1", only: ip6, want: steps(stmt("hl", "--hl-dec 1"), computed(netfilter.TTL, 0xff))},
		{text: "-j SET --map-set s src --map-mark", load: "-", want: steps(stmt("set", "--map-set s src --map-mark"), computed(netfilter.Mark, 0xffffffff))},
		{text: "-j CHECKSUM --checksum-fill", want: steps(stmt("checksum", "--checksum-fill"))},
		{text: "-j AUDIT --type drop", load: "-", want: steps(stmt("audit", "--type drop"))},
	}
}
