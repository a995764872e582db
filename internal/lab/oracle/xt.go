package oracle

import (
	"fmt"
	"strings"
)

// xtTable says what may stand where in an iptables table.
type xtTable struct {
	name   string
	chains []string
	reject bool
	track  bool // CT --notrack
	policy bool // a policy of DROP is allowed
}

func xtTables() []xtTable {
	return []xtTable{
		{name: "raw", chains: []string{"PREROUTING", "OUTPUT"}, track: true, policy: true},
		{name: "mangle", chains: []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}, policy: true},
		{name: "nat", chains: []string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}},
		{name: "filter", chains: []string{"INPUT", "FORWARD", "OUTPUT"}, reject: true, policy: true},
		{name: "security", chains: []string{"INPUT", "FORWARD", "OUTPUT"}, policy: true},
	}
}

// xtPlace is where a rule stands: the builtin chain, or "" in a user chain, and whether the rule is for TCP alone.
type xtPlace struct {
	table xtTable
	chain string
	tcp   bool
}

// xtDocument draws an iptables-restore document of one to three tables.
func (g *generator) xtDocument() string {
	var b strings.Builder
	tables := xtTables()
	wanted := map[int]bool{3: g.chance(85)} // filter is the usual one
	for range g.IntN(3) {
		wanted[g.IntN(len(tables))] = true
	}
	for i, t := range tables {
		if wanted[i] {
			g.xtTable(&b, t)
		}
	}
	return b.String()
}

func (g *generator) xtTable(b *strings.Builder, t xtTable) {
	fmt.Fprintf(b, "*%s\n", t.name)
	for _, chain := range t.chains {
		policy := "ACCEPT"
		if t.policy && g.chance(12) {
			policy = "DROP"
		}
		fmt.Fprintf(b, ":%s %s [0:0]\n", chain, policy)
	}
	users := []string{"C0", "C1", "C2", "C3"}[:g.IntN(5)]
	for _, chain := range users {
		fmt.Fprintf(b, ":%s - [0:0]\n", chain)
	}
	for _, chain := range t.chains {
		for range g.IntN(5) {
			fmt.Fprintf(b, "-A %s %s\n", chain, g.xtRule(t, chain, users))
		}
		if g.chance(10) {
			g.xtRun(b, t, chain)
		}
	}
	for i, chain := range users {
		for range g.IntN(4) {
			fmt.Fprintf(b, "-A %s %s\n", chain, g.xtRule(t, "", users[i+1:])) // only onward: no loops
		}
	}
	b.WriteString("COMMIT\n")
}

// xtRun draws a list of rules that differ in one word.
func (g *generator) xtRun(b *strings.Builder, t xtTable, chain string) {
	target := g.one("ACCEPT", "RETURN")
	if t.policy { // nat takes no DROP
		target = g.one("ACCEPT", "DROP", "DROP", "RETURN")
	}
	word := g.one("-s", "-d", "-p tcp -m tcp --sport", "-p tcp -m tcp --dport")
	for range 4 + g.IntN(3) {
		value := g.source().String()
		switch {
		case strings.HasSuffix(word, "--sport"):
			value = g.sport()
		case strings.HasSuffix(word, "--dport"):
			value = g.one(g.dport(), g.dport(), g.ports(g.universe.Dports, ":"))
		}
		fmt.Fprintf(b, "-A %s %s %s -j %s\n", chain, word, value, target)
	}
}

// xtRule draws matches and a target. Chain is the builtin chain it stands in, "" in a user chain.
func (g *generator) xtRule(t xtTable, chain string, users []string) string {
	var words []string
	at := xtPlace{table: t, chain: chain, tcp: g.chance(60)}
	if at.tcp {
		words = append(words, "-p tcp")
	} else if g.chance(15) {
		words = append(words, g.one("-p 6", "! -p udp", "-p icmp", "-p udp", "-p all", "! -p tcp"))
	}
	words = append(words, g.xtHeader(chain)...)
	words = append(words, g.some(0, 2, g.xtMatches(at)...)...)
	if g.chance(3) && at.tcp {
		words = append(words, g.xtMatches(at)[0])
	}
	return strings.Join(append(words, g.xtTarget(at, users)), " ")
}

// xtHeader draws addresses and interfaces. It never writes "! -i +", which matches nothing: iptables-legacy-save (1.8.9)
// leaves it out, so that no reader of the dump can know.
func (g *generator) xtHeader(chain string) []string {
	not := g.one("", "", "! ")
	out := chain == "OUTPUT" || chain == "POSTROUTING"
	var words []string
	if !out && g.chance(25) {
		words = append(words, not+"-i "+g.one("u0", "u1", "u+", "eth+"))
	}
	if (out || chain == "FORWARD") && g.chance(25) {
		words = append(words, not+"-o "+g.one("u0", "u1", "u+", "eth+"))
	}
	if g.chance(25) {
		words = append(words, g.one("", "! ")+"-s "+g.prefix(g.source()))
	}
	if g.chance(15) {
		words = append(words, g.one("", "! ")+"-d "+g.prefix(g.source()))
	}
	return words
}

// xtMatches draws one of every kind of match that may stand there.
func (g *generator) xtMatches(at xtPlace) []string {
	not := func() string { return g.one("", "", "! ") }
	all := []string{
		"-m conntrack " + not() + "--ctstate " + g.xtStates(),
		"-m conntrack " + not() + "--ctstate " + g.xtStates(),
		"-m conntrack --ctstate INVALID",
		"-m state " + not() + "--state " + strings.Join(g.some(1, 3, "INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED"), ","),
		"-m conntrack " + not() + "--ctstate " + g.xtStates() + " " + g.xtOther(),
		"-m conntrack " + g.xtOther(),
		"-m connmark " + not() + "--mark " + g.one("0x0", "0x1", "0x0/0x1"),
		"-m mark " + not() + "--mark " + g.one("0x0", "0x1", "0x2", "0x1/0x1", "0x0/0x2", "0x3/0xff"),
		"-m iprange " + not() + "--src-range " + g.span(),
		"-m addrtype " + g.one("--dst-type LOCAL", "! --dst-type LOCAL", "--src-type LOCAL", "--src-type UNICAST",
			g.v4("--dst-type BROADCAST", "--dst-type UNREACHABLE")),
		"-m length " + not() + "--length " + g.one("40", "60", "0:59", "41:65535"),
		"-m pkttype " + not() + "--pkt-type " + g.one("unicast", "broadcast", "multicast"),
		"-m helper " + not() + "--helper ftp",
		"-m connbytes " + not() + "--connbytes 0:100 --connbytes-dir both --connbytes-mode packets",
		"-m comment --comment " + g.one("c", `"two words"`),
		g.v4("-m ttl ", "-m hl ") + g.v4("--ttl-", "--hl-") + g.one("eq 64", "eq 63", "lt 64", "gt 63"),
	}
	all = append(all, g.xtRareMatches(not, at)...)
	if at.chain == "PREROUTING" || at.chain == "INPUT" { // refused elsewhere
		all = append(all, "-m socket"+g.one("", " --nowildcard"), "-m devgroup "+not()+"--src-group "+g.one("0x0", "0x1"))
	}
	if !at.tcp {
		return all
	}
	return append(all,
		not()+"--sport "+g.one(g.sport(), g.ports(g.universe.Sports, ":")),
		not()+"--dport "+g.one(g.dport(), g.ports(g.universe.Dports, ":")),
		"-m multiport "+not()+"--dports "+strings.Join([]string{"22", g.dport(), g.ports(g.universe.Dports, ":")}, ","),
		"-m multiport "+not()+"--ports "+strings.Join([]string{g.sport(), g.dport()}, ","),
		"-m multiport "+not()+"--sports "+g.sport(),
		not()+"--tcp-flags "+g.one("SYN,ACK,FIN,RST ACK", "ALL ACK", "ALL NONE", "FIN,SYN FIN", "ACK ACK", "PSH,URG PSH", "SYN,RST,ACK SYN"),
		not()+"--syn",
	)
}

func (g *generator) xtStates() string {
	return strings.Join(g.some(1, 4, "INVALID", "INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"), ",")
}

func (g *generator) xtOther() string {
	return g.one("--ctdir ORIGINAL", "--ctdir REPLY", "--ctstatus NONE", "--ctstatus ASSURED", "! --ctstatus CONFIRMED",
		"--ctproto 6", "! --ctproto 6", "--ctexpire 1:100", "--ctorigdst "+g.source().String(),
		"! --ctorigsrc "+g.source().String(), "--ctreplsrc "+g.source().String())
}

// xtTarget draws a target that the table allows.
func (g *generator) xtTarget(at xtPlace, users []string) string {
	if len(users) > 0 && g.chance(30) {
		return g.one("-j ", "-g ") + g.one(users...)
	}
	targets := []string{
		"-j ACCEPT", "-j ACCEPT", "-j DROP", "-j DROP", "-j RETURN",
		"-j MARK --set-xmark " + g.one("0x1/0xffffffff", "0x2/0xff", "0x3/0x1", "0x0/0xffffffff"),
		"-j MARK --or-mark 0x2", "-j MARK --and-mark 0x1", "-j MARK --xor-mark 0x3",
		"-j CONNMARK " + g.one("--restore-mark", "--set-mark 0x5", "--save-mark"),
		"",
	}
	if at.table.name == "nat" { // a DROP there is refused by the tool
		targets = []string{"-j ACCEPT", "-j RETURN", ""}
	}
	if at.table.reject && at.tcp {
		targets = append(targets, "-j REJECT --reject-with tcp-reset", "-j REJECT --reject-with tcp-reset")
	}
	if at.table.reject {
		targets = append(targets, "-j REJECT", "-j REJECT --reject-with "+g.v4("icmp-admin-prohibited", "icmp6-adm-prohibited"))
	}
	if at.table.track {
		targets = append(targets, "-j CT --notrack", "-j CT --notrack", "-j NOTRACK")
	}
	if g.chance(12) {
		return g.xtRareTarget(at)
	}
	if g.chance(3) { // who listens is not in the rules: undecided
		return g.one("-j NFQUEUE --queue-num 9", "-j NFQUEUE --queue-num 9 --queue-bypass")
	}
	return g.one(targets...)
}
