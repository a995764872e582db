package packetpath

import (
	"encoding/json"
	"testing"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// FuzzEvaluate feeds rulesets that no reader wrote: whatever a snapshot may hold, there is an answer and no panic.
func FuzzEvaluate(f *testing.F) {
	for _, c := range []*nf.Table{
		nftTable(nf.INET, base("c", nf.Input, 0, nf.Ops{invalid, drop}), base("d", nf.Prerouting, -300, nf.Ops{notrack})),
		parseSave("*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate INVALID -m limit --limit 1/s -j DROP\n", nf.Legacy, nf.IP)[0],
		native(nf.Match{Fields: []nf.Operand{{Field: nf.IPSaddr}, {Field: nf.Dport}}, Set: "s"}, drop),
		native(nf.VMap{Fields: one(nf.CTState), Set: "v"}, nf.Stmt{Name: "synproxy"}, nf.Ext{Name: "x"}),
	} {
		b, err := json.Marshal(nf.Ruleset{Tables: []*nf.Table{c}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var rs nf.Ruleset
		if json.Unmarshal(data, &rs) != nil {
			t.Skip()
		}
		n := testNode()
		n.Ruleset = &rs
		e := Compile(n)
		for _, q := range []Query{askA, {Question: A, Family: nf.IP6, In: "eth0"}, {Question: B, Family: nf.IP, In: "eth0", Out: "cali1"}} {
			a, err := e.Evaluate(q)
			if err != nil || a.Verdict == "" || len(a.Outcomes) == 0 {
				t.Fatalf("%+v %v", a, err)
			}
		}
	})
}

// FuzzSave feeds rule texts.
func FuzzSave(f *testing.F) {
	f.Add("-m conntrack --ctstate INVALID -j DROP", "-s 10.0.0.0/8 -p tcp -m tcp --dport 1:2 -j ACCEPT")
	f.Add("-s 10.0.0.1/32 -j DROP", "-s 10.0.0.2/32 -j DROP")
	f.Fuzz(func(t *testing.T, a, b string) {
		c := &nf.Chain{Name: "INPUT", Base: &nf.Base{Type: nf.FilterChain, Hook: nf.Input, Policy: nf.Accept}}
		for i, s := range []string{a, b, a, b, b, b, a} {
			c.Rules = append(c.Rules, &nf.Rule{Number: i + 1, Text: s})
		}
		tab := &nf.Table{Backend: nf.Legacy, Family: nf.IP, Name: "filter", Chains: []*nf.Chain{c}}
		x, err := Evaluate(testNode(tab), askA)
		if err != nil || len(x.Outcomes) == 0 {
			t.Fatalf("%+v %v", x, err)
		}
	})
}
