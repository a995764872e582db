package xtables

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

var update = flag.Bool("update", false, "write the goldens in testdata anew")

// TestKernelExtensions loads a rule of every extension with both backends and holds the steps of what they print against
// the golden: the two agree, and nothing is left unparsed. A line of the list is "TABLE RULE".
func TestKernelExtensions(t *testing.T) {
	labtest.Require(t, "root", "netns", "iptables", "iptables-legacy")
	for _, family := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
		list, err := os.ReadFile(fmt.Sprintf("testdata/rules.%s.txt", family))
		if err != nil {
			t.Fatal(err)
		}
		rules := strings.Split(strings.TrimSpace(string(list)), "\n")
		legacy := extensionSteps(t, netfilter.Legacy, family, rules)
		nft := extensionSteps(t, netfilter.IPTablesNFT, family, rules)
		golden := readGolden(t, family, legacy)
		for _, rule := range rules {
			want := golden[rule]
			for backend, got := range map[string]string{"legacy": legacy[rule], "nft": nft[rule]} {
				if got == "" {
					t.Logf("%s refuses here: %s", backend, rule)
				} else if got != want {
					t.Errorf("%s %s: %s\n got %s\nwant %s", backend, family, rule, got, want)
				}
			}
		}
		if len(legacy) < len(rules)*3/4 {
			t.Errorf("only %d of %d rules could be loaded", len(legacy), len(rules))
		}
	}
}

// extensionSteps returns the steps, as JSON, of each rule that could be loaded.
func extensionSteps(t *testing.T, backend netfilter.Backend, family netfilter.Family, rules []string) map[string]string {
	ns := labtest.NewNetns(t)
	loaded := map[string]string{}
	for i, line := range rules {
		table, rule, _ := strings.Cut(line, " ")
		chain := fmt.Sprintf("T%d", i)
		if load(ns, backend, family, chain, ruleCase{text: rule, table: table}) == nil {
			loaded[chain] = line
		}
	}
	steps := map[string]string{}
	for chain, text := range savedRules(t, ns, backend, family) {
		ops, err := Parse(family, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		b, err := json.Marshal(ops)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), Unparsed) {
			t.Errorf("%s: %s", text, b)
		}
		steps[loaded[chain]] = string(b)
	}
	return steps
}

func readGolden(t *testing.T, family netfilter.Family, now map[string]string) map[string]string {
	file := fmt.Sprintf("testdata/rules.%s.golden.json", family)
	if *update {
		b, err := json.MarshalIndent(now, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string]string{}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	return golden
}
