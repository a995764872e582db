package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// question is what testdata/oracle.py takes, answer what it gives: hosts, groups, variables and limits as Ansible computes them.
type question struct {
	Sources  []string `json:"sources"`
	Patterns []string `json:"patterns"`
	// deep inventories have groups at three levels: Ansible orders the hosts of the third by the addresses of its objects,
	// differently in every run, so hosts are compared by name.
	deep bool
}

type answer struct {
	Hosts  []reached           `json:"hosts"`
	Groups map[string][]string `json:"groups"`
	Limits [][]string          `json:"limits"` // null: no host is left, or an error
}

type reached struct {
	Name       string `json:"name"`
	Address    string `json:"address"`
	Port       int    `json:"port"`
	User       string `json:"user"`
	Key        string `json:"key"`
	Local      bool   `json:"local"`
	Become     string `json:"become"`
	BecomeUser string `json:"becomeUser"`
	Timeout    int    `json:"timeout"` // seconds
}

func ask(t *testing.T, questions []question) []answer {
	t.Helper()
	in, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "testdata/oracle.py")
	cmd.Stdin = bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG=testdata/ansible.cfg", "LANG=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ansible: %v\n%s", err, &stderr)
	}
	var answers []answer
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(answers), len(questions))
	}
	return answers
}

// ours answers the same question.
func ours(t *testing.T, q question) answer {
	t.Helper()
	inv, err := Load(q.Sources, nil)
	if err != nil {
		t.Fatalf("%v: %v", q.Sources, err)
	}
	all, err := inv.Select("")
	if err != nil {
		t.Fatalf("%v: %v", q.Sources, err)
	}
	a := answer{Groups: map[string][]string{}, Hosts: []reached{}, Limits: [][]string{}}
	for _, h := range all {
		a.Hosts = append(a.Hosts, asReached(h))
	}
	for _, g := range inv.grouped {
		names := []string{}
		for _, h := range g.allHosts() {
			names = append(names, h.name)
		}
		slices.Sort(names)
		a.Groups[g.name] = names
	}
	for _, p := range q.Patterns {
		var names []string
		hosts, err := inv.limited(p)
		if err == nil {
			for _, h := range hosts {
				names = append(names, h.name)
			}
		}
		a.Limits = append(a.Limits, names)
	}
	return a
}

func asReached(h fleet.Target) reached {
	r := reached{Timeout: int(h.Timeout.Seconds()), Name: h.Name, Address: h.Address, Port: h.Port, User: h.User, Local: h.Local, Become: h.Become.Method, BecomeUser: h.Become.User}
	if r.Address == "" {
		r.Address = h.Name
	}
	if r.Become != "" && r.BecomeUser == "" {
		r.BecomeUser = "root"
	}
	if len(h.KeyFiles) > 0 {
		r.Key = h.KeyFiles[0]
	}
	return r
}

// written are the inventories of testdata/agree, each with patterns of its own; everyPattern goes to all of them.
func written() []question {
	file := func(sources []string, patterns ...string) question {
		for i, s := range sources {
			if !strings.Contains(s, ",") {
				sources[i] = filepath.Join("testdata", "agree", s)
			}
		}
		return question{Sources: sources, Patterns: append(patterns, everyPattern()...)}
	}
	deep := func(q question) question {
		q.deep = true
		q.Patterns = slices.DeleteFunc(q.Patterns, func(p string) bool { return p == "all[-1]" || p == "all[1:2]" })
		return q
	}
	return []question{
		file([]string{"flat.ini"}, "web*", "web01.example", "web0?.example", "db-[ac]", "bracketed[0]", "bracketed[-1]", "bracketed[1:3]",
			"~rack[12]-a", "rack*:!*-b.example", "alone,port", "alone:port", "alone port", "203.0.113.7", "port:2222"),
		deep(file([]string{"groups.ini"}, "web", "web:db", "web:&db", "web:!db", "site:!both", "!web", "&web", "!web:&site", "web,db,!web1",
			"site[0]", "web[0:1]", "web[1:]", "late*:web1", "~^(web|late)[12]$", "strong:lonely", "empty", "web:nosuch", "web[5]", "web[5:9]")),
		file([]string{"nested.yaml"}, "europe", "berlin[0:1]", "berlin[-2]", "europe:&asia", "par*", "eur*:!ber*", "shared", "named:top1",
			"tokyo1:paris", "~ber0[1-3]", "asia,!shared", "[tp]*", "[!tp]*", "b[a-f]r09"),
		file([]string{"anchors.yaml"}, "one:two", "three[0]", "three[1:2]", "a?", "a[13]", "n*", "!three", "one:&two:!a1", "quoted"),
		file([]string{"aliases.ini"}, "old", "become:!b1", "b[1-3]", "localhost", "127.0.0.1", "me:localhost", "here[1]", "old[0],here[0]"),
		file([]string{"static.json"}, "web", "j[2:4]", "j[0-9]", "zero", "all:!web", "web[0]", "j1:j9"),
		file([]string{"ipv6.ini"}, "2001:db8::1", "2001:db8::1,2001:db8::2", "2001*", "six:!2001:db8::1", "six,!2001:db8::1", "::ffff:192.0.2.1",
			"192.0.2.[12]", "192.0.2.9", "four[0:2]", "~192", "caf?", "six[-1]"),
		file([]string{"beside/hosts.yaml"}, "web:&db", "db:!web", "web3", "web[0]", "web?"),
		file([]string{"folder"}, "first", "deep", "first:&deep", "backup", "s*", "second[0]"),
		file([]string{"first.ini", "second.yaml"}, "web", "fresh", "top", "web:&fresh", "w[1-3]", "web[2]"),
		file([]string{"l1,l2:2222,l3"}, "l1", "l*", "l1,l3"),
		file([]string{"folder", "first.ini", "x1,"}, "x1:web", "first:web", "ungrouped"),
	}
}

func everyPattern() []string {
	return []string{
		"all", "*", "all[0]", "all[-1]", "all[1:2]", "all:!*1*", "!*1*", "ungrouped", "al*", "~.*", "~nothing", "nothing", "*[0]", ",", "a,,b",
		"@testdata/agree/retry", "all:!all", "[", "*[", "x]", "!nothing",
	}
}

func TestAnsibleAgrees(t *testing.T) {
	labtest.Require(t, "ansible")
	questions := written()
	for i, theirs := range ask(t, questions) {
		q := questions[i]
		t.Run(strings.ReplaceAll(strings.Join(q.Sources, "+"), "testdata/agree/", ""), func(t *testing.T) {
			if len(theirs.Hosts) < 3 {
				t.Errorf("Ansible has %d hosts only: this tests nothing", len(theirs.Hosts))
			}
			compare(t, q, ours(t, q), theirs)
		})
	}
}

func compare(t *testing.T, q question, ours, theirs answer) {
	t.Helper()
	if q.deep {
		sortAnswer(&ours)
		sortAnswer(&theirs)
	}
	if diff := cmp.Diff(theirs.Hosts, ours.Hosts); diff != "" {
		t.Errorf("hosts (-ansible +ours):\n%s", diff)
	}
	if diff := cmp.Diff(theirs.Groups, ours.Groups); diff != "" {
		t.Errorf("groups (-ansible +ours):\n%s", diff)
	}
	for i, p := range q.Patterns {
		if diff := cmp.Diff(theirs.Limits[i], ours.Limits[i]); diff != "" {
			t.Errorf("limit %q (-ansible +ours):\n%s", p, diff)
		}
	}
}

// TestDrawnInventories compares inventories and limits that nobody wrote.
func TestDrawnInventories(t *testing.T) {
	labtest.Require(t, "ansible")
	const drawn = 80
	dir := t.TempDir()
	var questions []question
	for i := range drawn {
		d := rapid.Custom(drawInventory).Example(i + 1)
		path := filepath.Join(dir, fmt.Sprintf("%03d%s", i, d.suffix))
		if err := os.WriteFile(path, []byte(d.text), 0o600); err != nil {
			t.Fatal(err)
		}
		questions = append(questions, question{[]string{path}, d.patterns, true})
	}
	for i, theirs := range ask(t, questions) {
		q := questions[i]
		compare(t, q, ours(t, q), theirs)
		if t.Failed() {
			text, _ := os.ReadFile(q.Sources[0])
			t.Fatalf("inventory %s:\n%s", filepath.Base(q.Sources[0]), text)
		}
	}
}

func sortAnswer(a *answer) {
	slices.SortFunc(a.Hosts, func(a, b reached) int { return strings.Compare(a.Name, b.Name) })
	for i := range a.Limits {
		slices.Sort(a.Limits[i])
	}
}

type drawnInventory struct {
	text, suffix string
	patterns     []string
}

// drawInventory draws groups that have hosts, variables and younger groups as children, as INI or as YAML, and limits.
func drawInventory(t *rapid.T) drawnInventory {
	n := rapid.IntRange(1, 5).Draw(t, "groups")
	groups := make([]drawnGroup, n)
	for i := range groups {
		groups[i] = drawnGroup{
			name:  "g" + string(rune('a'+i)),
			hosts: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"h1", "h2", "h3", "h[4:6]", "x-[a:c].net", "h7:2207", "10.0.0.[1:2]"}), 1, 4, rapid.ID).Draw(t, "hosts"),
			vars:  drawVars(t, "group"),
			own:   drawVars(t, "host"),
		}
		for c := i + 1; c < n; c++ {
			if rapid.Bool().Draw(t, "child") {
				groups[i].children = append(groups[i].children, "g"+string(rune('a'+c)))
			}
		}
	}
	d := drawnInventory{patterns: rapid.SliceOfN(rapid.Custom(drawLimit), 10, 20).Draw(t, "limits")}
	if rapid.Bool().Draw(t, "yaml") {
		d.suffix, d.text = ".yaml", drawnYAML(groups)
	} else {
		d.suffix, d.text = "", drawnINI(groups)
	}
	return d
}

type drawnGroup struct {
	name     string
	hosts    []string
	children []string
	vars     [][2]string
	own      [][2]string // of its first host
}

func drawVars(t *rapid.T, what string) [][2]string {
	choices := [][2]string{
		{"ansible_user", "u1"},
		{"ansible_user", "u2"},
		{"ansible_port", "2201"},
		{"ansible_ssh_port", "2202"},
		{"ansible_become", "true"},
		{"ansible_become", "no"},
		{"ansible_become_user", "op"},
		{"ansible_host", "192.0.2.9"},
		{"ansible_group_priority", "5"},
		{"ansible_ssh_private_key_file", "/k"},
		{"unknown", "x"},
	}
	vars := rapid.SliceOfNDistinct(rapid.SampledFrom(choices), 0, 4, func(v [2]string) string { return v[0] }).Draw(t, what)
	if what == "host" {
		vars = slices.DeleteFunc(vars, func(v [2]string) bool { return v[0] == priorityKey })
	}
	return vars
}

func drawnINI(groups []drawnGroup) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "[%s]\n", g.name)
		for i, h := range g.hosts {
			b.WriteString(h)
			if i == 0 {
				for _, v := range g.own {
					fmt.Fprintf(&b, " %s=%q", v[0], v[1])
				}
			}
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "[%s:vars]\n", g.name)
		for _, v := range g.vars {
			fmt.Fprintf(&b, "%s = %s\n", v[0], v[1])
		}
		fmt.Fprintf(&b, "[%s:children]\n%s\n", g.name, strings.Join(g.children, "\n"))
	}
	return b.String()
}

func drawnYAML(groups []drawnGroup) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "%s:\n  hosts:\n", g.name)
		for i, h := range g.hosts {
			fmt.Fprintf(&b, "    %q:\n", h)
			for _, v := range g.own {
				if i == 0 {
					fmt.Fprintf(&b, "      %s: %s\n", v[0], v[1])
				}
			}
		}
		b.WriteString("  vars:\n")
		for _, v := range g.vars {
			fmt.Fprintf(&b, "    %s: %s\n", v[0], v[1])
		}
		b.WriteString("  children:\n")
		for _, c := range g.children {
			fmt.Fprintf(&b, "    %s:\n", c)
		}
	}
	return b.String()
}

// drawLimit draws a list of one to four patterns. Subscripts stand behind patterns of hosts only: the order of a group's hosts is
// not Ansible's own.
func drawLimit(t *rapid.T) string {
	single := []string{
		"all", "*", "ga", "gb", "gc", "g?", "g[a-b]", "h1", "h2", "h*", "h[1-3]", "h[!1-3]", "x-a.net", "x-*", "*.net", "10.0.0.1", "10.*",
		"~h[12]", "~x-(a|b)", "~.*t$", "nosuch", "ungrouped", "h5", "h*[0]", "h?[1:2]", "x-*[-1]",
	}
	sep := rapid.SampledFrom([]string{",", ":", " , "}).Draw(t, "separator")
	parts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "", "&", "!"}).Draw(t, "sign") + rapid.SampledFrom(single).Draw(t, "pattern")
	}), 1, 4).Draw(t, "patterns")
	return strings.Join(parts, sep)
}
