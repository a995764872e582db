package packetpath

import (
	"net/netip"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
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
