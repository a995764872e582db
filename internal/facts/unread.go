package facts

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// gap is why something is not known, and how to provide it; the zero gap is none.
type gap struct{ why, hint string }

// rulesUnread says what no table shows: a reader that saw nothing, part of the list of tables, or the links. What is missing
// of a single table is that table's Incomplete.
func (n *Node) rulesUnread() gap {
	for _, name := range []string{"iptables", "nftables", "topology"} {
		c := collector(n.doc, name)
		if c == nil {
			return gap{"the " + name + " collector did not run", "collect again without leaving it out"}
		}
		for _, m := range c.Missing {
			if c.Status == snapshot.StatusUnreadable || wholeTables(m.What) {
				return gap{m.What + ": " + m.Why, m.Hint}
			}
		}
		if c.Status == snapshot.StatusUnreadable {
			return gap{why: name + " could not be read"}
		}
	}
	if g := n.topologyUnread(); g.why != "" {
		return g
	}
	return n.hookUnread()
}

// topologyUnread: without links, addresses or routes nobody knows which links lead out, and which to containers.
func (n *Node) topologyUnread() gap {
	t := &n.doc.Topology
	var why, hint string
	switch {
	case t.Links.IsUnreadable():
		why, hint = t.Links.Why()
		return gap{"links: " + why, hint}
	case t.Addresses.IsUnreadable():
		why, hint = t.Addresses.Why()
		return gap{"addresses: " + why, hint}
	case t.Routes.IsUnreadable():
		why, hint = t.Routes.Why()
		return gap{"routes: " + why, hint}
	}
	return gap{}
}

// wholeTables reports what is missing without a table to show for it: the list of nf_tables' tables or chains, or a
// legacy dump of tables that the kernel does not list.
func wholeTables(what string) bool {
	return what == "nf_tables tables" || what == "nf_tables chains" || strings.HasPrefix(what, "iptables-legacy tables")
}

func collector(doc *snapshot.Document, name string) *snapshot.Collector {
	for i := range doc.Collectors {
		if doc.Collectors[i].Name == name {
			return &doc.Collectors[i]
		}
	}
	return nil
}

// hookUnread holds the tables against the kernel's own list of what is registered: whatever runs there must be in one.
// Function names: net/ipv4/netfilter/ip_tables.c, ipt_do_table(), and iptable_*.c, up to Linux 6.18.
func (n *Node) hookUnread() gap {
	order := n.doc.NFTables.HookOrder.Or(nil)
	if len(order) == 0 {
		return gap{}
	}
	seen := n.chainsSeen()
	for _, h := range order {
		legacy := strings.Contains(h.Function, "ipt_do_table") || strings.Contains(h.Function, "ip6t_do_table") ||
			strings.HasPrefix(h.Function, "iptable_") || strings.HasPrefix(h.Function, "ip6table_")
		switch {
		case h.Table != "" && !seen[chainName{h.TableFamily, h.Table, h.Chain}] && !seen[chainName{h.TableFamily, h.Table, anyChain}]:
			return gap{why: fmt.Sprintf("the kernel runs chain %s of nf_tables table %s, which no reader saw", h.Chain, h.Table)}
		case h.Table == "" && legacy && !seen[chainName{h.Family, "", legacyTable}]:
			return gap{
				fmt.Sprintf("the kernel runs an iptables-legacy table at the %s %s hook, which no reader saw", h.Family, h.Hook),
				"install the iptables-legacy tools",
			}
		}
	}
	return gap{}
}

// chainName is a chain of nf_tables, by its table's family, which the kernel's list may lack.
type chainName struct {
	family       netfilter.Family
	table, chain string
}

// No chain has such a name: of a table that was read in part any chain may be there; a family has a legacy table.
const (
	anyChain    = "\x00any"
	legacyTable = "\x00legacy"
)

// chainsSeen are the chains that readers saw and that the kernel can run by itself.
func (n *Node) chainsSeen() map[chainName]bool {
	seen := map[chainName]bool{}
	for _, t := range n.ruleset.Tables {
		if t.Backend == netfilter.Legacy {
			seen[chainName{t.Family, "", legacyTable}] = true
			continue
		}
		add := func(chain string) {
			seen[chainName{t.Family, t.Name, chain}], seen[chainName{"", t.Name, chain}] = true, true
		}
		if t.Incomplete != "" {
			add(anyChain)
		}
		for _, c := range t.Chains {
			add(c.Name)
		}
	}
	return seen
}

// natUnread says which NAT rules of the family were not read and why; empty when all were. A legacy table has NAT rules
// only when its name says so.
func (n *Node) natUnread(fam netfilter.Family) (why, hint string) {
	if n.unread.why != "" {
		return n.unread.why, n.unread.hint
	}
	for _, t := range n.ruleset.Tables {
		if t.Incomplete == "" || !t.Family.Covers(fam) || t.Dormant && len(t.Chains) > 0 {
			continue
		}
		switch t.Name {
		case "filter", "mangle", "raw", "security":
			if t.Backend == netfilter.Legacy {
				continue
			}
		}
		return fmt.Sprintf("table %s %s %s was not read whole: %s", t.Backend, t.Family, t.Name, t.Incomplete), ""
	}
	return "", ""
}
