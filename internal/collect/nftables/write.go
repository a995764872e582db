package nftables

import (
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// write fills a rule from the walker's items: text, steps and counters. A rule of an ip, ip6, arp or bridge table that
// iptables could have written also gets its text in iptables' language, in case the table turns out to be iptables'.
func (p *parser) write(t *tableInfo, r *nf.Rule) {
	w := &p.walker
	r.Counters = w.counters
	r.Ops = p.shared.keep(w.items)
	hints := nf.TextHints{Spell: func(i int) nf.Field { return w.items[i].spell }, Set: func(name string) *nf.Set {
		if s := t.sets[name]; s != nil {
			return s.shown(p)
		}
		return nil
	}}
	r.Text = r.Ops.Text(hints)
	if r.Comment != "" {
		r.Text += " comment " + quote(r.Comment)
	}
	r.Text = strings.ToValidUTF8(r.Text, "\ufffd")
}

// shown returns the set with its elements joined and sorted: the elements are all in before the first rule is read.
func (s *setInfo) shown(*parser) *nf.Set {
	s.finish()
	return s.set
}

func (p *parser) name(*tableInfo) {}

func (w *walker) compat(string) bool { return false }
