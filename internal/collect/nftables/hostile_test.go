package nftables

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// attr, be and msg build netlink messages by hand.
func attr(typ uint16, parts ...[]byte) []byte {
	body := []byte{}
	for _, p := range parts {
		body = append(body, p...)
	}
	b := binary.NativeEndian.AppendUint16(nil, uint16(nlaHeader+len(body)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func be(n uint32) []byte  { return binary.BigEndian.AppendUint32(nil, n) }
func str(s string) []byte { return append([]byte(s), 0) }
func nft(n int, fam uint8, parts ...[]byte) []byte {
	return msg(uint16(subsysNFTables|n), 0, fam, parts...)
}

func msg(kind, flags uint16, fam uint8, parts ...[]byte) []byte {
	body := []byte{fam, 0, 0, 0}
	for _, p := range parts {
		body = append(body, p...)
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(nlmsgHeader+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	return append(append(b, make([]byte, 8)...), body...)
}

// expr is one element of a rule's list of expressions.
func expr(name string, parts ...[]byte) []byte {
	return attr(listElem, attr(exprName, str(name)), attr(exprData, parts...))
}

// crafted is the evidence of one inet table "t" with one chain "c" and the rule.
func crafted(expressions ...[]byte) *host.Evidence {
	return dumped(map[string][]byte{
		host.DumpNFTables: nft(msgNewTable, 1, attr(1, str("t"))),
		host.DumpNFChains: nft(msgNewChain, 1, attr(1, str("t")), attr(3, str("c"))),
		host.DumpNFRules:  nft(msgNewRule, 1, attr(1, str("t")), attr(2, str("c")), attr(4, expressions...)),
	})
}

// dumped is evidence with the given dumps and no others.
func dumped(data map[string][]byte) *host.Evidence {
	ev := &host.Evidence{Answers: map[string]*host.Answer{}}
	for _, n := range New().Needs() {
		ev.Answers[n.Key()] = &host.Answer{Data: data[n.Args[0]]}
	}
	return ev
}

func collectFrom(ev *host.Evidence) (*snapshot.NFTables, []snapshot.Missing) {
	var doc snapshot.Document
	missing := New().Collect(ev, &doc)
	return &doc.NFTables, missing
}

func drop() []byte {
	return expr("immediate", attr(1, be(regVerdict)), attr(2, attr(dataVerdict, attr(1, be(0)))))
}

// TestUnknownExpressions checks that nothing of a rule vanishes: an expression that is unknown, or known with an attribute
// that is not, stays at its place, and what was in the registers is forgotten.
func TestUnknownExpressions(t *testing.T) {
	loadMark := expr("meta", attr(1, be(1)), attr(2, be(3)))
	cmpMark := expr("cmp", attr(1, be(1)), attr(2, be(cmpEQ)), attr(3, attr(dataValue, []byte{1, 0, 0, 0})))
	for name, c := range map[string]struct {
		rule [][]byte
		want []string // the names of the steps
	}{
		"unknown":               {[][]byte{expr("frob", []byte{1, 2, 3, 4}), drop()}, []string{"ext frob", "drop"}},
		"unknown writes":        {[][]byte{loadMark, expr("frob"), cmpMark, drop()}, []string{"ext frob", "ext frob", "drop"}},
		"known":                 {[][]byte{loadMark, cmpMark, drop()}, []string{"match", "drop"}},
		"new attribute":         {[][]byte{expr("meta", attr(1, be(1)), attr(2, be(3)), attr(9, be(1))), cmpMark, drop()}, []string{"ext meta", "ext meta", "drop"}},
		"new key":               {[][]byte{expr("meta", attr(1, be(1)), attr(2, be(99))), cmpMark, drop()}, []string{"ext meta", "ext meta", "drop"}},
		"register never loaded": {[][]byte{cmpMark, drop()}, []string{"ext register", "drop"}},
		"new verdict":           {[][]byte{expr("immediate", attr(1, be(0)), attr(2, attr(dataVerdict, attr(1, be(77)))))}, []string{"ext immediate"}},
		"unknown set":           {[][]byte{loadMark, expr("lookup", attr(1, str("s")), attr(2, be(1))), drop()}, []string{"ext lookup", "drop"}},
		"register arithmetic":   {[][]byte{loadMark, expr("bitwise", attr(1, be(1)), attr(2, be(1)), attr(3, be(4)), attr(6, be(3)), attr(8, be(2))), cmpMark, drop()}, []string{"ext bitwise", "drop"}},
		"payload of no family":  {[][]byte{expr("payload", attr(1, be(1)), attr(2, be(1)), attr(3, be(12)), attr(4, be(4))), cmpMark, drop()}, []string{"match", "drop"}},
		"half overwritten": {
			[][]byte{expr("meta", attr(1, be(1)), attr(2, be(6))), expr("meta", attr(1, be(9)), attr(2, be(3))), expr("cmp", attr(1, be(1)), attr(2, be(0)), attr(3, attr(1, []byte("eth0")))), drop()},
			[]string{"ext register", "drop"},
		},
	} {
		s, missing := collectFrom(crafted(c.rule...))
		if len(missing) > 0 {
			t.Errorf("%s: missing %v", name, missing)
		}
		var got []string
		for _, op := range s.Tables[0].Chains[0].Rules[0].Ops {
			switch op := op.(type) {
			case nf.Ext:
				got = append(got, "ext "+op.Name)
			case nf.Verdict:
				got = append(got, string(op.Kind))
			case nf.Match:
				got = append(got, "match")
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	s, _ := collectFrom(crafted(expr("payload", attr(1, be(1)), attr(2, be(1)), attr(3, be(12)), attr(4, be(4))), cmpMark))
	if m := s.Tables[0].Chains[0].Rules[0].Ops[0].(nf.Match); m.Fields[0].Field != "@nh,96,32" {
		t.Errorf("a payload of an unknown family was read as %s", m.Fields[0].Field)
	}
}

// TestBrokenDumps checks that what is not whole says so, in the table and in what is missing.
func TestBrokenDumps(t *testing.T) {
	whole := func() *host.Evidence { return crafted(drop()) }
	answer := func(ev *host.Evidence, dump string) *host.Answer { return ev.Answer(need(dump)) }
	for name, c := range map[string]struct {
		spoil func(*host.Evidence)
		want  string // in the first table's Incomplete
	}{
		"rules cut":       {func(ev *host.Evidence) { a := answer(ev, host.DumpNFRules); a.Data = a.Data[:len(a.Data)-6] }, "cut or garbled"},
		"rules truncated": {func(ev *host.Evidence) { answer(ev, host.DumpNFRules).Truncated = true }, "longer than its limit"},
		"rules refused": {func(ev *host.Evidence) {
			*answer(ev, host.DumpNFRules) = host.Answer{Err: "operation not permitted", Denied: true}
		}, "not permitted"},
		"chains refused":      {func(ev *host.Evidence) { *answer(ev, host.DumpNFChains) = host.Answer{Err: "x"} }, "no list of chains"},
		"a chain is missing":  {func(ev *host.Evidence) { answer(ev, host.DumpNFChains).Data = nil }, "chain c is in no list"},
		"interrupted":         {func(ev *host.Evidence) { answer(ev, host.DumpNFRules).Data[6] = flagInterrupted }, "changed while it was read"},
		"expressions garbled": {func(ev *host.Evidence) { a := answer(ev, host.DumpNFRules); a.Data[nlmsgHeader+nfgenHeader+16+4] = 3 }, "garbled"},
		"kernel error": {func(ev *host.Evidence) {
			a := answer(ev, host.DumpNFRules)
			a.Data = append(a.Data, errorMessage(1)...)
		}, "error 1"},
		"another table's rule": {func(ev *host.Evidence) { a := answer(ev, host.DumpNFRules); a.Data[nlmsgHeader] = 10 }, "in no list of tables"},
	} {
		ev := whole()
		c.spoil(ev)
		s, missing := collectFrom(ev)
		if len(s.Tables) != 1 || !strings.Contains(s.Tables[0].Incomplete, c.want) || len(missing) == 0 {
			t.Errorf("%s: incomplete %q, missing %v", name, s.Tables[0].Incomplete, missing)
		}
	}
}

func errorMessage(errno int32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, nlmsgHeader+4)
	b = binary.NativeEndian.AppendUint16(b, nlmsgError)
	b = append(b, make([]byte, 10)...)
	return binary.NativeEndian.AppendUint32(b, uint32(-errno))
}

func TestAbsent(t *testing.T) {
	ev := dumped(nil)
	for _, a := range ev.Answers {
		*a = host.Answer{Absent: true}
	}
	s, missing := collectFrom(ev)
	if len(missing) != 0 || len(s.Tables) != 0 || !s.Generation.IsAbsent() || !s.HookOrder.IsAbsent() {
		t.Errorf("%+v, %v", s, missing)
	}
}

// TestCutSet checks that a set that the host cut is the only thing that is not whole.
func TestCutSet(t *testing.T) {
	set := func(name string) []byte {
		return nft(msgNewSet, 1, attr(1, str("t")), attr(2, str(name)), attr(3, be(0)), attr(4, be(13)), attr(5, be(2)))
	}
	ev := dumped(map[string][]byte{
		host.DumpNFTables:   nft(msgNewTable, 1, attr(1, str("t"))),
		host.DumpNFSets:     append(set("a"), set("b")...),
		host.DumpNFElements: msg(nlmsgOverrun, 0, 1, attr(1, str("t")), attr(2, str("b"))),
	})
	ev.Answer(need(host.DumpNFElements)).Truncated = true
	s, missing := collectFrom(ev)
	tb := s.Tables[0]
	if tb.Incomplete != "" || tb.Set("a").Incomplete != "" || tb.Set("b").Incomplete == "" || len(missing) != 1 {
		t.Errorf("table %q, a %q, b %q, missing %v", tb.Incomplete, tb.Set("a").Incomplete, tb.Set("b").Incomplete, missing)
	}
}

// TestHookOrder reads messages built from nfnetlink_hook.h; the kernel of the tests has no such subsystem.
func TestHookOrder(t *testing.T) {
	const kind = subsysHook | msgHookGet
	data := msg(kind, flagRequest, 2, attr(1, be(1)))
	data = append(data, msg(kind, 2, 2, attr(1, be(1)), attr(2, be(0xffffff38)), attr(4, str("ipv4_conntrack_in")), attr(5, str("nf_conntrack")))...)
	data = append(data, msg(kind, 2, 2, attr(1, be(1)), attr(2, be(0)), attr(4, str("nft_do_chain_inet")), attr(6,
		attr(1, attr(1, str("t")), attr(2, []byte{1}), attr(3, str("c"))), attr(2, be(hookInfoChain))))...)
	data = append(data, msg(kind, flagRequest, 5, attr(1, be(0)), attr(3, str("eth0")))...)
	data = append(data, msg(kind, 2, 5, attr(1, be(0)), attr(2, be(5)), attr(4, str("f")))...)
	s, missing := collectFrom(dumped(map[string][]byte{host.DumpNFHooks: data}))
	got, known := s.HookOrder.Get()
	want := []snapshot.HookEntry{
		{Family: nf.IP, Hook: nf.Input, Priority: -200, Function: "ipv4_conntrack_in", Module: "nf_conntrack"},
		{Family: nf.IP, Hook: nf.Input, Function: "nft_do_chain_inet", Table: "t", Chain: "c", TableFamily: nf.INET},
		{Family: nf.Netdev, Hook: nf.Ingress, Device: "eth0", Priority: 5, Function: "f"},
	}
	if d := cmp.Diff(want, got); !known || d != "" || len(missing) > 0 {
		t.Errorf("known %v, missing %v: %s", known, missing, d)
	}
	s, missing = collectFrom(dumped(map[string][]byte{host.DumpNFHooks: data[:len(data)-3]}))
	if !s.HookOrder.IsUnreadable() || len(missing) != 1 {
		t.Errorf("a cut dump: %+v, %v", s.HookOrder, missing)
	}
}

// seedDumps are the recorded dumps of the ruleset of TestNativeRules, so that fuzzing starts from what a kernel sends.
func seedDumps(tb testing.TB) map[string][]byte {
	out := map[string][]byte{}
	for _, d := range append(dumps(), host.DumpNFGen) {
		b, err := os.ReadFile(dumpFile(d))
		if err != nil {
			tb.Fatal(err)
		}
		out[d] = b
	}
	return out
}

func dumpFile(dump string) string { return "testdata/dumps/" + strings.TrimPrefix(dump, "nft/") }

// TestRecordedDump reads the recorded dumps and finds the steps of testdata/native.golden in them, without a kernel.
func TestRecordedDump(t *testing.T) {
	s, missing := collectFrom(dumped(seedDumps(t)))
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	var want, got []string
	for _, l := range lines(t, "testdata/native.golden") {
		if ops, ok := strings.CutPrefix(l, "    ops:  "); ok {
			want = append(want, ops)
		}
	}
	for _, r := range table(t, s, nf.INET, "t").Chain("c").Rules {
		got = append(got, compact(t, r.Ops))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestMutatedDumps changes bytes of a real ruleset's dumps at random: no panic, and a text for every rule.
func TestMutatedDumps(t *testing.T) {
	dumps := seedDumps(t)
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		changed := map[string][]byte{}
		for name, b := range dumps {
			c := append([]byte{}, b...)
			for n := r.IntN(6); n > 0 && len(c) > 0; n-- {
				c[r.IntN(len(c))] = byte(r.UintN(256))
			}
			changed[name] = c
		}
		s, _ := collectFrom(dumped(changed))
		for _, tb := range s.Tables {
			for _, ch := range tb.Chains {
				for _, rule := range ch.Rules {
					if rule.Text == "" && len(rule.Ops) > 0 {
						t.Fatalf("rule %d of %s has steps and no text", rule.Number, ch.Name)
					}
				}
			}
		}
	}
}

// FuzzRules feeds the walker with expressions; the seeds are those of a real ruleset.
func FuzzRules(f *testing.F) {
	for r := (&reader{b: seedDumps(f)[host.DumpNFRules]}); ; {
		m, ok := r.next()
		if !ok {
			break
		}
		var a attrs
		if a.parse(m.body) {
			f.Add(m.family, a.at[4])
		}
	}
	f.Fuzz(func(t *testing.T, fam uint8, list []byte) {
		for _, name := range []string{"t", "filter"} {
			s, _ := collectFrom(dumped(map[string][]byte{
				host.DumpNFTables: nft(msgNewTable, fam, attr(1, str(name))),
				host.DumpNFChains: nft(msgNewChain, fam, attr(1, str(name)), attr(3, str("INPUT"))),
				host.DumpNFSets:   nft(msgNewSet, fam, attr(1, str(name)), attr(2, str("__set0")), attr(4, be(13)), attr(5, be(2))),
				host.DumpNFRules:  nft(msgNewRule, fam, attr(1, str(name)), attr(2, str("INPUT")), attr(4, list[:min(len(list), 60000)])),
			}))
			for _, rule := range s.Tables[0].Chains[0].Rules {
				if _, err := rule.Ops.MarshalJSON(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// FuzzSets feeds the reader of sets and elements.
func FuzzSets(f *testing.F) {
	dumps := seedDumps(f)
	f.Add(dumps[host.DumpNFTables], dumps[host.DumpNFSets], dumps[host.DumpNFElements])
	f.Fuzz(func(t *testing.T, tables, sets, elements []byte) {
		s, _ := collectFrom(dumped(map[string][]byte{host.DumpNFTables: tables, host.DumpNFSets: sets, host.DumpNFElements: elements}))
		for _, tb := range s.Tables {
			for _, set := range tb.Sets {
				if _, err := set.MarshalJSON(); err != nil {
					t.Fatal(err)
				}
				for _, e := range set.Elements {
					if len(e.Key) != len(set.Types) {
						t.Fatalf("%d intervals for %d types", len(e.Key), len(set.Types))
					}
				}
			}
		}
	})
}
