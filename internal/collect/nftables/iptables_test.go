package nftables

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// saved parses iptables-save's output into rules by table and chain.
func saved(text string) map[string][]string {
	out := map[string][]string{}
	table := ""
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, "-A "):
			chain, rule, _ := strings.Cut(line[3:], " ")
			out[table+" "+chain] = append(out[table+" "+chain], rule)
		}
	}
	return out
}

// meaning is a rule's steps without counters, which iptables-save shows apart.
func meaning(t *testing.T, family nf.Family, text string) string {
	t.Helper()
	ops, err := xtables.Parse(family, text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	b, err := json.Marshal(ops)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// TestIPTablesRules loads what iptables-nft writes, and checks that this reader says the same of every rule as
// iptables-nft-save, in the same words where possible and with the same steps always.
func TestIPTablesRules(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "iptables")
	for _, c := range []struct {
		family              nf.Family
		file, restore, save string
	}{
		{nf.IP, "testdata/rules.v4", "iptables-nft-restore", "iptables-nft-save"},
		{nf.IP6, "testdata/rules.v6", "ip6tables-nft-restore", "ip6tables-nft-save"},
	} {
		t.Run(string(c.family), func(t *testing.T) {
			doc, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			ns := labtest.NewNetns(t)
			if _, err := ns.Pipe(string(doc), c.restore); err != nil {
				t.Fatal(err)
			}
			s, missing := collected(t, ns)
			if len(missing) > 0 {
				t.Fatal(missing)
			}
			out, err := ns.Output(c.save)
			if err != nil {
				t.Fatal(err)
			}
			want, rules := saved(string(out)), 0
			for _, tb := range s.Tables {
				if tb.Backend != nf.IPTablesNFT || tb.Incomplete != "" {
					t.Errorf("table %s: backend %s, incomplete %q", tb.Name, tb.Backend, tb.Incomplete)
				}
				for _, ch := range tb.Chains {
					lines := want[tb.Name+" "+ch.Name]
					if len(lines) != len(ch.Rules) {
						t.Errorf("%s %s: %d rules, iptables-nft-save has %d", tb.Name, ch.Name, len(ch.Rules), len(lines))
						continue
					}
					for i, r := range ch.Rules {
						rules++
						if r.Ops != nil {
							t.Errorf("%q was not written in iptables' language: %s", lines[i], r.Text)
							continue
						}
						got, exp := meaning(t, c.family, r.Text), meaning(t, c.family, lines[i])
						if got != exp && !opaque(lines[i], r.Text) {
							t.Errorf("means something else:\nsave %s\nours %s\n%s\n%s", lines[i], r.Text, exp, got)
						} else if r.Text != lines[i] {
							t.Logf("other words:\nsave %s\nours %s", lines[i], r.Text)
						}
					}
				}
			}
			if rules < 30 {
				t.Errorf("only %d rules were compared", rules)
			}
		})
	}
}

// opaque reports whether the rule has a match of a module that this reader keeps by name and bytes only: known differences,
// named one by one.
func opaque(save, ours string) bool {
	for _, m := range []string{"u32", "recent", "rt"} {
		if strings.Contains(save, "-m "+m+" ") && strings.Contains(ours, "-m "+m+" --opaque-revision-") {
			return true
		}
	}
	return false
}
