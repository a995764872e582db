package oracle_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// directed is one thing that netfilter does to a packet without an entry. Rules are in the words of the backends that
// they are tried on: iptables rules of the named tables, or chains of an nft table.
type directed struct {
	name string
	// xt holds iptables rules by table: "filter: -A INPUT ...; -A INPUT ...". Tried on both backends.
	xt string
	// nft holds chains. "input: RULES" is short for a filter chain at that hook with priority 0 (prerouting: -150).
	nft  string
	want lab.Fate
	// undecided: the evaluator must leave it open, for it depends on what no ruleset shows.
	undecided bool
	only4     bool // the extension or the verdict has no IPv6 form
	only6     bool // the two families differ
	reflect   bool // fwmark_reflect is on
}

// whether says what a rule "MATCH drop" in INPUT leads to.
func whether(matches bool) lab.Fate {
	if matches {
		return lab.Silence
	}
	return lab.Reset
}

// xtMatches: does the match hold for a packet without an entry? Source: net/netfilter/xt_*.c, Linux 6.18.
func xtMatches() []directed {
	var out []directed
	for _, m := range []struct {
		match     string
		holds     bool
		undecided bool
	}{
		{match: "-m conntrack --ctstate INVALID", holds: true},
		{match: "-m conntrack --ctstate NEW,INVALID,RELATED", holds: true},
		{match: "-m conntrack --ctstate NEW"},
		{match: "-m conntrack --ctstate RELATED,ESTABLISHED"},
		{match: "-m conntrack --ctstate UNTRACKED"},
		{match: "-m conntrack --ctstate DNAT"},
		{match: "-m conntrack --ctstate SNAT"},
		{match: "-m state --state INVALID", holds: true},
		{match: "-m state --state ESTABLISHED,RELATED"},
		{match: "-m state ! --state NEW", holds: true},
		{match: "-m conntrack ! --ctstate INVALID"},
		{match: "-m conntrack ! --ctstate DNAT", holds: true},
		{match: "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT", holds: true},
		{match: "-m conntrack --ctstate INVALID --ctdir REPLY", holds: true},
		{match: "-m conntrack --ctstate INVALID --ctdir ORIGINAL", holds: true},
		{match: "-m conntrack --ctstate INVALID --ctstatus ASSURED", holds: true},
		{match: "-m conntrack --ctstate INVALID ! --ctstatus NONE", holds: true},
		{match: "-m conntrack --ctstate INVALID --ctproto 17", holds: true},
		{match: "-m conntrack --ctstate INVALID --ctexpire 1:2", holds: true},
		{match: "-m conntrack --ctstate NEW --ctdir ORIGINAL"},
		{match: "-m conntrack ! --ctstate NEW --ctdir REPLY", holds: true},
		{match: "-m conntrack --ctdir ORIGINAL"},
		{match: "-m conntrack --ctstatus NONE"},
		{match: "-m conntrack ! --ctstatus ASSURED"},
		{match: "-m conntrack ! --ctproto 17"},
		{match: "-m conntrack --ctexpire 0:100000"},
		{match: "-m connmark --mark 0"},
		{match: "-m connmark ! --mark 1"},
		{match: "-m connbytes --connbytes 0:1000 --connbytes-dir both --connbytes-mode bytes"},
		{match: "-m connbytes ! --connbytes 5:6 --connbytes-dir both --connbytes-mode bytes"},
		{match: "-m helper --helper ftp"},
		{match: "-m helper ! --helper ftp", holds: true},
		{match: "-m cluster --cluster-total-nodes 1 --cluster-local-node 1 --cluster-hash-seed 1"},
		{match: "-m connlabel --label 1"},
		{match: "-m connlabel ! --label 1", holds: true},
		{match: "-m mark --mark 0", holds: true},
		{match: "-m mark ! --mark 0"},
		{match: "-m socket"},
		{match: "-m addrtype --dst-type LOCAL", holds: true},
		{match: "-m addrtype ! --dst-type LOCAL"},
		{match: "-m addrtype --src-type UNICAST", holds: true},
		{match: "-m pkttype --pkt-type unicast", holds: true},
		{match: "-m devgroup --src-group 0", holds: true},
		{match: "-m physdev --physdev-in u0"},
		{match: "-i u+", holds: true},
		{match: "! -i u1", holds: true},
		{match: "! -i u+"},
		{match: "-p tcp --tcp-flags ALL ACK", holds: true},
		{match: "-p tcp ! --syn", holds: true},
		{match: "-p tcp -m multiport --dports 22,30000:30010", holds: true},
		{match: "-p tcp -m multiport ! --ports 443"},
		{match: "-p udp"},
		{match: "! -p udp", holds: true},
		{match: "-m length --length 40:60", holds: true},
		{match: "-m u32 --u32 0&0=0", holds: true, undecided: true},
		{match: "-m connlimit --connlimit-upto 1000", holds: true, undecided: true},
		{match: "-m statistic --mode nth --every 1 --packet 0", holds: true, undecided: true},
		{match: "-m recent --name seen --set", holds: true},
	} {
		out = append(out, directed{
			name: m.match, xt: "filter: -A INPUT " + m.match + " -j DROP", want: whether(m.holds), undecided: m.undecided,
		})
	}
	return out
}

// nftMatches: the same for nft expressions. Source: net/netfilter/nft_ct.c, nft_ct_get_eval(), Linux 6.18.
func nftMatches() []directed {
	var out []directed
	for _, m := range []struct {
		match     string
		holds     bool
		undecided bool
	}{
		{match: "ct state invalid", holds: true},
		{match: "ct state == invalid", holds: true},
		{match: "ct state != invalid"},
		{match: "ct state ! invalid"},
		{match: "ct state new"},
		{match: "ct state invalid,new", holds: true},
		{match: "ct state { new, invalid }", holds: true},
		{match: "ct state != { established, related }", holds: true},
		{match: "ct state ! established", holds: true},
		{match: "ct state & (established | related) == 0", holds: true},
		{match: "ct state & (invalid | new) != 0", holds: true},
		{match: "ct state untracked"},
		{match: "ct state . tcp dport { invalid . 30000, new . 22 }", holds: true},
		{match: "ct state . tcp dport { established . 30000 }"},
		{match: "ct mark 0"},
		{match: "ct mark != 1"},
		{match: "ct mark . ct state { 0 . invalid }"},
		{match: "ct direction original"},
		{match: "ct direction != reply"},
		{match: "ct status dnat"},
		{match: "ct status ! dnat"},
		{match: `ct helper "ftp"`},
		{match: `ct helper != "ftp"`},
		{match: "ct zone 0"},
		{match: "ct expiration < 10s"},
		{match: "ct packets >= 0"},
		{match: "ct l3proto ipv4"},
		{match: "ct state invalid ct mark 0"},
		{match: "ct state invalid ct count over 100000", undecided: true},
		{match: "meta mark 0", holds: true},
		{match: "meta mark set 7 meta mark 7", holds: true},
		{match: "meta mark set ct mark"},
		{match: "ct mark set 1 ct state invalid", holds: true},
		{match: "fib daddr type local", holds: true},
		{match: "fib daddr type != local"},
		{match: `iifname "u*"`, holds: true},
		{match: `oifname != "u0"`, holds: true},
		{match: "tcp flags ack", holds: true},
		{match: "tcp flags == ack", holds: true},
		{match: "tcp flags ! syn", holds: true},
		{match: "meta l4proto udp"},
		{match: "notrack ct state invalid"},
		{match: "notrack ct state untracked", holds: true},
		{match: "numgen inc mod 1 0", holds: true, undecided: true},
	} {
		out = append(out, directed{name: m.match, nft: "input: " + m.match + " drop", want: whether(m.holds), undecided: m.undecided})
	}
	return out
}

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

// tellsHookOrder reports a kernel that lists its hooks (NFNL_SUBSYS_HOOK): elsewhere the order of ties is not known.
func tellsHookOrder() bool {
	b, err := lab.NewBench()
	if err != nil {
		return false
	}
	defer b.Close()
	if b.Node.Load(netfilter.NFTables, netfilter.INET, "table inet t { chain a { type filter hook input priority 0; }; }") != nil {
		return false
	}
	doc, err := read(b)
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

// documents turns the shorthand into what the backend's tool takes.
func (d directed) documents(backend netfilter.Backend, family netfilter.Family) string {
	if backend == netfilter.NFTables {
		return d.nftDocument()
	}
	var b strings.Builder
	for table := range strings.SplitSeq(d.xt, "|") {
		name, rules, _ := strings.Cut(table, ":")
		fmt.Fprintf(&b, "*%s\n", name)
		for rule := range strings.SplitSeq(rules, ";") {
			rule = strings.TrimSpace(rule)
			if words := strings.Fields(rule); len(words) == 3 && words[0] == "-P" {
				rule = fmt.Sprintf(":%s %s [0:0]", words[1], words[2])
			}
			if rule != "" {
				b.WriteString(rule + "\n")
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func (d directed) nftDocument() string {
	family, chains := "inet", d.nft
	if rest, ok := strings.CutPrefix(chains, "netdev: "); ok {
		family, chains = "netdev", rest
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table %s t {\n", family)
	for i, line := range strings.Split(chains, "\n") {
		hook, rules, _ := strings.Cut(line, ": ")
		switch {
		case hook == "prerouting":
			line = fmt.Sprintf("chain s%d { type filter hook prerouting priority -150; %s; }", i, rules)
		case slices.Contains([]string{"input", "forward", "output"}, hook):
			line = fmt.Sprintf("chain s%d { type filter hook %s priority 0; %s; }", i, hook, rules)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// TestDirectedCases holds three against each other: what the model says on paper, the kernel, and the evaluator.
func TestDirectedCases(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	all := slices.Concat(xtMatches(), nftMatches(), paths(), devices())
	for _, d := range all {
		for _, backend := range []netfilter.Backend{netfilter.Legacy, netfilter.IPTablesNFT, netfilter.NFTables} {
			if backend == netfilter.NFTables && d.nft == "" || backend.XTables() && d.xt == "" {
				continue
			}
			for _, family := range families {
				if family == netfilter.IP6 && d.only4 || family == netfilter.IP && d.only6 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", d.name, backend, family), func(t *testing.T) {
					t.Parallel()
					d.run(t, backend, family)
				})
			}
		}
	}
}

// run sends one bare ACK from a server's port 443 to port 30000, in by u0.
func (d directed) run(t *testing.T, backend netfilter.Backend, family netfilter.Family) {
	b, err := lab.NewBench()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := oracle.Case{Family: family, Reflect: d.reflect, Documents: []oracle.Document{{Backend: backend, Family: family, Text: d.documents(backend, family)}}}
	if err := c.Exactly(b.Node); err != nil {
		t.Fatalf("%v\n%s", err, c)
	}
	u := oracle.NewUniverse(b, family)
	x := exchanged{loaded: c, universe: u, probes: []lab.Probe{{Segment: lab.Segment{
		Src: netip.AddrPortFrom(b.Sources(0, family).Addr().Next(), 443), Dst: netip.AddrPortFrom(b.Address(0, family), 30000),
		Flags: lab.ACK, Seq: 1, Ack: 1000,
	}}}}
	if err := x.run(b); err != nil {
		t.Fatal(err)
	}
	if x.fates[0] != d.want {
		t.Errorf("the kernel: %s, want %s\n%s", x.fates[0], d.want, c)
	}
	var total tally
	if err := total.compare(b, &x, x.doc); err != nil {
		t.Errorf("%v\n%s\nmissing: %v", err, c, missing(x.doc))
	}
	if (total.Undecided == 1) != d.undecided {
		t.Errorf("undecided: %v, want %v\n%s", total.Undecided == 1, d.undecided, c)
	}
	r := x.replay(b, facts.Of(x.doc), t.Name())
	r.Asked = r.Asked[:1]
	r.Asked[0].Undecided = &d.undecided
	if err := recorded.add(r); err != nil {
		t.Fatal(err)
	}
}
