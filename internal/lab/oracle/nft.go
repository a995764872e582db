package oracle

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// nftChains are what a rule may jump to, by what their callers allow: chains that stand below prerouting, input and
// output may reject and ask for the incoming interface's address type, those below postrouting may not.
type nftChains struct {
	inward  []string
	outward []string
}

// nftHook is where a base chain may stand.
type nftHook struct {
	hook       netfilter.Hook
	priorities []int
}

// At -200 a chain ties with conntrack itself, at 0, -150 and -300 with the iptables tables: there the order of registration
// decides, which the kernel tells (NFNL_SUBSYS_HOOK, since 5.14).
func nftHooks() []nftHook {
	return []nftHook{
		{netfilter.Prerouting, []int{-350, -300, -250, -201, -200, -199, -150, -101, -50, 5, 77}},
		{netfilter.Input, []int{-151, -150, -99, -1, 0, 7, 49, 51, 200}},
		{netfilter.Output, []int{-301, -250, -200, -199, -149, -1, 0, 7, 51}},
		{netfilter.Postrouting, []int{-151, 11, 99, 150, 300}},
		{netfilter.Forward, []int{-151, -150, -99, -1, 0, 7, 49, 51, 200}},
	}
}

// nftDocument draws an nft script of one or two tables.
func (g *generator) nftDocument() string {
	var b strings.Builder
	used := map[string]bool{}
	for i := range 1 + g.IntN(2) {
		g.inet = g.chance(66)
		family := string(g.family)
		if g.inet {
			family = "inet"
		}
		fmt.Fprintf(&b, "table %s t%d {\n", family, i)
		if g.chance(3) {
			b.WriteString("\tflags dormant;\n")
		}
		g.nftSets(&b)
		g.nftUserChains(&b)
		g.nftLarge(&b)
		for j := range 1 + g.IntN(4) {
			g.nftBaseChain(&b, j, used)
		}
		b.WriteString("}\n")
	}
	if g.chance(10) {
		g.nftDeviceTable(&b)
	}
	if g.chance(15) { // a table of the other family must change nothing
		fmt.Fprintf(&b, "table %s other { chain i { type filter hook input priority -7; policy drop; }; }\n", g.v4("ip6", "ip"))
	}
	return b.String()
}

// nftSets declares the sets and maps that rules refer to: addresses s, networks n, ports p, address and port c, port to
// mark m, and verdicts v (which lead nowhere else).
func (g *generator) nftSets(b *strings.Builder) {
	kind := g.v4("ipv4_addr", "ipv6_addr")
	fmt.Fprintf(b, "\tset s { type %s; elements = { %s, %s, %s } }\n", kind, g.universe.Sources[0][0], g.universe.Sources[0][3], g.universe.Sources[1][1])
	fmt.Fprintf(b, "\tset n { type %s; flags interval; elements = { %s-%s, %s } }\n", kind,
		g.universe.Sources[0][1], g.universe.Sources[0][4], g.universe.Sources[1][2])
	fmt.Fprintf(b, "\tset p { type inet_service; flags interval; elements = { 22, 1024-8079, 30001, 65535 } }\n")
	fmt.Fprintf(b, "\tset empty { type inet_service; }\n")
	fmt.Fprintf(b, "\tset c { type %s . inet_service; flags interval; elements = { %s . 1000-30001, %s . 65535, %s . 0-65535 } }\n", kind,
		g.universe.Sources[0][0], g.universe.Sources[1][0], g.universe.Sources[0][2])
	fmt.Fprintf(b, "\tset st { type ct_state . inet_service; elements = { invalid . 22, established . 30000, invalid . 30002, untracked . 30001 } }\n")
	fmt.Fprintf(b, "\tmap m { type inet_service : mark; flags interval; elements = { 22 : 1, 1024-1025 : 2, 30000-30010 : 3, 65535 : 0x11 } }\n")
	fmt.Fprintf(b, "\tmap v { type inet_service : verdict; flags interval; elements = { 22 : drop, 1024-1025 : accept, 30001-30002 : continue, 65535 : return } }\n")
}

func (g *generator) nftUserChains(b *strings.Builder) {
	all := g.nftPool()
	for i, chain := range all.inward {
		onward := nftChains{inward: all.inward[i+1:]}
		g.nftChain(b, chain, "", onward, true)
	}
	for i, chain := range all.outward {
		g.nftChain(b, chain, "", nftChains{outward: all.outward[i+1:]}, false)
	}
}

func (g *generator) nftPool() nftChains {
	return nftChains{inward: []string{"a0", "a1", "a2"}, outward: []string{"b0", "b1"}}
}

func (g *generator) nftBaseChain(b *strings.Builder, number int, used map[string]bool) {
	hooks := nftHooks()
	if g.universe.Through {
		hooks[1], hooks[4] = hooks[4], hooks[1]
	}
	h := hooks[g.IntN(len(hooks))]
	if g.chance(45) {
		h = hooks[g.IntN(2)] // where most of the packets' way is
	}
	priority := h.priorities[g.IntN(len(h.priorities))]
	place := fmt.Sprint(h.hook, priority)
	if used[place] && g.chance(60) {
		return // ties are welcome, but not the rule
	}
	used[place] = true
	policy := "accept"
	if g.chance(15) {
		policy = "drop"
	}
	kind := "filter"
	if h.hook == netfilter.Output && g.chance(20) {
		kind = "route"
	}
	if g.chance(8) && priority > -200 && h.hook != netfilter.Forward {
		kind = "nat"
	}
	header := fmt.Sprintf("type %s hook %s priority %d; policy %s;", kind, h.hook, priority, policy)
	inward := h.hook != netfilter.Postrouting
	chains := g.nftPool()
	if inward {
		chains.outward = nil
	} else {
		chains.inward = nil
	}
	if kind == "nat" { // jumping there would put rules into the chain that a nat chain refuses
		chains = nftChains{}
	} else if rule := g.nftSeldom(h.hook); rule != "" {
		header += "\n\t\t" + rule
	}
	g.nftChain(b, fmt.Sprintf("x%d", number), header, chains, inward)
}

func (g *generator) nftChain(b *strings.Builder, name, header string, chains nftChains, inward bool) {
	fmt.Fprintf(b, "\tchain %s {\n", name)
	if header != "" {
		fmt.Fprintf(b, "\t\t%s\n", header)
	}
	for range g.IntN(5) {
		fmt.Fprintf(b, "\t\t%s\n", g.nftRule(append(chains.inward, chains.outward...), inward))
	}
	if g.chance(10) { // a list of rules that differ in one value
		verdict := g.one("accept", "drop", "return")
		for range 4 + g.IntN(3) {
			fmt.Fprintf(b, "\t\ttcp dport %s %s\n", g.dport(), verdict)
		}
	}
	b.WriteString("\t}\n")
}

// nftRule draws up to three steps and, mostly, a verdict.
func (g *generator) nftRule(chains []string, inward bool) string {
	var words []string
	for range g.IntN(3) {
		words = append(words, g.nftStep(inward))
	}
	if g.chance(35) {
		words = append(words, "ct state "+g.one("", "", "!= ")+g.nftStates())
	}
	if g.chance(7) {
		return strings.Join(append(words, g.nftVerdictMap(chains)), " ")
	}
	return strings.Join(append(words, g.nftVerdict(chains, inward)), " ")
}

func (g *generator) nftStates() string {
	return strings.Join(g.some(1, 3, "invalid", "invalid", "new", "related", "established", "untracked"), ",")
}

// nftStep draws one match or statement.
func (g *generator) nftStep(inward bool) string {
	switch n := g.IntN(100); {
	case n < 4:
		return g.nftRare(inward)
	case n < 25:
		return g.nftConntrack()
	case n < 45:
		return g.nftAddress()
	case n < 70:
		return g.nftTransport()
	case n < 85:
		return g.nftMeta(inward)
	}
	return g.nftStatement(inward)
}

func (g *generator) nftConntrack() string {
	return g.one(
		"ct state invalid", "ct state { invalid, new }", "ct state != { invalid, established }", "ct state ! established",
		"ct state ! invalid", "ct state & (invalid | new) == invalid", "ct state & (established | related) == 0",
		"ct state == invalid", "ct state != invalid", "ct state . tcp dport @st", "ct state untracked",
		"ct mark 0", "ct mark != 1", "ct mark & 1 == 0", "ct status dnat", "ct status ! dnat", "ct direction original",
		"ct direction != reply", `ct helper "ftp"`, "ct expiration < 10s", "ct original "+g.v4("ip", "ip6")+" saddr "+g.source().String(),
		"ct zone 0", "ct packets > 0", "ct bytes < 100", "ct status . ct mark { dnat . 1, snat . 2 }",
		"ct status vmap { dnat : drop, snat : accept }",
	)
}

func (g *generator) nftAddress() string {
	ip := g.v4("ip", "ip6")
	if g.inet && g.chance(5) {
		return g.v4("ip6", "ip") + " saddr != " + g.v4("2001:db8::1", "192.0.2.77") // the other family: never
	}
	return g.one(
		ip+" saddr "+g.one("", "!= ")+g.prefix(g.source()),
		ip+" saddr "+g.one("", "!= ")+g.span(),
		ip+" saddr "+g.one("", "!= ")+"{ "+g.source().String()+", "+g.source().String()+" }",
		ip+" saddr "+g.one("", "!= ")+"@s", ip+" saddr "+g.one("", "!= ")+"@n",
		ip+" daddr "+g.one("", "!= ")+g.universe.Local[g.IntN(2)].String(),
		ip+" daddr @s", ip+" saddr . tcp dport "+g.one("", "!= ")+"@c",
		ip+" saddr & "+g.v4("0.0.0.1", "::1")+" == "+g.v4("0.0.0.1", "::1"),
	)
}

func (g *generator) nftTransport() string {
	return g.one(
		"tcp dport "+g.one("", "!= ")+g.dport(), "tcp dport "+g.one("", "!= ")+g.ports(g.universe.Dports, "-"),
		"tcp dport "+g.one("", "!= ")+"{ 22, "+g.ports(g.universe.Dports[1:], "-")+" }",
		"tcp dport "+g.one("", "!= ")+"@p", "tcp dport @empty", "tcp dport != @empty", "tcp sport "+g.one("< ", ">= ", "!= ", "")+g.sport(),
		"th dport "+g.dport(), "udp dport 53", "tcp flags ack", "tcp flags fin,syn", "tcp flags ! syn", "tcp flags == ack",
		"tcp flags != ack", "tcp flags & (fin|syn|rst|ack) == ack", "tcp flags & (syn|ack) != 0", "tcp flags { ack, fin | ack }",
		"tcp sequence 1", "tcp ackseq 1000", "tcp ackseq != 1000", "tcp window 1024", "tcp sport . tcp dport { 443 . 22, 80 . 30000 }",
		"tcp dport & 1 == 0",
	)
}

func (g *generator) nftMeta(inward bool) string {
	all := []string{
		"meta mark 0", "meta mark != 0", "meta mark 1", "meta mark & 0x2 == 0x2", "meta mark & 0x1 != 0x1", "meta mark { 1, 2-3 }",
		`iifname "u0"`, `iifname != "u0"`, `iifname "u*"`, `iifname { "u1", "eth0" }`, `iifname "eth*"`, `oifname "u1"`, `oifname != "u1"`,
		"iif u0", "iif != u1", "meta l4proto tcp", "meta l4proto != udp", "meta l4proto { tcp, udp }", "meta l4proto udp",
		"meta length 40", "meta length 41-60", "meta length < 60", "meta pkttype host",
		"meta pkttype { broadcast, multicast }", g.v4("ip ttl", "ip6 hoplimit") + g.one(" 64", " < 64", " != 64"),
		g.v4("ip dscp", "ip6 dscp") + g.one(" cs0", " != cs0", " cs1"), "meta iifgroup 0", "meta oifgroup != 0", "meta protocol " + g.v4("ip", "ip6"),
		"meta iiftype ether", `meta iifkind "veth"`, "fib daddr type local", "fib daddr type != local", "fib saddr type unicast",
	}
	if g.inet {
		all = append(all, "meta nfproto ipv4", "meta nfproto ipv6")
	}
	if inward {
		all = append(all, "fib daddr type { local, broadcast }")
	}
	return g.one(all...)
}

func (g *generator) nftStatement(inward bool) string {
	all := []string{
		"meta mark set 1", "meta mark set 0x2", "meta mark set meta mark | 0x10", "meta mark set meta mark & 0x1", "meta mark set meta mark ^ 0x3",
		"meta mark set tcp dport map @m", "meta mark set ct mark", "ct mark set 1", "ct mark set meta mark", "counter",
		"meta priority set 1:1", "meta mark set tcp sport map { 443 : 1, 80 : 2 }",
	}
	if inward {
		all = append(all, "notrack", "notrack")
	}
	return g.one(all...)
}

func (g *generator) nftVerdictMap(chains []string) string {
	target := "accept"
	if len(chains) > 0 {
		target = g.one("jump ", "goto ") + g.one(chains...)
	}
	return g.one(
		"tcp dport vmap @v",
		"ct state vmap { invalid : "+g.one("drop", target, "continue")+", established : accept, untracked : "+target+" }",
		"tcp dport vmap { 22 : "+target+", 1024-8080 : drop, 30000-30010 : "+target+" }",
		`iifname vmap { "u0" : `+target+`, "u1" : `+g.one("drop", "return")+` }`,
		"meta mark vmap { 0 : "+target+", 1-3 : drop }",
		g.v4("ip", "ip6")+" saddr vmap { "+g.universe.Sources[0][0].String()+" : drop, "+g.universe.Sources[1][0].String()+" : "+target+" }",
		g.v4("ip", "ip6")+" saddr . tcp dport vmap { "+g.universe.Sources[0][0].String()+" . 22-1025 : drop }",
	)
}

func (g *generator) nftVerdict(chains []string, inward bool) string {
	if len(chains) > 0 && g.chance(30) {
		return g.one("jump ", "goto ") + g.one(chains...)
	}
	all := []string{"accept", "accept", "drop", "counter drop", "counter drop", "return", "continue", ""}
	if inward {
		all = append(all, "reject with tcp reset", "reject with tcp reset", "reject")
	}
	if inward && g.inet {
		all = append(all, "reject with icmpx admin-prohibited")
	}
	return g.one(all...)
}
