package iptables

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables/xtablestest"
)

var update = flag.Bool("update", false, "write the dumps in testdata anew, from the tools of this machine")

// rulesets are the documents in testdata/rulesets, and a small kube-proxy's, by "NAME.FAMILY".
func rulesets(t testing.TB) map[string]string {
	files, err := filepath.Glob("testdata/rulesets/*.rules")
	if err != nil || len(files) == 0 {
		t.Fatal("no rulesets in testdata", err)
	}
	all := map[string]string{"kubeproxy.ip": xtablestest.KubeProxySave(12)}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".rules")] = string(b)
	}
	return all
}

func familyOf(name string) netfilter.Family {
	return netfilter.Family(strings.TrimPrefix(filepath.Ext(name), "."))
}

func saveTool(backend netfilter.Backend, family netfilter.Family) string {
	name := "iptables"
	if family == netfilter.IP6 {
		name = "ip6tables"
	}
	return name + strings.TrimPrefix(string(backend), "iptables") + "-save"
}

// TestFixtures loads each ruleset with both backends' tools and holds the saved dump against the one in testdata.
func TestFixtures(t *testing.T) {
	labtest.Require(t, "root", "netns", "iptables", "iptables-legacy")
	for name, rules := range rulesets(t) {
		for _, backend := range []netfilter.Backend{netfilter.Legacy, netfilter.IPTablesNFT} {
			file := filepath.Join("testdata", "saved", name+"."+string(backend)+".save")
			ns := labtest.NewNetns(t)
			if err := ns.Load(backend, familyOf(name), rules); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			saved, err := ns.Output(saveTool(backend, familyOf(name)), "-c")
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, saved, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			src := source{backend: backend, family: familyOf(name)}
			if diff := cmp.Diff(meaning(parseSave(want, src)), meaning(parseSave(saved, src))); diff != "" {
				t.Errorf("%s is not what %s says now: (-file +now)\n%s", file, saveTool(backend, familyOf(name)), diff)
			}
		}
	}
}

// meaning is what a dump says, whatever the words: each rule's steps by table and chain.
func meaning(s *save) map[string][]netfilter.Ops {
	all := map[string][]netfilter.Ops{}
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			key := t.Name + " " + c.Name
			all[key] = []netfilter.Ops{}
			for _, r := range c.Rules {
				all[key] = append(all[key], xtables.Ops(t, r))
			}
		}
	}
	return all
}

func fixtures(t testing.TB) map[string][]byte {
	files, err := filepath.Glob("testdata/saved/*.save")
	if err != nil || len(files) == 0 {
		t.Fatal("no dumps in testdata", err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		if all[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestFixturesParse reads every dump in testdata whole: no rule is lost, none is left unparsed.
func TestFixturesParse(t *testing.T) {
	for file, dump := range fixtures(t) {
		src := source{backend: netfilter.Legacy, family: netfilter.IP}
		if strings.Contains(file, ".ip6.") {
			src.family = netfilter.IP6
		}
		if strings.Contains(file, "nft") {
			src.backend = netfilter.IPTablesNFT
		}
		s := parseSave(dump, src)
		if s.Trouble != "" || s.NFT != (src.backend == netfilter.IPTablesNFT) || s.Tool == "" {
			t.Errorf("%s: %q %v %q", file, s.Trouble, s.NFT, s.Tool)
		}
		rules := 0
		for _, table := range s.Tables {
			if table.Incomplete != "" {
				t.Errorf("%s %s: %s", file, table.Name, table.Incomplete)
			}
			rules += checkTable(t, table, strings.Split(string(dump), "\n"))
		}
		if want := strings.Count(string(dump), "-A "); rules != want {
			t.Errorf("%s: %d rules, want %d", file, rules, want)
		}
	}
}

func checkTable(t *testing.T, table *netfilter.Table, lines []string) (rules int) {
	for _, c := range table.Chains {
		for i, r := range c.Rules {
			rules++
			if want := "-A " + c.Name + " " + r.Text; r.Number != i+1 || !strings.HasSuffix(lines[r.Line-1], want) {
				t.Errorf("chain %s rule %d is line %d: %q, want %q", c.Name, r.Number, r.Line, lines[r.Line-1], want)
			}
			if r.Counters == nil {
				t.Errorf("%s: no counters", r.Text)
			}
			if strings.Contains(r.Text, "--comment") != (r.Comment != "") {
				t.Errorf("%s: comment %q", r.Text, r.Comment)
			}
			for _, op := range xtables.Ops(table, r) {
				if s, ok := op.(netfilter.Stmt); ok && s.Name == xtables.Unparsed {
					t.Errorf("%s: not parsed", r.Text)
				}
			}
		}
	}
	return rules
}
