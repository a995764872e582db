package packetpath

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// parseSave reads iptables-save text as far as tests need it: tables, chains with policies, rules with their text.
func parseSave(text string, backend netfilter.Backend, family netfilter.Family) []*netfilter.Table {
	var out []*netfilter.Table
	var t *netfilter.Table
	chains := map[string]*netfilter.Chain{}
	for n, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "*"):
			t = &netfilter.Table{Backend: backend, Family: family, Name: line[1:]}
			out = append(out, t)
			chains = map[string]*netfilter.Chain{}
		case strings.HasPrefix(line, ":"):
			f := strings.Fields(line[1:])
			c := &netfilter.Chain{Name: f[0]}
			if f[1] != "-" {
				c.Base = builtin(t.Name, f[0], netfilter.VerdictKind(strings.ToLower(f[1])))
			}
			chains[f[0]] = c
			t.Chains = append(t.Chains, c)
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[3:], " ")
			c := chains[name]
			c.Rules = append(c.Rules, &netfilter.Rule{Number: len(c.Rules) + 1, Line: n + 1, Text: rule})
		}
	}
	return out
}

func builtin(table, chain string, policy netfilter.VerdictKind) *netfilter.Base {
	prio := map[string]int32{"raw": -300, "mangle": -150, "filter": 0, "security": 50, "nat": -100}[table]
	b := &netfilter.Base{Type: netfilter.FilterChain, Hook: netfilter.Hook(strings.ToLower(chain)), Priority: prio, Policy: policy}
	if table == "nat" {
		b.Type = netfilter.NATChain
		if chain == "INPUT" || chain == "POSTROUTING" {
			b.Priority = 100
		}
	}
	return b
}

func testNode(tables ...*netfilter.Table) *Node {
	addr := netip.MustParseAddr
	return &Node{
		Ruleset: &netfilter.Ruleset{Tables: tables},
		Interfaces: []Interface{
			{Name: "lo", Index: 1, Type: 772, Addrs: []netip.Addr{addr("127.0.0.1"), addr("::1")}},
			{Name: "eth0", Index: 2, Type: 1, Addrs: []netip.Addr{addr("198.51.100.1"), addr("2001:db8:1::1")}},
			{Name: "docker0", Index: 3, Type: 1, Kind: "bridge", Addrs: []netip.Addr{addr("172.17.0.1")}},
			{Name: "cali1", Index: 4, Type: 1, Kind: "veth"},
		},
		Local: []netip.Addr{addr("127.0.0.1"), addr("198.51.100.1"), addr("172.17.0.1"), addr("::1"), addr("2001:db8:1::1")},
	}
}

func TestSmoke(t *testing.T) {
	for _, rules := range []string{
		"*filter\n:INPUT ACCEPT [0:0]\n",
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate INVALID -j DROP\n",
		"*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 30000:40000 -j ACCEPT\n-A INPUT -m conntrack --ctstate INVALID -j DROP\n",
		"*filter\n:INPUT ACCEPT [0:0]\n:X - [0:0]\n-A INPUT -j X\n-A X -p tcp --dport 22 -j ACCEPT\n-A X -s 10.0.0.0/8 -j RETURN\n-A X -m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset\n",
	} {
		a, err := Evaluate(testNode(parseSave(rules, netfilter.Legacy, netfilter.IP)...), Query{Question: A, Family: netfilter.IP, In: "eth0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(rules, fmt.Sprintf("%s %s %+v implicit %v", a.Verdict, a.Reset, a.DecidedBy, a.Implicit))
		for _, o := range a.Outcomes {
			t.Logf("  %s %q %+v", o.Fate, o.Region, o.Witness)
		}
	}
}

func TestPrintOps(t *testing.T) {
	for _, s := range []string{"-p tcp --dport 22 -j ACCEPT", "-p tcp -m tcp --dport 22 -j ACCEPT", "-p tcp -m multiport ! --dports 1,3:5 -j LOG", "-f -j DROP", "-m addrtype ! --dst-type LOCAL --limit-iface-in -j NOTRACK", "-j CT --notrack", "-j CT --zone 1", "-j CONNMARK --restore-mark", "-j MARK --set-xmark 0x1/0x2", "-m connlabel ! --label x -m helper --helper ftp", "-m limit --limit 5/min -j TPROXY --on-port 5", "-j FOO --bar", "-m physdev ! --physdev-in x -m owner ! --uid-owner 0 -m recent --set -j NFQUEUE --queue-num 3 --queue-bypass", "-m rpfilter --invert -j DROP", "-m policy --dir in --pol none", "-j TTL --ttl-set 3", "-j TOS --set-tos 3", "-j HMARK --x", "-j SET --add-set a src", "-m socket --nowildcard --transparent -j RETURN", "-m ttl --ttl-lt 3 -m length ! --length 40:100 -m mark ! --mark 1/3 -m pkttype --pkt-type broadcast -m devgroup --src-group 3"} {
		r := &netfilter.Rule{Text: s}
		t.Logf("%s\n", s)
		for _, o := range xtables.Ops(&netfilter.Table{Backend: netfilter.Legacy, Family: netfilter.IP, Name: "mangle"}, r) {
			t.Logf("      %T %+v", o, o)
		}
	}
}
