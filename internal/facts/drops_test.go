package facts

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
)

// manyDrops is a node whose mangle table has a chain for each of n pods, as Calico writes them.
func manyDrops(n int, rule func(i int) string) *Facts {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("PREROUTING -i cali%d -j cali-tw-%d", i, i), fmt.Sprintf("cali-tw-%d %s", i, rule(i)))
	}
	return Of(node().nat(dockerMasquerade).table(netfilter.IP, "mangle", lines...).Document).Facts()
}

func TestAlikeDropsAreOne(t *testing.T) {
	f := manyDrops(500, func(i int) string {
		return fmt.Sprintf(`-m comment --comment "cali:%d" -m conntrack --ctstate INVALID -j DROP`, i)
	})
	if len(f.Drops) != 1 || f.Drops[0].Like != 499 {
		t.Fatalf("%d drops, the first stands for %+v; want one that stands for 499 more", len(f.Drops), f.Drops)
	}
	for _, e := range f.Exposure {
		if len(e.Shadowed) != 1 || e.Shadowed[0].Rule != f.Drops[0].Rule {
			t.Errorf("shadowed %+v", e.Shadowed)
		}
	}
	if len(f.Missing) != 0 {
		t.Errorf("missing %v", f.Missing)
	}
}

func TestManyKindsOfDropsAreBounded(t *testing.T) {
	f := manyDrops(3*maxDrops, func(i int) string {
		return fmt.Sprintf("-s 10.0.%d.%d -m conntrack --ctstate INVALID -j DROP", i/256, i%256)
	})
	if len(f.Drops) > maxDrops {
		t.Errorf("%d drops, more than %d", len(f.Drops), maxDrops)
	}
	if len(f.Missing) != 1 || !strings.HasPrefix(f.Missing[0].What, fmt.Sprint(2*maxDrops, " more")) {
		t.Errorf("missing %v: what is not judged has to be said", f.Missing)
	}
}

func TestShadowsThatAreCutAreSaid(t *testing.T) {
	drop := packetpath.Drop{Rule: netfilter.RuleRef{Backend: netfilter.NFTables, Family: netfilter.INET, Table: "t", Chain: "in", Number: 1000}}
	k := newKinds([]packetpath.Drop{drop})
	var list []packetpath.Shadow
	for i := range maxDrops + 1 { // one drop behind ever another accept
		by := netfilter.RuleRef{Backend: netfilter.NFTables, Family: netfilter.INET, Table: "t", Chain: "in", Number: i + 1}
		list = append(list, packetpath.Shadow{Rule: drop.Rule, Reason: packetpath.ReasonShadowed, By: &by})
	}
	if got := k.shadows(list); len(got) != maxDrops {
		t.Errorf("%d shadows, want %d", len(got), maxDrops)
	}
	if m := k.missing(); len(m) != 1 || m[0].Collector != "nftables" || !strings.HasPrefix(m[0].What, "1 more") {
		t.Errorf("missing %v: what was cut has to be said", m)
	}
}
