// Package nftables reads what nf_tables holds: tables, chains, rules, sets, maps, objects and flowtables of every family,
// those of iptables-nft included.
//
// Two readers make the same of it. One speaks netlink (stream.go, parser.go). The other reads what nft prints on a node of
// which there is a shell only (text.go and its neighbours): the expressions that --debug=netlink prints, set by set and rule
// by rule, and around them the JSON. The walker is the same for both.
//
// What nft 1.0.6 prints wrongly or not at all, and what comes of it:
//
//   - an iptables extension is a name: a rule of an iptables-nft table has a placeholder for it, which nobody takes for
//     another one, and the table is incomplete ([snapshot.ToolOnly]) until iptables-nft-save was read beside it;
//   - a table's flags are other words from memory, and may end the JSON: the table, or all of them, are incomplete;
//   - the JSON lacks chains' devices (taken from `nft list chains`), the flag dynamic of sets (a set is dynamic when a rule
//     adds to it), anonymous sets (their types are those of the registers that a rule looks up in them), and the matches
//     that nft takes for granted (the expressions have them);
//   - osf's flags, ct id, sctp chunks, socket cgroups, xfrm and what else has no words stay unread, each apart from the others;
//   - synproxy's flags, counters of policies, the generation and the order of hooks are not known.
//
// Held against netlink on Linux 6.18, 120 to 1400 random rulesets each: nft 1.0.6 with libnftnl 1.2.4 and 1.1.3 with 1.2.9 (Debian
// 12 and 13) are read in full but for one ruleset in thirty or less; 0.9.8 with 1.1.9 (Debian 11) differs nowhere, but more than half
// is read in part, and it may crash on what newer kernels list; 1.1.7 is refused. libnftnl 1.3.2 prints registers otherwise:
// text_order.go notices it below an older nft.
//
// A JSON that is cut, and nft can print one and exit with 0, makes the list of tables missing.
//
// A rule is a program for a small register machine; the walker (walker.go) runs over it, keeps track of what each register
// holds, and writes down the matches, statements and verdicts it adds up to. What it does not understand stays in the rule
// as a [netfilter.Ext] by the expression's name. An Ext whose name is not known may match, do something, or decide the
// packet's fate; nobody may take it for less.
//
// A match of bits, nft's `ct state invalid,new`, is a masked operand and an inverted interval: (ct.state & 9) not in {0}.
//
// Rules of iptables-nft tables are written in iptables-save's language (Text), which
// [github.com/ctaudit/ctaudit/internal/netfilter/xtables] parses when somebody asks; they carry Ops only when the
// expressions say something that iptables could not have written.
//
// Messages and attributes: include/uapi/linux/netfilter/nf_tables.h and nfnetlink_hook.h, Linux 6.18.
package nftables

import (
	"fmt"
	"slices"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

type collector struct{}

// New returns the collector of the document's nftables section.
func New() collect.Collector { return collector{} }

func (collector) Name() string { return "nftables" }

// rulesLimit caps the dump of rules: a hundred thousand take about 45 MB.
const rulesLimit = 256 << 20

func need(dump string) host.Need {
	n := host.Need{Kind: host.Netlink, Args: []string{dump}}
	if dump == host.DumpNFRules || dump == host.DumpNFElements {
		n.Limit = rulesLimit
	}
	return n
}

// dumps are in the order in which they are parsed: rules need the sets' types.
func dumps() []string {
	return []string{host.DumpNFTables, host.DumpNFChains, host.DumpNFSets, host.DumpNFElements, host.DumpNFObjects, host.DumpNFFlowtables, host.DumpNFRules}
}

func (collector) Needs() []host.Need {
	var out []host.Need
	for _, d := range append(dumps(), host.DumpNFGen, host.DumpNFHooks) {
		out = append(out, need(d))
	}
	return append(out, textNeeds()...)
}

// Collect parses the dumps. Without nf_tables in the kernel the section is empty and the generation absent.
func (collector) Collect(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
	read := parse
	if speechless(ev) {
		read = parseText
	}
	p := read(ev)
	doc.NFTables = snapshot.NFTables{Tables: p.tables}
	if doc.NFTables.Tables == nil {
		doc.NFTables.Tables = []*nf.Table{}
	}
	doc.NFTables.Generation = generationOf(ev)
	order, missing := hookOrder(ev.Answer(need(host.DumpNFHooks)))
	doc.NFTables.HookOrder = order
	return append(p.missing, missing...)
}

// Missing's name for a dump.
func what(dump string) string {
	switch dump {
	case host.DumpNFTables:
		return "nf_tables tables"
	case host.DumpNFChains:
		return "nf_tables chains"
	case host.DumpNFSets:
		return "nf_tables sets"
	case host.DumpNFElements:
		return "nf_tables set elements"
	case host.DumpNFObjects:
		return "nf_tables objects"
	case host.DumpNFFlowtables:
		return "nf_tables flowtables"
	case host.DumpNFRules:
		return "nf_tables rules"
	}
	return dump
}

const hintRoot = "run as root, or grant CAP_NET_ADMIN"

// dump ends one dump. Whatever keeps it from being whole marks every table that it may concern.
func (p *parser) dump(name string, a *host.Answer, r *reader) {
	if a.Absent {
		return
	}
	if a.Err != "" {
		p.lack(name, a.Err, hintFor(a))
		return
	}
	switch {
	case a.Truncated && !p.overran:
		p.lack(name, "the dump is longer than its limit", "")
	case r.garbled:
		p.lack(name, "the dump is cut or garbled", "")
	case r.errno != 0:
		p.lack(name, fmt.Sprintf("the kernel answered with error %d", r.errno), map[bool]string{true: hintRoot}[r.errno == 1])
	case r.interrupted:
		p.lack(name, "the ruleset changed while it was read", "collect again")
	}
}

// begin forgets the rules when they are read again without the rest, as a host does with kernels that cannot be asked for
// one chain's. Whatever else begins again does so with the tables, and so with a new parser.
func (p *parser) begin(dump string) {
	if dump != host.DumpNFRules {
		return
	}
	for _, t := range p.info {
		t.ruleWhy = nil
		for _, c := range t.chains {
			c.Rules = []*nf.Rule{}
		}
	}
	delete(p.lacking, dump)
	p.missing = slices.DeleteFunc(p.missing, func(m snapshot.Missing) bool { return m.What == what(dump) })
}

// lack notes once that a dump is not whole.
func (p *parser) lack(dump, why, hint string) {
	if p.lacking[dump] != "" {
		return
	}
	p.lacking[dump] = why
	p.missing = append(p.missing, snapshot.Missing{What: what(dump), Why: why, Hint: hint})
}

// generation reads NFTA_GEN_ID (1) of the last NFT_MSG_NEWGEN.
func generation(a *host.Answer) snapshot.Value[uint32] {
	switch {
	case a.Absent:
		return snapshot.Absent[uint32]()
	case a.Err != "":
		return snapshot.Unreadable[uint32](a.Err, hintFor(a))
	}
	out := snapshot.Unreadable[uint32]("the answer holds no generation", "")
	for r := (&reader{b: a.Data}); ; {
		m, ok := r.next()
		if !ok {
			return out
		}
		var at attrs
		if m.kind == subsysNFTables|msgNewGen && at.parse(m.body) && len(at.at[1]) >= 4 {
			out = snapshot.Known(at.u32(1))
		}
	}
}

// hintFor says what would make an answer readable.
func hintFor(a *host.Answer) string {
	if a.Denied {
		return hintRoot
	}
	_, hint := collect.Trouble(a)
	return hint
}
