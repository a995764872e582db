package host_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// A ruleset that is too large for one cheap dump is read chain by chain: every rule once, in the kernel's order, of both
// tables that have chains of the same names.
func TestLocalReadsManyChains(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	ns := labtest.NewNetns(t)
	const chains, rules = 60, 40
	ruleset := manyChains(chains, rules)
	for _, in := range []string{ruleset, string(bytes.ReplaceAll([]byte(ruleset), []byte(" ip t "), []byte(" ip u ")))} {
		if _, err := ns.Pipe(in, "nft", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	need := dump(host.DumpNFRules)
	taken := &hosttest.Taken{}
	req := host.Request{Needs: []host.Need{need}, Sinks: map[string]host.Sink{need.Key(): taken}}
	ev, err := host.Local(host.LocalOptions{Namespace: ns.Path()}).Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if a := ev.Answer(need); a.Err != "" || a.Truncated || a.Sink != taken || taken.Began != 2 {
		t.Fatalf("%+v, began %d times", a, taken.Began)
	}
	if err := host.Record(new(bytes.Buffer), ev); err == nil {
		t.Error("evidence that went to a sink was recorded")
	}
	i := 0
	for rest := taken.Data; len(rest) > 0; i++ {
		size := int(binary.NativeEndian.Uint32(rest))
		table, chain := "t\x00", fmt.Sprintf("service-%d\x00", i/rules%chains)
		if i >= chains*rules {
			table = "u\x00"
		}
		if names := ruleNames(rest[20:size]); names != [2]string{table, chain} {
			t.Fatalf("rule %d is of %q, want %q", i, names, [2]string{table, chain})
		}
		rest = rest[(size+3)&^3:]
	}
	if i != 2*chains*rules {
		t.Errorf("%d rules, want %d", i, 2*chains*rules)
	}
	if a := fetchOne(t, host.Local(host.LocalOptions{Namespace: ns.Path()}), need); !bytes.Equal(withoutHeaders(a.Data), withoutHeaders(taken.Data)) {
		t.Error("whole and in pieces differ")
	}
	cut := need
	cut.Limit = 700 << 10
	if a := fetchOne(t, host.Local(host.LocalOptions{Namespace: ns.Path()}), cut); !a.Truncated || len(a.Data) > 700<<10 || !bytes.HasPrefix(withoutHeaders(taken.Data), withoutHeaders(a.Data)) {
		t.Errorf("cut: %d bytes, truncated %v", len(a.Data), a.Truncated)
	}
}

// ruleNames is NFTA_RULE_TABLE and NFTA_RULE_CHAIN, the first two attributes of a rule.
func ruleNames(b []byte) (names [2]string) {
	for i := range names {
		size := int(binary.NativeEndian.Uint16(b))
		names[i] = string(b[unix.SizeofNlAttr:size])
		b = b[(size+3)&^3:]
	}
	return names
}

func withoutHeaders(b []byte) (out []byte) {
	for len(b) > 0 {
		size := (int(binary.NativeEndian.Uint32(b)) + 3) &^ 3
		out, b = append(out, b[16:size]...), b[size:]
	}
	return out
}
