package packetpath

import (
	"testing"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// What the kernel was seen to do (internal/lab/oracle) where the evaluator had foretold something else.
func TestKernelFindings(t *testing.T) {
	tests := []struct {
		name, rules string
		fields      map[nf.Field]uint64
		question    Question
		want        Verdict
	}{
		{
			name:  "FORWARD sees a TTL that is one less",
			rules: "*filter\n:FORWARD ACCEPT\n-A FORWARD -i eth0 -m ttl --ttl-gt 63 -j DROP\nCOMMIT\n", question: B,
			fields: map[nf.Field]uint64{nf.TTL: 64}, want: NotDropped,
		},
		{
			name:  "and drops by it",
			rules: "*filter\n:FORWARD ACCEPT\n-A FORWARD -m ttl --ttl-eq 63 -j DROP\nCOMMIT\n", question: B,
			fields: map[nf.Field]uint64{nf.TTL: 64}, want: Dropped,
		},
		{
			name:  "PREROUTING sees the TTL as it came",
			rules: "*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -m ttl --ttl-eq 64 -j DROP\nCOMMIT\n", question: B,
			fields: map[nf.Field]uint64{nf.TTL: 64}, want: Dropped,
		},
		{
			name:  "a TTL set to 1 is not forwarded",
			rules: "*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -j TTL --ttl-set 1\nCOMMIT\n", question: B, want: Depends,
		},
		{
			name:     "nor is a RST with such a TTL",
			rules:    "*mangle\n:PREROUTING ACCEPT\n-A PREROUTING -p tcp -m tcp --tcp-flags RST RST -j TTL --ttl-set 1\nCOMMIT\n",
			question: B, want: Depends,
		},
		{
			name: "a predicate of the packet says nothing of the RST",
			rules: "*filter\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n-A INPUT -m u32 --u32 0=1 -j DROP\n" +
				"-A OUTPUT -m u32 ! --u32 0=1 -j DROP\nCOMMIT\n", question: A, want: Depends,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := Query{Question: tt.question, Family: nf.IP, In: "eth0", Fields: tt.fields}
			if q.Question == B {
				q.Out = "docker0"
			}
			a, err := Evaluate(testNode(parseSave(tt.rules, nf.Legacy, nf.IP)...), q)
			if err != nil || a.Verdict != tt.want {
				t.Errorf("%s (%v), want %s: %+v", a.Verdict, err, tt.want, a.Outcomes)
			}
		})
	}
}

// A blob's inversion is inside it: nothing may be concluded from the extension's name.
func TestOpaqueExtensions(t *testing.T) {
	for _, name := range []string{"connlabel", "helper", "physdev", "policy", "owner", "rpfilter", "socket", "u32"} {
		text := "-m " + name + " --opaque-revision-0 0x0100 -j DROP"
		table := &nf.Table{Backend: nf.NFTables, Family: nf.IP, Name: "filter", Chains: []*nf.Chain{{
			Name: "INPUT", Base: &nf.Base{Type: nf.FilterChain, Hook: nf.Input, Policy: nf.Accept},
			Rules: []*nf.Rule{{Number: 1, Text: text, Ops: nf.Ops{
				nf.Ext{Name: name, Args: "--opaque-revision-0 0x0100"}, nf.Verdict{Kind: nf.Drop},
			}}},
		}}}
		a, err := Evaluate(testNode(table), Query{Question: A, Family: nf.IP, In: "eth0"})
		if err != nil || a.Verdict != Depends {
			t.Errorf("%s: %s (%v), want depends", name, a.Verdict, err)
		}
	}
}
