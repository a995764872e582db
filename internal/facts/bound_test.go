package facts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables/xtablestest"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
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

// slowly is far above what any hostile node takes on a loaded machine, and far below the minutes that they took.
const slowly = time.Minute

// TestHostileNodes: whatever a node says of itself, it is judged in bounded time, the facts stay small, they are the same each time,
// and what was not looked at is not known.
func TestHostileNodes(t *testing.T) {
	for name, doc := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			n := Of(doc())
			f := n.Facts()
			if took := time.Since(start); took > slowly {
				t.Errorf("it took %s", took)
			}
			text, err := json.Marshal(f)
			if err != nil || len(text) > 2<<20 {
				t.Errorf("%d bytes of facts, %v", len(text), err)
			}
			if len(f.Exposure) > 2*(mostUplinks+mostLinks)+4 || len(f.Uplinks) > 2*mostUplinks+2 || len(f.Drops) > mostKept {
				t.Errorf("%d exposures, %d uplinks, %d drops", len(f.Exposure), len(f.Uplinks), len(f.Drops))
			}
			for _, e := range f.Exposure {
				if e.Protected {
					t.Errorf("protected: %+v", e)
				}
			}
			if time.Since(start) > time.Second {
				return
			}
			if again, _ := json.Marshal(Of(doc()).Facts()); !bytes.Equal(text, again) {
				t.Error("the second time the facts are others")
			}
		})
	}
}

// TestLargeNodes: nodes as large as honest ones come are judged to their end.
func TestLargeNodes(t *testing.T) {
	kube := services(containers(250))
	kube.IPTables.Tables = parse(t, xtablestest.KubeProxySave(10_000))
	for name, s := range map[string]small{
		"111,022 rules, 250 pods":          kube,
		"pods with two drops each":         podDrops(110),
		"5,000 interfaces, a few lead out": containers(5_000).nat("POSTROUTING -o eth0 -j MASQUERADE"),
		"500 uplinks":                      crowded(500, ""),
		"5,000 rules, four uplinks":        withRules(crowded(4, ""), 5_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Of(s.Document).Facts()
			for _, e := range f.Exposure {
				if !e.Protected && !e.Exposed && !strings.Contains(strings.Join(e.DependsOn, ""), "links to containers beyond the first 256") {
					t.Errorf("%+v", e)
				}
			}
			if len(f.Exposure) == 0 || len(f.Missing) > 0 {
				t.Errorf("%d exposures, missing %+v", len(f.Exposure), f.Missing)
			}
		})
	}
}

// podDrops is a node with chains as Calico makes them: two for each pod, with a drop in each.
func podDrops(pods int) small {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:from - [0:0]\n:to - [0:0]\n-A FORWARD -i veth+ -j from\n-A FORWARD -o veth+ -j to\n")
	for i := range pods {
		fmt.Fprintf(&b, ":fw%d - [0:0]\n:tw%d - [0:0]\n-A from -i veth%d -g fw%d\n-A to -o veth%d -g tw%d\n", i, i, i, i, i, i)
		for _, c := range []string{"fw", "tw"} {
			for _, rule := range []string{
				"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-m conntrack --ctstate INVALID -j DROP",
				"-j MARK --set-xmark 0x0/0x10000", "-m mark --mark 0x10000/0x10000 -j RETURN", "-j DROP",
			} {
				fmt.Fprintf(&b, "-A %s%d %s\n", c, i, rule)
			}
		}
	}
	s := services(containers(pods))
	s.IPTables.Tables = append(s.IPTables.Tables, saved(b.String())...)
	return s
}

// TestBeyondTheBound: a drop protects the uplinks that were asked about; the others are not known, and said to be there.
func TestBeyondTheBound(t *testing.T) {
	s := crowded(mostUplinks+10, "")
	s.table(netfilter.IP, "filter", "PREROUTING -m conntrack --ctstate INVALID -j DROP")
	f := Of(s.Document).Facts()
	protected, beyond := 0, 0
	for _, e := range f.Exposure {
		switch {
		case e.Family != netfilter.IP:
		case e.Protected:
			protected++
		case strings.Join(e.DependsOn, ";") == "the 11 uplinks beyond the first 512, which were not asked about":
			beyond++
		default:
			t.Errorf("%+v", e)
		}
	}
	if protected != mostUplinks || beyond != 1 || len(f.Uplinks) > mostUplinks+2 {
		t.Errorf("%d protected, %d beyond, %d uplinks", protected, beyond, len(f.Uplinks))
	}
}

// TestTooManySides: a reply that could come in by more interfaces than are asked about is not known to be dropped.
func TestTooManySides(t *testing.T) {
	for _, over := range []int{-5, 5} {
		s := services(crowded(mostSides+over, ""))
		s.table(netfilter.IP, "filter", "PREROUTING -m conntrack --ctstate INVALID -j DROP")
		asked := 0
		for _, a := range Of(s.Document).Ask(packetpath.B) {
			if a.Family != netfilter.IP {
				continue
			}
			asked++
			if dropped := a.Reset == packetpath.ResetNo; dropped != (over < 0) {
				t.Errorf("%d sides: %s %q", mostSides+over, a.Reset, a.DependsOn)
			}
		}
		if asked == 0 {
			t.Error("no question was asked")
		}
	}
}

// TestTooLarge: where the budget ends while addresses and NAT rules are looked at, no answer counts.
func TestTooLarge(t *testing.T) {
	f := Of(ranges(addresses(10_000), 20_000).Document).Facts()
	for _, e := range f.Exposure {
		if e.Protected || e.Exposed || !slices.Contains(e.DependsOn, tooLarge) {
			t.Errorf("%+v", e)
		}
	}
	if s := f.ServiceProxy; len(f.Exposure) == 0 || s.Known || s.Why != tooLarge {
		t.Errorf("%d exposures, %+v", len(f.Exposure), s)
	}
}

// TestListsAreCut: what policies go through is bounded, and what was cut is not known.
func TestListsAreCut(t *testing.T) {
	s := containers(mostContainers + 7)
	for i := range mostMissing + 5 {
		s.Collectors[0].Missing = append(s.Collectors[0].Missing, snapshot.Missing{What: fmt.Sprint(i), Why: "x"})
	}
	f := Of(s.Document).Facts()
	if last := f.Containers[len(f.Containers)-1]; len(f.Containers) != mostContainers+1 || last.Liberal.Known || last.Name != "7 more namespaces" {
		t.Errorf("%d containers, %+v", len(f.Containers), last)
	}
	if last := f.Missing[len(f.Missing)-1]; len(f.Missing) != mostMissing+1 || last.What != "5 more things" {
		t.Errorf("%d missing, %+v", len(f.Missing), last)
	}
	if p := Of(sysctls(20_000).Document).Facts(); p.Persisted.Known || p.Persisted.Why == "" || len(p.Sysctl) > mostSysctls {
		t.Errorf("%d keys, %+v", len(p.Sysctl), p.Persisted.Known)
	}
	if p := Of(sysctls(100).Document).Facts().Persisted; !p.Known || len(p.All) != 100 {
		t.Errorf("%d assignments, %s", len(p.All), p.Why)
	}
}

// TestUnlistedDrops: drops that nobody could look at keep the controls about drops from passing.
func TestUnlistedDrops(t *testing.T) {
	n := Of(node().Document)
	if got := n.unlistedDrops(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	n.keep(packetpath.Answer{Unlisted: true})
	if got := n.unlistedDrops(); len(got) != 2 || got[0].Collector != "iptables" || got[1].Collector != "nftables" {
		t.Errorf("%+v", got)
	}
}

// TestNobodyWaits: when the context ends, so does the work.
func TestNobodyWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	start := time.Now()
	Within(ctx, withRules(crowded(300, ""), 10_000).Document).Facts()
	if took := time.Since(start); took > slowly/6 {
		t.Errorf("it took %s", took)
	}
}
