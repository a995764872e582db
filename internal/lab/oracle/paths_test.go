package oracle_test

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// paths are what becomes of a packet on its way: chains, priorities, verdicts, other backends.
func paths() []directed {
	return []directed{
		{name: "nothing", xt: "filter:", nft: "input: counter", want: lab.Reset},
		{
			name: "accept ends its own base chain only", want: lab.Silence,
			xt:  "mangle: -A INPUT -j ACCEPT|filter: -A INPUT -m conntrack --ctstate INVALID -j DROP",
			nft: "chain a { type filter hook input priority -5; accept; }\nchain b { type filter hook input priority 5; ct state invalid drop; }",
		},
		{
			name: "shadowed by an accept", want: lab.Reset,
			xt:  "filter: -A INPUT -p tcp --dport 1024:65535 -j ACCEPT; -A INPUT -m conntrack --ctstate INVALID -j DROP",
			nft: "input: tcp dport 1024-65535 accept; ct state invalid drop",
		},
		{
			name: "policy drop with established accepted", want: lab.Silence,
			xt:  "filter: -P INPUT DROP; -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
			nft: "chain a { type filter hook input priority 0; policy drop; ct state established,related accept; }",
		},
		{
			name: "return at base level is the policy", want: lab.Silence,
			xt:  "filter: -P INPUT DROP; -A INPUT -j RETURN; -A INPUT -j ACCEPT",
			nft: "chain a { type filter hook input priority 0; policy drop; return; accept; }",
		},
		{
			name: "goto returns to the caller's caller", want: lab.Reset,
			xt:  "filter: -N C0; -N C1; -A INPUT -j C0; -A INPUT -j ACCEPT; -A C0 -g C1; -A C0 -j DROP; -A C1 -m mark --mark 9 -j DROP",
			nft: "chain c1 { meta mark 9 drop; }\nchain c0 { goto c1; drop; }\nchain a { type filter hook input priority 0; jump c0; accept; }",
		},
		{
			name: "goto at base level falls to the policy", want: lab.Silence,
			xt:  "filter: -P INPUT DROP; -N C0; -A INPUT -g C0; -A INPUT -j ACCEPT; -A C0 -m mark --mark 9 -j ACCEPT",
			nft: "chain c0 { meta mark 9 accept; }\nchain a { type filter hook input priority 0; policy drop; goto c0; accept; }",
		},
		{
			name: "forward only", want: lab.Reset,
			xt:  "filter: -P FORWARD DROP; -A FORWARD -m conntrack --ctstate INVALID -j DROP",
			nft: "forward: ct state invalid drop",
		},
		{
			name: "raw prerouting drops what has no entry yet", want: lab.Silence,
			xt:  "raw: -A PREROUTING -m conntrack --ctstate INVALID -j DROP",
			nft: "chain a { type filter hook prerouting priority -300; ct state invalid drop; }",
		},
		{
			name: "raw prerouting: nothing is new yet", want: lab.Reset,
			xt:  "raw: -A PREROUTING -m conntrack --ctstate NEW -j DROP",
			nft: "chain a { type filter hook prerouting priority -300; ct state new drop; }",
		},
		{
			name: "mangle prerouting", want: lab.Silence,
			xt:  "mangle: -A PREROUTING -m conntrack --ctstate INVALID -j DROP",
			nft: "prerouting: ct state invalid drop",
		},
		{
			name: "nat chains do not see it", want: lab.Reset,
			xt:  "nat: -A PREROUTING -p tcp -j REDIRECT --to-ports 9",
			nft: "chain a { type nat hook prerouting priority -100; policy drop; drop; }\nchain b { type nat hook input priority 100; drop; }",
		},
		{
			name: "notrack hides it from an INVALID drop", want: lab.Reset,
			xt:  "raw: -A PREROUTING -j CT --notrack|filter: -A INPUT -m conntrack --ctstate INVALID -j DROP",
			nft: "chain a { type filter hook prerouting priority -300; notrack; }\nchain b { type filter hook input priority 0; ct state invalid drop; }",
		},
		{
			name: "notrack and a drop of untracked", want: lab.Silence,
			xt:  "raw: -A PREROUTING -j CT --notrack|filter: -A INPUT -m conntrack --ctstate UNTRACKED -j DROP",
			nft: "chain a { type filter hook prerouting priority -300; notrack; }\nchain b { type filter hook input priority 0; ct state untracked drop; }",
		},
		{
			name: "notrack after conntrack", want: lab.Reset,
			nft: "chain a { type filter hook prerouting priority 0; notrack; }\nchain b { type filter hook input priority 0; ct state invalid drop; }",
		},
		{
			name: "restoring a mark that no entry has", want: lab.Silence,
			xt: "mangle: -A INPUT -j MARK --set-mark 1; -A INPUT -j CONNMARK --restore-mark; -A INPUT -m mark --mark 1 -j DROP",
		},
		{
			name: "saving a mark changes nothing", want: lab.Silence,
			xt: "mangle: -A INPUT -j CONNMARK --set-mark 1; -A INPUT -m mark --mark 0 -j DROP",
		},
		{
			name: "statements before a break keep their effect", want: lab.Silence,
			nft: "input: meta mark set 1 ct mark 0 accept; meta mark 1 drop",
		},
		{
			name: "mark set in one chain, dropped in another", want: lab.Silence,
			xt:  "mangle: -A PREROUTING -m conntrack --ctstate INVALID -j MARK --set-xmark 0x2/0x2|filter: -A INPUT -m mark --mark 0x2/0x2 -j DROP",
			nft: "prerouting: ct state invalid meta mark set meta mark | 2\ninput: meta mark & 2 == 2 drop",
		},
		{name: "vmap", want: lab.Silence, nft: "input: ct state vmap { established : accept, related : accept, invalid : drop }"},
		{
			name: "vmap jump and return", want: lab.Silence,
			nft: "chain c { tcp dport 1 accept; }\ninput: ct state vmap { invalid : jump c }; drop",
		},
		{name: "vmap without an entry goes on", want: lab.Silence, nft: "input: ct mark vmap { 0 : accept }; drop"},
		{name: "dormant table", want: lab.Reset, nft: "flags dormant;\ninput: ct state invalid drop"},

		{
			name: "REJECT with tcp reset is the bug itself", want: lab.Reset,
			xt:  "filter: -A INPUT -p tcp -m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset",
			nft: "input: ct state invalid reject with tcp reset",
		},
		{
			name: "a drop in front of the reset", want: lab.Silence,
			xt:  "mangle: -A INPUT -m conntrack --ctstate INVALID -j DROP|filter: -A INPUT -p tcp -j REJECT --reject-with tcp-reset",
			nft: "chain a { type filter hook input priority -150; ct state invalid drop; }\ninput: meta l4proto tcp reject with tcp reset",
		},
		{
			name: "a drop behind the reset", want: lab.Reset,
			xt:  "filter: -A INPUT -p tcp -j REJECT --reject-with tcp-reset|security: -A INPUT -j DROP",
			nft: "input: meta l4proto tcp reject with tcp reset\nchain b { type filter hook input priority 50; drop; }",
		},
		{
			name: "the rejecting RST meets OUTPUT", want: lab.Silence,
			xt:  "filter: -A INPUT -p tcp -j REJECT --reject-with tcp-reset; -A OUTPUT -p tcp --tcp-flags RST RST -j DROP",
			nft: "input: meta l4proto tcp reject with tcp reset\noutput: tcp flags rst drop",
		},
		{name: "REJECT", want: lab.Unreachable, xt: "filter: -A INPUT -m conntrack --ctstate INVALID -j REJECT", nft: "input: ct state invalid reject"},
		{name: "REJECT in prerouting", want: lab.Unreachable, nft: "prerouting: ct state invalid reject"},
		{name: "reset in prerouting", want: lab.Reset, nft: "prerouting: ct state invalid reject with tcp reset"},

		{name: "NFQUEUE with nobody there", want: lab.Silence, undecided: true, xt: "filter: -A INPUT -j NFQUEUE --queue-num 3"},
		{name: "NFQUEUE with bypass", want: lab.Reset, undecided: true, xt: "filter: -A INPUT -j NFQUEUE --queue-num 3 --queue-bypass"},
		{
			name: "SYNPROXY", want: lab.Silence, xt: "filter: -A INPUT -p tcp -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY",
			nft: "input: ct state invalid,untracked synproxy mss 1460 wscale 7",
		},
		{
			name: "TPROXY without a listener", want: lab.Silence, undecided: true,
			xt: "mangle: -A PREROUTING -p tcp -j TPROXY --on-port 9",
		},
		{name: "the security table", want: lab.Silence, xt: "security: -A INPUT -m connlabel ! --label 1 -m mark --mark 9 -j ACCEPT; " +
			"-A INPUT -m connlabel ! --label 1 -j DROP"},
		{
			name: "TEE goes on", want: lab.Silence, only4: true,
			xt: "mangle: -A PREROUTING -j TEE --gateway 192.0.2.254|filter: -A INPUT -m conntrack --ctstate INVALID -j DROP",
		},
		{
			name: "a table of the other family", want: lab.Reset, only4: true,
			nft: "}\ntable ip6 u {\nchain a { type filter hook input priority 0; policy drop; }",
		},
		{
			name: "LOG, NFLOG and counters go on", want: lab.Silence,
			xt:  "filter: -A INPUT -j LOG; -A INPUT -j NFLOG --nflog-group 3; -A INPUT -m conntrack --ctstate INVALID -j DROP",
			nft: "input: log group 3 counter ct state invalid drop",
		},
		{
			name: "a limited log in front of a drop", want: lab.Silence,
			xt:  "filter: -A INPUT -m limit --limit 1/s -j LOG; -A INPUT -m conntrack --ctstate INVALID -j DROP",
			nft: "input: limit rate 1/second log group 3; ct state invalid drop",
		},

		{
			name: "drop of the RST in OUTPUT", want: lab.Silence,
			xt: "filter: -A OUTPUT -p tcp --tcp-flags RST RST -j DROP", nft: "output: tcp flags & rst == rst drop",
		},
		{
			name: "the RST is INVALID itself", want: lab.Silence,
			xt: "filter: -A OUTPUT -m conntrack --ctstate INVALID -j DROP", nft: "output: ct state invalid drop",
		},
		{
			name: "drop of the RST in POSTROUTING", want: lab.Silence,
			xt:  "mangle: -A POSTROUTING -p tcp --tcp-flags RST RST -j DROP",
			nft: "chain a { type filter hook postrouting priority 0; tcp flags rst drop; }",
		},
		{
			name: "iiftype is the outgoing link's in POSTROUTING, on later kernels", want: lab.Reset, undecided: true,
			nft: "chain a { type filter hook postrouting priority 0; policy drop; meta iiftype ether accept; }",
		},
		{
			name: "iiftype ends the rule in OUTPUT", want: lab.Silence,
			nft: "chain a { type filter hook output priority 0; policy drop; meta iiftype ether accept; meta iiftype != ether accept; }",
		},
		{
			name: "the RST carries no mark", want: lab.Reset,
			xt:  "mangle: -A INPUT -j MARK --set-mark 1; -A OUTPUT -m mark --mark 1 -j DROP",
			nft: "input: meta mark set 1\noutput: meta mark 1 drop",
		},
		{
			name: "the RST carries the mark with fwmark_reflect", want: lab.Silence, reflect: true,
			xt:  "mangle: -A INPUT -j MARK --set-mark 1; -A OUTPUT -m mark --mark 1 -j DROP",
			nft: "input: meta mark set 1\noutput: meta mark 1 drop",
		},
		{
			name: "a match's mask", want: lab.Silence,
			xt:  "mangle: -A INPUT -j MARK --set-mark 3; -A INPUT -m mark ! --mark 1/1 -j ACCEPT; -A INPUT -m mark --mark 2/2 -j DROP",
			nft: "input: meta mark set 3 meta mark & 1 == 1 meta mark & 2 == 2 drop",
		},
		{
			name: "a mark written through a mask", want: lab.Silence,
			xt:  "mangle: -A INPUT -j MARK --set-mark 2; -A INPUT -j MARK --set-xmark 1/1; -A INPUT -m mark --mark 3 -j DROP",
			nft: "input: meta mark set 2 meta mark set meta mark & 0xfffffffe | 1 meta mark 3 drop",
		},
		{
			name: "a mark's bits turned round", want: lab.Silence,
			xt:  "mangle: -A INPUT -j MARK --set-mark 3; -A INPUT -j MARK --xor-mark 1; -A INPUT -m mark --mark 2 -j DROP",
			nft: "input: meta mark set 3 meta mark set meta mark ^ 1 meta mark 2 drop",
		},
		{
			name: "a template reads as NEW before conntrack", want: lab.Silence,
			xt:  "raw: -A PREROUTING -j CT --zone 3; -A PREROUTING -m conntrack --ctstate NEW -j DROP",
			nft: "chain a { type filter hook prerouting priority -300; ct zone set 3 ct state new drop; }",
		},
		{
			name: "conntrack takes the template off", want: lab.Silence,
			xt:  "raw: -A PREROUTING -j CT --zone 3|filter: -A INPUT -m conntrack --ctstate INVALID -j DROP",
			nft: "chain a { type filter hook prerouting priority -300; ct zone set 3; }\ninput: ct state invalid drop",
		},
		{
			name: "of two chains at one priority the last registered runs first", want: lab.Reset, undecided: !tellsHookOrder(),
			nft: "chain a { type filter hook input priority 0; drop; }\nchain b { type filter hook input priority 0; meta l4proto tcp reject with tcp reset; }",
		},
		{
			name: "a jump in front of the rest of its chain", want: lab.Silence,
			xt:  "filter: -N C0; -A INPUT -p tcp -j C0; -A INPUT -j DROP; -A C0 -p tcp --dport 22 -j ACCEPT",
			nft: "chain c { tcp dport 22 accept; }\ninput: meta l4proto tcp jump c; drop",
		},
		{
			name: "an undecided condition of the packet says nothing of the RST", want: lab.Silence, undecided: true, reflect: true, only4: true,
			xt: "mangle: -A INPUT -m u32 --u32 24=1 -j MARK --set-mark 1; -A OUTPUT -m mark --mark 1 -m u32 ! --u32 24=1 -j DROP; " +
				"-A OUTPUT -m mark --mark 0 -m u32 --u32 24=1 -j DROP",
		},
		{
			name: "the last of a run of rules", want: lab.Silence,
			xt: "filter: -A INPUT -p tcp --dport 21 -j DROP; -A INPUT -p tcp --dport 22 -j DROP; -A INPUT -p tcp --dport 23 -j DROP; " +
				"-A INPUT -p tcp --dport 24 -j DROP; -A INPUT -p tcp --dport 30000 -j DROP",
			nft: "input: tcp dport 21 drop; tcp dport 22 drop; tcp dport 23 drop; tcp dport 24 drop; tcp dport 30000 drop",
		},
		{
			name: "neighbours with other verdicts", want: lab.Silence,
			xt:  "filter: -A INPUT -p tcp --dport 22 -j ACCEPT; -A INPUT -p tcp --dport 30000 -j DROP",
			nft: "input: tcp dport 22 accept; tcp dport 30000 drop",
		},
		{
			name: "notrack for classes that another chain told apart", want: lab.Reset,
			nft: "chain a { type filter hook prerouting priority -350; tcp dport 22 accept; }\n" +
				"chain b { type filter hook prerouting priority -300; notrack; }\ninput: ct state invalid drop",
		},
		{
			name: "a mark under an undecided condition", want: lab.Silence, undecided: true, only4: true,
			xt: "mangle: -A INPUT -m u32 --u32 24=1 -j MARK --set-mark 1|" +
				"filter: -A INPUT -m mark --mark 1 -j DROP; -A INPUT -p tcp -j REJECT --reject-with tcp-reset",
		},
		{
			name: "a field that a rule wrote is undecided", want: lab.Silence, undecided: true, only4: true,
			xt:  "mangle: -A INPUT -j TTL --ttl-set 5; -A INPUT -m ttl --ttl-eq 5 -j DROP",
			nft: "input: ip dscp set cs1 ip dscp cs1 drop",
		},
		{
			name: "a rule that reads beside a written field", want: lab.Reset, only4: true,
			xt: "mangle: -A INPUT -j TTL --ttl-set 5; -A INPUT -p tcp --dport 22 -m ttl --ttl-eq 5 -j DROP",
		},
		{name: "no user owns the RST", want: lab.Reset, xt: "filter: -A OUTPUT -m owner --uid-owner 0 -j DROP"},
		{name: "no user owns the RST, inverted", want: lab.Silence, undecided: true, xt: "filter: -A OUTPUT -m owner ! --uid-owner 0 -j DROP"},
		{name: "the rest of a verdict map", want: lab.Silence, nft: "input: tcp dport vmap { 22 : accept, * : drop }"},
		{name: "the rest of a verdict map, an element", want: lab.Reset, nft: "input: tcp dport vmap { 30000 : accept, * : drop }"},
		{
			name: "a verdict map of a written field", want: lab.Silence, undecided: true, only4: true,
			nft: "input: ip dscp set cs1 ip dscp vmap { cs1 : drop, cs2 : accept }",
		},
		{
			name: "a concatenation with a written field", want: lab.Silence, undecided: true, only4: true,
			nft: "input: ip dscp set cs1 ip dscp . tcp dport { cs1 . 30000 } drop",
		},
		{
			name: "a set that packets fill", want: lab.Silence, undecided: true,
			nft: "set d { type inet_service; flags dynamic; size 9; }\ninput: add @d { tcp dport } tcp dport @d drop",
		},
		{
			name: "nft tproxy without a listener ends the rule", want: lab.Reset, undecided: true, only4: true,
			nft: "prerouting: meta nfproto ipv4 meta l4proto tcp tproxy ip to :9 drop",
		},
		{
			name: "a drop of RST+ACK misses the answer to an ACK", want: lab.Reset,
			xt:  "filter: -A OUTPUT -p tcp --tcp-flags ALL RST,ACK -j DROP",
			nft: "output: tcp flags == rst | ack drop",
		},
		{
			name: "the RST is not untracked when its packet is", want: lab.Silence,
			xt:  "raw: -A PREROUTING -j CT --notrack|filter: -A OUTPUT -m conntrack --ctstate INVALID -j DROP",
			nft: "chain a { type filter hook prerouting priority -300; notrack; }\noutput: ct state invalid drop",
		},
	}
}

// seldom are branches of the evaluator that random rules seldom reach.
func seldom() []directed {
	return []directed{
		{name: "limit-iface-in", want: lab.Silence, xt: "filter: -A INPUT -m addrtype --dst-type LOCAL --limit-iface-in -j DROP"},
		{name: "! limit-iface-in", want: lab.Reset, xt: "filter: -A INPUT -m addrtype ! --dst-type LOCAL --limit-iface-in -j DROP"},
		{name: "recent ! --set", want: lab.Reset, xt: "filter: -A INPUT -m recent --name s1 ! --set -j DROP"},
		{name: "policy none", want: lab.Silence, xt: "filter: -A INPUT -m policy --dir in --pol none -j DROP"},
		{name: "rpfilter", want: lab.Reset, xt: "raw: -A PREROUTING -m rpfilter --invert -j DROP"},
		{name: "CT with a helper is a template", want: lab.Silence, xt: "raw: -A PREROUTING -j CT --ctevents new; -A PREROUTING -m conntrack --ctstate NEW -j DROP"},
		{name: "ct event set does nothing without an entry", want: lab.Silence, nft: "input: ct event set new ct label set 1 drop"},
		{name: "a verdict map that leaves nothing", want: lab.Silence, nft: "input: tcp dport vmap { 0-1024 : accept, 1025-65535 : drop, * : accept }; accept"},
		{name: "a verdict map behind a match", want: lab.Reset, nft: "input: tcp dport 30000 tcp dport vmap { 22 : drop, 30000 : accept }; drop"},
		{name: "a verdict map that goes on", want: lab.Silence, nft: "input: tcp dport vmap { 22 : accept, 30000 : continue }; drop"},
		{name: "a verdict map of what nobody can tell", want: lab.Silence, undecided: true, nft: "input: meta cpu vmap { 9999 : accept, * : drop }"},
		{name: "a set with everything else in it", want: lab.Silence, nft: "set k { type inet_service; elements = { 22, * }; }\ninput: tcp dport @k drop"},
		{
			name: "one concatenation that cannot be told, twice", want: lab.Silence, undecided: true,
			nft: "set k { type realm . inet_service; elements = { 0 . 30000 }; }\ninput: rt classid . tcp dport @k meta mark set 1; rt classid . tcp dport @k drop",
		},
		{name: "flags xor", want: lab.Silence, nft: "input: meta mark set 3 meta mark & 3 ^ 1 == 2 drop"},
		{name: "a port through a xor", want: lab.Silence, nft: "input: tcp dport ^ 1 == 30001 drop"},
		{name: "a port through a scattered mask", want: lab.Silence, nft: "input: tcp dport & 0xf0f0 == 0x7030 drop"},
		{name: "a range of masked ports", want: lab.Silence, nft: "input: tcp dport & 0xff00 == 0x7400-0x7500 drop"},
		{name: "an address through a scattered mask", want: lab.Silence, only4: true, nft: "input: ip saddr & 255.255.240.1 == 8.0.0.1 drop"},
		{name: "a range of addresses through a scattered mask", want: lab.Silence, only4: true, undecided: true, nft: "input: ip saddr & 255.0.0.3 == 8.0.0.1-8.0.0.2 drop"},
		{name: "an address that its mask cannot give", want: lab.Reset, only4: true, nft: "input: ip saddr & 255.255.240.1 == 8.0.0.2 drop"},
		{name: "many bits free of an address", want: lab.Silence, only6: true, undecided: true, nft: "input: ip6 saddr & ::ffff:0:0:0:1 == ::1 drop"},
		{name: "not a fragment", want: lab.Silence, only4: true, nft: "input: ip frag-off & 0x1fff == 0 drop"},
		{name: "the RST is no fragment", want: lab.Silence, only4: true, xt: "filter: -A OUTPUT ! -f -p tcp -j DROP"},
		{name: "flags that a rule writes", want: lab.Silence, undecided: true, nft: "input: tcp flags set rst"},
		{name: "a port that a rule writes", want: lab.Silence, undecided: true, nft: "input: tcp dport set 7"},
		{name: "the outgoing link", want: lab.Silence, nft: `output: oif u0 meta oiftype ether meta oifkind "veth" meta oifgroup 0 drop`},
		{
			name: "many chains", want: lab.Silence, nft: manyChains(20) + "\ninput: jump f19; accept",
		},
		{
			name: "the shortest frame", want: lab.Silence, only4: true, undecided: true,
			nft: "netdev: chain a { type filter hook ingress device u0 priority 0; ip length 40 meta l4proto tcp reject with tcp reset; }\n}\ntable inet o {\noutput: drop",
		},
		{
			name: "more rules that nobody can tell than are told apart", want: lab.Reset, undecided: true, only4: true,
			xt: "filter: " + strings.Repeat("-A INPUT -m statistic --mode nth --every 9999 --packet 9998 -m u32 --u32 24=1 -m string --algo bm --string x -j DROP; ", 14),
		},
	}
}

func manyChains(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "chain f%d { meta l4proto tcp drop; }\n", i)
	}
	return strings.TrimSpace(b.String())
}

// tellsHookOrder reports a kernel that lists its hooks (NFNL_SUBSYS_HOOK): elsewhere the order of ties is not known.
func tellsHookOrder() bool {
	b, err := freshBench()
	if err != nil {
		return false
	}
	defer b.Close()
	if b.Node.Load(netfilter.NFTables, netfilter.INET, "table inet t { chain a { type filter hook input priority 0; }; }") != nil {
		return false
	}
	doc, err := b.read()
	return err == nil && len(doc.NFTables.HookOrder.Or(nil)) > 0
}

// devices are cases at the hooks of one device, IPv4 and IPv6 alike.
func devices() []directed {
	return []directed{
		{name: "netdev ingress", want: lab.Silence, nft: "netdev: chain a { type filter hook ingress device u0 priority 0; tcp dport 30000 drop; }"},
		{name: "netdev ingress of the other device", want: lab.Reset, nft: "netdev: chain a { type filter hook ingress device u1 priority 0; tcp dport 30000 drop; }"},
		{name: "inet ingress: everything is INVALID", want: lab.Silence, nft: "chain a { type filter hook ingress device u0 priority 0; ct state invalid drop; }"},
		{name: "netdev egress takes the RST", want: lab.Silence, nft: "netdev: chain a { type filter hook egress device u0 priority 0; tcp flags rst drop; }"},
		{
			name: "a netdev RST leaves by its device alone", want: lab.Reset, only6: true,
			nft: "netdev: chain a { type filter hook ingress device u0 priority 0; meta l4proto tcp reject with tcp reset; }\n}\ntable inet o {\noutput: drop",
		},
		{
			name: "a netdev RST for a padded frame", want: lab.Silence, only4: true, undecided: true,
			nft: "netdev: chain a { type filter hook ingress device u0 priority 0; meta l4proto tcp reject with tcp reset; }\n}\ntable inet o {\noutput: drop",
		},
		{name: "netdev fwd", want: lab.Silence, undecided: true, nft: `netdev: chain a { type filter hook ingress device u0 priority 0; meta l4proto tcp fwd to "u1"; }`},
		{name: "netdev dup", want: lab.Reset, nft: `netdev: chain a { type filter hook ingress device u0 priority 0; meta l4proto tcp dup to "u1"; }`},
	}
}
