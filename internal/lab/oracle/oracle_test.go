package oracle_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

var (
	duration = flag.Duration("oracle.duration", durationEnv(), "how long to run random rulesets for each question (CTAUDIT_ORACLE_DURATION)")
	seed     = flag.Uint64("oracle.seed", 1, "first seed; a failure prints its own")
	only     = flag.Bool("oracle.only", false, "run the first seed alone")
	workers  = flag.Int("oracle.workers", 16, "rulesets at the same time")
	packets  = flag.Int("oracle.packets", 128, "segments for each ruleset")
)

func durationEnv() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("CTAUDIT_ORACLE_DURATION")); err == nil {
		return d
	}
	return 9 * time.Second
}

// question asks about everything that may come in by one port: A, what the node takes itself, or B, what it forwards.
func question(b *lab.Bench, port int, u oracle.Universe) packetpath.Query {
	q := packetpath.Query{
		Question: packetpath.A, Family: u.Family, In: b.Interface(port),
		Src:   []netip.Prefix{b.Sources(port, u.Family)},
		Dst:   hostPrefixes(b.Address(port, u.Family)),
		Sport: []packetpath.PortRange{{From: 1, To: 65535}}, Dport: []packetpath.PortRange{{From: 1, To: 65535}},
		Flags: replay.WithoutRST(),
	}
	if u.Through {
		q.Question, q.Out, q.Dst = packetpath.B, b.Interface(1-port), []netip.Prefix{b.Sources(1-port, u.Family)}
	}
	return q
}

// put sends the probes the way that the universe says.
func put(b *lab.Bench, u oracle.Universe, probes []lab.Probe) ([]lab.Fate, error) {
	if u.Through {
		return b.Range.ExchangeForwarded(probes, 10*time.Second)
	}
	return b.Range.Exchange(probes, 10*time.Second)
}

func hostPrefixes(a netip.Addr) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}
}

// segment is a probe as the evaluator takes it: what [lab.Segment.Frame] puts on the wire.
func segment(b *lab.Bench, p lab.Probe) packetpath.Segment {
	g := replay.Plain(b.Interface(p.Port), p.Src, p.Dst, p.Flags)
	g.Seq, g.Ack = p.Seq, p.Segment.Ack
	return g
}

// tally sums up a run.
type tally struct {
	replay.Tally
	cases, refused, counters int
	once                     bool // ask each question once, and nothing else
	part, opaque             int  // of the text reader: rulesets that it says it read in part, and opaque rules
}

// exchanged is a ruleset that was loaded, what was sent, and what the kernel did.
type exchanged struct {
	loaded   oracle.Case
	universe oracle.Universe
	probes   []lab.Probe
	fates    []lab.Fate
	doc      *snapshot.Document // read behind the packets, with the counters that they raised
	node     *facts.Node        // of the document
}

// runCase loads, sends, reads back, evaluates once a port, and compares. The error is a disagreement with its reproducer.
func (t *tally) runCase(b *workbench, c oracle.Case, u oracle.Universe) error {
	t.cases++
	loaded, err := b.load(c)
	if err != nil { // the kernel refuses a combination at times, and iptables-legacy does not say which rule it was
		t.refused++
		return nil
	}
	x := exchanged{loaded: loaded, universe: u, probes: u.Probes(oracle.NewRand(c.Seed), *packets)}
	if err := x.run(b); err != nil {
		return fmt.Errorf("%w\n%s", err, loaded)
	}
	if err := t.holds(b.Bench, &x); err != nil {
		return &failure{x: &x, why: err, kept: b.kept != nil}
	}
	kept := x.replay(b.Bench, x.node, fmt.Sprintf("seed %d", c.Seed))
	if t.once {
		return nil
	}
	if err := alsoHolds(kept, c.Seed); err != nil {
		return fmt.Errorf("%w\nfrom:\n%s", err, loaded)
	}
	return recorded.add(kept)
}

// holds compares what was read with the tools, and without.
func (t *tally) holds(b *lab.Bench, x *exchanged) error {
	err := t.compare(b, x, x.node)
	if bare, ok := withoutTools(x.doc); ok && err == nil {
		if err = t.compare(b, x, facts.Of(bare)); err != nil {
			err = fmt.Errorf("read by netlink alone: %w", err)
		}
	}
	return err
}

// failure is a disagreement, or something that a kept bench remembers of the case before.
type failure struct {
	x    *exchanged
	why  error
	kept bool
}

func (f *failure) Error() string {
	text := reproducer(f.x, f.why)
	if f.kept && text == "" {
		text = "(not on a fresh bench: something was left of the case before)"
	}
	return fmt.Sprintf("%v\nmissing: %v\nshrunken:\n%s\nfrom:\n%s", f.why, missing(f.x.doc), cmp.Or(text, "(it did not happen again)"), f.x.loaded)
}

// run sends the probes and reads the node.
func (x *exchanged) run(b *workbench) (err error) {
	if x.fates, err = put(b.Bench, x.universe, x.probes); err != nil {
		return err
	}
	if x.doc, err = b.read(); err == nil {
		x.node = facts.Of(x.doc)
	}
	return err
}

// replay is the exchange in the form that needs no kernel: one question a port.
func (x *exchanged) replay(b *lab.Bench, node *facts.Node, name string) *replay.Case {
	c := &replay.Case{Name: name, Reflect: x.loaded.Reflect, Node: node.Evaluated()}
	for _, d := range x.loaded.Documents {
		c.Documents = append(c.Documents, replay.Document(d))
	}
	for port := range x.universe.Links {
		asked := replay.Asked{Query: question(b, port, x.universe)}
		for i, p := range x.probes {
			if p.Port == port {
				asked.Packets = append(asked.Packets, replay.Packet{Segment: segment(b, p), Fate: replay.Fate(x.fates[i].String())})
			}
		}
		c.Asked = append(c.Asked, asked)
	}
	return c
}

// compare evaluates once a port and compares every probe, then the counters of the rules that dropped.
func (t *tally) compare(b *lab.Bench, x *exchanged, node *facts.Node) error {
	counts := replay.NewCounts(node.Evaluated().Ruleset)
	for _, asked := range x.replay(b, node, "").Asked {
		answer, err := node.Packet(asked.Query)
		if err != nil {
			return err
		}
		if err := t.Compare(&answer, asked.Packets); err != nil {
			return err
		}
		counts.Take(&answer, asked.Packets)
	}
	why := counts.Check()
	t.counters += counts.Rules
	if why != "" {
		return errors.New(why)
	}
	return nil
}

// reproducer shrinks a disagreement to the rules and the packet that it takes.
func reproducer(x *exchanged, found error) string {
	probes := x.probes
	if d := replay.AsDisagreement(found); d != nil && d.Index >= 0 {
		probes = slices.DeleteFunc(slices.Clone(probes), func(p lab.Probe) bool {
			return p.Src != netip.AddrPortFrom(d.Packet.Segment.Src, d.Packet.Segment.Sport) ||
				p.Dst != netip.AddrPortFrom(d.Packet.Segment.Dst, d.Packet.Segment.Dport)
		})
	}
	deadline := time.Now().Add(20 * time.Second)
	last := ""
	oracle.Shrink(x.loaded, func(c oracle.Case) bool {
		if time.Now().After(deadline) {
			return false
		}
		text, bad := again(c, x.universe, probes)
		if bad {
			last = text
		}
		return bad
	})
	return last
}

// again runs a case as it stands on a fresh bench and returns it as txtar when the evaluator and the kernel still disagree.
func again(c oracle.Case, u oracle.Universe, probes []lab.Probe) (string, bool) {
	b, err := freshBench()
	if err != nil {
		return "", false
	}
	defer b.Close()
	x := exchanged{loaded: c, universe: u, probes: probes}
	if c.Exactly(b.Node) != nil || x.run(b) != nil {
		return "", false
	}
	why := new(tally).holds(b.Bench, &x)
	if why == nil {
		return "", false
	}
	text, err := replay.Format(x.replay(b.Bench, x.node, why.Error()))
	return string(text), err == nil
}

// withoutTools is what a node without iptables binaries would show: its iptables-nft tables as netlink has them.
func withoutTools(doc *snapshot.Document) (*snapshot.Document, bool) {
	bare := *doc
	bare.IPTables.Tables = slices.DeleteFunc(slices.Clone(doc.IPTables.Tables), func(t *netfilter.Table) bool {
		return t.Backend == netfilter.IPTablesNFT
	})
	bare.IPTables.NFTRead = nil
	return &bare, len(bare.IPTables.Tables) < len(doc.IPTables.Tables)
}

func missing(doc *snapshot.Document) []snapshot.Missing {
	var all []snapshot.Missing
	for _, c := range doc.Collectors {
		if c.Name == "iptables" || c.Name == "nftables" {
			all = append(all, c.Missing...)
		}
	}
	return all
}

// add sums up another tally.
func (t *tally) add(o *tally) {
	t.cases, t.refused, t.counters = t.cases+o.cases, t.refused+o.refused, t.counters+o.counters
	t.part, t.opaque = t.part+o.part, t.opaque+o.opaque
	t.Add(&o.Tally)
}

// report fails a run that proved too little.
func (t *tally) report(tt *testing.T) {
	tt.Logf("%d rulesets (%d refused), %d segments, %d of them answered by a RST, %d undecided; %d counters of dropping rules",
		t.cases, t.refused, t.Packets, t.Resets, t.Undecided, t.counters)
	if t.part+t.opaque > 0 {
		tt.Logf("the text reader reads %d rulesets in part and calls %d rules opaque", t.part, t.opaque)
	}
	for _, text := range slices.Sorted(maps.Keys(t.Assumed)) {
		tt.Logf("undecided %6d times: %s", t.Assumed[text], text)
	}
	if t.refused*20 > t.cases {
		tt.Errorf("%d of %d rulesets were refused", t.refused, t.cases)
	}
	if t.Undecided*4 > t.Packets {
		tt.Errorf("%d of %d segments were left undecided", t.Undecided, t.Packets)
	}
}

// universes are those of both families.
func universes(through bool) (us [2]oracle.Universe, err error) {
	b, err := lab.NewBench()
	if err != nil {
		return us, err
	}
	defer b.Close()
	for i, family := range families {
		us[i] = oracle.NewUniverse(b, family)
		us[i].Through = through
	}
	return us, nil
}

// The evaluator must foretell what the kernel does to every segment, for rulesets that nobody would write.
func TestRandomRulesetsAgreeWithTheKernel(t *testing.T) {
	bothQuestions(t, func(t *testing.T, us [2]oracle.Universe) {
		deadline := time.Now().Add(*duration)
		c := campaign{run: drawn(us, (*tally).runCase), replay: "-oracle.only", more: func(s uint64) bool {
			return time.Now().Before(deadline) && (!*only || s == *seed)
		}}
		if total := c.soak(t); !*only {
			total.report(t)
		}
	})
}
