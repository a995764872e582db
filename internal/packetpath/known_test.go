package packetpath

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

var askIP = Query{Question: A, Family: netfilter.IP, In: "eth0"}

// bearable is far above what any of these takes on a loaded machine, and far below what it took without an index or a bound.
const bearable = 10 * time.Second

func soon(t *testing.T, work func()) {
	t.Helper()
	start := time.Now()
	work()
	if took := time.Since(start); took > bearable {
		t.Errorf("it took %s", took)
	}
}

// TestManyHookedChains: the kernel's list of what runs where is as long as the list of base chains.
func TestManyHookedChains(t *testing.T) {
	const n = 100_000
	table := inetTable("t")
	node := testNode(table)
	for i := range n {
		name := fmt.Sprint("c", i)
		table.Chains = append(table.Chains, hooked(name, netfilter.Input, 0))
		node.HookOrder = append(node.HookOrder, HookPlace{
			Family: netfilter.IP, Hook: netfilter.Input, Function: "nft_do_chain_inet", TableFamily: netfilter.INET, Table: "t", Chain: fmt.Sprint("c", n-1-i),
		})
	}
	soon(t, func() {
		e := Compile(node)
		list := e.stageChains(stage{hook: netfilter.Input}, netfilter.IP)
		if len(list) != n || list[0].chain.Name != fmt.Sprint("c", n-1) || list[n-1].place != n {
			t.Errorf("%d chains, the first is %s at %d", len(list), list[0].chain.Name, list[0].place)
		}
	})
}

// TestPlaces: whatever is registered there is found by what the kernel says of it, the first one first.
func TestPlaces(t *testing.T) {
	node := testNode()
	in := func(f netfilter.Family, p int32, function string, tf netfilter.Family, table, chain string) HookPlace {
		return HookPlace{Family: f, Hook: netfilter.Prerouting, Priority: p, Function: function, TableFamily: tf, Table: table, Chain: chain}
	}
	node.HookOrder = []HookPlace{
		in(netfilter.IP6, -200, "ipv6_conntrack_in", "", "", ""),
		in(netfilter.IP, -200, "nf_conntrack_in", "", "", ""),
		in(netfilter.INET, -150, "nft_do_chain_inet", netfilter.INET, "t", "a"),
		in(netfilter.IP, -150, "ipt_do_table", "", "", ""),
		in(netfilter.IP, -150, "nft_do_chain_ipv4", "", "t", "a"),
		in(netfilter.IP, -150, "nft_do_chain_inet", netfilter.INET, "t", "b"),
	}
	e := Compile(node)
	st := stage{hook: netfilter.Prerouting}
	table := func(b netfilter.Backend, f netfilter.Family) *netfilter.Table {
		return &netfilter.Table{Backend: b, Family: f, Name: "t"}
	}
	chain := func(name string) *netfilter.Chain { return hooked(name, netfilter.Prerouting, -150) }
	for _, c := range []struct {
		b    baseChain
		want int
	}{
		{baseChain{priority: -200, kind: baseConntrack}, 2},
		{baseChain{priority: -199, kind: baseConntrack}, 0},
		{baseChain{priority: -150, table: table(netfilter.NFTables, netfilter.INET), chain: chain("a")}, 3},
		{baseChain{priority: -150, table: table(netfilter.NFTables, netfilter.IP), chain: chain("a")}, 5},
		{baseChain{priority: -150, table: table(netfilter.NFTables, netfilter.INET), chain: chain("b")}, 6},
		{baseChain{priority: -150, table: table(netfilter.NFTables, netfilter.INET), chain: chain("c")}, 0},
		{baseChain{priority: -150, table: table(netfilter.Legacy, netfilter.IP), chain: chain("x")}, 4},
		{baseChain{priority: -150, table: table(netfilter.NFTables, netfilter.INET), kind: baseOpaque}, 0},
	} {
		if got := e.place(&c.b, st, netfilter.IP); got != c.want {
			t.Errorf("%+v: place %d, want %d", c.b, got, c.want)
		}
	}
}

// TestManyAddresses: every rule that asks for an address type shares its addresses with the others.
func TestManyAddresses(t *testing.T) {
	node := inputRules(20_000, func(i int) string {
		return fmt.Sprintf("-m addrtype --dst-type LOCAL -p tcp -m tcp --sport %d -m ttl --ttl-gt %d -j DROP", i, i%200)
	})
	for i := range 20_000 {
		node.Local = append(node.Local, netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 1}))
	}
	soon(t, func() {
		e := Compile(node)
		for range 20 {
			if _, err := e.Evaluate(askIP); err != nil {
				t.Fatal(err)
			}
		}
		if len(e.known.types) > 8 {
			t.Errorf("%d sets of addresses", len(e.known.types))
		}
	})
}

// TestManyInterfaces: a question for each of them, without a search for each.
func TestManyInterfaces(t *testing.T) {
	node := inputRules(1, func(int) string { return "-m conntrack --ctstate INVALID -j DROP" })
	const n = 20_000
	for i := range n {
		node.Interfaces = append(node.Interfaces, Interface{
			Name: fmt.Sprint("if", i), Index: uint32(10 + i), Type: 1, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 1})},
		})
		node.OpaqueHooks = append(node.OpaqueHooks, OpaqueHook{Name: fmt.Sprint("xdp ", i), Interface: fmt.Sprint("if", i)}, OpaqueHook{Name: fmt.Sprint("bpf ", i)})
	}
	soon(t, func() {
		e := Compile(node)
		for i := range n {
			a, err := e.Evaluate(Query{Question: A, Family: netfilter.IP, In: fmt.Sprint("if", i)})
			if err != nil || a.Verdict != Dropped {
				t.Fatalf("if%d: %s %v", i, a.Verdict, err)
			}
		}
	})
	node.Ruleset = &netfilter.Ruleset{}
	if a, _ := Evaluate(node, Query{Question: A, Family: netfilter.IP, In: "if7"}); len(a.DependsOn) > named+3 || !slices.Contains(a.DependsOn, "xdp 7 may drop") {
		t.Errorf("%d programs: %.300q", len(a.DependsOn), a.DependsOn)
	}
}

// TestDropsOfSets: what a set says of INVALID is looked up once for all rules, and rules that jump are not followed for ever.
func TestDropsOfSets(t *testing.T) {
	table := inetTable("t")
	set := bigSet("s", 100_000)
	for i := range set.Elements {
		set.Elements[i].Key = append(set.Elements[i].Key, netfilter.Exactly(netfilter.Num(netfilter.StateInvalid)))
	}
	table.Sets = []*netfilter.Set{set}
	var rules []*netfilter.Rule
	for range 5_000 {
		rules = append(rules, ruleOf(
			netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.IPSaddr}, {Field: netfilter.CTState}}, Set: "s"}, netfilter.Verdict{Kind: netfilter.Drop}))
	}
	table.Chains = []*netfilter.Chain{hooked("in", netfilter.Input, 0, rules...)}
	soon(t, func() {
		if e := Compile(testNode(table)); len(e.Drops()) != len(rules) || e.Missed() != "" {
			t.Errorf("%d drops, missed: %q", len(e.Drops()), e.Missed())
		}
	})
}

func TestDropsThroughChains(t *testing.T) {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
	for depth := range 5 {
		fmt.Fprintf(&b, ":d%d -\n", depth)
		for range 60 {
			fmt.Fprintf(&b, "-A d%d -j d%d\n", depth, depth+1)
		}
	}
	b.WriteString(":d5 -\n-A d5 -j RETURN\n")
	for range 3000 {
		b.WriteString("-A INPUT -m conntrack --ctstate INVALID -j d0\n")
	}
	soon(t, func() {
		e := Compile(testNode(parseSave(b.String(), netfilter.Legacy, netfilter.IP)...))
		if e.Drops(); e.Missed() != TooComplex {
			t.Errorf("missed: %q", e.Missed())
		}
	})
}

// TestMostDrops: beyond the bound it is said that there are more.
func TestMostDrops(t *testing.T) {
	e := Compile(testNode(manyDrops(mostDrops + 1)...))
	if n := len(e.Drops()); n != mostDrops || e.Missed() != TooComplex {
		t.Errorf("%d drops, missed: %q", n, e.Missed())
	}
	e = Compile(testNode(manyDrops(10)...))
	if n := len(e.Drops()); n != 10 || e.Missed() != "" {
		t.Errorf("%d drops, missed: %q", n, e.Missed())
	}
}

// TestNodeReserve: behind the node's budget and its reserve nothing is walked any more, and nothing is said to protect.
func TestNodeReserve(t *testing.T) {
	e := Compile(hostile["jump tree"]())
	e.meter.node = -nodeReserve
	a, err := e.Evaluate(askIP)
	if err != nil || a.Verdict != Depends || a.Reset != ResetDepends || !a.Unlisted || !slices.Equal(a.DependsOn, []string{TooComplex}) {
		t.Errorf("%+v %v", a, err)
	}
	if e.meter.node < -nodeReserve {
		t.Errorf("%d taken", -nodeReserve-e.meter.node)
	}
}

// TestUntil: who does not wait any more costs no more than a moment.
func TestUntil(t *testing.T) {
	done := make(chan struct{})
	e := Compile(hostile["jump tree that writes"]())
	e.Until(done)
	if _, err := e.Evaluate(askIP); err != nil || e.meter.node == -nodeReserve {
		t.Fatalf("%d left, %v", e.meter.node, err)
	}
	close(done)
	a, err := e.Evaluate(askIP)
	if err != nil || a.Verdict == Dropped || a.Verdict == NotDropped || e.meter.node > -nodeReserve {
		t.Errorf("%s, %d left, %v", a.Verdict, e.meter.node, err)
	}
}

// TestFold: a small answer keeps its verdict, a witness of each fate, and no class.
func TestFold(t *testing.T) {
	e := Compile(testNode(accessList(300)...))
	a, err := e.Evaluate(askIP)
	if err != nil {
		t.Fatal(err)
	}
	was, size := a, a.Size()
	a.Fold()
	fates := map[string]bool{}
	for _, o := range was.Outcomes {
		fates[o.Fate] = true
	}
	if a.Verdict != was.Verdict || len(a.Outcomes) != len(fates) || a.Size() > size/10 || size < 1000*len(was.Outcomes) {
		t.Errorf("%s, %d outcomes of %d fates, %d of %d bytes", a.Verdict, len(a.Outcomes), len(fates), a.Size(), size)
	}
	for _, o := range a.Outcomes {
		if o.Contains(o.Witness) || !strings.Contains(o.Region, "regions, the first: ") {
			t.Errorf("%+v", o)
		}
	}
}

// TestMostRules: a chain that is too long to be compiled is not known, for this question and for the next ones; shorter ones are.
func TestMostRules(t *testing.T) {
	rule := func(i int) string {
		return fmt.Sprintf("-p tcp -m tcp --sport %d --dport %d -j MARK --set-xmark 0x%x", i%60000, i/7%60000, i)
	}
	for n, want := range map[int]Verdict{mostRules + 1: Depends, 1000: Dropped} {
		node := inputRules(n, rule)
		in := node.Ruleset.Tables[0].Chains[0]
		drop := &netfilter.Rule{Number: 1, Text: "-m conntrack --ctstate INVALID -j DROP"}
		in.Rules = append([]*netfilter.Rule{drop}, in.Rules...)
		e := Compile(node)
		for range 2 {
			a, err := e.Evaluate(askIP)
			if err != nil || a.Verdict != want || want == Depends && !slices.Contains(a.DependsOn, TooComplex) {
				t.Errorf("%d rules: %s %q %v", n, a.Verdict, a.DependsOn, err)
			}
		}
	}
}

// TestTextsOfLargeSets: outcomes whose classes share a large set share its words, too.
func TestTextsOfLargeSets(t *testing.T) {
	node := testNode(sharedSet(20_000, 2_000, false)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a, err := Evaluate(node, askIP)
	runtime.ReadMemStats(&after)
	if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; err != nil || len(a.Outcomes) < 2 || mib > 1200 {
		t.Errorf("%d outcomes, %d MiB, %v", len(a.Outcomes), mib, err)
	}
}
