package snapshot

import (
	"fmt"

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

func preferText(text, wire *netfilter.Table) *netfilter.Table {
	if text.Incomplete != "" {
		return wire
	}
	if wire.Incomplete != "" {
		return text
	}
	if why := disagreement(text, wire); why != "" {
		t := *wire
		t.Incomplete = why
		return &t
	}
	t := *text
	t.Dormant, t.Sets, t.Objects = wire.Dormant, wire.Sets, wire.Objects
	return &t
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
