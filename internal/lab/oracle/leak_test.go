package oracle_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// varying are rules that do not treat the same packets the same way twice.
var varying = regexp.MustCompile(`statistic|random|limit|numgen|recent|quota|cpu|over 5`)

// A bench that has served other cases treats the next one as a fresh bench does: the same rules are read back, and every
// segment has the same fate.
func TestKeptBenchesLeakNothing(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	us, err := universes(false)
	if err != nil {
		t.Fatal(err)
	}
	bs := &benches{}
	defer bs.close()
	compared := 0
	for s := range uint64(56) {
		u := us[s/7%2]
		c := oracle.Generate(s, u)
		old, err := bs.take(c)
		if err != nil {
			t.Fatal(err)
		}
		got := behaviour(t, old, c, u)
		if err := old.kept.Clear(); err != nil {
			t.Fatal(err)
		}
		fresh, err := freshBench()
		if err != nil {
			t.Fatal(err)
		}
		want := behaviour(t, fresh, c, u)
		fresh.Close()
		if got.rules != want.rules {
			t.Errorf("seed %d: a kept bench has\n%s\na fresh one\n%s\n%s", s, got.rules, want.rules, c)
		}
		// Of two backends at one priority the one runs first that was there last, and a kept bench has legacy tables already.
		if len(c.Documents) > 1 || varying.MatchString(c.String()) {
			continue
		}
		compared++
		if !slices.Equal(got.fates, want.fates) {
			t.Errorf("seed %d: on a kept bench %v, on a fresh one %v\n%s", s, got.fates, want.fates, c)
		}
	}
	if compared < 20 {
		t.Errorf("the fates of %d cases were compared", compared)
	}
}

// observed is what a bench made of a case.
type observed struct {
	rules string
	fates []lab.Fate
}

func behaviour(t *testing.T, w *workbench, c oracle.Case, u oracle.Universe) observed {
	t.Helper()
	loaded, err := w.load(c)
	if err != nil {
		return observed{rules: "refused"}
	}
	x := exchanged{loaded: loaded, universe: u, probes: u.Probes(oracle.NewRand(c.Seed), 64)}
	if err := x.run(w); err != nil {
		t.Fatal(err)
	}
	if n, err := entries(w.Node); err != nil || n != "0" {
		t.Errorf("%s conntrack entries, %v\n%s", n, err, c)
	}
	return observed{ruleText(x.node.Evaluated().Ruleset), x.fates}
}

// ruleText is the ruleset without what differs from one loading to the next, and without built-in chains that do nothing.
func ruleText(rs *netfilter.Ruleset) string {
	var b strings.Builder
	for _, table := range rs.Tables {
		for _, s := range table.Sets {
			fmt.Fprintf(&b, "%s %s set %s: %d elements\n", table.Backend, table.Name, s.Name, len(s.Elements))
		}
		for _, chain := range table.Chains {
			if base := chain.Base; base != nil && (len(chain.Rules) > 0 || base.Policy != netfilter.Accept || table.Backend == netfilter.NFTables) {
				fmt.Fprintf(&b, "%s %s %s %s %d %s\n", table.Backend, table.Name, chain.Name, base.Hook, base.Priority, base.Policy)
			}
			for _, r := range chain.Rules {
				fmt.Fprintf(&b, "%s %s %s: %s\n", table.Backend, table.Name, chain.Name, r.Text)
			}
		}
	}
	return b.String()
}

// entries is how many conntrack entries the namespace has.
func entries(n *lab.Netns) (count string, err error) {
	err = n.Do(func() error {
		b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		count = strings.TrimSpace(string(b))
		return err
	})
	return count, err
}
