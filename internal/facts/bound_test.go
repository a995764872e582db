package facts

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
)

// TestBudgetRunsOut: where a ruleset is too large to be followed, it is not said to protect, nor to expose.
func TestBudgetRunsOut(t *testing.T) {
	lines := []string{":INPUT ACCEPT [0:0]", "-A INPUT -j c0"}
	for i := range 41 {
		lines = append(lines, fmt.Sprintf(":c%d - [0:0]", i))
	}
	for i := range 40 {
		jump := fmt.Sprintf("-A c%d -j c%d", i, i+1)
		lines = append(lines, jump, jump)
	}
	lines = append(lines, "-A INPUT -m conntrack --ctstate INVALID -j DROP")
	s := node()
	s.IPTables.Tables = parse(t, "*filter\n"+strings.Join(lines, "\n")+"\n")
	f := Of(s.Document).Facts()
	asked := false
	for _, e := range f.Exposure {
		if e.Family != netfilter.IP || e.Question != "A" {
			continue
		}
		asked = true
		if e.Protected || e.Exposed || e.Reset != "depends" || !strings.Contains(strings.Join(e.DependsOn, ";"), "too complex") {
			t.Errorf("%+v", e)
		}
	}
	if !asked {
		t.Error("no question was asked")
	}
}

// TestUndecidedDropsAreMissing: what is not known of a drop makes its controls undecided.
func TestUndecidedDropsAreMissing(t *testing.T) {
	drop := packetpath.Drop{Rule: netfilter.RuleRef{Backend: netfilter.Legacy}, Undecided: "whether new connections die of it"}
	got := undecided([]packetpath.Drop{drop, {}, drop})
	if len(got) != 1 || got[0].Collector != "iptables" || got[0].Why != drop.Undecided {
		t.Errorf("%+v", got)
	}
}
