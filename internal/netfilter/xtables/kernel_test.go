package xtables

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// TestKernelRoundTrip loads the cases with the real tools, each into a chain of its own, saves them and parses what was
// printed: the meaning must be the case's.
func TestKernelRoundTrip(t *testing.T) {
	labtest.Require(t, "root", "netns", "iptables", "iptables-legacy")
	for _, backend := range []netfilter.Backend{netfilter.Legacy, netfilter.IPTablesNFT} {
		for _, family := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
			t.Run(string(backend)+" "+string(family), func(t *testing.T) { roundTrip(t, backend, family) })
		}
	}
}

func roundTrip(t *testing.T, backend netfilter.Backend, family netfilter.Family) {
	ns := labtest.NewNetns(t)
	cases, loaded := map[string]ruleCase{}, 0
	for i, c := range ruleCases() {
		if c.load == "-" || c.only != "" && c.only != family {
			continue
		}
		if err := load(ns, backend, family, fmt.Sprintf("T%d", i), c); err != nil {
			t.Logf("refused here: %s: %v", c.text, err)
		} else {
			loaded++
		}
		cases[fmt.Sprintf("T%d", i)] = c
	}
	if loaded < len(cases)*8/10 {
		t.Errorf("only %d of %d rules could be loaded", loaded, len(cases))
	}
	seen := 0
	for chain, text := range savedRules(t, ns, backend, family) {
		if checkSaved(t, family, cases[chain], text) {
			seen++
		}
	}
	if seen != loaded {
		t.Errorf("%d rules were loaded, %d came back as they should", loaded, seen)
	}
	t.Logf("%d of %d rules", seen, len(cases))
}

func load(ns *lab.Netns, backend netfilter.Backend, family netfilter.Family, chain string, c ruleCase) error {
	table, rule := c.table, c.load
	switch table {
	case "", "pre", "post":
		table = "mangle"
	case "dnat":
		table = "nat"
	}
	if rule == "" {
		rule = c.text
	}
	document := fmt.Sprintf("*%s\n:%s - [0:0]\n-A %s %s\nCOMMIT\n", table, chain, chain, rule)
	_, err := ns.Pipe(document, tool(backend, family, "restore"), "--noflush")
	return err
}

func tool(backend netfilter.Backend, family netfilter.Family, verb string) string {
	name := "iptables-"
	if family == netfilter.IP6 {
		name = "ip6tables-"
	}
	return name + strings.TrimPrefix(string(backend), "iptables-") + "-" + verb
}

func savedRules(t *testing.T, ns *lab.Netns, backend netfilter.Backend, family netfilter.Family) map[string]string {
	out, err := ns.Output(tool(backend, family, "save"))
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if rule, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-A "); ok {
			chain, text, _ := strings.Cut(rule, " ")
			rules[chain] = text
		}
	}
	return rules
}

func checkSaved(t *testing.T, family netfilter.Family, c ruleCase, text string) bool {
	got, err := Parse(family, text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return false
	}
	if diff := cmp.Diff(c.want, got); diff != "" {
		t.Errorf("%s was saved as %s (-want +got)\n%s", strconv.Quote(c.text), strconv.Quote(text), diff)
		return false
	}
	return true
}
