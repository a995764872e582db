package oracle_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
)

// degraded holds the evaluator against what the kernel did when it is told less than there is: whatever a reader could not
// read must leave open what the kernel did, or not matter. A certain wrong verdict is a disagreement like any other.
func degraded(c *replay.Case, r *rand.Rand) error {
	less := *c
	less.Node, less.Asked = ignorance{r}.of(c.Node), nil
	for _, asked := range c.Asked {
		asked.Packets = slices.Clone(asked.Packets)
		for i := range asked.Packets {
			if p := &asked.Packets[i]; p.Fate == replay.Unreachable {
				p.Fate = replay.Silence // of what is not known it is said that it stops packets, not how
			}
		}
		less.Asked = append(less.Asked, asked)
	}
	if err := new(replay.Tally).Check(&less); err != nil {
		told, _ := json.Marshal(less.Node)
		return fmt.Errorf("told less: %w\n%s", err, told)
	}
	if r.IntN(4) > 0 {
		return nil
	}
	return recorded.add(&less)
}

// ignorance takes something from what is known of a node. The node itself stays as it is.
type ignorance struct{ *rand.Rand }

func (g ignorance) of(n *packetpath.Node) *packetpath.Node {
	out := *n
	out.Ruleset = &netfilter.Ruleset{Tables: slices.Clone(n.Ruleset.Tables)}
	if g.IntN(4) == 0 {
		out.Interfaces = nil
	}
	if len(out.Ruleset.Tables) == 0 {
		return &out
	}
	i := g.IntN(len(out.Ruleset.Tables))
	t := *out.Ruleset.Tables[i]
	t.Chains, t.Sets = slices.Clone(t.Chains), slices.Clone(t.Sets)
	out.Ruleset.Tables[i] = &t
	switch g.IntN(6) {
	case 0:
		t.Incomplete, t.Chains = "not read", nil
	case 1:
		g.damage(&out, i)
	case 2:
		g.chain(&t)
	case 3:
		g.set(&t)
	default:
		g.rule(&t)
	}
	return &out
}

// damage leaves a hole in the document, as one from elsewhere may have.
func (g ignorance) damage(n *packetpath.Node, i int) {
	t := n.Ruleset.Tables[i]
	switch g.IntN(3) {
	case 0:
		t.Sets = append(t.Sets, nil)
	case 1:
		t.Chains = append(t.Chains, nil)
	default:
		n.Ruleset.Tables[i] = nil
	}
}

// chain loses a chain that others jump to, or makes it jump to itself.
func (g ignorance) chain(t *netfilter.Table) {
	for i := range t.Chains {
		if t.Chains[i].Base != nil {
			continue
		}
		if g.IntN(2) == 0 {
			t.Chains = slices.Delete(t.Chains, i, i+1)
			return
		}
		c := *t.Chains[i]
		loop := &netfilter.Rule{Text: "jump " + c.Name, Ops: netfilter.Ops{netfilter.Verdict{Kind: netfilter.Jump, Chain: c.Name}}}
		c.Rules = append([]*netfilter.Rule{loop}, c.Rules...)
		t.Chains[i] = &c
		return
	}
}

// set loses a set's content.
func (g ignorance) set(t *netfilter.Table) {
	for i := range t.Sets {
		s := *t.Sets[i]
		switch s.Elements = nil; g.IntN(3) {
		case 0:
			s.Incomplete = "not read"
		case 1:
			s.Dynamic = true
		default:
			t.Sets = slices.Delete(t.Sets, i, i+1)
			return
		}
		t.Sets[i] = &s
	}
}

// rule puts words that nobody knows in the place of one of a rule's.
func (g ignorance) rule(t *netfilter.Table) {
	for i, c := range t.Chains {
		if len(c.Rules) == 0 {
			continue
		}
		d, k := *c, g.IntN(len(c.Rules))
		d.Rules = slices.Clone(c.Rules)
		r := *c.Rules[k]
		r.Ops = slices.Clone(xtables.Ops(t, &r))
		for n, op := range r.Ops {
			if g.IntN(2) == 0 {
				r.Ops[n] = unknown(op, fmt.Sprint(c.Name, k, n))
			}
		}
		d.Rules[k] = &r
		t.Chains[i] = &d
	}
}

// unknown is what a reader makes of a step that it has no words for: a match of that name, or something done.
func unknown(op netfilter.Op, which string) netfilter.Op {
	switch op.(type) {
	case netfilter.Match, netfilter.Ext, netfilter.XtState:
		return netfilter.Ext{Name: "riddle", Args: which}
	}
	return netfilter.Stmt{Name: "RIDDLE", Args: which}
}

// exact asks about single packets, with all their fields, as "ctaudit trace" does. The answers must agree with the kernel too.
func exact(c *replay.Case, r *rand.Rand) error {
	one := *c
	one.Asked = nil
	for _, asked := range c.Asked {
		if len(asked.Packets) == 0 {
			continue
		}
		p := asked.Packets[r.IntN(len(asked.Packets))]
		one.Asked = append(one.Asked, replay.Asked{Query: custom(asked.Query, p.Segment), Packets: []replay.Packet{p}})
	}
	if err := new(replay.Tally).Check(&one); err != nil {
		return fmt.Errorf("asked about one packet: %w", err)
	}
	return nil
}

// witnesses: an outcome's example must be one of its packets.
func witnesses(c *replay.Case) error {
	e := packetpath.Compile(c.Node)
	for _, asked := range c.Asked {
		a, err := e.Evaluate(asked.Query)
		if err != nil {
			return err
		}
		for i := range a.Outcomes {
			if o := &a.Outcomes[i]; !o.Contains(o.Witness) {
				return fmt.Errorf("%s, %s, is not what its witness is: %s %v", o.Fate, o.Region, o.Witness, o.Witness.Fields)
			}
		}
	}
	return nil
}

func custom(q packetpath.Query, g packetpath.Segment) packetpath.Query {
	q.Question, q.State, q.Flags = packetpath.Custom, "invalid", []uint8{g.Bits}
	q.Src, q.Dst = hostPrefixes(g.Src), hostPrefixes(g.Dst)
	q.Sport, q.Dport = []packetpath.PortRange{{From: g.Sport, To: g.Sport}}, []packetpath.PortRange{{From: g.Dport, To: g.Dport}}
	q.Fields = map[netfilter.Field]uint64{
		netfilter.TTL: uint64(g.TTL), netfilter.Length: uint64(g.Length), netfilter.TOS: uint64(g.TOS), netfilter.FragOff: uint64(g.FragOff),
		netfilter.TCPSeq: uint64(g.Seq), netfilter.TCPAck: uint64(g.Ack), netfilter.TCPWin: uint64(g.Window),
	}
	return q
}

// wide asks with all that a question may leave out left out: sources, the node's own addresses, every combination of
// flags. The packets are among those.
func wide(c *replay.Case, r *rand.Rand) error {
	all := *c
	node := *c.Node
	all.Node, all.Asked = &node, nil
	node.OpaqueHooks = []packetpath.OpaqueHook{{Name: "xdp on u0", Interface: "u0"}}
	for _, asked := range c.Asked {
		asked.Query.Src, asked.Query.Dst = nil, nil
		if r.IntN(2) == 0 {
			asked.Query.Flags = nil
			for f := range 256 {
				asked.Query.Flags = append(asked.Query.Flags, uint8(f))
			}
		}
		all.Asked = append(all.Asked, asked)
	}
	if err := new(replay.Tally).Check(&all); err != nil {
		return fmt.Errorf("asked about everything: %w", err)
	}
	return nil
}

// alsoHolds asks about single packets, about everything, and with less knowledge.
func alsoHolds(c *replay.Case, seed uint64) error {
	r := oracle.NewRand(seed ^ 0x5eed)
	if err := errors.Join(exact(c, r), wide(c, r), witnesses(c)); err != nil {
		return err
	}
	for range 2 {
		if err := degraded(c, r); err != nil {
			return err
		}
	}
	return nil
}

// Each of these decides, and is not read: the answer must be left open.
func TestUnreadAgreesWithTheKernel(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	const input = "type filter hook input priority 0;"
	for name, lost := range map[string]struct {
		text   string
		forget func(*netfilter.Table)
	}{
		"table that rejects": {
			"table inet t { chain a { " + input + " meta l4proto tcp reject with tcp reset; }; }\n" +
				"table inet u { chain b { type filter hook input priority 50; drop; }; }\n",
			func(t *netfilter.Table) { t.Incomplete, t.Chains = "not read", nil },
		},
		"set": {
			"table inet t { set k { type inet_service; elements = { 30000 }; }; chain a { " + input + " tcp dport @k drop; }; }\n",
			func(t *netfilter.Table) { t.Sets[0] = &netfilter.Set{Name: "k", Incomplete: "not read"} },
		},
		"chain": {
			"table inet t { chain c { drop; }; chain a { " + input + " jump c; }; }\n",
			func(t *netfilter.Table) {
				t.Chains = slices.DeleteFunc(t.Chains, func(c *netfilter.Chain) bool { return c.Name == "c" })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := freshBench()
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			c := oracle.Case{Family: netfilter.IP, Documents: []oracle.Document{{Backend: netfilter.NFTables, Text: lost.text}}}
			x := exchanged{loaded: c, universe: oracle.NewUniverse(b.Bench, netfilter.IP), probes: []lab.Probe{{Segment: lab.Segment{
				Src: netip.AddrPortFrom(b.Sources(0, netfilter.IP).Addr().Next(), 443), Dst: netip.AddrPortFrom(b.Address(0, netfilter.IP), 30000),
				Flags: lab.ACK, Seq: 1, Ack: 1000,
			}}}}
			if err := errors.Join(c.Exactly(b.Node), x.run(b)); err != nil {
				t.Fatal(err)
			}
			r := x.replay(b.Bench, x.node, t.Name())
			open := true
			r.Asked = r.Asked[:1]
			r.Asked[0].Undecided = &open
			lost.forget(r.Node.Ruleset.Tables[slices.IndexFunc(r.Node.Ruleset.Tables, func(t *netfilter.Table) bool { return t.Name == "t" })])
			if err := errors.Join(new(replay.Tally).Check(r), recorded.add(r)); err != nil {
				t.Error(err)
			}
		})
	}
}
