package packetpath

import (
	"slices"
	"testing"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// A port through a mask is a set of up to 32768 intervals. Rules that split by two of them, over and over, must end in an
// answer that says so, not in gigabytes of classes: a ruleset is untrusted.
func TestScatteredMasksUseUpTheBudget(t *testing.T) {
	var rules []nf.Ops
	for bit := range 16 {
		one := nf.Num(1 << bit)
		odd := func(f nf.Field) nf.Match {
			return nf.Match{Fields: []nf.Operand{{Field: f, Mask: &one}}, In: []nf.Interval{nf.Exactly(one)}}
		}
		rules = append(rules, nf.Ops{odd(nf.Sport), odd(nf.Dport), nf.Assign{Field: nf.Mark, And: nf.Num(0xffffffff &^ (1 << bit)), Xor: one}})
	}
	rules = append(rules, nf.Ops{nf.Match{Fields: []nf.Operand{{Field: nf.Mark}}, In: []nf.Interval{nf.Exactly(nf.Num(5))}}, drop})
	a, err := Evaluate(testNode(nftTable(nf.IP, base("in", nf.Input, 0, rules...))), Query{Question: A, Family: nf.IP, In: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	const why = "the ruleset is too complex to be decided within the budget"
	if a.Verdict != Depends || !slices.Contains(a.DependsOn, why) {
		t.Errorf("%s, depends on %q", a.Verdict, a.DependsOn)
	}
	if a.Reset == ResetYes || a.Reset == ResetNo {
		t.Errorf("reset %s", a.Reset)
	}
}
