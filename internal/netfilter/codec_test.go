package netfilter

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ptr(v Value) *Value { return &v }

func prefix(s string) Interval { return Prefix(netip.MustParsePrefix(s)) }

var codecCases = []struct {
	name string
	ops  Ops
	json string
}{
	{
		"addresses",
		Ops{Match{Fields: []Operand{{Field: IPSaddr}}, In: []Interval{prefix("10.0.0.0/8"), {Addr(netip.MustParseAddr("192.0.2.1")), Addr(netip.MustParseAddr("192.0.2.9"))}}}},
		`[{"op":"match","fields":[{"field":"ip.saddr"}],"in":["10.0.0.0/8","192.0.2.1-192.0.2.9"]}]`,
	},
	{
		"every ipv6 address",
		Ops{Match{Fields: []Operand{{Field: IP6Daddr}}, In: []Interval{prefix("::/0")}, Invert: true}},
		`[{"op":"match","fields":[{"field":"ip6.daddr"}],"in":["::/0"],"invert":true}]`,
	},
	{
		"mapped address",
		Ops{Match{Fields: []Operand{{Field: IP6Daddr}}, In: []Interval{Exactly(Addr(netip.MustParseAddr("::ffff:192.0.2.1"))), prefix("::ffff:192.0.2.0/120")}}},
		`[{"op":"match","fields":[{"field":"ip6.daddr"}],"in":["::ffff:192.0.2.1","::ffff:192.0.2.0/120"]}]`,
	},
	{
		"names",
		Ops{Match{Fields: []Operand{{Field: IIFName}}, In: []Interval{Names("eth0"), Names("br-*"), Names("*"), Names("")}}},
		`[{"op":"match","fields":[{"field":"meta.iifname"}],"in":["eth0","br-*","*",""]}]`,
	},
	{
		"odd names",
		Ops{Match{Fields: []Operand{{Field: IIFName}}, In: []Interval{Exactly(Name("a*")), Exactly(Name("eth+")), Exactly(Name(`a"\`)), Exactly(Name("0x1"))}}},
		`[{"op":"match","fields":[{"field":"meta.iifname"}],"in":["0x612a0000000000000000000000000000","eth+","a\"\\","0x30783100000000000000000000000000"]}]`,
	},
	{
		"state bits",
		Ops{Match{Fields: []Operand{{Field: CTState, Mask: ptr(Num(9))}}, In: []Interval{Exactly(Num(0))}, Invert: true}},
		`[{"op":"match","fields":[{"field":"ct.state","mask":"9"}],"in":["0"],"invert":true}]`,
	},
	{
		"masked mark",
		Ops{Match{Fields: []Operand{{Field: Mark, Mask: ptr(Num(0xffff)), Xor: ptr(Num(0x10))}}, In: []Interval{Nums(0x4000, 0x8000)}}},
		`[{"op":"match","fields":[{"field":"meta.mark","mask":"0xffff","xor":"0x10"}],"in":["0x4000-0x8000"]}]`,
	},
	{
		"concatenation",
		Ops{Match{Fields: []Operand{{Field: IPSaddr}, {Field: Dport}}, Set: "pairs"}, VMap{Fields: []Operand{{Field: CTState}}, Set: "__map0"}},
		`[{"op":"match","fields":[{"field":"ip.saddr"},{"field":"th.dport"}],"set":"pairs"},{"op":"vmap","fields":[{"field":"ct.state"}],"set":"__map0"}]`,
	},
	{
		"others",
		Ops{Ext{Name: "limit", Args: "rate 5/second", Invert: true}, XtState{HasState: true, States: StateInvalid | StateDNAT, Invert: true, Others: []string{"ctdir"}}, XtState{}},
		`[{"op":"ext","name":"limit","args":"rate 5/second","invert":true},{"op":"xtstate","hasState":true,"states":131073,"invert":true,"others":["ctdir"]},{"op":"xtstate","hasState":false}]`,
	},
	{
		"verdicts",
		Ops{Verdict{Kind: Jump, Chain: "c"}, Verdict{Kind: Reject, With: "tcp-reset"}, Verdict{Kind: Queue, Queue: "1-3", Bypass: true}},
		`[{"op":"verdict","kind":"jump","chain":"c"},{"op":"verdict","kind":"reject","with":"tcp-reset"},{"op":"verdict","kind":"queue","queue":"1-3","bypass":true}]`,
	},
	{
		"writes",
		Ops{Assign{Field: Mark, From: "ct.mark", And: Num(0xff), Xor: Num(1), Map: "m"}, Stmt{Name: "counter"}, Stmt{Name: "log", Args: "prefix \"x\"\n"}},
		`[{"op":"assign","field":"meta.mark","from":"ct.mark","and":"0xff","xor":"1","map":"m"},{"op":"stmt","name":"counter"},{"op":"stmt","name":"log","args":"prefix \"x\"\n"}]`,
	},
	{"nothing", Ops{}, `[]`},
}

func TestOpsJSON(t *testing.T) {
	for _, c := range codecCases {
		t.Run(c.name, func(t *testing.T) {
			got, err := json.Marshal(c.ops)
			if err != nil || string(got) != c.json {
				t.Fatalf("encoded %s, %v\nwant    %s", got, err, c.json)
			}
			var back Ops
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.ops, back); d != "" {
				t.Errorf("decoded differs: %s", d)
			}
		})
	}
}

func TestOpsJSONRefused(t *testing.T) {
	for name, in := range map[string]string{
		"unknown op":         `[{"op":"drop"}]`,
		"no op":              `[{"name":"x"}]`,
		"unknown field":      `[{"op":"stmt","name":"x","extra":1}]`,
		"unknown operand":    `[{"op":"match","fields":[{"field":"ip.saddr","shift":"1"}]}]`,
		"field twice":        `[{"op":"stmt","name":"x","name":"y"}]`,
		"unknown verdict":    `[{"op":"verdict","kind":"maybe"}]`,
		"family":             `[{"op":"match","fields":[{"field":"ip.saddr"}],"in":["2001:db8::1"]}]`,
		"host bits":          `[{"op":"match","fields":[{"field":"ip.saddr"}],"in":["10.0.0.1/8"]}]`,
		"backwards":          `[{"op":"match","fields":[{"field":"th.dport"}],"in":["9-8"]}]`,
		"zone":               `[{"op":"match","fields":[{"field":"ip6.saddr"}],"in":["fe80::1%eth0"]}]`,
		"wrong type":         `[{"op":"stmt","name":7}]`,
		"behind":             `[] []`,
		"cut":                `[{"op":"stmt","name":"x"`,
		"not an array":       `{"op":"stmt"}`,
		"negative state":     `[{"op":"xtstate","hasState":true,"states":-1}]`,
		"number for address": `[{"op":"match","fields":[{"field":"ip6.saddr"}],"in":["1"]}]`,
		"missing values":     `[{"op":"assign","field":"meta.mark"}]`,
		"nested deeply":      `[{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `,"op":"stmt"}]`,
	} {
		var o Ops
		if err := o.UnmarshalJSON([]byte(in)); err == nil {
			t.Errorf("%s: %s decoded as %v", name, in, o)
		}
	}
}

func TestOpsJSONAnyOrder(t *testing.T) {
	var o Ops
	in := ` [ {"in" : ["10.0.0.0/8"], "fields":[{"field":"ip.saddr"}], "op" :"match"} , {"name":"a","op":"stmt"}]`
	if err := json.Unmarshal([]byte(in), &o); err != nil {
		t.Fatal(err)
	}
	want := Ops{Match{Fields: []Operand{{Field: IPSaddr}}, In: []Interval{prefix("10.0.0.0/8")}}, Stmt{Name: "a"}}
	if d := cmp.Diff(want, o); d != "" {
		t.Error(d)
	}
}

func TestSetJSON(t *testing.T) {
	s := Set{
		Name: "m", Types: []string{"ipv4_addr", "ifname"}, DataTypes: []string{"mark"}, Map: true,
		Elements: []Element{
			{Key: []Interval{prefix("10.0.0.0/8"), Names("veth*")}, Data: []Value{Num(0x20)}},
			{Key: []Interval{Exactly(Num(1)), Names("lo")}, Verdict: &Verdict{Kind: Goto, Chain: "c"}},
		},
		CatchAll: &Element{Verdict: &Verdict{Kind: Drop}}, Incomplete: "cut",
	}
	want := `{"name":"m","types":["ipv4_addr","ifname"],"dataTypes":["mark"],"map":true,"elements":[` +
		`{"key":["10.0.0.0/8","veth*"],"data":["0x20"]},{"key":["0.0.0.1","lo"],"verdict":{"kind":"goto","chain":"c"}}],` +
		`"catchAll":{"key":[],"verdict":{"kind":"drop"}},"incomplete":"cut"}`
	got, err := json.Marshal(s)
	if err != nil || string(got) != want {
		t.Fatalf("encoded %s, %v\nwant    %s", got, err, want)
	}
	var back Set
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, back); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{`{"name":"m","x":1}`, `{"name":"m","elements":[{"key":["1"],"y":2}]}`, `[]`, `{"name":"m"`, `{"elements":[{"key":["a"]}]}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was decoded", bad)
		}
	}
}

// TestIntervalText checks that every interval of every kind comes back from its text.
func TestIntervalText(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() Value {
		v := Value{r.Uint64(), r.Uint64()}
		switch r.IntN(5) {
		case 0:
			v = Num(r.Uint64N(1 << 33))
		case 1:
			v = Name(string([]byte("eth*0x+-")[:r.IntN(9)]))
		case 2:
			v = v.And(Value{^uint64(0), 0})
		}
		return v
	}
	for range 20000 {
		a, b := random(), random()
		if r.IntN(3) == 0 {
			b = a.Or(shr(ones, r.IntN(129)))
		}
		if a.Cmp(b) > 0 {
			a, b = b, a
		}
		for k := kindNumber; k <= kindName; k++ {
			text := string(appendInterval(nil, k, Interval{a, b}))
			back, err := parseInterval(k, text)
			if err != nil || back != (Interval{a, b}) {
				t.Fatalf("kind %d: %x-%x written %q, read %x, %v", k, a, b, text, back, err)
			}
		}
	}
}

func FuzzOpsJSON(f *testing.F) {
	for _, c := range codecCases {
		f.Add([]byte(c.json))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var o Ops
		if o.UnmarshalJSON(in) != nil {
			return
		}
		_ = o.String() // must not panic on what no reader writes
		first, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back Ops
		if err := back.UnmarshalJSON(first); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		second, _ := back.MarshalJSON()
		if !bytes.Equal(first, second) {
			t.Fatalf("%s\n%s", first, second)
		}
	})
}

func FuzzSetJSON(f *testing.F) {
	f.Add([]byte(`{"name":"m","types":["ipv4_addr"],"map":true,"elements":[{"key":["10.0.0.0/8"],"data":["1"]}],"catchAll":{"key":[],"verdict":{"kind":"drop"}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var s Set
		if s.UnmarshalJSON(in) != nil {
			return
		}
		first, err := s.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back Set
		if err := back.UnmarshalJSON(first); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
	})
}

func BenchmarkOpsJSON(b *testing.B) {
	ops := append(append(Ops{}, codecCases[0].ops...), Match{Fields: []Operand{{Field: Dport}}, In: []Interval{Exactly(Num(80))}}, Stmt{Name: "counter"}, Verdict{Kind: Drop})
	text, _ := json.Marshal(ops)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			_, _ = json.Marshal(ops)
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			var o Ops
			if err := json.Unmarshal(text, &o); err != nil {
				b.Fatal(err)
			}
		}
	})
}
