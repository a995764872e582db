package oracle_test

import (
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// families are the packet families that cases are drawn for.
var families = []netfilter.Family{netfilter.IP, netfilter.IP6}

// The tools must take what the generator writes, a rule now and then excepted: a refused document tests nothing.
func TestGeneratedRulesetsLoad(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	b, err := lab.NewBench()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const n = 70
	rules, loadedRules, refused := 0, 0, 0
	for seed := range uint64(n) {
		c := oracle.Generate(seed, oracle.NewUniverse(b, families[seed%2]))
		if again := oracle.Generate(seed, oracle.NewUniverse(b, families[seed%2])); again.String() != c.String() {
			t.Fatalf("two cases from seed %d:\n%s\n%s", seed, c, again)
		}
		fresh := labtest.NewNetns(t)
		if err := lab.Veth(lab.End{NS: fresh, Name: "u0"}, lab.End{NS: fresh, Name: "u1"}); err != nil {
			t.Fatal(err)
		}
		loaded, err := c.Load(fresh)
		if err != nil {
			refused++
			t.Logf("%v", err)
		}
		rules += strings.Count(c.String(), "\n")
		loadedRules += strings.Count(loaded.String(), "\n")
		fresh.Close()
	}
	t.Logf("%d of %d lines loaded", loadedRules, rules)
	if refused > n/20 || loadedRules < rules*97/100 {
		t.Errorf("%d of %d cases refused, %d of %d lines loaded", refused, n, loadedRules, rules)
	}
}
