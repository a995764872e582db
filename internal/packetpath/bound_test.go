package packetpath

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// TestBoundedWork counts what hostile rulesets cost. A step may be taken in one piece with what it makes, so that a question can end a
// little below nothing; it never comes near a second budget.
func TestBoundedWork(t *testing.T) {
	for name, node := range hostile {
		t.Run(name, func(t *testing.T) {
			e := Compile(node())
			a, err := e.Evaluate(Query{Question: A, Family: netfilter.IP, In: "eth0"})
			if err != nil {
				t.Fatal(err)
			}
			if m := e.meter; m.left < -budget/4 || m.search < -searchBudget/4 || m.compileLeft < -compileBudget/4 {
				t.Errorf("more was used than there is: %+v", m)
			}
			if len(a.Outcomes) > foldAbove || len(a.DependsOn) > named+3 {
				t.Errorf("%d outcomes, %d conditions", len(a.Outcomes), len(a.DependsOn))
			}
			for _, d := range a.DependsOn {
				if len(d) > 2*maxLabel {
					t.Errorf("a condition of %d bytes", len(d))
				}
			}
			if e.spent() && (a.Verdict == Dropped || a.Verdict == NotDropped || !slices.Contains(a.DependsOn, TooComplex)) {
				t.Errorf("the budget is used up and the answer is %s, depending on %q", a.Verdict, a.DependsOn)
			}
		})
	}
}

// TestBudgetNodeWide: what questions about one node have used, others have not, but for a least share.
func TestBudgetNodeWide(t *testing.T) {
	e := Compile(hostile["jump tree"]())
	used := 0
	for range nodeBudget/budget + 5 {
		if _, err := e.Evaluate(Query{Question: A, Family: netfilter.IP, In: "eth0"}); err != nil {
			t.Fatal(err)
		}
		used++
	}
	if e.meter.node > 0 || e.meter.node < -budget {
		t.Errorf("%d left of the node's budget after %d questions", e.meter.node, used)
	}
}

// TestWideClassesForgetNothingTrue: joined classes keep no assumption that one of them does not make.
func TestWideClassesForgetNothingTrue(t *testing.T) {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m u32 --u32 0=1 -j MARK --set-xmark 0x1/0x1\n")
	for range 300 {
		b.WriteString("-A INPUT -m mark --mark 0x1/0x1 -m connlimit --connlimit-above 1 -j MARK --set-xmark 0x2/0x2\n")
		b.WriteString("-A INPUT -m connlimit --connlimit-above 1 -j MARK --set-xmark 0x4/0x4\n")
	}
	b.WriteString("-A INPUT -m u32 --u32 0=1 -j DROP\n-A INPUT -m mark --mark 0x1/0x1 -j DROP\n")
	a, err := Evaluate(testNode(parseSave(b.String(), netfilter.Legacy, netfilter.IP)...), Query{Question: A, Family: netfilter.IP, In: "eth0"})
	if err != nil || a.Verdict != Depends || a.Reset != ResetDepends {
		t.Errorf("%s %s %v, want depends", a.Verdict, a.Reset, err)
	}
}

// TestEarlyDropsThatWereNotAskedAbout: a drop before conntrack is catastrophic, or it is said that nobody looked.
func TestEarlyDropsThatWereNotAskedAbout(t *testing.T) {
	invalid := "-m conntrack --ctstate INVALID -j DROP\n"
	n := testNode(parseSave("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -i eth0 "+invalid+"-A PREROUTING -i eth99 "+invalid, netfilter.Legacy, netfilter.IP)...)
	for i := 1; i < 100; i++ {
		n.Interfaces = append(n.Interfaces, Interface{Name: fmt.Sprintf("eth%d", i), Index: uint32(10 + i), Type: 1, Addrs: n.Interfaces[1].Addrs})
	}
	drops := Compile(n).Drops()
	if len(drops) != 2 || !drops[0].Catastrophic || drops[0].Undecided != "" {
		t.Fatalf("%+v", drops)
	}
	if d := drops[1]; d.Catastrophic || !strings.Contains(d.Undecided, "only the first 64 interfaces") {
		t.Errorf("%+v", d)
	}
}
