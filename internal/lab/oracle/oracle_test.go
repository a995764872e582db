package oracle_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

var (
	duration = flag.Duration("oracle.duration", durationEnv(), "how long to run random rulesets for each question (CTAUDIT_ORACLE_DURATION)")
	seed     = flag.Uint64("oracle.seed", 1, "first seed; a failure prints its own")
	only     = flag.Bool("oracle.only", false, "run the first seed alone")
	workers  = flag.Int("oracle.workers", 6, "rulesets at the same time")
	packets  = flag.Int("oracle.packets", 128, "segments for each ruleset")
)

func durationEnv() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("CTAUDIT_ORACLE_DURATION")); err == nil {
		return d
	}
	return 12 * time.Second
}

// read is the node as our own collectors see it.
func read(b *lab.Bench) (*facts.Node, *snapshot.Document, error) {
	local := host.Local(host.LocalOptions{Namespace: b.Node.Path()})
	doc, _, err := collect.Run(context.Background(), local, registry.All(), collect.Options{
		Only: []string{"sysctl", "iptables", "nftables", "topology"},
	})
	if err != nil {
		return nil, nil, err
	}
	return facts.Of(doc), doc, nil
}

// question asks about everything that may come in by one port: A, what the node takes itself, or B, what it forwards.
func question(b *lab.Bench, port int, u oracle.Universe) packetpath.Query {
	q := packetpath.Query{
		Question: packetpath.A, Family: u.Family, In: b.Interface(port),
		Src:   []netip.Prefix{b.Sources(port, u.Family)},
		Dst:   []netip.Prefix{hostPrefix(b.Address(port, u.Family))},
		Sport: []packetpath.PortRange{{From: 1, To: 65535}}, Dport: []packetpath.PortRange{{From: 1, To: 65535}},
		Flags: flagsAsked(),
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

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// flagsAsked are all combinations without RST: those that the universe draws are among them.
func flagsAsked() []uint8 {
	var out []uint8
	for f := range 256 {
		if f&lab.RST == 0 {
			out = append(out, uint8(f))
		}
	}
	return out
}

// segment is a probe as the evaluator takes it: what [lab.Segment.Frame] puts on the wire.
func segment(b *lab.Bench, p lab.Probe) packetpath.Segment {
	length := uint16(40)
	if p.Src.Addr().Is6() {
		length = 60
	}
	return packetpath.Segment{
		Packet: packetpath.Packet{
			In: b.Interface(p.Port), Src: p.Src.Addr(), Dst: p.Dst.Addr(), Sport: p.Src.Port(), Dport: p.Dst.Port(),
		},
		Bits: p.Flags, TTL: 64, Length: length, Seq: p.Seq, Ack: p.Segment.Ack, Window: 1024,
	}
}

// tally counts what the comparison saw, so that a run that decided nothing does not pass for a good one.
type tally struct {
	cases, refused             int
	packets, undecided, resets int
	assumed                    map[string]int // how often each undecided condition was in the way
}

// disagreement compares one probe with the outcomes that hold it; empty when the kernel did what was foretold.
func (t *tally) disagreement(a *packetpath.Answer, g packetpath.Segment, kernel lab.Fate) string {
	t.packets++
	if kernel == lab.Reset {
		t.resets++
	}
	var held []packetpath.Outcome
	for i := range a.Outcomes {
		if a.Outcomes[i].Holds(g) {
			held = append(held, a.Outcomes[i])
		}
	}
	certain := slices.DeleteFunc(slices.Clone(held), func(o packetpath.Outcome) bool {
		return len(o.Assuming) > 0 || o.Fate == "depends"
	})
	switch {
	case len(held) == 0:
		return "no outcome holds it"
	case len(certain) > 1, len(certain) == 1 && len(held) > 1:
		return "several outcomes hold it"
	case len(certain) == 1:
		return contradiction(certain[0], kernel)
	}
	t.undecided++
	if t.assumed == nil {
		t.assumed = map[string]int{}
	}
	for _, text := range held[0].Assuming {
		t.assumed[strings.TrimSuffix(strings.TrimPrefix(text, "not ("), ")")]++
	}
	for _, o := range held {
		// An order of tied chains is one of several, and only their common verdict is the answer's.
		if o.Fate == "depends" || slices.Contains(o.Assuming, anOrder) || contradiction(o, kernel) == "" {
			return ""
		}
	}
	return "every outcome foretells something else"
}

// anOrder is what an outcome assumes when the kernel did not tell in which order it runs chains of equal priority.
const anOrder = "the order in which base chains of equal priority were registered"

// contradiction holds an outcome against the kernel. A rejected packet's ICMP error may itself be dropped on its way out.
func contradiction(o packetpath.Outcome, kernel lab.Fate) string {
	ok := false
	switch o.Fate {
	case "reset":
		ok = kernel == lab.Reset
	case "dropped":
		ok = kernel == lab.Silence
	case "rejected-icmp":
		ok = kernel != lab.Reset
	}
	if ok {
		return ""
	}
	return "foretold: " + o.Fate
}

// whole compares the answer's own summary with all the packets of one port.
func whole(a *packetpath.Answer, fates []lab.Fate) string {
	resets := 0
	for _, f := range fates {
		if f == lab.Reset {
			resets++
		}
	}
	switch {
	case a.Reset == packetpath.ResetNo && resets > 0:
		return fmt.Sprintf("the answer says no RST, the kernel sent %d", resets)
	case a.Reset == packetpath.ResetYes && resets < len(fates):
		return fmt.Sprintf("the answer says a RST for all, the kernel sent %d for %d", resets, len(fates))
	case a.Verdict == packetpath.Dropped && resets > 0:
		return fmt.Sprintf("the answer says dropped, the kernel sent %d RSTs", resets)
	}
	return ""
}

// runCase loads, reads back, evaluates once a port, sends, and compares. The error is a disagreement with its reproducer.
func (t *tally) runCase(b *lab.Bench, c oracle.Case, u oracle.Universe) error {
	t.cases++
	loaded, err := c.Load(b.Node)
	if err != nil { // the kernel refuses a combination at times, and iptables-legacy does not say which rule it was
		t.refused++
		return nil
	}
	node, doc, err := read(b)
	if err != nil {
		return err
	}
	probes := u.Probes(oracle.NewRand(c.Seed), *packets)
	fates, err := put(b, u, probes)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, loaded)
	}
	if err := t.compare(b, u, node, probes, fates); err != nil {
		return fmt.Errorf("%w\n%s\nmissing: %v", err, loaded, missing(doc))
	}
	if bare, ok := withoutTools(doc); ok {
		if err := t.compare(b, u, facts.Of(bare), probes, fates); err != nil {
			return fmt.Errorf("read by netlink alone: %w\n%s", err, loaded)
		}
	}
	return nil
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

// compare evaluates once a port and compares every probe.
func (t *tally) compare(b *lab.Bench, u oracle.Universe, node *facts.Node, probes []lab.Probe, fates []lab.Fate) error {
	for port := range b.Range.Ports {
		answer, err := node.Packet(question(b, port, u))
		if err != nil {
			return err
		}
		var errs []error
		var here []lab.Fate
		for i, p := range probes {
			if p.Port != port {
				continue
			}
			here = append(here, fates[i])
			if why := t.disagreement(&answer, segment(b, p), fates[i]); why != "" {
				errs = append(errs, fmt.Errorf("%s in by %s: the kernel: %s; %s\n%s", p.Segment, b.Interface(port), fates[i], why,
					explain(&answer, segment(b, p))))
			}
		}
		if why := whole(&answer, here); why != "" {
			errs = append(errs, errors.New(why))
		}
		if len(errs) > 0 {
			return fmt.Errorf("%d disagreements, the first: %w", len(errs), errs[0])
		}
	}
	return nil
}

// explain lists the outcomes that hold the segment.
func explain(a *packetpath.Answer, g packetpath.Segment) string {
	var b strings.Builder
	for _, o := range a.Outcomes {
		if o.Holds(g) {
			fmt.Fprintf(&b, "  %s, %s, by %+v, assuming %q\n", o.Fate, o.Region, o.By, o.Assuming)
		}
	}
	return b.String()
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
	t.cases, t.refused, t.packets = t.cases+o.cases, t.refused+o.refused, t.packets+o.packets
	t.undecided, t.resets = t.undecided+o.undecided, t.resets+o.resets
	for text, n := range o.assumed {
		if t.assumed == nil {
			t.assumed = map[string]int{}
		}
		t.assumed[text] += n
	}
}

// report fails a run that proved too little.
func (t *tally) report(tt *testing.T) {
	tt.Logf("%d rulesets (%d refused), %d segments, %d of them answered by a RST, %d undecided",
		t.cases, t.refused, t.packets, t.resets, t.undecided)
	for _, text := range slices.Sorted(maps.Keys(t.assumed)) {
		tt.Logf("undecided %6d times: %s", t.assumed[text], text)
	}
	if t.refused*20 > t.cases {
		tt.Errorf("%d of %d rulesets were refused", t.refused, t.cases)
	}
	if t.undecided*4 > t.packets {
		tt.Errorf("%d of %d segments were left undecided", t.undecided, t.packets)
	}
}

// soak runs cases from many workers: most of a case's time is waiting for the kernel to commit (RCU). It ends at the
// deadline, or when several cases have failed.
func soak(t *testing.T, run func(total *tally, b *lab.Bench, seed uint64) error) {
	var (
		next     atomic.Uint64
		failures atomic.Int32
		mu       sync.Mutex
		total    tally
		wg       sync.WaitGroup
	)
	deadline := time.Now().Add(*duration)
	next.Store(*seed)
	for worker := range *workers {
		wg.Go(func() {
			var own tally
			for time.Now().Before(deadline) && failures.Load() < 5 {
				s := next.Add(1) - 1
				if *only && s != *seed {
					break
				}
				if err := oneCase(&own, worker, s, run); err != nil {
					failures.Add(1)
					t.Errorf("replay with -oracle.seed=%d -oracle.only:\n%v", s, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(&own)
		})
	}
	wg.Wait()
	if !*only {
		total.report(t)
	}
}

func oneCase(own *tally, cpu int, s uint64, run func(*tally, *lab.Bench, uint64) error) error {
	b, err := lab.NewBench()
	if err != nil {
		return err
	}
	defer b.Close()
	b.Range.CPU = cpu
	return run(own, b, s)
}

// The evaluator must foretell what the kernel does to every segment, for rulesets that nobody would write.
func TestRandomRulesetsAgreeWithTheKernel(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	for _, through := range []bool{false, true} {
		t.Run(map[bool]string{false: "A", true: "B"}[through], func(t *testing.T) {
			soak(t, func(total *tally, b *lab.Bench, s uint64) error {
				universe := oracle.NewUniverse(b, families[s/7%2])
				universe.Through = through
				return total.runCase(b, oracle.Generate(s, universe), universe)
			})
		})
	}
}
