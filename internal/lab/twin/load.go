package twin

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// document is one input for a backend's restore tool; places say which rule stands in which line.
type document struct {
	backend netfilter.Backend
	family  netfilter.Family
	lines   []string
	places  map[int]place // by line, from 1
	tables  []*netfilter.Table
}

// place is a rule, set element, set or object of a table.
type place struct {
	table *netfilter.Table
	chain string // of a rule
	what  string
}

func (d *document) add(line string) { d.lines = append(d.lines, line) }

func (d *document) addAt(line string, p place) {
	d.add(line)
	d.places[len(d.lines)] = p
}

// load loads the ruleset in the snapshot's order, see [Twin.inOrder].
func (t *Twin) load(ctx context.Context) error {
	for _, d := range t.inOrder(t.documents()) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.loadOne(ctx, d)
	}
	return ctx.Err()
}

// documents are the legacy tables and iptables-nft's, one document a family, and every native table by itself.
func (t *Twin) documents() []*document {
	var out []*document
	byTool := map[[2]string]*document{}
	for _, table := range t.source.Ruleset.Tables {
		switch why := unloadable(table); {
		case table.Family == netfilter.Bridge || table.Family == netfilter.ARP:
			t.gap(Gap{
				What: tableText(table), Why: "tables of this family are not looked at", Links: t.bridges(),
				Harmless: table.Family == netfilter.ARP || len(t.bridges()) == 0,
			})
			continue
		case why != "":
			t.gap(t.tableGap(table, why))
			continue
		}
		if table.Backend == netfilter.NFTables {
			out = append(out, t.script(table))
			continue
		}
		key := [2]string{string(table.Backend), string(table.Family)}
		d := byTool[key]
		if d == nil {
			d = &document{backend: table.Backend, family: table.Family, places: map[int]place{}}
			byTool[key] = d
			out = append(out, d)
		}
		t.restore(d, table)
	}
	return out
}

func (t *Twin) bridges() (names []string) {
	for i := range t.source.Links {
		if t.source.Links[i].Kind == "bridge" {
			names = append(names, t.source.Links[i].Name)
		}
	}
	return names
}

// A snapshot comes from elsewhere: what it calls its tables and chains is put into scripts that run here.
var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./\\:+@-]*$`)
	keyword   = regexp.MustCompile(`^[a-z0-9_]*$`)
)

// unloadable says why a table is not tried at all.
func unloadable(table *netfilter.Table) string {
	if table.Incomplete != "" {
		return "it was not read whole: " + table.Incomplete
	}
	families := []netfilter.Family{netfilter.IP, netfilter.IP6}
	if table.Backend == netfilter.NFTables {
		families = append(families, netfilter.INET, netfilter.Netdev)
	}
	if !slices.Contains(families, table.Family) {
		return fmt.Sprintf("a family %q", table.Family)
	}
	names, words := namesOf(table)
	for _, n := range names {
		if !plainName.MatchString(n) || len(n) > 127 {
			return fmt.Sprintf("the name %q cannot be written", n)
		}
	}
	for _, w := range words {
		if !keyword.MatchString(w) {
			return fmt.Sprintf("the word %q cannot be written", w)
		}
	}
	return ""
}

// namesOf are the names and the words of the language that stand in a table.
func namesOf(table *netfilter.Table) (names, words []string) {
	names = append(names, table.Name)
	for _, c := range table.Chains {
		names = append(names, c.Name)
		if c.Base != nil {
			names = append(names, c.Base.Devices...)
			words = append(words, string(c.Base.Type), string(c.Base.Hook), string(c.Base.Policy))
		}
	}
	for _, s := range table.Sets {
		names = append(names, s.Name)
		words = append(append(words, s.Types...), s.DataTypes...)
	}
	for _, o := range table.Objects {
		names = append(names, o.Name)
	}
	return names, words
}

func tableText(t *netfilter.Table) string {
	return fmt.Sprintf("table %s %s %s", t.Backend, t.Family, t.Name)
}

// restore writes a table of iptables.
func (t *Twin) restore(d *document, table *netfilter.Table) {
	d.tables = append(d.tables, table)
	d.add("*" + table.Name)
	for _, c := range table.Chains {
		policy := "-"
		if c.Base != nil {
			policy = strings.ToUpper(string(c.Base.Policy))
		}
		d.addAt(":"+c.Name+" "+policy+" [0:0]", place{table: table, what: "chain " + c.Name})
	}
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			p := place{table, c.Name, fmt.Sprintf("rule %d of chain %s (%s)", r.Number, c.Name, r.Excerpt())}
			if why := unwritable(r); why != "" {
				t.gap(t.placeGap(p, why))
				continue
			}
			d.addAt("-A "+c.Name+" "+r.Text, p)
		}
	}
	d.add("COMMIT")
}

// unwritable refuses text that iptables-restore would take for more than a rule: another line, or -M, --modprobe, which name a
// program to run. Options may be shortened and joined.
func unwritable(r *netfilter.Rule) string {
	if len(r.Ops) > 0 {
		return "it was added by nft to a table of iptables"
	}
	if strings.ContainsFunc(r.Text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "it holds a control character"
	}
	for _, word := range strings.FieldsFunc(r.Text, func(c rune) bool { return c == ' ' || c == '"' || c == '\'' || c == '\\' }) {
		name, _, _ := strings.Cut(word, "=")
		short := strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "--") && strings.Contains(word, "M")
		if short || len(name) > 3 && strings.HasPrefix("--modprobe", name) {
			return "it names a program to run"
		}
	}
	return ""
}

// loadOne loads a document. What the tool refuses is cut out and named; when it does not say what it refuses, the tables are
// tried one by one, and the one that fails is not rebuilt.
func (t *Twin) loadOne(ctx context.Context, d *document) {
	var err error
	for range 200 {
		if ctx.Err() != nil {
			return
		}
		if err = t.node.Load(d.backend, d.family, strings.Join(d.lines, "\n")+"\n"); err == nil {
			return
		}
		if !t.cut(d, err) {
			break
		}
	}
	if len(d.tables) == 1 {
		t.gap(t.tableGap(d.tables[0], reason(err)))
		return
	}
	for _, table := range d.tables {
		one := &document{backend: d.backend, family: d.family, places: map[int]place{}}
		t.restore(one, table)
		t.loadOne(ctx, one)
	}
}

// refused finds the lines in what the tools say: nft "/dev/stdin:12:3-9: Error", iptables-nft "line 12: RULE_APPEND failed",
// iptables-legacy "line 12 failed" and "Error occurred at line: 12".
var refused = regexp.MustCompile(`(?m)/dev/stdin:(\d+):\d+-\d+: Error|line:? (\d+)(?: failed|: [A-Z_]+ failed|$)`)

var noChain = regexp.MustCompile(`Chain '([^']+)' does not exist`)

func (t *Twin) cut(d *document, err error) bool {
	var numbers []int
	for _, m := range refused.FindAllStringSubmatch(err.Error(), -1) {
		n, _ := strconv.Atoi(m[1] + m[2])
		if p, ok := d.places[n]; ok && d.lines[n-1] != "" && !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
			t.gap(t.placeGap(p, reason(err)))
		}
	}
	if m := noChain.FindStringSubmatch(err.Error()); m != nil && len(numbers) == 0 { // iptables-nft names the chain, and no line
		for n, p := range d.places {
			line := d.lines[n-1]
			if strings.HasPrefix(line, "-A ") && (strings.Contains(line+" ", "-j "+m[1]+" ") || strings.Contains(line+" ", "-g "+m[1]+" ")) {
				numbers = append(numbers, n)
				t.gap(t.placeGap(p, reason(err)))
			}
		}
	}
	for _, n := range numbers {
		d.lines[n-1] = "" // the numbers of the others stay
	}
	return len(numbers) > 0
}

// reason is what a tool says, in one line.
func reason(err error) string {
	text := err.Error()
	if _, said, ok := strings.Cut(text, "exit status"); ok {
		_, text, _ = strings.Cut(said, ": ")
	}
	var words []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "Try `") && !strings.HasPrefix(line, "Error occurred") && !strings.HasPrefix(line, "^") {
			words = append(words, line)
		}
	}
	if len(words) == 0 {
		return "the tool refuses it"
	}
	first := words[0]
	if len(first) > 300 {
		first = first[:300] + "..."
	}
	return first
}

// placeGap is what is missing of a table. Only the stray segments that can get there are concerned.
func (t *Twin) placeGap(p place, why string) Gap {
	g := t.tableGap(p.table, why)
	g.What += ", " + p.what
	if p.chain != "" {
		hooks := hooksOf(p.table, p.chain)
		g.Hooks = hooks
		g.Harmless = len(hooks) == 0
	}
	return g
}

func (t *Twin) tableGap(table *netfilter.Table, why string) Gap {
	g := Gap{What: tableText(table), Why: why}
	if table.Family == netfilter.IP || table.Family == netfilter.IP6 {
		g.Families = []netfilter.Family{table.Family}
	}
	hooks := hooksOf(table, "")
	if g.Hooks = hooks; len(hooks) == 0 {
		g.Harmless = table.Incomplete == "" && len(table.Chains) > 0
	}
	if table.Incomplete != "" { // what it has is not known
		g.Hooks = nil
		g.Harmless = table.Backend == netfilter.Legacy && table.Name == "nat"
	}
	return g
}

// hooksOf are the hooks from which a stray segment can get into a chain (empty: into the table). Chains of type nat are none:
// a packet without a conntrack entry never enters one.
func hooksOf(table *netfilter.Table, chain string) []netfilter.Hook {
	if table.Dormant {
		return nil
	}
	targets := callees(table)
	var hooks []netfilter.Hook
	for _, c := range table.Chains {
		if c.Base == nil || c.Base.Type == netfilter.NATChain || slices.Contains(hooks, c.Base.Hook) {
			continue
		}
		if chain == "" || reaches(targets, c.Name, chain, map[string]bool{}) {
			hooks = append(hooks, c.Base.Hook)
		}
	}
	return hooks
}

func reaches(targets map[string][]string, from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	return slices.ContainsFunc(targets[from], func(next string) bool { return reaches(targets, next, to, seen) })
}

// callees are the chains that the rules of each chain name. A verdict map's are taken for those of every rule of its table.
func callees(table *netfilter.Table) map[string][]string {
	names := map[string]bool{}
	for _, c := range table.Chains {
		names[c.Name] = true
	}
	var mapped []string
	for _, s := range table.Sets {
		for _, e := range s.Elements {
			if e.Verdict != nil && e.Verdict.Chain != "" && !slices.Contains(mapped, e.Verdict.Chain) {
				mapped = append(mapped, e.Verdict.Chain)
			}
		}
		if s.CatchAll != nil && s.CatchAll.Verdict != nil {
			mapped = append(mapped, s.CatchAll.Verdict.Chain)
		}
	}
	out := map[string][]string{}
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			for _, word := range strings.Fields(r.Text) {
				if word = strings.Trim(word, `,"`); names[word] {
					out[c.Name] = append(out[c.Name], word)
				}
			}
			if strings.Contains(r.Text, " vmap ") {
				out[c.Name] = append(out[c.Name], mapped...)
			}
		}
	}
	return out
}
