package snapshot

import (
	"fmt"
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

type tableKey struct {
	family netfilter.Family
	name   string
}

// Ruleset joins what the readers saw into the one ruleset that the kernel runs: every legacy table, every nf_tables
// table. An iptables-nft table that both its own tool and netlink read is taken from the tool, whose words are the
// owner's; when the two disagree on how many rules a chain has, the table changed while it was read and is incomplete.
func (d *Document) Ruleset() *netfilter.Ruleset {
	rs := &netfilter.Ruleset{}
	read := map[tableKey]*netfilter.Table{}
	for _, t := range d.IPTables.Tables {
		if t.Backend == netfilter.IPTablesNFT {
			read[tableKey{t.Family, t.Name}] = t
			continue
		}
		rs.Tables = append(rs.Tables, t)
	}
	for _, t := range d.NFTables.Tables {
		key := tableKey{t.Family, t.Name}
		text, both := read[key]
		if both {
			delete(read, key)
			t = preferText(text, t)
		}
		rs.Tables = append(rs.Tables, t)
	}
	for _, t := range d.IPTables.Tables { // what netlink did not see, in the order of the dump
		if read[tableKey{t.Family, t.Name}] == t {
			rs.Tables = append(rs.Tables, t)
		}
	}
	return rs
}

// ToolOnly is the Incomplete of an iptables-nft table as nft prints it, which names the extensions in it and no more. It is
// whole once iptables-nft-save has said the rest.
const ToolOnly = "nft does not print what its iptables extensions say, and iptables-nft-save was not read"

func preferText(text, wire *netfilter.Table) *netfilter.Table {
	if text.Incomplete != "" {
		return wire
	}
	if wire.Incomplete != "" && wire.Incomplete != ToolOnly {
		return text
	}
	if why := disagreement(text, wire); why != "" {
		t := *wire
		t.Incomplete = why
		return &t
	}
	t := *text
	t.Dormant, t.Sets, t.Objects = wire.Dormant, wire.Sets, wire.Objects
	t.Chains = mergeChains(text.Chains, wire.Chains)
	return &t
}

// mergeChains takes the tool's chains in their order, without those that it made up: iptables-nft-save 1.8.9 prints every
// built-in chain of a table, registered or not. Where a chain is registered, netlink knows.
func mergeChains(text, wire []*netfilter.Chain) []*netfilter.Chain {
	byName := make(map[string]*netfilter.Chain, len(wire))
	for _, c := range wire {
		byName[c.Name] = c
	}
	merged := make([]*netfilter.Chain, 0, len(wire))
	for _, c := range text {
		if w := byName[c.Name]; w != nil {
			merged = append(merged, &netfilter.Chain{Name: c.Name, Base: w.Base, Rules: mergeRules(c.Rules, w.Rules)})
			delete(byName, c.Name)
		}
	}
	for _, c := range wire { // declared by no one but netlink
		if byName[c.Name] == c {
			merged = append(merged, c)
		}
	}
	return merged
}

// mergeRules puts the native rules in the place of what the tool made of them. Rules added to an iptables table by nft
// itself carry steps on the wire, and iptables-nft-save 1.8.9 shows some of them with conditions left out: "tcp dport
// { 80, 90 } drop" as "-p tcp -j DROP".
func mergeRules(text, wire []*netfilter.Rule) []*netfilter.Rule {
	native := func(r *netfilter.Rule) bool { return len(r.Ops) > 0 }
	first := slices.IndexFunc(wire, native)
	if first < 0 {
		return text
	}
	merged := slices.Clone(text)
	for i := first; i < len(wire); i++ {
		if native(wire[i]) {
			merged[i] = wire[i]
		}
	}
	return merged
}

func disagreement(text, wire *netfilter.Table) string {
	rules := make(map[string]int, len(wire.Chains))
	for _, c := range wire.Chains {
		rules[c.Name] = len(c.Rules)
	}
	for _, c := range text.Chains {
		if n, ok := rules[c.Name]; ok && n != len(c.Rules) || !ok && len(c.Rules) > 0 {
			return fmt.Sprintf("chain %s has %d rules in iptables-nft-save and %d over netlink: it changed while it was read",
				c.Name, len(c.Rules), n)
		}
	}
	return ""
}
