package twin

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// elementsPerLine bounds how many elements of a set stand in one line of a script.
const elementsPerLine = 500

var (
	natFamily = regexp.MustCompile(`\b([sd]nat) to (ip6?) `)
	expiry    = regexp.MustCompile(`\b(ct expiration (?:[<>=!]+ )?)(\d+)\b`)
	fib       = regexp.MustCompile(`\bfib ([sd]addr)( mark)?( iif| oif)? (type|oif|oifname)\b`)
	bits      = regexp.MustCompile(`\b(tcp flags|ct state|ct status) (!= )?(\S+) / (\S+)`)
	flowtable = regexp.MustCompile(`^hook ingress priority -?\d+; devices = \{ [A-Za-z0-9_.:, -]* \}$`)
	opaque    = regexp.MustCompile(`<[a-z]`) // how the model writes steps that nft has no words for
)

// spoken puts right where the model's words for a rule are not nft's: the family of a translation in an inet table stands in
// front, a mask before the comparison (nft takes "syn / syn,ack", but not "rst / rst"), times have a unit, the keys of a route
// lookup are joined by dots, and the presence of an option is said once.
func spoken(text string) string {
	text = natFamily.ReplaceAllString(text, "$1 $2 to ")
	text = bits.ReplaceAllStringFunc(text, func(found string) string {
		m := bits.FindStringSubmatch(found)
		value, mask := strings.ReplaceAll(m[3], ",", " | "), strings.ReplaceAll(m[4], ",", " | ")
		return m[1] + " & (" + mask + ") " + map[bool]string{false: "== ", true: "!= "}[m[2] != ""] + value
	})
	text = expiry.ReplaceAllString(text, "$1${2}ms")
	text = fib.ReplaceAllStringFunc(text, func(found string) string {
		words := strings.Fields(found)
		last := len(words) - 1
		return "fib " + strings.Join(words[1:last], " . ") + " " + words[last]
	})
	return strings.NewReplacer(" exists exists", " exists", " exists missing", " missing").Replace(text)
}

// script writes a native table as commands for nft, one a line, so that one that is refused can be cut out.
func (t *Twin) script(table *netfilter.Table) *document {
	d := &document{backend: netfilter.NFTables, family: table.Family, places: map[int]place{}, tables: []*netfilter.Table{table}}
	name := string(table.Family) + " " + table.Name
	flags := ""
	if table.Dormant {
		flags = " { flags dormant; }"
	}
	d.add("add table " + name + flags)
	for _, c := range table.Chains {
		d.addAt("add chain "+name+" "+c.Name+baseText(c.Base), place{table: table, chain: c.Name, what: "chain " + c.Name})
	}
	t.objects(d, table, name)
	for _, s := range table.Sets {
		t.set1(d, table, s, name)
	}
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			p := place{table, c.Name, fmt.Sprintf("rule %d of chain %s (%s)", r.Number, c.Name, r.Excerpt())}
			if why := unspeakable(r.Text); why != "" {
				t.gap(t.placeGap(p, why))
				continue
			}
			d.addAt("add rule "+name+" "+c.Name+" "+spoken(r.Text), p)
		}
	}
	return d
}

func baseText(b *netfilter.Base) string {
	if b == nil {
		return ""
	}
	devices := ""
	if len(b.Devices) > 0 {
		devices = " devices = { \"" + strings.Join(b.Devices, "\", \"") + "\" }"
	}
	return fmt.Sprintf(" { type %s hook %s%s priority %d; policy %s; }", b.Type, b.Hook, devices, b.Priority, b.Policy)
}

// objects writes what rules refer to by name. Of most kinds the snapshot has the name alone.
func (t *Twin) objects(d *document, table *netfilter.Table, name string) {
	for _, o := range table.Objects {
		p := place{table: table, what: o.Kind + " " + o.Name}
		switch {
		case o.Kind == "counter":
			d.addAt("add counter "+name+" "+o.Name, p)
		case o.Kind == "flowtable" && flowtable.MatchString(o.Text):
			d.addAt("add flowtable "+name+" "+o.Name+" { "+o.Text+"; }", p)
		default: // the rules that name it are refused, and say where it matters
			g := t.placeGap(p, "the snapshot has its name only")
			g.Harmless = true
			t.gap(g)
		}
	}
}

// set1 writes a named set or map; anonymous ones stand in their rules.
func (t *Twin) set1(d *document, table *netfilter.Table, s *netfilter.Set, name string) {
	if strings.HasPrefix(s.Name, "__") {
		return
	}
	p := place{table: table, what: "set " + s.Name}
	if s.Incomplete != "" {
		t.gap(t.placeGap(p, s.Incomplete))
		return
	}
	command, data := "set", ""
	if s.Verdicts {
		command, data = "map", " : verdict"
	} else if s.Map {
		command, data = "map", " : "+strings.Join(s.DataTypes, " . ")
	}
	d.addAt(fmt.Sprintf("add %s %s %s { type %s%s;%s }", command, name, s.Name, strings.Join(s.Types, " . "), data, setFlags(s)), p)
	elements := make([]string, 0, len(s.Elements)+1)
	for i := range s.Elements {
		elements = append(elements, s.ElementText(&s.Elements[i]))
	}
	if s.CatchAll != nil {
		elements = append(elements, s.ElementText(s.CatchAll))
	}
	for len(elements) > 0 {
		n := min(len(elements), elementsPerLine)
		line := strings.Join(elements[:n], ", ")
		elements = elements[n:]
		if why := unspeakable(line); why != "" {
			t.gap(t.placeGap(p, why))
			continue
		}
		d.addAt(fmt.Sprintf("add element %s %s { %s }", name, s.Name, line), p)
	}
}

func setFlags(s *netfilter.Set) string {
	var flags []string
	if s.Dynamic {
		flags = append(flags, "dynamic")
	}
	for _, e := range s.Elements {
		wide := false
		for _, k := range e.Key {
			wide = wide || k.From != k.To
		}
		if wide {
			flags = append(flags, "interval")
			break
		}
	}
	if len(flags) == 0 {
		return ""
	}
	return " flags " + strings.Join(flags, ",") + ";"
}

// unspeakable refuses text that nft would take for more than the rest of a line: outside quotes a command's end, a comment, a
// variable, and steps that the model has no words for.
func unspeakable(text string) string {
	if opaque.MatchString(text) {
		return "nft has no words for it"
	}
	quoted := false
	for _, c := range text {
		switch {
		case c < ' ' || c == 0x7f:
			return "it holds a control character"
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune(";#$\\`'", c):
			return fmt.Sprintf("it holds %q", c)
		}
	}
	if quoted {
		return "a quote in it does not end"
	}
	return ""
}
