package xtables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// FuzzParse seeds with the cases and with every rule of the dumps in the iptables collector's testdata.
func FuzzParse(f *testing.F) {
	for _, c := range ruleCases() {
		f.Add(c.text, c.only == netfilter.IP6)
	}
	dumps, err := filepath.Glob("../../collect/iptables/testdata/saved/*.save")
	if err != nil || len(dumps) == 0 {
		f.Fatal("no dumps", err)
	}
	for _, dump := range dumps {
		b, err := os.ReadFile(dump)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if _, rule, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "-A "); ok {
				_, text, _ := strings.Cut(rule, " ")
				f.Add(text, strings.Contains(dump, ".ip6."))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string, v6 bool) {
		family := netfilter.IP
		if v6 {
			family = netfilter.IP6
		}
		ops, err := Parse(family, text)
		if err == nil {
			checkSteps(t, family, text, ops)
		}
		Comment(text)
		Target(text)
	})
}

// checkSteps holds what every parsed rule must be: addresses of its own family, intervals the right way round and within
// the field, at most one verdict and that at the end.
func checkSteps(t *testing.T, family netfilter.Family, text string, ops netfilter.Ops) {
	for i, op := range ops {
		switch x := op.(type) {
		case netfilter.Match:
			if len(x.Fields) != 1 || len(x.In) == 0 || x.Set != "" {
				t.Fatalf("%q: %+v", text, x)
			}
			field := x.Fields[0].Field
			if strings.HasPrefix(string(field), "ip6.") && family == netfilter.IP || (field == netfilter.IPSaddr || field == netfilter.IPDaddr) && family == netfilter.IP6 {
				t.Fatalf("%q: %s in a table of %s", text, field, family)
			}
			for _, v := range x.In {
				if v.From.Cmp(v.To) > 0 {
					t.Fatalf("%q: %+v", text, x)
				}
			}
		case netfilter.Verdict:
			if i != len(ops)-1 {
				t.Fatalf("%q: a verdict before the end: %+v", text, ops)
			}
		}
	}
}
