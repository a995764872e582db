package main

import (
	"context"
	"flag"
	"testing"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

var twinSeeds = flag.Uint64("twin.seeds", 14, "how many random rulesets to rebuild")

// Rulesets that nobody would write are rebuilt from their snapshots, too; what nft has no words for is named.
func TestTwinOfRandomRulesets(t *testing.T) {
	requireTwin(t)
	counts := map[twin.Agreement]int{}
	for seed := uint64(1); seed <= *twinSeeds; seed++ {
		r := twinOfSeed(t, seed)
		for _, q := range r.Questions {
			counts[q.Agreement]++
		}
		for _, g := range r.NotBuilt {
			t.Logf("seed %d: %s", seed, g)
		}
		if r.Agreement == twin.Differs {
			t.Errorf("seed %d: %s", seed, twinText(&twin.Document{Nodes: []twin.Result{*r}}))
		}
	}
	t.Log(counts)
	if counts[twin.Agrees] < 2*counts[twin.Undecided] {
		t.Errorf("most questions ought to be decided: %v", counts)
	}
}

func twinOfSeed(t *testing.T, seed uint64) *twin.Result {
	t.Helper()
	b, err := lab.NewBench()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	u := oracle.NewUniverse(b, []netfilter.Family{netfilter.IP, netfilter.IP6}[seed%2])
	if _, err := oracle.Generate(seed, u).Load(b.Node); err != nil {
		return &twin.Result{} // the kernel refuses a combination at times
	}
	doc := readNode(t, b.Node)
	r, err := judgedOf(doc, facts.Of(doc)).confirm(context.Background())
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return r
}
