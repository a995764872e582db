package nftables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// Dumps that come in pieces, and once more when the ruleset changed, make the same section as whole ones.
func TestStreamedDumps(t *testing.T) {
	data := seedDumps(t)
	want, missing := collectFrom(dumped(data))
	if len(missing) > 0 || len(want.Tables) == 0 {
		t.Fatalf("%d tables, missing %v", len(want.Tables), missing)
	}
	for name, order := range map[string][]string{
		"once":        dumps(),
		"rules again": append(dumps(), host.DumpNFRules),
		"all again":   append(dumps(), dumps()...),
	} {
		ev := dumped(data)
		sinks := collector{}.Sinks()
		for _, d := range order {
			piecewise(sinks[need(d).Key()], data[d])
			a := ev.Answer(need(d))
			a.Sink, a.Data = sinks[need(d).Key()], nil
		}
		have, missing := collectFrom(ev)
		if diff := cmp.Diff(want.Tables, have.Tables); diff != "" || len(missing) > 0 {
			t.Errorf("%s: missing %v (-whole +streamed):\n%s", name, missing, diff)
		}
	}
}

// piecewise hands a dump over message by message.
func piecewise(s host.Sink, dump []byte) {
	s.Begin()
	for r := (&reader{b: dump}); len(r.b) > 0; {
		before := r.b
		if _, ok := r.next(); !ok {
			s.Piece(before)
			return
		}
		s.Piece(append([]byte{}, before[:len(before)-len(r.b)]...))
	}
}

// What a sink was given before its dump failed does not count, and the tables say that their rules are missing.
func TestStreamedDumpFails(t *testing.T) {
	data := seedDumps(t)
	ev := dumped(data)
	sinks := collector{}.Sinks()
	for _, d := range dumps() {
		piecewise(sinks[need(d).Key()], data[d])
		*ev.Answer(need(d)) = host.Answer{Sink: sinks[need(d).Key()]}
	}
	*ev.Answer(need(host.DumpNFRules)) = host.Answer{Err: "changed while reading"}
	have, missing := collectFrom(ev)
	if len(missing) != 1 || len(have.Tables) == 0 {
		t.Fatalf("%d tables, missing %v", len(have.Tables), missing)
	}
	for _, tb := range have.Tables {
		if !strings.Contains(tb.Incomplete, "nf_tables rules: changed while reading") {
			t.Errorf("table %s is incomplete for %q", tb.Name, tb.Incomplete)
		}
		for _, c := range tb.Chains {
			if len(c.Rules) > 0 {
				t.Errorf("chain %s kept %d rules", c.Name, len(c.Rules))
			}
		}
	}
}

// The real thing: what the kernel is asked chain by chain while it is parsed is what one dump holds.
func TestStreamedFromTheKernel(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	ns := labtest.NewNetns(t)
	if _, err := ns.Pipe(manyRules(3000), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	want, _ := collected(t, ns)
	ev, err := host.Local(host.LocalOptions{Namespace: ns.Path()}).Fetch(t.Context(), host.Request{Needs: New().Needs(), Sinks: collector{}.Sinks()})
	if err != nil {
		t.Fatal(err)
	}
	if a := ev.Answer(need(host.DumpNFRules)); a.Sink == nil || a.Data != nil {
		t.Fatalf("not streamed: %+v", a)
	}
	have, missing := collectFrom(ev)
	if diff := cmp.Diff(want.Tables, have.Tables); diff != "" || len(missing) > 0 || len(have.Tables[0].Chains[0].Rules) != 3000 {
		t.Errorf("missing %v (-whole +streamed):\n%s", missing, diff)
	}
}
