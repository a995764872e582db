package facts

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// conntrackUsed says whether anything in the namespace makes the kernel track connections. Since 4.10 the hooks register only
// when a rule needs them (commit 0c66dc1ea3f0), so the sysctls can exist while nothing is tracked. It is false only where
// every rule is understood and none needs conntrack: "nothing is tracked" silences every other finding.
func (n *Node) conntrackUsed() Fact[bool] {
	if n.doc.Conntrack.Count.Or(0) > 0 || n.hooksTrack() || n.openVSwitch() != "" {
		return known(true)
	}
	incomplete := ""
	for _, t := range n.ruleset.Tables {
		if !t.Dormant && tableTracks(t) {
			return known(true)
		}
		if t.Incomplete != "" {
			incomplete = t.Incomplete
		}
	}
	switch {
	case incomplete != "":
		return unknown[bool]("a table could not be read whole: "+incomplete, "")
	case n.unread.why != "":
		return unknown[bool](n.unread.why, n.unread.hint)
	case n.doc.Conntrack.Count.IsUnreadable():
		why, hint := n.doc.Conntrack.Count.Why()
		return unknown[bool]("conntrack's count: "+why, hint)
	case n.doc.Sysctl.Live["net.ipv4.vs.conntrack"].Or("0") != "0":
		return known(true) // IPVS tracks its own (net/netfilter/ipvs/ip_vs_nfct.c, Linux 6.18)
	}
	return known(false)
}

// hooksTrack reports whether the kernel has conntrack's functions registered (net/netfilter/nf_conntrack_proto.c).
func (n *Node) hooksTrack() bool {
	for _, h := range n.doc.NFTables.HookOrder.Or([]snapshot.HookEntry(nil)) {
		if strings.Contains(h.Function, "conntrack_in") || strings.Contains(h.Function, "conntrack_local") {
			return true
		}
	}
	return false
}

func tableTracks(t *netfilter.Table) bool {
	w := &natWalk{table: t}
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if ruleTracks(w, r) {
				return true
			}
		}
	}
	return false
}

func ruleTracks(w *natWalk, r *netfilter.Rule) bool {
	t := w.table
	if r.Ops == nil && t.Backend.XTables() && plainText(r.Text) {
		return false
	}
	for _, op := range xtables.Ops(t, r) {
		if opTracks(w, op) {
			return true
		}
	}
	return false
}

// plainText is a look at a rule's words that spares parsing most: matches that need no entry, and a verdict. What stands in
// a comment can only make it say no.
func plainText(text string) bool {
	for rest := text; ; {
		i := strings.Index(rest, "-m ")
		if i < 0 {
			break
		}
		name, after, _ := strings.Cut(rest[i+3:], " ")
		if !untracking(name) {
			return false
		}
		rest = after
	}
	switch target, _ := xtables.Target(text); target {
	case "", "ACCEPT", "DROP", "RETURN":
		return !strings.Contains(text, "--match ")
	}
	return false
}

func opTracks(w *natWalk, op netfilter.Op) bool {
	switch op := op.(type) {
	case netfilter.XtState:
		return true
	case netfilter.Match:
		return anyCT(op.Fields)
	case netfilter.VMap:
		return anyCT(op.Fields)
	case netfilter.Ext:
		return !untracking(strings.TrimPrefix(op.Name, "xt match "))
	case netfilter.Assign:
		return isCT(op.Field) || isCT(op.From)
	case netfilter.Stmt:
		return !untracking(op.Name)
	case netfilter.Verdict: // an xtables target without options that nobody here knows reads like a chain
		return op.Chain != "" && w.table.Backend.XTables() && w.chain(op.Chain) == nil
	}
	return false
}

// untracking are the matches and statements known by name that need no conntrack entry. What is not listed, an extension
// that nobody here knows above all, may need one.
func untracking(name string) bool {
	switch name {
	case "addrtype", "ah", "bpf", "comment", "cpu", "dccp", "devgroup", "dscp", "ecn", "esp", "eui64", "frag", "hashlimit", "hbh", "icmp",
		"icmp6", "iprange", "ipv6header", "length", "limit", "mac", "mark", "mh", "multiport", "owner", "physdev", "pkttype", "policy",
		"quota", "realm", "recent", "rpfilter", "rt", "sctp", "set", "statistic", "string", "tcp", "tcpmss", "time", "tos", "ttl", "hl",
		"u32", "udp", "lookup", "numgen", "random", "symhash", "jhash", "bitwise", "byteorder", "payload", "fib", "exthdr", "osf",
		"checksum", "classify", "counter", "dup", "fwd", "log", "nflog", "notrack", "tee", "tproxy", "last", "trace", "audit", "socket",
		"tcpoptstrip", "hmark", "idletimer", "led", "rateest", "snpt", "dnpt", "add", "update", "delete":
		return true
	}
	return false
}

func anyCT(ops []netfilter.Operand) bool {
	for _, o := range ops {
		if isCT(o.Field) {
			return true
		}
	}
	return false
}

func isCT(f netfilter.Field) bool { return strings.HasPrefix(string(f), "ct.") }
