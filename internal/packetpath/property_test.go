package packetpath

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// The universe is small, so that rules overlap and packets meet them.
var (
	someSaddr  = []string{"192.0.2.0/24", "192.0.2.0/25", "192.0.2.64/26", "192.0.2.7/32", "203.0.113.0/24", "0.0.0.0/0"}
	someSource = []string{"192.0.2.7", "192.0.2.70", "192.0.2.200", "203.0.113.9", "8.8.8.8"}
	someDst    = []string{"198.51.100.1", "172.17.0.1"}
	somePorts  = [][2]uint64{{1024, 40000}, {2000, 3000}, {2500, 65535}, {443, 443}, {31000, 31000}}
	somePort   = []uint16{443, 2000, 2600, 31000, 50000}
	someFlags  = []uint8{16, 17, 24, 16 | 64, 2, 0, 18, 4, 20}
	someMarks  = []uint64{0, 1, 2, 3, 0x10}
	someState  = []uint32{nf.StateInvalid, nf.StateUntracked, nf.StateInvalid | nf.StateUntracked, nf.StateEstablished | nf.StateRelated, nf.StateNew}
)

type rulesetGen struct {
	t     *rapid.T
	n     int
	table *nf.Table
}

func (g *rulesetGen) int(max int, what string) int { return rapid.IntRange(0, max-1).Draw(g.t, what) }

func pick[T any](g *rulesetGen, list []T, what string) T {
	return list[g.int(len(list), what)]
}

// ruleset draws two or three tables, of both kinds, with chains that jump forward only.
func (g *rulesetGen) ruleset() *nf.Ruleset {
	rs := &nf.Ruleset{}
	prio := int32(-320)
	for i := range 1 + g.int(3, "tables") {
		g.table = &nf.Table{Backend: pick(g, []nf.Backend{nf.Legacy, nf.NFTables}, "backend"), Family: pick(g, []nf.Family{nf.IP, nf.INET}, "family"), Name: fmt.Sprint("t", i)}
		g.sets()
		users := g.int(4, "chains")
		for range 1 + g.int(3, "bases") {
			prio += 37 // no ties
			c := &nf.Chain{Name: fmt.Sprint("base", len(g.table.Chains)), Base: &nf.Base{
				Type: nf.FilterChain, Priority: prio,
				Hook:   pick(g, []nf.Hook{nf.Prerouting, nf.Input, nf.Output, nf.Postrouting, nf.Forward}, "hook"),
				Policy: pick(g, []nf.VerdictKind{nf.Accept, nf.Accept, nf.Accept, nf.Drop}, "policy"),
			}}
			g.rules(c, 0, users)
			g.table.Chains = append(g.table.Chains, c)
		}
		for u := range users {
			c := &nf.Chain{Name: fmt.Sprint("user", u)}
			g.rules(c, u+1, users)
			g.table.Chains = append(g.table.Chains, c)
		}
		rs.Tables = append(rs.Tables, g.table)
	}
	return rs
}

func (g *rulesetGen) sets() {
	verdict := func() *nf.Verdict {
		return &nf.Verdict{Kind: pick(g, []nf.VerdictKind{nf.Accept, nf.Drop, nf.Return, nf.Continue}, "element")}
	}
	ports := &nf.Set{Name: "ports", Verdicts: true, Map: true}
	for _, p := range []uint64{443, 2000, 2600, 31000} {
		ports.Elements = append(ports.Elements, nf.Element{Key: []nf.Interval{nf.Nums(p, p+50)}, Verdict: verdict()})
	}
	if g.int(2, "catchall") == 0 {
		ports.CatchAll = &nf.Element{Verdict: verdict()}
	}
	pairs := &nf.Set{Name: "pairs"}
	for range g.int(5, "pairs") {
		p := pick(g, somePorts, "pair port")
		pairs.Elements = append(pairs.Elements, nf.Element{Key: []nf.Interval{nf.Prefix(netip.MustParsePrefix(pick(g, someSaddr, "pair"))), nf.Nums(p[0], p[1])}})
	}
	states := &nf.Set{Name: "states", Verdicts: true, Map: true, Elements: []nf.Element{
		{Key: []nf.Interval{nf.Nums(1, 1)}, Verdict: verdict()}, {Key: []nf.Interval{nf.Nums(64, 64)}, Verdict: verdict()},
	}}
	g.table.Sets = []*nf.Set{ports, pairs, states}
}

func (g *rulesetGen) rules(c *nf.Chain, from, users int) {
	for i := range g.int(6, "rules") {
		r := &nf.Rule{Number: i + 1}
		for range g.int(3, "ops") {
			r.Ops = append(r.Ops, g.op())
		}
		if g.int(8, "mid") == 0 { // a statement between matches
			r.Ops = append(r.Ops, g.effect(), g.op())
		}
		r.Ops = append(r.Ops, g.end(from, users))
		g.n++
		r.Text = fmt.Sprintf("rule %d %+v", g.n, r.Ops)
		c.Rules = append(c.Rules, r)
	}
}

func one(f nf.Field) []nf.Operand { return []nf.Operand{{Field: f}} }

func (g *rulesetGen) op() nf.Op {
	not := g.int(4, "not") == 0
	switch g.int(13, "match") {
	case 0, 1:
		return nf.Match{Fields: one(nf.IPSaddr), In: []nf.Interval{nf.Prefix(netip.MustParsePrefix(pick(g, someSaddr, "saddr")))}, Invert: not}
	case 2:
		a := netip.MustParseAddr(pick(g, someDst, "daddr"))
		return nf.Match{Fields: one(nf.IPDaddr), In: []nf.Interval{nf.Exactly(nf.Addr(a))}, Invert: not}
	case 3, 4:
		p := pick(g, somePorts, "port")
		return nf.Match{Fields: one(pick(g, []nf.Field{nf.Dport, nf.Sport}, "which")), In: []nf.Interval{nf.Nums(p[0], p[1])}, Invert: not}
	case 5:
		m, v := nf.Num(pick(g, []uint64{2, 4, 16, 18, 0xff}, "mask")), nf.Num(pick(g, []uint64{0, 16, 2, 4}, "flags"))
		return nf.Match{Fields: []nf.Operand{{Field: nf.TCPFlags, Mask: &m}}, In: []nf.Interval{nf.Exactly(v)}, Invert: not}
	case 6:
		m := nf.Num(pick(g, []uint64{0xffffffff, 1, 2, 3}, "mark mask"))
		return nf.Match{Fields: []nf.Operand{{Field: nf.Mark, Mask: &m}}, In: []nf.Interval{nf.Exactly(nf.Num(pick(g, someMarks, "mark")))}, Invert: not}
	case 7:
		return nf.Match{Fields: one(pick(g, []nf.Field{nf.IIFName, nf.OIFName}, "if")), In: []nf.Interval{nf.Names(pick(g, []string{"eth0", "eth+", "docker0"}, "name"))}, Invert: not}
	case 8:
		return nf.XtState{HasState: g.int(5, "has") > 0, States: pick(g, someState, "state"), Invert: not, Others: pick(g, [][]string{nil, {"ctdir"}}, "others")}
	case 9:
		m := nf.Num(uint64(pick(g, someState, "nft state")))
		return nf.Match{Fields: []nf.Operand{{Field: nf.CTState, Mask: &m}}, In: []nf.Interval{nf.Exactly(nf.Value{})}, Invert: !not}
	case 10:
		return nf.Match{Fields: []nf.Operand{{Field: nf.IPSaddr}, {Field: nf.Dport}}, Set: "pairs", Invert: not}
	case 11:
		return pick(g, []nf.Op{
			nf.Ext{Name: "connmark", Args: "--mark 1", Invert: not},
			nf.Ext{Name: "helper", Args: "--helper x", Invert: not},
			nf.Match{Fields: one("ct.mark"), In: []nf.Interval{nf.Nums(1, 1)}, Invert: not},
		}, "entry")
	}
	return nf.Ext{Name: "u32", Args: pick(g, []string{"a", "b", "c"}, "u32"), Invert: not}
}

func (g *rulesetGen) effect() nf.Op {
	switch g.int(4, "effect") {
	case 0:
		return nf.Stmt{Name: "notrack"}
	case 1:
		return nf.Assign{Field: nf.Mark, From: "ct.mark", And: nf.Num(0xffffffff)}
	case 2:
		return nf.Stmt{Name: "log"}
	}
	return nf.Assign{Field: nf.Mark, And: nf.Num(pick(g, []uint64{0, 0xffffffff, 0xfffffffe}, "and")), Xor: nf.Num(pick(g, someMarks, "xor"))}
}

func (g *rulesetGen) end(from, users int) nf.Op {
	switch k := g.int(12, "end"); {
	case k < 2 && from < users:
		kind := pick(g, []nf.VerdictKind{nf.Jump, nf.Jump, nf.Goto}, "jump")
		return nf.Verdict{Kind: kind, Chain: fmt.Sprint("user", from+g.int(users-from, "to"))}
	case k < 4:
		return nf.Verdict{Kind: nf.Accept}
	case k < 6:
		return nf.Verdict{Kind: nf.Drop}
	case k == 6:
		return nf.Verdict{Kind: nf.Return}
	case k == 7:
		return nf.Verdict{Kind: nf.Reject, With: pick(g, []string{"tcp-reset", "icmp-port-unreachable"}, "with")}
	case k == 8:
		return nf.VMap{Fields: one(nf.Dport), Set: "ports"}
	case k == 9:
		return nf.VMap{Fields: one(nf.CTState), Set: "states"}
	}
	return g.effect()
}

func (g *rulesetGen) packet() Packet {
	return Packet{
		In: "eth0", Src: netip.MustParseAddr(pick(g, someSource, "src")), Dst: netip.MustParseAddr(pick(g, someDst, "dst")),
		Sport: pick(g, somePort, "sport"), Dport: pick(g, somePort, "dport"), Flags: FlagsText(pick(g, someFlags, "packet flags")),
	}
}

// consistent reports whether the outcome's assumptions are true under the guesses.
func consistent(o *Outcome, guesses map[string]bool) bool {
	for _, a := range o.Assuming {
		if a == manyConditions { // it forgot which: it may be true
			continue
		}
		text, not := strings.CutPrefix(a, "not (")
		if not {
			text = strings.TrimSuffix(text, ")")
		}
		if guesses[text] == not {
			return false
		}
	}
	return true
}

func TestAgainstInterpreter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &rulesetGen{t: rt}
		node := testNode()
		node.Ruleset = g.ruleset()
		node.FwmarkReflect = map[nf.Family]bool{nf.IP: rapid.Bool().Draw(rt, "reflect")}
		q := Query{
			Question: A, Family: nf.IP, In: "eth0", Sport: []PortRange{{0, 65535}}, Dport: []PortRange{{0, 65535}}, Flags: someFlags,
			Src: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Dst: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		}
		if rapid.Bool().Draw(rt, "forwarded") {
			q.Question, q.Out = B, "docker0"
		}
		a, err := Evaluate(node, q)
		if err != nil {
			rt.Fatal(err)
		}
		for range 40 {
			pk := g.packet()
			pk.Out = q.Out
			guesses := map[string]bool{}
			for _, name := range []string{"u32 a", "u32 b", "u32 c"} {
				guesses[name] = rapid.Bool().Draw(rt, name)
				guesses["the RST's "+name] = rapid.Bool().Draw(rt, "the RST's "+name)
			}
			want := fateOf(node, pk, guesses)
			var got []string
			blurred := false
			for i := range a.Outcomes {
				if o := &a.Outcomes[i]; o.Contains(pk) && consistent(o, guesses) {
					got = append(got, o.Fate)
					blurred = blurred || slices.Contains(o.Assuming, manyConditions)
				}
			}
			if len(got) != 1 && !blurred || !slices.Contains(got, want) {
				for i := range a.Outcomes {
					if o := &a.Outcomes[i]; o.Contains(pk) {
						rt.Logf("outcome %s assuming %v", o.Fate, o.Assuming)
					}
				}
				rt.Fatalf("packet %+v guesses %v: evaluator %v, interpreter %s\n%s", pk, guesses, got, want, describe(node.Ruleset))
			}
		}
		checkWitnesses(rt, node, a)
	})
}

// checkWitnesses evaluates each witness as the one packet asked about: it must have its class's fate.
func checkWitnesses(rt *rapid.T, node *Node, a Answer) {
	for _, o := range a.Outcomes {
		if len(o.Assuming) > 0 {
			continue
		}
		w := o.Witness
		b, err := Evaluate(node, Query{
			Question: Custom, Family: nf.IP, In: w.In, Out: w.Out, Src: host(w.Src), Dst: host(w.Dst),
			Sport: []PortRange{{w.Sport, w.Sport}}, Dport: []PortRange{{w.Dport, w.Dport}}, Flags: []uint8{ParseFlags(w.Flags)}, Fields: w.Fields,
		})
		same := len(b.Outcomes) > 0
		for _, x := range b.Outcomes { // several: an undecided predicate that makes no difference
			same = same && x.Fate == o.Fate
		}
		if err != nil || !same {
			rt.Fatalf("witness %+v of %s %q: alone it is %+v, %v\n%s", w, o.Fate, o.Region, b.Outcomes, err, describe(node.Ruleset))
		}
	}
}

func host(a netip.Addr) []netip.Prefix { return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())} }

func describe(rs *nf.Ruleset) string {
	var b strings.Builder
	for _, t := range rs.Tables {
		fmt.Fprintf(&b, "table %s %s %s sets %+v\n", t.Backend, t.Family, t.Name, t.Sets)
		for _, c := range t.Chains {
			fmt.Fprintf(&b, " chain %s %+v\n", c.Name, c.Base)
			for _, r := range c.Rules {
				fmt.Fprintf(&b, "  %s\n", r.Text)
			}
		}
	}
	return b.String()
}
