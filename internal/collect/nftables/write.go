package nftables

import (
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// write fills a rule from the walker's items. A rule of iptables gets its text in iptables' language and no steps; where
// that language ends, and in every other table, it gets nft's and the steps.
func (p *parser) write(t *tableInfo, r *nf.Rule) {
	w := &p.walker
	r.Counters = w.counters
	if w.xt || t.standard() {
		if text, ok := w.iptables(r.Comment); ok {
			p.xtables(t, r, text)
			return
		}
	}
	w.complete()
	r.Ops = p.shared.keep(w.items)
	p.buffer = r.Ops.AppendText(p.buffer[:0], t.hints(w))
	r.Text = string(p.buffer)
	if w.xt {
		r.Ops = w.mixed()
	}
	if r.Comment != "" {
		r.Text += " comment " + quote(r.Comment)
	}
}

// xtables fills a rule that iptables wrote. In a table that is not iptables' own the steps are put down now, because nobody
// would look for iptables' language there.
func (p *parser) xtables(t *tableInfo, r *nf.Rule, text string) {
	r.Text = text
	if t.standard() {
		return
	}
	ops, err := xtables.Parse(t.key.family, text)
	if err != nil {
		ops = p.walker.mixed()
	}
	r.Ops = ops
}

// complete makes the operations that were put off.
func (w *walker) complete() {
	for n, it := range w.items {
		if it.compat.kind != "" {
			w.items[n].op = it.compat.ext()
		}
	}
}

// mixed returns the steps of a rule that holds both nft's and iptables' expressions: each of iptables' by its own words.
func (w *walker) mixed() nf.Ops {
	w.complete()
	var out nf.Ops
	for _, it := range w.items {
		ops, err := nf.Ops{it.op}, error(nil)
		if it.compat.kind != "" {
			ops, err = xtables.Parse(w.family, it.compat.text())
		}
		if err != nil {
			ops = nf.Ops{it.op}
		}
		out = append(out, ops...)
	}
	return out
}

func (t *tableInfo) hints(w *walker) nf.TextHints {
	if t.text.Spell == nil {
		t.text = nf.TextHints{Spell: w.spell, Set: t.shown}
	}
	return t.text
}

func (w *walker) spell(i int) nf.Field { return w.items[i].spell }

// shown returns a set of the table for its text, with its elements joined: they are all in before the first rule is read.
func (t *tableInfo) shown(name string) *nf.Set {
	s := t.sets[name]
	if s == nil {
		return nil
	}
	s.finish()
	return s.set
}

// standard reports whether a table has the name and the base chains that iptables-nft gives its own (xtables_ipv4 in
// iptables/nft.c, 1.8.9). Chains are read before rules.
func (t *tableInfo) standard() bool {
	if t.isStandard == unsure {
		t.isStandard = foreign
		if t.matchesStandard() {
			t.isStandard = own
		}
	}
	return t.isStandard == own
}

// ownership is who made a table.
type ownership uint8

const (
	unsure ownership = iota
	own
	foreign
)

// matchesStandard reports whether the chains stand where iptables-nft puts them: iptables/nft.c, xtables_ipv4. Its security
// table has priority 150 and not the kernel's 50.
func (t *tableInfo) matchesStandard() bool {
	if t.key.family != nf.IP && t.key.family != nf.IP6 {
		return false
	}
	priority, ok := map[string]int32{"raw": -300, "mangle": -150, "filter": 0, "security": 150, "nat": 0}[t.key.name]
	if !ok {
		return false
	}
	for _, c := range t.table.Chains {
		if c.Base != nil && !standardChain(t.key.name, c, priority) {
			return false
		}
	}
	return len(t.table.Chains) > 0
}

func standardChain(table string, c *nf.Chain, priority int32) bool {
	typ := nf.FilterChain
	switch {
	case table == "nat":
		typ = nf.NATChain
		priority = map[nf.Hook]int32{nf.Prerouting: -100, nf.Output: -100, nf.Input: 100, nf.Postrouting: 100}[c.Base.Hook]
	case table == "mangle" && c.Base.Hook == nf.Output:
		typ = nf.RouteChain
	}
	return c.Name == strings.ToUpper(string(c.Base.Hook)) && c.Base.Priority == priority && c.Base.Type == typ
}

// name decides whose table it is.
func (p *parser) name(t *tableInfo) {
	if t.standard() {
		t.table.Backend = nf.IPTablesNFT
	}
}
