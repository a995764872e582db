package twin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// Compare holds what was read back of the twin against what the snapshot has, and returns what differs. It is what makes the
// twin trustworthy: a tool that loads something else than it was given shows here.
func (t *Twin) Compare(readBack *netfilter.Ruleset) []Gap {
	var gaps []Gap
	theirs := map[string]*netfilter.Table{}
	for _, table := range readBack.Tables {
		theirs[tableText(table)] = table
	}
	for _, table := range t.source.Ruleset.Tables {
		key := tableText(table)
		other := theirs[key]
		delete(theirs, key)
		switch {
		case t.named(key):
		case other == nil && empty(table):
		case other == nil:
			gaps = append(gaps, t.tableGap(table, "it is not in the twin"))
		case other.Incomplete != "":
			gaps = append(gaps, t.tableGap(table, "the twin's could not be read whole: "+other.Incomplete))
		default:
			gaps = append(gaps, t.differences(table, other)...)
		}
	}
	for _, table := range readBack.Tables {
		if theirs[tableText(table)] == table && !empty(table) {
			gaps = append(gaps, t.tableGap(table, "it is in the twin, and not in the snapshot"))
		}
	}
	return gaps
}

// named reports a table that is a gap as a whole.
func (t *Twin) named(table string) bool {
	return slices.ContainsFunc(t.Gaps, func(g Gap) bool { return g.What == table })
}

// empty reports a table that does nothing: iptables makes its own as soon as somebody looks.
func empty(t *netfilter.Table) bool {
	for _, c := range t.Chains {
		if len(c.Rules) > 0 || c.Base != nil && c.Base.Policy == netfilter.Drop {
			return false
		}
	}
	return true
}

func (t *Twin) differences(want, got *netfilter.Table) (gaps []Gap) {
	if want.Dormant != got.Dormant {
		gaps = append(gaps, t.tableGap(want, "it is dormant in one of the two"))
	}
	for _, c := range want.Chains {
		if why := chainDiffers(want, got, c, got.Chain(c.Name)); why != "" && !t.placeNamed(want, c.Name) {
			gaps = append(gaps, t.placeGap(place{want, c.Name, "chain " + c.Name}, "the twin's differs: "+why))
		}
	}
	for _, c := range got.Chains {
		if want.Chain(c.Name) == nil && (len(c.Rules) > 0 || c.Base != nil && c.Base.Policy == netfilter.Drop) {
			gaps = append(gaps, t.tableGap(want, "the twin has a chain "+c.Name+" too many"))
		}
	}
	for _, s := range want.Sets {
		if strings.HasPrefix(s.Name, "__") || s.Dynamic || t.setNamed(want, s.Name) {
			continue
		}
		if a, b := setText(s), setText(got.Set(s.Name)); a != b {
			gaps = append(gaps, t.placeGap(place{table: want, what: "set " + s.Name}, "the twin's differs"))
		}
	}
	return gaps
}

// placeNamed reports a chain of which something is a gap already: it differs, of course.
func (t *Twin) placeNamed(table *netfilter.Table, chain string) bool {
	return slices.ContainsFunc(t.Gaps, func(g Gap) bool {
		return strings.HasPrefix(g.What, tableText(table)+", ") &&
			(strings.HasSuffix(g.What, "chain "+chain) || strings.Contains(g.What, "of chain "+chain+" "))
	})
}

func (t *Twin) setNamed(table *netfilter.Table, set string) bool {
	return slices.ContainsFunc(t.Gaps, func(g Gap) bool { return g.What == tableText(table)+", set "+set })
}

func chainDiffers(want, got *netfilter.Table, a, b *netfilter.Chain) string {
	switch {
	case b == nil && a.Base == nil && len(a.Rules) == 0:
		return ""
	case b == nil && a.Base != nil && len(a.Rules) == 0 && a.Base.Policy != netfilter.Drop:
		return "" // iptables-nft registers a chain when it has something to do
	case b == nil:
		return "it is missing"
	case baseOf(a) != baseOf(b):
		return fmt.Sprintf("%s, and not %s", baseOf(b), baseOf(a))
	case len(a.Rules) != len(b.Rules):
		return fmt.Sprintf("%d rules, and not %d", len(b.Rules), len(a.Rules))
	}
	for i := range a.Rules {
		if !sameRule(want, got, a.Rules[i], b.Rules[i]) {
			return fmt.Sprintf("rule %d is %q, and not %q", a.Rules[i].Number, b.Rules[i].Excerpt(), a.Rules[i].Excerpt())
		}
	}
	return ""
}

func baseOf(c *netfilter.Chain) string {
	if c.Base == nil {
		return "no base chain"
	}
	devices := slices.Clone(c.Base.Devices)
	slices.Sort(devices)
	policy := c.Base.Policy
	if policy == "" {
		policy = netfilter.Accept
	}
	return fmt.Sprintf("%s %s %d %s %v", c.Base.Type, c.Base.Hook, c.Base.Priority, policy, devices)
}

// sameRule compares what rules do: their steps, and of iptables, whose versions write differently, their steps where the words
// differ. An anonymous set counts by its content.
func sameRule(want, got *netfilter.Table, a, b *netfilter.Rule) bool {
	if want.Backend.XTables() && a.Text == b.Text && len(a.Ops) == 0 && len(b.Ops) == 0 {
		return true
	}
	return stepsText(want, a) == stepsText(got, b)
}

// stepsText is what a rule does. nft writes an anonymous set of one element as that element.
func stepsText(t *netfilter.Table, r *netfilter.Rule) string {
	ops := slices.Clone(xtables.Ops(t, r))
	for i, op := range ops {
		m, ok := op.(netfilter.Match)
		s := t.Set(m.Set)
		if !ok || len(m.Fields) != 1 || !strings.HasPrefix(m.Set, "__") || s == nil || s.Incomplete != "" || s.CatchAll != nil {
			continue
		}
		m.Set, m.In = "", nil
		for _, e := range s.Elements {
			m.In = append(m.In, e.Key...)
		}
		ops[i] = m
	}
	steps, err := json.Marshal(ops)
	if err != nil {
		return r.Text
	}
	text := string(steps)
	for _, s := range t.Sets {
		if strings.HasPrefix(s.Name, "__") && strings.Contains(text, `"`+s.Name+`"`) {
			text = strings.ReplaceAll(text, `"`+s.Name+`"`, setText(s))
		}
	}
	return text
}

// setText is a set without its name.
func setText(s *netfilter.Set) string {
	if s == nil {
		return "no set"
	}
	elements := make([]string, len(s.Elements))
	for i := range s.Elements {
		elements[i] = s.ElementText(&s.Elements[i])
	}
	slices.Sort(elements)
	catchAll := ""
	if s.CatchAll != nil {
		catchAll = s.ElementText(s.CatchAll)
	}
	return fmt.Sprintf("%v %v %v %v %v %q %q", s.Types, s.DataTypes, s.Map, s.Verdicts, s.Incomplete, elements, catchAll)
}
