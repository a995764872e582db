package snapshot

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

func nftTable(name string, chains ...*netfilter.Chain) *netfilter.Table {
	return &netfilter.Table{Backend: netfilter.IPTablesNFT, Family: netfilter.IP, Name: name, Chains: chains}
}

func chainOf(name string, base *netfilter.Base, rules ...*netfilter.Rule) *netfilter.Chain {
	return &netfilter.Chain{Name: name, Base: base, Rules: rules}
}

func merge(text, wire *netfilter.Table) []*netfilter.Table {
	d := &Document{IPTables: IPTables{Tables: []*netfilter.Table{text}}, NFTables: NFTables{Tables: []*netfilter.Table{wire}}}
	return d.Ruleset().Tables
}

// The tool's words for rules that it wrote, netlink's for those that it did not, and no chain that the tool made up.
func TestRulesetPrefersWhoKnows(t *testing.T) {
	base := &netfilter.Base{Type: netfilter.FilterChain, Hook: netfilter.Input, Policy: netfilter.Accept}
	native := &netfilter.Rule{Number: 2, Text: "tcp dport { 80, 90 } drop", Ops: netfilter.Ops{netfilter.Verdict{Kind: netfilter.Drop}}}
	text := nftTable("filter",
		chainOf("INPUT", base, &netfilter.Rule{Number: 1, Text: "-m u32 --u32 0=1 -j DROP"}, &netfilter.Rule{Number: 2, Text: "-p tcp -j DROP"}),
		chainOf("FORWARD", base))
	wire := nftTable("filter",
		chainOf("INPUT", base, &netfilter.Rule{Number: 1, Text: "-m u32 --opaque-revision-0 0x00 -j DROP"}, native),
		chainOf("USER", nil))
	wire.Dormant = true
	want := nftTable("filter", chainOf("INPUT", base, text.Chains[0].Rules[0], native), chainOf("USER", nil))
	want.Dormant = true
	if diff := cmp.Diff([]*netfilter.Table{want}, merge(text, wire)); diff != "" {
		t.Error(diff)
	}
	if text.Chains[0].Rules[1].Text != "-p tcp -j DROP" {
		t.Error("the document itself was changed")
	}
}

func TestRulesetIncompleteReaders(t *testing.T) {
	rule := &netfilter.Rule{Number: 1, Text: "-j DROP"}
	whole, broken := nftTable("filter", chainOf("INPUT", nil, rule)), nftTable("filter")
	broken.Incomplete = "cut"
	if got := merge(broken, whole); len(got) != 1 || got[0] != whole {
		t.Errorf("the broken dump was taken: %+v", got)
	}
	if got := merge(whole, broken); len(got) != 1 || got[0] != whole {
		t.Errorf("the broken netlink reading was taken: %+v", got)
	}
	if got := merge(nftTable("filter", chainOf("INPUT", nil)), whole); len(got) != 1 || got[0].Incomplete == "" {
		t.Errorf("readings that differ are whole: %+v", got)
	}
}
