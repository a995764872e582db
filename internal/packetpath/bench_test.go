package packetpath

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// blockList is n INPUT rules, each for one address.
func blockList(n int) []*netfilter.Table {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
	for i := range n {
		fmt.Fprintf(&b, "-A INPUT -s %d.%d.%d.%d/32 -p tcp -m tcp --dport 1024:65535 -j DROP\n", 1+i%199, i>>16&255, i>>8&255, i&255)
	}
	return parseSave(b.String(), netfilter.Legacy, netfilter.IP)
}

func BenchmarkDisjointInput(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		tables := blockList(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				a, _ := Evaluate(testNode(tables...), Query{Question: A, Family: netfilter.IP, In: "eth0"})
				if a.Verdict != Partly {
					b.Fatal(a.Verdict)
				}
			}
		})
	}
}

// accessList is n overlapping lines: prefixes of differing length, ports, accept and drop mixed.
func accessList(n int) []*netfilter.Table {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
	rng := uint64(7)
	for range n {
		r := next(&rng)
		target := []string{"ACCEPT", "DROP"}[r>>3&1]
		bits := 8 + r>>8%17
		p := uint32(r>>16) &^ (1<<(32-bits) - 1)
		lo := 1024 + r>>20%30000
		fmt.Fprintf(&b, "-A INPUT -s %d.%d.%d.%d/%d -p tcp -m tcp --dport %d:%d -j %s\n", p>>24, p>>16&255, p>>8&255, p&255, bits, lo, lo+r>>40%9000, target)
	}
	return parseSave(b.String(), netfilter.Legacy, netfilter.IP)
}

func BenchmarkAccessList(b *testing.B) {
	tables := accessList(5_000)
	for b.Loop() {
		a, _ := Evaluate(testNode(tables...), Query{Question: A, Family: netfilter.IP, In: "eth0"})
		if a.Verdict != Partly {
			b.Fatal(a.Verdict)
		}
	}
}

// kubeProxy is kube-proxy's iptables ruleset in shape: a large nat table and a small filter table.
func kubeProxy(services int) []*netfilter.Table {
	var b strings.Builder
	b.WriteString(`*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
`)
	for i := range services {
		fmt.Fprintf(&b, ":KUBE-SVC-%08d - [0:0]\n:KUBE-SEP-%08d - [0:0]\n", i, i)
	}
	b.WriteString("-A PREROUTING -j KUBE-SERVICES\n")
	for i := range services {
		ip := fmt.Sprintf("10.96.%d.%d", i>>8&255, i&255)
		fmt.Fprintf(&b, "-A KUBE-SERVICES -d %s/32 -p tcp -m comment --comment \"ns/svc-%d:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-%08d\n", ip, i, i)
		for k := range 7 {
			fmt.Fprintf(&b, "-A KUBE-SVC-%08d -m comment --comment \"ns/svc-%d:http -> 10.1.2.%d:8080\" -m statistic --mode random --probability 0.14285714272 -j KUBE-SEP-%08d\n", i, i, k, i)
		}
		fmt.Fprintf(&b, "-A KUBE-SEP-%08d -s 10.1.2.3/32 -m comment --comment \"ns/svc-%d:http\" -j KUBE-MARK-MASQ\n", i, i)
		fmt.Fprintf(&b, "-A KUBE-SEP-%08d -p tcp -m comment --comment \"ns/svc-%d:http\" -m tcp -j DNAT --to-destination 10.1.2.3:8080\n", i, i)
	}
	return parseSave(b.String(), netfilter.Legacy, netfilter.IP)
}

func BenchmarkKubeProxy(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		tables := kubeProxy(n)
		b.Run(fmt.Sprint(n*10), func(b *testing.B) {
			for b.Loop() {
				e := Compile(testNode(tables...))
				x, _ := e.Evaluate(Query{Question: A, Family: netfilter.IP, In: "eth0"})
				y, _ := e.Evaluate(Query{Question: B, Family: netfilter.IP, In: "eth0", Out: "cali1"})
				if x.Verdict != NotDropped || y.Verdict != Dropped || len(e.Drops()) != 1 {
					b.Fatal(x.Verdict, y.Verdict)
				}
			}
		})
	}
}

// BenchmarkNative is 100,000 native rules, one address each, as a reader delivers them: with steps.
func BenchmarkNative(b *testing.B) {
	var rules []netfilter.Ops
	for i := range 100_000 {
		v := netfilter.Num(uint64(1<<24 + i*7))
		rules = append(rules, netfilter.Ops{netfilter.Match{Fields: one(netfilter.IPSaddr), In: []netfilter.Interval{netfilter.Exactly(v)}}, drop})
	}
	table := nftTable(netfilter.INET, base("in", netfilter.Input, 0, rules...))
	for b.Loop() {
		if a, _ := Evaluate(testNode(table), askA); a.Verdict != Partly {
			b.Fatal(a.Verdict)
		}
	}
}
