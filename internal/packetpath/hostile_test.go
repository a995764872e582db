package packetpath

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// hostile are rulesets made to be expensive, of sizes that the collectors accept.
var hostile = map[string]func() *Node{
	"opaque targets": func() *Node {
		var b strings.Builder
		for _, table := range []string{"raw", "mangle", "filter"} {
			fmt.Fprintf(&b, "*%s\n", table)
			for _, chain := range []string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"} {
				if table == "filter" == strings.HasSuffix(chain, "ROUTING") || table == "raw" && chain == "INPUT" {
					continue
				}
				fmt.Fprintf(&b, ":%s ACCEPT [0:0]\n", chain)
				for i := range 60 {
					fmt.Fprintf(&b, "-A %s -s 10.%d.0.0/16 -j OPAQUE --opaque-%d 00\n", chain, i, i)
					fmt.Fprintf(&b, "-A %s -j OPAQUE --opaque-%d 00\n", chain, i)
				}
			}
		}
		return testNode(parseSave(b.String(), netfilter.Legacy, netfilter.IP)...)
	},
	"opaque matches": func() *Node {
		return inputRules(30_000, func(i int) string { return fmt.Sprintf("-m u32 --u32 0x%x=0 -j MARK --set-xmark 0x0/0x0", i) })
	},
	"opaque matches in front of drops": func() *Node {
		return inputRules(30_000, func(i int) string {
			return fmt.Sprintf("-m u32 --u32 0x%x=0 -s %d.0.0.0/8 -p tcp -m tcp --dport %d: -j DROP", i, i%200, i)
		})
	},
	"random marks": func() *Node {
		return inputRules(2_000, func(i int) string {
			return fmt.Sprintf("-m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x%x/0x%x", 1<<(i%32), 1<<(i%32))
		})
	},
	"overlapping marks": func() *Node {
		return inputRules(2_000, func(i int) string {
			return fmt.Sprintf("-s %d.0.0.0/%d -p tcp -m tcp --sport %d:%d --dport %d: -j MARK --set-xmark 0x%x/0xffffffff",
				i%16<<4, 1+i%4, i*7, 20000+i*7, 1024+i*13, i+1)
		})
	},
	"jump tree": func() *Node { return testNode(jumpTree(40, "")...) },
	"jump tree that writes": func() *Node {
		return testNode(jumpTree(40, "-m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x1/0x1")...)
	},
	"deep jumps": func() *Node { return testNode(deepJumps(50_000)...) },
	"loop": func() *Node {
		return testNode(parseSave("*filter\n:INPUT ACCEPT [0:0]\n:a -\n:b -\n-A INPUT -j a\n-A a -j b\n-A a -j b\n-A b -j a\n-A b -j a\n",
			netfilter.Legacy, netfilter.IP)...)
	},
	"tied chains":         func() *Node { return testNode(tiedChains(400)...) },
	"unreadable tables":   func() *Node { return testNode(unreadable(300)...) },
	"notracks":            func() *Node { return testNode(notracks(5_000)...) },
	"many invalid drops":  func() *Node { return testNode(manyDrops(30_000)...) },
	"drops down a line":   func() *Node { return testNode(dropLine(8_000)...) },
	"masks with holes":    func() *Node { return testNode(holes(20_000)...) },
	"large shared set":    func() *Node { return testNode(sharedSet(50_000, 5_000, false)...) },
	"shared set, written": func() *Node { return testNode(sharedSet(50_000, 5_000, true)...) },
	"verdict maps":        func() *Node { return testNode(verdictMaps(10_000, 500)...) },
	"concatenations":      func() *Node { return testNode(concatenations(20_000, 300)...) },
	"long texts": func() *Node {
		long := strings.Repeat("x", 50_000)
		return inputRules(200, func(i int) string { return fmt.Sprintf("-m string --string %s%d -j OPAQUE --opaque-%s", long, i, long) })
	},
	"overlapping boxes": func() *Node {
		return inputRules(20_000, func(i int) string {
			return fmt.Sprintf("-s %d.%d.0.0/16 -p tcp -m tcp --sport %d:%d --dport %d:%d -m ttl --ttl-gt %d -j %s",
				i%200, i*7%256, i%60000, i%60000+5000, 1024+i*3%50000, 9000+i*3%50000, i%250, []string{"DROP", "ACCEPT"}[i%2])
		})
	},
}

func inputRules(n int, rule func(int) string) *Node {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
	for i := range n {
		fmt.Fprintf(&b, "-A INPUT %s\n", rule(i))
	}
	return testNode(parseSave(b.String(), netfilter.Legacy, netfilter.IP)...)
}

// jumpTree is chains of which each jumps to the next twice.
func jumpTree(n int, rule string) []*netfilter.Table {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j c0\n")
	for i := range n {
		fmt.Fprintf(&b, ":c%d -\n", i)
	}
	fmt.Fprintf(&b, ":c%d -\n", n)
	for i := range n {
		fmt.Fprintf(&b, "-A c%d -j c%d\n-A c%d -j c%d\n", i, i+1, i, i+1)
		if rule != "" {
			fmt.Fprintf(&b, "-A c%d %s\n", i, rule)
		}
	}
	return parseSave(b.String(), netfilter.Legacy, netfilter.IP)
}

func deepJumps(n int) []*netfilter.Table {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j c0\n")
	for i := range n + 1 {
		fmt.Fprintf(&b, ":c%d -\n", i)
	}
	for i := range n {
		fmt.Fprintf(&b, "-A c%d -j c%d\n-A c%d -m conntrack --ctstate INVALID -j DROP\n", i, i+1, i)
	}
	return parseSave(b.String(), netfilter.Legacy, netfilter.IP)
}

func inetTable(name string, chains ...*netfilter.Chain) *netfilter.Table {
	return &netfilter.Table{Backend: netfilter.NFTables, Family: netfilter.INET, Name: name, Chains: chains}
}

func hooked(name string, hook netfilter.Hook, prio int32, rules ...*netfilter.Rule) *netfilter.Chain {
	for i := range rules {
		rules[i].Number = i + 1
	}
	return &netfilter.Chain{
		Name: name, Rules: rules,
		Base: &netfilter.Base{Type: netfilter.FilterChain, Hook: hook, Priority: prio, Policy: netfilter.Accept},
	}
}

func ruleOf(list ...netfilter.Op) *netfilter.Rule {
	return &netfilter.Rule{Ops: list, Text: "made for the test"}
}

// tied is base chains at one priority, each of which marks and drops.
func tiedChains(n int) []*netfilter.Table {
	var out []*netfilter.Table
	for i := range n {
		mark := netfilter.Assign{Field: netfilter.Mark, Xor: netfilter.Num(uint64(i))}
		port := netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.Sport}}, In: []netfilter.Interval{netfilter.Nums(uint64(i), uint64(i)+50)}}
		was := netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.Mark}}, In: []netfilter.Interval{netfilter.Nums(uint64(i/2), uint64(i/2))}}
		rules := func() []*netfilter.Rule {
			return []*netfilter.Rule{ruleOf(port, mark), ruleOf(was, netfilter.Verdict{Kind: netfilter.Drop})}
		}
		out = append(out, inetTable(fmt.Sprint("t", i),
			hooked("a", netfilter.Prerouting, 0, rules()...), hooked("b", netfilter.Input, 0, rules()...),
			hooked("c", netfilter.Output, 0, rules()...), hooked("d", netfilter.Postrouting, 0, rules()...)))
	}
	return out
}

// unreadable is tables read in part, among tied chains.
func unreadable(n int) []*netfilter.Table {
	out := tiedChains(8)
	for i := range n {
		t := inetTable(fmt.Sprint("u", i))
		t.Incomplete = "flags that are not known"
		out = append(out, t)
	}
	return out
}

func notracks(n int) []*netfilter.Table {
	var b strings.Builder
	b.WriteString("*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for i := range n {
		fmt.Fprintf(&b, "-A PREROUTING -s %d.%d.0.0/16 -p tcp -m tcp --sport %d: -j CT --notrack\n", 1+i%200, i%256, i)
		fmt.Fprintf(&b, "-A OUTPUT -d %d.%d.0.0/16 -p tcp -m tcp --dport %d: -j NOTRACK\n", 1+i%200, i%256, i)
	}
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate INVALID -j DROP\n")
	return parseSave(b.String(), netfilter.Legacy, netfilter.IP)
}

// manyDrops is a chain of two drops for each of many pods, whose chains are never reached by the question.
func manyDrops(n int) []*netfilter.Table {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n")
	for i := range n {
		fmt.Fprintf(&b, ":pod%d -\n-A pod%d -s 10.%d.%d.0/24 -m conntrack --ctstate INVALID -j DROP\n-A pod%d -j RETURN\n", i, i, i>>8&255, i&255, i)
	}
	for i := range n {
		fmt.Fprintf(&b, "-A INPUT -i pod%d -j pod%d\n-A FORWARD -o pod%d -j pod%d\n", i, i, i, i)
	}
	return parseSave(b.String(), netfilter.Legacy, netfilter.IP)
}

// dropLine is chains in a line, with a drop in each: the way to the last is as long as the line.
func dropLine(n int) []*netfilter.Table {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n-A INPUT -j c0\n-A FORWARD -j c0\n")
	for i := range n + 1 {
		fmt.Fprintf(&b, ":c%d -\n", i)
	}
	for i := range n {
		fmt.Fprintf(&b, "-A c%d -s 10.0.0.0/8 -m conntrack --ctstate INVALID -j DROP\n-A c%d -s 10.0.0.0/9 -j c%d\n", i, i, i+1)
	}
	return parseSave(b.String(), netfilter.Legacy, netfilter.IP)
}

// holes are matches of addresses and ports under masks that are no prefix.
func holes(n int) []*netfilter.Table {
	rules := make([]*netfilter.Rule, 0, n)
	for i := range n {
		mask, port := netfilter.Num(0xff00f00f), netfilter.Num(0xf0f1)
		rules = append(rules, ruleOf(
			netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.IPSaddr, Mask: &mask}}, In: []netfilter.Interval{netfilter.Exactly(netfilter.Num(uint64(i) << 24))}},
			netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.Dport, Mask: &port}}, In: []netfilter.Interval{netfilter.Nums(uint64(i&0xf0f1), 0xffff)}},
			netfilter.Verdict{Kind: netfilter.Drop}))
	}
	return []*netfilter.Table{inetTable("t", hooked("in", netfilter.Input, 0, rules...))}
}

func bigSet(name string, n int) *netfilter.Set {
	s := &netfilter.Set{Name: name}
	for i := range n {
		s.Elements = append(s.Elements, netfilter.Element{Key: []netfilter.Interval{netfilter.Exactly(netfilter.Num(uint64(1<<24 + 3*i)))}})
	}
	return s
}

// sharedSet is rules that look up one large set, inverted or not.
func sharedSet(elements, n int, writes bool) []*netfilter.Table {
	rules := make([]*netfilter.Rule, 0, n)
	for i := range n {
		port := netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.Dport}}, In: []netfilter.Interval{netfilter.Nums(uint64(2*i), uint64(2*i))}}
		var act netfilter.Op = netfilter.Verdict{Kind: netfilter.Drop}
		if writes {
			act = netfilter.Assign{Field: netfilter.Mark, Xor: netfilter.Num(uint64(i))}
		}
		rules = append(rules, ruleOf(netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.IPSaddr}}, Set: "s", Invert: i%2 == 1}, port, act))
	}
	t := inetTable("t", hooked("in", netfilter.Input, 0, rules...))
	t.Sets = []*netfilter.Set{bigSet("s", elements)}
	return []*netfilter.Table{t}
}

// verdictMaps is rules that look up one large verdict map, each element with a chain of its own.
func verdictMaps(elements, n int) []*netfilter.Table {
	s := bigSet("m", elements)
	t := inetTable("t")
	t.Sets = []*netfilter.Set{s}
	for i := range s.Elements {
		name := fmt.Sprint("c", i)
		s.Elements[i].Verdict = &netfilter.Verdict{Kind: netfilter.Jump, Chain: name}
		t.Chains = append(t.Chains, &netfilter.Chain{Name: name, Rules: []*netfilter.Rule{ruleOf(
			netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.CTState}}, In: []netfilter.Interval{netfilter.Exactly(netfilter.Num(1))}},
			netfilter.Verdict{Kind: netfilter.Drop})}})
	}
	var rules []*netfilter.Rule
	for range n {
		rules = append(rules, ruleOf(netfilter.VMap{Fields: []netfilter.Operand{{Field: netfilter.IPSaddr}}, Set: "m"}))
	}
	t.Chains = append(t.Chains, hooked("in", netfilter.Input, 0, rules...))
	return []*netfilter.Table{t}
}

// concatenations is rules that look up pairs, a part of each of which cannot be told.
func concatenations(elements, n int) []*netfilter.Table {
	s := &netfilter.Set{Name: "p"}
	for i := range elements {
		port := netfilter.Exactly(netfilter.Num(uint64(1024 + i%60000)))
		s.Elements = append(s.Elements, netfilter.Element{Key: []netfilter.Interval{netfilter.Exactly(netfilter.Num(uint64(1<<24 + 5*i))), port}})
	}
	var rules []*netfilter.Rule
	for i := range n {
		fields := []netfilter.Operand{{Field: netfilter.IPSaddr}, {Field: netfilter.Dport}}
		mark := netfilter.Assign{Field: netfilter.Mark, Xor: netfilter.Num(uint64(i))}
		rules = append(rules, ruleOf(netfilter.Match{Fields: fields, Set: "p"}, mark))
	}
	t := inetTable("t", hooked("in", netfilter.Input, 0, rules...))
	t.Sets = []*netfilter.Set{s}
	return []*netfilter.Table{t}
}

func BenchmarkHostile(b *testing.B) {
	for name, node := range hostile {
		n := node()
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e := Compile(n)
				a, err := e.Evaluate(Query{Question: A, Family: netfilter.IP, In: "eth0"})
				if err != nil {
					b.Fatal(err)
				}
				b.Logf("%s %s, %d outcomes, %d dependsOn %.200q, %+v", a.Verdict, a.Reset, len(a.Outcomes), len(a.DependsOn), a.DependsOn, e.meter)
			}
		})
	}
}
