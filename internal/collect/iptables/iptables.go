// Package iptables reads what the iptables tools show: the legacy tables that the kernel has registered, and the tables
// of iptables-nft in the words of its own tool.
//
// Reading changes nothing on the node. Only a plain "-save -c" runs: -L, -S and -save -t create the table that they are
// asked for in the legacy backend. The legacy tools run only where /proc/net/ip_tables_names (ip6_tables_names) lists a
// table, and the others only where nf_tables' xt support is there already, so that no module is loaded.
//
// Two programs may print the same name's dump: before 1.8.0, and where a distribution ships one backend only, there is
// just "iptables-save". Each need therefore names the alternative, and the dump's first line says who printed it.
//
// What iptables-nft-save cannot be trusted with (iptables 1.8.9): it prints every built-in chain of a table, registered
// or not; it does not say that a table is dormant; and it leaves out tables that hold anything but iptables rules, with a
// remark and exit status 0. Such tables are here with their Incomplete set, and the nftables collector has their truth.
//
// A rule added to such a table by nft itself is worse: the tool prints it with conditions left out ("tcp dport { 80, 90 }
// drop" as "-p tcp -j DROP"), or stops with exit status 3. [snapshot.Document.Ruleset] takes those rules from netlink.
//
// iptables-legacy-save leaves out conditions that hold always or never ("! -i +", "! --dport 0:65535" behind -p tcp): such
// a rule reads as if they were not there, and no other source shows them.
//
// The version is parsed here: go-iptables parses it, too, but only on the output of a program that it runs itself.
package iptables

import (
	"slices"
	"strings"
	"sync"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// New returns the collector of the snapshot's iptables section.
func New() collect.Collector { return collector{} }

type collector struct{}

// Name is the section's key.
func (collector) Name() string { return "iptables" }

// familyNeeds are the needs of one address family.
type familyNeeds struct {
	family                        netfilter.Family
	names, legacy, nft, rawBefore host.Need
}

func needsOf() [2]familyNeeds {
	return [2]familyNeeds{
		needsOfFamily(netfilter.IP, "/proc/net/ip_tables_names", "iptables"),
		needsOfFamily(netfilter.IP6, "/proc/net/ip6_tables_names", "ip6tables"),
	}
}

func needsOfFamily(family netfilter.Family, names, tool string) familyNeeds {
	module := strings.Replace(tool, "tables", "table", 1) + "_raw"
	return familyNeeds{
		family: family,
		names:  host.Need{Kind: host.File, Args: []string{names}},
		legacy: host.Need{Kind: host.Command, Args: []string{tool + "-legacy-save|" + tool + "-save", "-c"}, Only: names},
		nft: host.Need{
			Kind: host.Command, Args: []string{tool + "-nft-save|" + tool + "-save", "-c"},
			Only: "module:nft_compat",
		},
		rawBefore: host.Need{Kind: host.File, Args: []string{"/sys/module/" + module + "/parameters/raw_before_defrag"}},
	}
}

// versionNeeds are the tools' own words about themselves. The nft variants open a netfilter socket before they answer;
// where plain iptables is one, the host holds it back.
func versionNeeds() []host.Need {
	return []host.Need{
		{Kind: host.Command, Args: []string{"iptables", "-V"}},
		{Kind: host.Command, Args: []string{"iptables-legacy", "-V"}},
		{Kind: host.Command, Args: []string{"iptables-nft", "-V"}, Only: "module:nfnetlink"},
	}
}

// Needs lists the dumps of both backends and families, the kernel's own lists of legacy tables, and the versions.
func (collector) Needs() []host.Need { return allNeeds() }

var allNeeds = sync.OnceValue(func() []host.Need {
	var needs []host.Need
	for _, f := range needsOf() {
		needs = append(needs, f.names, f.legacy, f.nft, f.rawBefore)
	}
	return slices.Clip(append(needs, versionNeeds()...))
})

// Collect fills doc.IPTables.
func (collector) Collect(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
	doc.IPTables = snapshot.IPTables{
		Tables:       []*netfilter.Table{},
		LegacyLoaded: map[netfilter.Family]snapshot.Value[[]string]{},
		NFTRead:      map[netfilter.Family]bool{},
	}
	var missing []snapshot.Missing
	for _, f := range needsOf() {
		r := reader{ev: ev, needs: f, section: &doc.IPTables}
		r.legacy()
		r.nft()
		missing = append(missing, r.missing...)
	}
	doc.IPTables.Tools = tools(ev)
	return missing
}
