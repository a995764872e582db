package oracle_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
)

// ordered is two chains at one priority, loaded one after the other. What is registered later runs earlier
// (net/netfilter/core.c, nf_hook_entries_grow()); kernels without NFNL_SUBSYS_HOOK do not list it, so it is listed here.
type ordered struct {
	name   string
	first  oracle.Document
	second oracle.Document
	hooks  []packetpath.HookPlace // in running order
	want   lab.Fate
}

func nftAt(table, chain, at, rule string) oracle.Document {
	return oracle.Document{Backend: netfilter.NFTables, Text: "table inet " + table + " { chain " + chain + " { type filter hook " + at + "; " + rule + "; }; }"}
}

func orders(family netfilter.Family) []ordered {
	native := func(table string) packetpath.HookPlace {
		return packetpath.HookPlace{Family: family, Hook: netfilter.Input, Function: "nft_do_chain_inet", TableFamily: netfilter.INET, Table: table, Chain: "c"}
	}
	legacy := packetpath.HookPlace{Family: family, Hook: netfilter.Input, Function: "ipt_do_table"}
	early := func(h packetpath.HookPlace, priority int32) packetpath.HookPlace {
		h.Hook, h.Priority = netfilter.Prerouting, priority
		return h
	}
	conntrack := packetpath.HookPlace{Family: family, Hook: netfilter.Prerouting, Priority: -200, Function: "ipv4_conntrack_in"}
	const reset, drop = "meta l4proto tcp reject with tcp reset", "drop"
	filter := oracle.Document{Backend: netfilter.Legacy, Family: family, Text: "*filter\n-A INPUT -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n"}
	dropping := oracle.Document{Backend: netfilter.IPTablesNFT, Family: family, Text: "*filter\n-A INPUT -j DROP\nCOMMIT\n"}
	ipt := packetpath.HookPlace{Family: family, Hook: netfilter.Input, Function: "nft_do_chain", TableFamily: family, Table: "filter", Chain: "INPUT"}
	tracked := nftAt("a", "c", "prerouting priority 999", "ct state new counter")
	return []ordered{
		{
			"drop, then reset", nftAt("a", "c", "input priority 0", drop), nftAt("b", "c", "input priority 0", reset),
			[]packetpath.HookPlace{native("b"), native("a")},
			lab.Reset,
		},
		{
			"reset, then drop", nftAt("a", "c", "input priority 0", reset), nftAt("b", "c", "input priority 0", drop),
			[]packetpath.HookPlace{native("b"), native("a")},
			lab.Silence,
		},
		{
			"legacy, then native", filter, nftAt("b", "c", "input priority 0", drop),
			[]packetpath.HookPlace{native("b"), legacy},
			lab.Silence,
		},
		{
			"native, then legacy", nftAt("b", "c", "input priority 0", drop), filter,
			[]packetpath.HookPlace{legacy, native("b")},
			lab.Reset,
		},
		{"legacy, then iptables-nft", filter, dropping, []packetpath.HookPlace{ipt, legacy}, lab.Silence},
		{"iptables-nft, then legacy", dropping, filter, []packetpath.HookPlace{legacy, ipt}, lab.Reset},
		{
			"conntrack, then a chain beside it: what is not tracked yet is INVALID", tracked,
			nftAt("b", "c", "prerouting priority -200", "notrack; ct state untracked drop"),
			[]packetpath.HookPlace{early(native("b"), -200), conntrack, early(native("a"), 999)},
			lab.Silence,
		},
		{
			"a chain, then conntrack beside it: what it calls INVALID stays", nftAt("b", "c", "prerouting priority -200", "counter"),
			nftAt("a", "c", "prerouting priority -200", "notrack; ct state untracked drop"),
			[]packetpath.HookPlace{early(native("a"), -200), early(native("b"), -200)},
			lab.Silence,
		},
	}
}

// Where the kernel tells the order of chains at one priority, the answer is certain, and right.
func TestHookOrderAgreesWithTheKernel(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	for _, family := range families {
		for _, o := range orders(family) {
			t.Run(o.name+"/"+string(family), func(t *testing.T) {
				b, err := freshBench()
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				c := oracle.Case{Family: family, Documents: []oracle.Document{o.first, o.second}}
				if err := c.Exactly(b.Node); err != nil {
					t.Fatal(err)
				}
				probe := lab.Probe{Segment: lab.Segment{
					Src: netip.AddrPortFrom(b.Sources(0, family).Addr().Next(), 443), Dst: netip.AddrPortFrom(b.Address(0, family), 30000),
					Flags: lab.ACK, Seq: 1, Ack: 1000,
				}}
				x := exchanged{loaded: c, universe: oracle.NewUniverse(b.Bench, family), probes: []lab.Probe{probe}}
				if err := x.run(b); err != nil {
					t.Fatal(err)
				}
				if x.fates[0] != o.want {
					t.Errorf("the kernel: %s, want %s", x.fates[0], o.want)
				}
				r := x.replay(b.Bench, x.node, t.Name())
				node := *r.Node
				node.HookOrder = o.hooks
				r.Node, r.Asked = &node, r.Asked[:1]
				no := false
				r.Asked[0].Undecided = &no
				if err := errors.Join(new(replay.Tally).Check(r), recorded.add(r)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
