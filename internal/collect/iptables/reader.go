package iptables

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// unknownTable stands for legacy tables whose very names could not be read.
const unknownTable = "unknown"

// reader reads one family's dumps into the section.
type reader struct {
	ev      *host.Evidence
	needs   familyNeeds
	section *snapshot.IPTables
	missing []snapshot.Missing
}

func (r *reader) tool(suffix string) string {
	if r.needs.family == netfilter.IP6 {
		return "ip6tables" + suffix
	}
	return "iptables" + suffix
}

func (r *reader) miss(what, why, hint string) {
	what = fmt.Sprintf("%s (%s)", what, r.needs.family)
	r.missing = append(r.missing, snapshot.Missing{What: what, Why: why, Hint: hint})
}

// add takes a table over, and says what is missing of it.
func (r *reader) add(t *netfilter.Table, hint string) {
	r.section.Tables = append(r.section.Tables, t)
	if t.Incomplete != "" {
		r.miss(fmt.Sprintf("%s %s", t.Backend, t.Name), t.Incomplete, hint)
	}
}

// legacy reads the tables that the kernel lists. Each of them is in the section afterwards: one that no dump shows is
// there as incomplete, because it may drop packets all the same.
func (r *reader) legacy() {
	loaded, missing := collect.Parse(r.ev.Answer(r.needs.names), "list of "+r.tool("-legacy")+" tables", parseNames)
	r.section.LegacyLoaded[r.needs.family] = loaded
	r.missing = append(r.missing, missing...)
	names, known := loaded.Get()
	if !known && loaded.IsUnreadable() {
		names = []string{unknownTable}
	}
	if len(names) == 0 {
		return
	}
	dump, why, hint := r.legacyDump()
	for _, name := range names {
		i := slices.IndexFunc(dump.Tables, func(t *netfilter.Table) bool { return t.Name == name })
		if i >= 0 {
			r.add(dump.Tables[i], "")
			continue
		}
		if !known && len(dump.Tables) > 0 {
			continue
		}
		switch {
		case why == "" && known:
			why = "the kernel lists it and the dump lacks it"
		case why == "":
			why = "the kernel's list of tables could not be read"
		}
		r.add(&netfilter.Table{Backend: netfilter.Legacy, Family: r.needs.family, Name: name, Chains: []*netfilter.Chain{}, Incomplete: why}, hint)
	}
	for _, t := range dump.Tables { // registered between the two readings
		if !slices.Contains(names, t.Name) {
			r.add(t, "")
		}
	}
}

// legacyDump returns the dump of the legacy tool, and why it does not hold everything.
func (r *reader) legacyDump() (dump *save, why, hint string) {
	a := r.ev.Answer(r.needs.legacy)
	install := "install iptables with its legacy tools (" + r.tool("-legacy-save") + ")"
	if a.Absent {
		return &save{}, "no " + r.tool("-legacy-save") + " on this node", install
	}
	dump = parseSave(a.Data, source{backend: netfilter.Legacy, family: r.needs.family, rawFirst: r.rawFirst()})
	if dump.NFT {
		return &save{}, "the only " + r.tool("-save") + " on this node reads nf_tables", install
	}
	why, hint = r.trouble(a, dump)
	return dump, why, hint
}

// trouble says what is wrong with a dump as a whole.
func (r *reader) trouble(a *host.Answer, dump *save) (why, hint string) {
	why, hint = collect.Trouble(a)
	switch {
	case why == "" && dump.Trouble != "":
		why = dump.Trouble
	case strings.Contains(a.Stderr, "xtables lock"):
		hint = "another program holds the xtables lock: run again"
	}
	return why, hint
}

// rawFirst reports whether the legacy raw table was loaded to run before defragmentation.
func (r *reader) rawFirst() bool {
	v := bytes.TrimSpace(r.ev.Answer(r.needs.rawBefore).Data)
	return string(v) == "Y" || string(v) == "1"
}

// nft reads iptables-nft's tables. An absent dump is not missing: netlink shows the same tables.
func (r *reader) nft() {
	a := r.ev.Answer(r.needs.nft)
	if a.Absent {
		return
	}
	dump := parseSave(a.Data, source{backend: netfilter.IPTablesNFT, family: r.needs.family})
	if !dump.NFT && (dump.Tool != "" || len(dump.Tables) > 0) {
		r.plainLegacy(a)
		return
	}
	why, hint := r.trouble(a, dump)
	if why != "" {
		r.miss("iptables-nft tables", why, hint)
	}
	r.section.NFTRead[r.needs.family] = why == ""
	for _, t := range dump.Tables {
		if t.Incomplete == incompatible { // not missing: only netlink can show it, and does
			r.section.Tables = append(r.section.Tables, t)
			continue
		}
		r.add(t, "")
	}
}

// plainLegacy is for a node whose only iptables-save is the legacy one, and whose list of tables was not there.
func (r *reader) plainLegacy(a *host.Answer) {
	has := func(t *netfilter.Table) bool { return t.Backend == netfilter.Legacy && t.Family == r.needs.family }
	if slices.ContainsFunc(r.section.Tables, has) {
		return
	}
	dump := parseSave(a.Data, source{backend: netfilter.Legacy, family: r.needs.family, rawFirst: r.rawFirst()})
	if why, hint := r.trouble(a, dump); why != "" {
		r.miss("iptables-legacy tables", why, hint)
	}
	for _, t := range dump.Tables {
		r.add(t, "")
	}
}

// parseNames reads ip_tables_names: one table's name a line (net/netfilter/x_tables.c, xt_table_seq_show, Linux 6.18).
func parseNames(b []byte) ([]string, error) {
	names := []string{}
	for line := range bytes.Lines(b) {
		name := string(bytes.TrimRight(line, "\n"))
		if name == "" || len(name) > 31 || len(names) == 64 {
			return nil, errors.New("not a list of table names")
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
