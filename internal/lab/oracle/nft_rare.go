package oracle

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// nftRare draws expressions that seldom stand in a filter.
func (g *generator) nftRare(inward bool) string {
	ip := g.v4("ip", "ip6")
	all := []string{
		"@th,16,16 " + g.one("22", "30000"), "@th,0,32 & 0xffff == 22", "tcp doff 5", "tcp urgptr 0", g.v4("ip protocol tcp", "ip6 nexthdr tcp"),
		g.v4("ip version 4", "ip6 version 6"), g.v4("ip length 40", "ip6 length 20"), "tcp option maxseg exists", "tcp option maxseg missing",
		"icmp type echo-request", "icmpv6 type echo-request", "udp length 8", "numgen inc mod 2 0", "numgen random mod 4 < 2",
		"jhash " + ip + " saddr mod 4 1", "limit rate 1/second", "quota over 1 mbytes", "ct count over 5", "meta cpu 0",
		"meta skuid 0", "meta skuid != 0", "meta cgroup 0", "meta time > 100", "meta hour \"00:00\"-\"23:59\"", "meta priority 1:1",
		"rt classid 0", "rt classid != 0", "ether type " + ip, "fib saddr . iif oif != 0", "fib saddr . iif oif 0", "fib daddr . mark type local",
		"meta random < 10", "meta secpath missing", "meta ibrname \"br0\"", "meta day \"Monday\"", "meta sdif 0", "log group 4", "meta nftrace set 1",
		ip + " saddr { " + g.source().String() + " counter }", "ether saddr 02:00:00:00:00:01",
		"tcp dport ^ 1 == 23", "tcp dport & 0xf0f0 == 0x7030", "tcp sport & 0xff00 == 1-2", "meta mark ^ 1 == 1", "meta mark & 3 ^ 1 == { 1, 2 }",
		g.v4("ip saddr & 0.255.0.255 == 0.0.0.1", "ip6 saddr & ::ff == ::1"), g.v4("ip saddr & 0.1.0.0 == 0.0.0.0", "ip6 saddr & ffff:: == 2600::"),
		g.v4("ip saddr & 0.0.0.3 == 0.0.0.1-0.0.0.2", "ip6 daddr & ::3 == ::1-::2"), g.v4("ip frag-off & 0x1fff == 0", "frag id 1"),
		g.v4("ip frag-off 0", "ip6 flowlabel 0"), "oif u1", "meta oiftype ether", `meta oifkind "veth"`, "ct label set 1", "ct event set new",
		"tcp flags set psh", "tcp dport set 7", "meta cpu vmap { 0 : drop, * : accept }", "numgen inc mod 2 vmap { 0 : drop, 1 : accept }",
		"rt classid . tcp dport { 0 . 22, 1 . 30000 }", "tcp dport vmap { 0-1024 : accept, 1025-65535 : continue, * : drop }",
		"tcp dport { 1-21, 23, 25, 80, 443, 1024, 5000, 8080, 30000-30001 }", `meta iifname . tcp dport vmap { "u0" . 22 : drop, "eth0" . 22 : accept }`,
	}
	if inward {
		all = append(all, "socket transparent 1", "socket mark 0", "socket wildcard 0", "fib daddr . iif type local", "fib saddr . iif oif exists")
	}
	return g.one(all...)
}

// nftDeviceTable draws a chain at the device's own hooks, outside the IP stack.
func (g *generator) nftDeviceTable(b *strings.Builder) {
	hook, device := g.one("ingress", "egress"), g.one("u0", "u1")
	fmt.Fprintf(b, "table netdev d {\n\tchain d0 {\n\t\ttype filter hook %s device %s priority %d; policy accept;\n", hook, device, g.IntN(9)-4)
	for range 1 + g.IntN(2) {
		words := []string{"meta l4proto tcp"}
		if g.chance(50) {
			words = append(words, g.v4("ip", "ip6")+" "+g.one("saddr ", "daddr ")+g.prefix(g.source()))
		}
		if g.chance(50) {
			words = append(words, "tcp "+g.one("dport ", "sport ")+g.dport())
		}
		if g.chance(10) {
			words = append(words, g.one("meta iifname u0", "meta iifname != u1", "meta protocol ip", "meta length < 60"))
		}
		fmt.Fprintf(b, "\t\t%s %s\n", strings.Join(words, " "), g.one("drop", "accept", "counter", "meta mark set 1"))
	}
	b.WriteString("\t}\n}\n")
}

// nftSeldom draws a rule that only a base chain at some hooks may have, or "".
func (g *generator) nftSeldom(hook netfilter.Hook) string {
	if (hook == netfilter.Forward || hook == netfilter.Input) && g.chance(5) {
		return "ct state " + g.one("invalid", "invalid,untracked", "new") + " synproxy mss 1460 wscale 7"
	}
	return ""
}

// nftLarge fills a table up, so that chains are looked up in another way.
func (g *generator) nftLarge(b *strings.Builder) {
	if !g.chance(4) {
		return
	}
	for i := range 14 {
		fmt.Fprintf(b, "\tchain f%d {\n\t\tcounter\n\t}\n", i)
	}
}
