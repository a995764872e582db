package facts

import (
	"net/netip"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// listedDNAT bounds how many DNAT rules the facts name; a kube-proxy node has tens of thousands.
const listedDNAT = 20

// snat lists the source NAT rules that nat POSTROUTING reaches for the family.
func (n *Node) snat(fam netfilter.Family) Fact[[]NAT] {
	found := []NAT{}
	n.walkNAT(fam, netfilter.Postrouting, func(t *netfilter.Table, c *netfilter.Chain, r *netfilter.Rule) bool {
		if nat, ok := n.natRule(natAt{fam, t, c, r}); ok && nat.source() {
			found = append(found, nat)
		}
		return true
	})
	if len(found) == 0 {
		if why, hint := n.unreadFor(fam); why != "" {
			return unknown[[]NAT](why, hint)
		}
	}
	return known(found)
}

// dnat lists the first destination NAT rules that nat PREROUTING and OUTPUT reach. The walk ends there: a kube-proxy node
// has a hundred thousand rules behind them.
func (n *Node) dnat(fam netfilter.Family) Fact[[]NAT] {
	found := []NAT{}
	seen := map[*netfilter.Rule]bool{}
	visit := func(t *netfilter.Table, c *netfilter.Chain, r *netfilter.Rule) bool {
		if !mayDNAT(t, r) || seen[r] {
			return true
		}
		seen[r] = true
		if nat, ok := n.natRule(natAt{fam, t, c, r}); ok && !nat.source() {
			found = append(found, nat)
		}
		return len(found) < listedDNAT
	}
	n.walkNAT(fam, netfilter.Prerouting, visit)
	n.walkNAT(fam, netfilter.Output, visit)
	if len(found) == 0 {
		if why, hint := n.unreadFor(fam); why != "" {
			return unknown[[]NAT](why, hint)
		}
	}
	return known(found)
}

// mayDNAT is the cheap look at a rule's text before it is parsed.
func mayDNAT(t *netfilter.Table, r *netfilter.Rule) bool {
	if r.Ops != nil || !t.Backend.XTables() {
		return true
	}
	switch target, _ := xtables.Target(r.Text); target {
	case "DNAT", "REDIRECT", "NETMAP":
		return true
	}
	return false
}

// visitor is shown a rule; false ends the walk of its table.
type visitor func(*netfilter.Table, *netfilter.Chain, *netfilter.Rule) bool

// walkNAT visits every rule that the nat-type base chains at the hook reach, each chain once.
func (n *Node) walkNAT(fam netfilter.Family, hook netfilter.Hook, visit visitor) {
	for _, t := range n.ruleset.Tables {
		if t.Dormant || !t.Family.Covers(fam) {
			continue
		}
		w := natWalk{table: t, seen: map[string]bool{}, visit: visit}
		for _, c := range t.Chains {
			if c.Base != nil && c.Base.Type == netfilter.NATChain && c.Base.Hook == hook {
				w.enter(c)
				if w.done {
					return
				}
			}
		}
	}
}

type natWalk struct {
	table  *netfilter.Table
	chains map[string]*netfilter.Chain
	seen   map[string]bool
	visit  visitor
	done   bool
}

// chain finds a chain by name; the index is made when the first jump is met.
func (w *natWalk) chain(name string) *netfilter.Chain {
	if w.chains == nil {
		w.chains = make(map[string]*netfilter.Chain, len(w.table.Chains))
		for _, c := range w.table.Chains {
			w.chains[c.Name] = c
		}
	}
	return w.chains[name]
}

// enter visits without recursion, so that no jump chain is too deep for it.
func (w *natWalk) enter(first *netfilter.Chain) {
	todo := []*netfilter.Chain{first}
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if w.seen[c.Name] {
			continue
		}
		w.seen[c.Name] = true
		for _, r := range c.Rules {
			if !w.visit(w.table, c, r) {
				w.done = true
				return
			}
			for _, name := range w.targets(r) {
				if next := w.chain(name); next != nil && !w.seen[name] {
					todo = append(todo, next)
				}
			}
		}
	}
}

func (w *natWalk) targets(r *netfilter.Rule) []string {
	if r.Ops == nil && w.table.Backend.XTables() {
		if name, _ := xtables.Target(r.Text); name != "" {
			return []string{name}
		}
		return nil
	}
	var out []string
	for _, op := range r.Ops {
		switch op := op.(type) {
		case netfilter.Verdict:
			out = append(out, op.Chain)
		case netfilter.VMap:
			out = append(out, w.mapTargets(op.Set)...)
		}
	}
	return out
}

func (w *natWalk) mapTargets(name string) []string {
	s := w.table.Set(name)
	if s == nil {
		return nil
	}
	var out []string
	for _, e := range s.Elements {
		if e.Verdict != nil {
			out = append(out, e.Verdict.Chain)
		}
	}
	if s.CatchAll != nil && s.CatchAll.Verdict != nil {
		out = append(out, s.CatchAll.Verdict.Chain)
	}
	return out
}

type natAt struct {
	fam   netfilter.Family
	table *netfilter.Table
	chain *netfilter.Chain
	rule  *netfilter.Rule
}

func (n NAT) source() bool { return n.Action == "masquerade" || n.Action == "snat" }

// natRule reads a NAT rule's scope: what is not a plain address match (an ipset, a mark) does not narrow it, since the
// flows behind it cannot be told.
func (n *Node) natRule(at natAt) (NAT, bool) {
	nat := NAT{Rule: ref(at.table, at.chain, at.rule)}
	var dst []netip.Prefix
	for _, op := range xtables.Ops(at.table, at.rule) {
		switch op := op.(type) {
		case netfilter.Stmt:
			switch op.Name {
			case "masquerade", "snat", "dnat", "redirect", "netmap":
				nat.Action, nat.To = op.Name, op.Args
			}
		case netfilter.Match:
			if !nat.scope(op, at, &dst) {
				return NAT{}, false
			}
		}
	}
	if nat.Action == "netmap" && at.chain.Base != nil && at.chain.Base.Hook == netfilter.Postrouting {
		nat.Action = "snat"
	}
	n.cover(&nat, at.fam, dst)
	return nat, nat.Action != ""
}

// scope takes one match into the rule's scope; false: the rule is not of this family.
func (n *NAT) scope(m netfilter.Match, at natAt, dst *[]netip.Prefix) bool {
	if len(m.Fields) != 1 || m.Fields[0].Mask != nil {
		return true
	}
	field := m.Fields[0].Field
	switch {
	case field == netfilter.NFProto:
		want := uint64(2)
		if at.fam == netfilter.IP6 {
			want = 10
		}
		return len(m.In) == 0 || (m.In[0].Contains(netfilter.Num(want)) != m.Invert)
	case field == addressField(at.fam, true):
		list := prefixes(at, m)
		if m.Invert {
			n.Excluded = append(n.Excluded, texts(list)...)
		} else {
			n.Sources = append(n.Sources, texts(list)...)
		}
	case field == addressField(at.fam, false) && !m.Invert:
		*dst = append(*dst, prefixes(at, m)...)
	case field == addressField(otherFamily(at.fam), true) || field == addressField(otherFamily(at.fam), false):
		return false
	case field == netfilter.OIFName && len(m.In) > 0:
		n.OutInterface = m.In[0].From.Ifname()
		if m.Invert {
			n.OutInterface = "! " + n.OutInterface
		}
	}
	return true
}

func otherFamily(fam netfilter.Family) netfilter.Family {
	if fam == netfilter.IP {
		return netfilter.IP6
	}
	return netfilter.IP
}

func addressField(fam netfilter.Family, source bool) netfilter.Field {
	switch {
	case fam == netfilter.IP && source:
		return netfilter.IPSaddr
	case fam == netfilter.IP:
		return netfilter.IPDaddr
	case source:
		return netfilter.IP6Saddr
	}
	return netfilter.IP6Daddr
}

// prefixes are the prefixes of a match on an address, inline or in a set; nothing when the set's content is not known.
func prefixes(at natAt, m netfilter.Match) []netip.Prefix {
	var out []netip.Prefix
	in := m.In
	if s := at.table.Set(m.Set); m.Set != "" && s != nil && s.Incomplete == "" {
		for _, e := range s.Elements {
			if len(e.Key) == 1 {
				in = append(in, e.Key[0])
			}
		}
	}
	for _, i := range in {
		if p, ok := prefixOf(at.fam, i); ok {
			out = append(out, p)
		}
	}
	return out
}

// prefixOf is the smallest prefix that holds the interval.
func prefixOf(fam netfilter.Family, i netfilter.Interval) (netip.Prefix, bool) {
	from, to := i.From.IP6(), i.To.IP6()
	if fam == netfilter.IP {
		from, to = i.From.IP4(), i.To.IP4()
	}
	for bits := from.BitLen(); bits >= 0; bits-- {
		if p, err := from.Prefix(bits); err == nil && p.Contains(to) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func texts(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

// cover decides whether the rule can masquerade what containers send to the outside: its sources hold or meet a container
// network (or are any), it does not leave by a link to containers only, and its destinations are not containers only
// (Docker's hairpin rule).
func (n *Node) cover(nat *NAT, fam netfilter.Family, dst []netip.Prefix) {
	nets := n.containerNetworks(fam)
	nat.CoversContainers = len(nat.Sources) == 0
	for _, s := range nat.Sources {
		p, err := netip.ParsePrefix(s)
		if err == nil && (p.Bits() == 0 || overlapsAny(p, nets)) {
			nat.CoversContainers = true
		}
	}
	if len(nat.Sources) == 0 {
		nat.Sources = []string{"any"}
	}
	if l := n.linkNamed(nat.OutInterface); l != nil && l.container {
		nat.CoversContainers = false
	}
	if len(dst) > 0 && allInside(dst, nets) {
		nat.CoversContainers = false
	}
}

func overlapsAny(p netip.Prefix, list []netip.Prefix) bool {
	for _, q := range list {
		if p.Overlaps(q) {
			return true
		}
	}
	return false
}

func allInside(list, nets []netip.Prefix) bool {
	for _, p := range list {
		inside := false
		for _, q := range nets {
			inside = inside || q.Bits() <= p.Bits() && q.Contains(p.Addr())
		}
		if !inside {
			return false
		}
	}
	return true
}

func (n *Node) linkNamed(name string) *link {
	for i := range n.links {
		if n.links[i].Name == name {
			return &n.links[i]
		}
	}
	return nil
}

// serviceProxy says who programs Service DNAT, by the names that kube-proxy gives its own tables, chains and links.
func (n *Node) serviceProxy() Fact[string] {
	for _, t := range n.ruleset.Tables {
		switch {
		case t.Backend == netfilter.NFTables && t.Name == "kube-proxy":
			return known("kube-proxy-nftables")
		case t.Backend.XTables() && t.Name == "nat" && hasRules(t, "KUBE-SERVICES"):
			if n.linkNamed("kube-ipvs0") != nil {
				return known("kube-proxy-ipvs")
			}
			return known("kube-proxy-iptables")
		}
	}
	if n.linkNamed("kube-ipvs0") != nil {
		return known("kube-proxy-ipvs")
	}
	for _, fam := range families {
		if why, hint := n.unreadFor(fam); why != "" {
			return unknown[string](why, hint)
		}
	}
	return known("none")
}

func hasRules(t *netfilter.Table, chain string) bool {
	c := t.Chain(chain)
	return c != nil && strings.HasPrefix(chain, "KUBE-")
}

func ref(t *netfilter.Table, c *netfilter.Chain, r *netfilter.Rule) netfilter.RuleRef {
	return netfilter.RuleRef{
		Backend: t.Backend, Family: t.Family, Table: t.Name, Chain: c.Name,
		Number: r.Number, Handle: r.Handle, Text: r.Text,
	}
}
