package facts

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
	"github.com/ctaudit/ctaudit/internal/packetpath"
)

// maxDrops bounds the kinds of INVALID drops that policies judge: their rules compare drops with one another.
const maxDrops = 200

// place names a rule.
type place struct {
	backend netfilter.Backend
	family  netfilter.Family
	table   string
	chain   string
	number  int
}

func placeOf(r *netfilter.RuleRef) place {
	if r == nil {
		return place{}
	}
	return place{r.Backend, r.Family, r.Table, r.Chain, r.Number}
}

// kinds sorts INVALID drops by what they are: Calico writes the same two for every pod, and the second of a kind tells
// policies nothing new.
type kinds struct {
	of   map[place]string
	like map[string]int            // drops of the kind
	keep map[place]bool            // those that stand for their kind
	cut  map[string]map[place]bool // drops beyond the bounds, which no policy judges, by collector
	// shown is how many shadows the exposures have.
	shown int
}

func newKinds(drops []packetpath.Drop) *kinds {
	k := &kinds{of: map[place]string{}, like: map[string]int{}, keep: map[place]bool{}, cut: map[string]map[place]bool{}}
	for i := range drops {
		at, kind := placeOf(&drops[i].Rule), kindOf(&drops[i])
		if k.like[kind] == 0 && len(k.like) == maxDrops {
			k.leave(at)
			continue
		}
		if k.like[kind]++; k.like[kind] == 1 {
			k.keep[at] = true
		}
		k.of[at] = kind
	}
	return k
}

// leave notes a drop that policies do not see, or not in every answer that it belongs to.
func (k *kinds) leave(at place) {
	name := collectorOf(at.backend)
	if k.cut[name] == nil {
		k.cut[name] = map[place]bool{}
	}
	k.cut[name][at] = true
}

// kindOf is all of a drop but its place and its comment.
func kindOf(d *packetpath.Drop) string {
	text := d.Rule.Text
	if c := xtables.Comment(text); c != "" {
		text = strings.Replace(text, c, "", 1)
	}
	return fmt.Sprint(d.Rule.Backend, d.Rule.Family, d.Rule.Table, d.Action, d.With, d.Limited, d.Hooks, d.Priority, d.InInterfaces, d.Catastrophic, text)
}

func collectorOf(b netfilter.Backend) string {
	if b.XTables() {
		return "iptables"
	}
	return "nftables"
}

// cause is why a kind of drop does not help.
type cause struct {
	kind   string
	reason packetpath.Reason
	by     place
}

// brief leaves out shadows of which there was one of the same kind and cause, where there are many.
func (k *kinds) brief(list []packetpath.Shadow) []packetpath.Shadow {
	const many = 64
	if len(list) <= many {
		return list
	}
	out := []packetpath.Shadow{}
	seen := map[cause]bool{}
	for _, s := range list {
		if c := (cause{k.of[placeOf(&s.Rule)], s.Reason, placeOf(s.By)}); !seen[c] {
			seen[c] = true
			out = append(out, s)
		}
	}
	return out
}

// shadows lists one shadow of each kind and cause; the rules that they name stay in the list of drops.
func (k *kinds) shadows(list []packetpath.Shadow) []Shadow {
	out := []Shadow{}
	seen := map[cause]bool{}
	for _, s := range list {
		at := placeOf(&s.Rule)
		kind, judged := k.of[at]
		c := cause{kind, s.Reason, placeOf(s.By)}
		if !judged || seen[c] {
			continue
		}
		if len(seen) == maxDrops || k.shown == mostShadows || !k.keep[at] && len(k.keep) >= mostKept {
			k.leave(at)
			continue
		}
		k.shown++
		seen[c], k.keep[at] = true, true
		out = append(out, Shadow{Rule: s.Rule, Reason: string(s.Reason), By: s.By, Detail: s.Detail})
	}
	return out
}

// missing says which drops no policy sees.
func (k *kinds) missing() []Missing {
	out := []Missing{}
	for name, left := range k.cut {
		out = append(out, Missing{
			Collector: name, What: fmt.Sprintf("%d more rules that drop INVALID packets", len(left)),
			Why: fmt.Sprintf("the first %d kinds of such rules are judged", maxDrops), Hint: "remove those that are not needed",
		})
	}
	slices.SortFunc(out, func(a, b Missing) int { return cmp.Compare(a.Collector, b.Collector) })
	return out
}

// undecided says what is not known of drops, once for each reason: their controls are then undecided, too.
func undecided(drops []packetpath.Drop) []Missing {
	out := []Missing{}
	seen := map[string]bool{}
	for i := range drops {
		d := &drops[i]
		m := Missing{Collector: collectorOf(d.Rule.Backend), What: "rules that drop INVALID packets", Why: d.Undecided}
		if d.Undecided != "" && !seen[m.Collector+m.Why] {
			seen[m.Collector+m.Why] = true
			out = append(out, m)
		}
	}
	return out
}

// unlistedDrops says that there may be drops, or reasons why they do not help, that nobody looked at.
func (n *Node) unlistedDrops() []Missing {
	why := n.path.Missed()
	if why == "" && n.unlisted {
		why = packetpath.TooComplex
	}
	out := []Missing{}
	if why != "" {
		for _, name := range []string{"iptables", "nftables"} {
			out = append(out, Missing{Collector: name, What: "rules that drop INVALID packets and do not help", Why: why})
		}
	}
	return out
}

// dropFacts lists the drops that stand for their kind, or that an exposure names, in the order of the ruleset.
func (n *Node) dropFacts(k *kinds) []Drop {
	out := []Drop{}
	types := map[place]string{}
	for _, d := range n.drops {
		at := placeOf(&d.Rule)
		if !k.keep[at] {
			continue
		}
		fd := Drop{
			Rule: d.Rule, Hooks: []string{}, Priority: int(d.Priority), Action: string(d.Action), With: d.With,
			Limited: d.Limited, InInterfaces: append([]string{}, d.InInterfaces...), Catastrophic: d.Catastrophic,
			ChainType: n.chainTypeOnce(types, &d), Families: []netfilter.Family{}, Like: k.like[k.of[at]] - 1,
		}
		for _, h := range d.Hooks {
			fd.Hooks = append(fd.Hooks, string(h))
		}
		for _, fam := range families {
			if d.Rule.Family.Covers(fam) {
				fd.Families = append(fd.Families, fam)
			}
		}
		out = append(out, fd)
	}
	return out
}

// chainTypeOnce is chainType, worked out once for a chain.
func (n *Node) chainTypeOnce(known map[place]string, d *packetpath.Drop) string {
	at := placeOf(&d.Rule)
	at.number = 0
	out, ok := known[at]
	if !ok {
		out = n.chainType(d)
		known[at] = out
	}
	return out
}

// chainType is the type of the base chains that reach the drop.
func (n *Node) chainType(d *packetpath.Drop) string {
	types := []string{}
	for _, t := range n.ruleset.Tables {
		if t.Family != d.Rule.Family || t.Name != d.Rule.Table || t.Backend != d.Rule.Backend {
			continue
		}
		own := t.Chain(d.Rule.Chain)
		for _, c := range t.Chains {
			if c.Base == nil || !slices.Contains(d.Hooks, c.Base.Hook) || slices.Contains(types, string(c.Base.Type)) {
				continue
			}
			if d.Rule.Chain == c.Name || own != nil && own.Base == nil {
				types = append(types, string(c.Base.Type))
			}
		}
	}
	return strings.Join(types, ",")
}
