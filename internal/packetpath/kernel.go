package packetpath

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// What each match and target does to a packet without a conntrack entry. Sources are net/netfilter/xt_*.c and nft_*.c,
// Linux 6.18; what was measured is said in README.md.

// opaqueArgs begins the arguments of an xtables extension that a reader has as a blob only.
const opaqueArgs = "--opaque-"

// ext compiles a match known by name.
func (c *compiler) ext(x netfilter.Ext) []atom {
	text := strings.TrimSpace(x.Name + " " + x.Args)
	never, always := []atom{{kind: atomNever}}, []atom(nil)
	guess := func(k certainty) []atom { return []atom{{kind: atomGuess, text: text, invert: x.Invert, sure: k}} }
	switch strings.ToLower(x.Name) {
	case "connmark", "connbytes", "cluster":
		// xt_connmark.c connmark_mt(), xt_connbytes.c connbytes_mt(), xt_cluster.c xt_cluster_mt(): "if (ct == NULL) return false".
		return []atom{{kind: atomBreak, text: text, invert: x.Invert}}
	case "connlimit", "ct count":
		return guess(fresh)
	case "limit", "hashlimit", "quota", "statistic", "numgen", "cpu", "time", "random", "dynset", "meter", "quota2":
		return guess(chance)
	}
	if strings.HasPrefix(x.Args, opaqueArgs) && x.Name != "recent" {
		return guess(pure) // the inversion is inside
	}
	switch strings.ToLower(x.Name) {
	case "helper", "connlabel":
		// xt_helper.c helper_mt(), xt_connlabel.c connlabel_mt(): the inversion is the answer when there is no entry.
		return []atom{{kind: atomInvert, text: text, invert: x.Invert}}
	case "recent":
		return recent(x, guess, never, always)
	case "socket":
		if !c.table.Backend.XTables() || !strings.Contains(x.Args, "nowildcard") {
			// A pod's flow has no socket on the node. nft: nft_socket.c breaks.
			return []atom{{kind: atomSocket, text: text, invert: x.Invert}}
		}
	case "addrtype":
		// With --limit-iface-in the address must be one of the interface that the packet came in by.
		if types, ok := strings.CutPrefix(x.Args, "--dst-type "); ok && types == "LOCAL --limit-iface-in" {
			return []atom{{kind: atomValue, field: "fib.daddr.iif.type", set: nums(2, 2), mask: maxValue, invert: x.Invert, text: text}}
		}
	case "physdev":
		return []atom{{kind: atomBridge, text: text, invert: x.Invert}}
	case "policy":
		// The question's packets are no IPsec: xt_policy.c, policy_mt(), without a secpath.
		if strings.Contains(x.Args, "--pol none") != x.Invert {
			return always
		}
		return never
	case "owner":
		return owner(x, guess, never)
	case "rpfilter":
		// The question's packets come in by the interface that leads back to their source (README.md).
		if x.Invert || strings.Contains(x.Args, "--invert") {
			return never
		}
		return always
	}
	if strings.Contains(text, "numgen") {
		return guess(chance)
	}
	return guess(pure)
}

// recent: --set always matches (xt_recent.c recent_mt()); the others look at what other packets did.
func recent(x netfilter.Ext, guess func(certainty) []atom, never, always []atom) []atom {
	if !strings.Contains(x.Args, "--set") {
		return guess(chance)
	}
	if x.Invert || strings.Contains(x.Args, "! --set") {
		return never
	}
	return always
}

// owner: neither an arriving packet nor a RST of the kernel's own has a socket with a file behind it, so a plain uid or
// gid never matches. Source: net/netfilter/xt_owner.c, owner_mt().
func owner(x netfilter.Ext, guess func(certainty) []atom, never []atom) []atom {
	if x.Invert || strings.Contains(x.Args, "!") || strings.Contains(x.Args, "--socket-exists") {
		return guess(pure)
	}
	return never
}

func xtStateText(s netfilter.XtState) string {
	text := fmt.Sprintf("ctstate %#x", s.States)
	if s.Invert {
		text = "! " + text
	}
	return text + " " + strings.Join(s.Others, " ")
}

// harmless reports statements and targets that neither decide nor write anything that a later rule reads.
func harmless(name string) bool {
	switch name {
	case "counter", "log", "nflog", "ulog", "trace", "tee", "dup", "checksum", "tcpmss", "tcpoptstrip", "audit", "led", "idletimer",
		"rateest", "connsecmark", "secmark", "connmark", "connlabel", "set", "last", "objref", "comment", "nftrace", "add", "update",
		"delete", "masquerade", "snat", "dnat", "redirect", "netmap", "clusterip", "ct helper", "ct timeout", "ct expectation",
		"tunnel", "exthdr", "reset", "ttl", "hl", "tos", "dscp", "ecn", "classify", "mark", "hmark":
		return true // the last seven are followed by the Assign that says what they write
	}
	return false
}

// stmt compiles a statement or an xtables target.
func (c *compiler) stmt(s netfilter.Stmt, r *crule) (cstep, bool) {
	xt := c.table.Backend.XTables()
	name := strings.ToLower(s.Name)
	text := strings.TrimSpace(s.Name + " " + s.Args)
	step := cstep{text: text, do: doMystery}
	switch {
	case name == "connmark" && strings.Contains(s.Args, "restore"):
		step.do, step.assign = doAssign, netfilter.Assign{Field: netfilter.Mark, From: "ct.mark"}
	case harmless(name):
		return step, false
	case s.Name == "notrack" && !xt:
		step.do = doNotrack
	case name == "notrack" || name == "ct" && strings.Contains(s.Args, "notrack"):
		step.do = doNotrackXT
	case name == "ct" && xt:
		step.do = doTemplateXT
	case name == "ct" && strings.HasPrefix(s.Args, "zone"):
		step.do = doTemplate
	case name == "ct":
		return step, false
	case name == "flow" && !xt:
		// nft_flow_offload.c, nft_flow_offload_eval(): without an entry the rule ends.
		r.add(atom{kind: atomBreak, text: text})
		return step, false
	case name == "synproxy" && xt:
		step.do = doSynproxyXT
	case name == "synproxy":
		step.do = doSynproxyNFT
	case name == "tproxy" && xt:
		step.do = doTproxyXT
	case name == "tproxy":
		// nft_tproxy.c: without a socket the rule ends; with one it goes on.
		r.add(atom{kind: atomGuess, text: "a listener for " + text, sure: pure})
		return step, false
	case name == "fwd":
		step.do = doFwd
	case name == "dnpt" || name == "snpt":
		step.do = doRewrite
	}
	return step, true
}

// assign compiles a write. A map is looked up first: a miss ends the rule.
func (c *compiler) assign(a netfilter.Assign, r *crule) (cstep, bool) {
	xt := c.table.Backend.XTables()
	text := string(a.Field) + " from " + string(a.From)
	if ctKey(a.From) && !xt {
		r.add(atom{kind: atomBreak, text: text})
	}
	if a.Map != "" {
		r.add(atom{kind: atomGuess, text: text + " map " + c.setName(a.Map), sure: pure})
	}
	switch {
	case a.Field == netfilter.TCPFlags:
		return cstep{do: doRewrite, text: text}, true
	case a.Field == "ct.zone":
		return cstep{do: doTemplate, text: text}, true
	case ctKey(a.Field):
		return cstep{}, false // nft_ct.c, nft_ct_set_eval(): no entry, nothing done, the rule goes on
	}
	return cstep{do: doAssign, assign: a, text: text}, true
}
