package nftables

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

var update = flag.Bool("update", false, "write the golden files from what this kernel and this nft say")

func lines(t testing.TB, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// nativeDocument puts every rule of testdata/native.rules into one chain.
func nativeDocument(t testing.TB) string {
	prefix := strings.Join(lines(t, "testdata/native.prefix"), "\n")
	return "table inet t {\n" + prefix + "\n chain c { type filter hook prerouting priority filter; policy drop;\n" +
		strings.Join(lines(t, "testdata/native.rules"), "\n") + "\n}\n}\n"
}

// TestNativeRules loads two hundred rules of every kind through nft, reads them back from the kernel, and compares each one's
// steps and text, and every set, with testdata/native.golden, which was checked by hand. There, "nft" is nft's own listing
// of the rule (1.0.6) where it differs from what was loaded, and "text" is ours where it differs from nft's.
func TestNativeRules(t *testing.T) {
	s, ns := loaded(t, nativeDocument(t))
	tb := table(t, s, nf.INET, "t")
	if tb.Incomplete != "" || tb.Backend != nf.NFTables {
		t.Errorf("table: incomplete %q, backend %s", tb.Incomplete, tb.Backend)
	}
	out, err := ns.Output("nft", "-s", "list", "chain", "inet", "t", "c")
	if err != nil {
		t.Fatal(err)
	}
	listed := chainLines(string(out))
	rules := tb.Chain("c").Rules
	inputs := lines(t, "testdata/native.rules")
	if len(rules) != len(inputs) || len(listed) != len(inputs) {
		t.Fatalf("%d rules loaded, %d read, %d listed by nft", len(inputs), len(rules), len(listed))
	}
	var b strings.Builder
	for i, r := range rules {
		fmt.Fprintln(&b, inputs[i])
		if listed[i] != inputs[i] {
			fmt.Fprintln(&b, "    nft: ", listed[i])
		}
		if r.Text != listed[i] {
			fmt.Fprintln(&b, "    text:", r.Text)
		}
		fmt.Fprintln(&b, "    ops: ", compact(t, r.Ops))
	}
	for _, set := range tb.Sets {
		fmt.Fprintln(&b, "set", compact(t, set))
	}
	golden(t, "testdata/native.golden", b.String())
	if *update {
		record(t, ns)
	}
}

// record writes the dumps of the namespace for the tests that need no kernel.
func record(t *testing.T, ns *lab.Netns) {
	t.Helper()
	ev := evidence(t, ns)
	if err := os.MkdirAll("testdata/dumps", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(dumps(), host.DumpNFGen) {
		if err := os.WriteFile(dumpFile(d), ev.Answer(need(d)).Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func compact(t testing.TB, v any) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// chainLines returns the rules of nft's listing of one chain.
func chainLines(out string) []string {
	var rules []string
	inside := false
	for _, l := range strings.Split(out, "\n") {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "type filter"):
			inside = true
		case l == "}":
			inside = false
		case inside && l != "":
			rules = append(rules, l)
		}
	}
	return rules
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := strings.Join(lines(t, file), "\n") + "\n"
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s:%d differs:\nwant %s\ngot  %s", file, i+1, w[i], g[i])
		}
	}
	if len(g) != len(w) {
		t.Fatalf("%s: %d lines, want %d", file, len(g), len(w))
	}
}

// TestTextLoads checks that the text of a rule is nft's language: loaded again it gives the same steps. Texts in angle
// brackets say that nft has no words, and are left out.
func TestTextLoads(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	s, _ := loaded(t, nativeDocument(t))
	var texts []string
	var want []*nf.Rule
	for _, r := range table(t, s, nf.INET, "t").Chain("c").Rules {
		if !loadable(r.Text) {
			continue
		}
		texts, want = append(texts, r.Text), append(want, r)
	}
	prefix := strings.Join(lines(t, "testdata/native.prefix"), "\n")
	again, _ := loaded(t, "table inet t {\n"+prefix+"\n chain c { type filter hook prerouting priority filter; policy drop;\n"+strings.Join(texts, "\n")+"\n}\n}\n")
	got := table(t, again, nf.INET, "t").Chain("c").Rules
	if len(got) != len(want) || len(got) < 150 {
		t.Fatalf("%d rules, want %d, at least 150", len(got), len(want))
	}
	for i := range got {
		if got[i].Text != want[i].Text {
			t.Errorf("loaded %s\nread   %s", want[i].Text, got[i].Text)
		}
	}
}

// loadable leaves out the texts that only people read: brackets, raw options, statements by bytes.
func loadable(text string) bool {
	for _, s := range []string{"<", " expr 0x", "@s4dyn", "tcp option", "exthdr", " level 1", "jhash", "symhash", "fib", "iif 1", "ct count", "osf", "socket wildcard", "meta time", "meta day", "meta hour", "meta ipsec", "tproxy", "objref", "ip tos", "label", "ct expiration"} {
		if strings.Contains(text, s) {
			return false
		}
	}
	return true
}
