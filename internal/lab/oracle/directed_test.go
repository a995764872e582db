package oracle_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

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
		{match: "-m policy --dir in --pol none", holds: true},
		{match: "-m policy --dir in --pol ipsec"},
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
		{match: "tcp sport . tcp dport { 443 . 22, 443 . 30000 }", holds: true},
		{match: "tcp sport . tcp dport != { 443 . 22, 443 . 30000 }"},
		{match: "tcp sport . tcp dport != { 443 . 22, 80 . 30000 }", holds: true},
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
	all := slices.Concat(xtMatches(), nftMatches(), paths(), devices(), seldom())
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
	b, err := freshBench()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := oracle.Case{Family: family, Reflect: d.reflect, Documents: []oracle.Document{{Backend: backend, Family: family, Text: d.documents(backend, family)}}}
	if err := c.Exactly(b.Node); err != nil {
		t.Fatalf("%v\n%s", err, c)
	}
	u := oracle.NewUniverse(b.Bench, family)
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
	if err := total.compare(b.Bench, &x, x.node); err != nil {
		t.Errorf("%v\n%s\nmissing: %v", err, c, missing(x.doc))
	}
	if (total.Undecided == 1) != d.undecided {
		t.Errorf("undecided: %v, want %v\n%s", total.Undecided == 1, d.undecided, c)
	}
	r := x.replay(b.Bench, x.node, t.Name())
	r.Asked = r.Asked[:1]
	r.Asked[0].Undecided = &d.undecided
	if err := recorded.add(r); err != nil {
		t.Fatal(err)
	}
}
