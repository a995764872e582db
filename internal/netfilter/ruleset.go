// Package netfilter holds a node's packet-filter configuration as data: tables, chains, rules and sets of every backend
// (iptables-legacy, iptables-nft, native nf_tables) in one model. It reads nothing and judges nothing.
//
// Two rules keep the model honest. A rule keeps its own text, so that every report can name it in the words its owner
// wrote. And what a reader did not understand stays in the rule as an [Ext] with its name, never dropped: a match that
// vanishes turns "drop some" into "drop all".
//
// Hooks and priorities: include/uapi/linux/netfilter_ipv4.h (enum nf_ip_hook_priorities), Linux 6.18.
package netfilter

import (
	"fmt"
	"unicode/utf8"
)

// Backend names who owns a table, in the words users know.
type Backend string

// The backends. An iptables-nft table lives in nf_tables, but is written, named and best read by iptables-nft.
const (
	Legacy      Backend = "iptables-legacy"
	IPTablesNFT Backend = "iptables-nft"
	NFTables    Backend = "nftables"
)

// XTables reports whether the backend's rules are written in the iptables language.
func (b Backend) XTables() bool { return b == Legacy || b == IPTablesNFT }

// Family is a table's address family in nft's words.
type Family string

// The table families. IP and IP6 also name a packet's family.
const (
	IP     Family = "ip"
	IP6    Family = "ip6"
	INET   Family = "inet"
	ARP    Family = "arp"
	Bridge Family = "bridge"
	Netdev Family = "netdev"
)

// Covers reports whether a table of family f sees packets of family packet (IP or IP6) at the IP hooks. Netdev and bridge
// tables see both, at hooks of their own.
func (f Family) Covers(packet Family) bool {
	return f == packet || f == INET || f == Netdev || f == Bridge
}

// Hook is the place in the stack where a base chain is registered.
type Hook string

// The hooks, in nft's words.
const (
	Ingress     Hook = "ingress"
	Prerouting  Hook = "prerouting"
	Input       Hook = "input"
	Forward     Hook = "forward"
	Output      Hook = "output"
	Postrouting Hook = "postrouting"
	Egress      Hook = "egress"
)

// ChainType is nft's chain type; iptables' nat tables are "nat", all its other tables "filter" (mangle OUTPUT: "route").
type ChainType string

// The chain types.
const (
	FilterChain ChainType = "filter"
	NATChain    ChainType = "nat"
	RouteChain  ChainType = "route"
)

// ConntrackPriority is where conntrack attaches entries in PREROUTING and OUTPUT: below it no packet has one.
const ConntrackPriority = -200

// Ruleset is all that was read of one network namespace.
type Ruleset struct {
	Tables []*Table `json:"tables"`
}

// Table is one table of one backend.
type Table struct {
	Backend Backend  `json:"backend"`
	Family  Family   `json:"family"`
	Name    string   `json:"name"`
	Dormant bool     `json:"dormant,omitempty"` // registered with no hook: none of its chains runs
	Chains  []*Chain `json:"chains"`
	Sets    []*Set   `json:"sets,omitempty"` // named and anonymous sets, maps and verdict maps
	Objects []Object `json:"objects,omitempty"`
	// Incomplete says why the table could not be read whole (empty: it was). An incomplete table may drop anything.
	Incomplete string `json:"incomplete,omitempty"`
}

// Chain returns the chain with the name, or nil.
func (t *Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Set returns the set with the name, or nil.
func (t *Table) Set(name string) *Set {
	for _, s := range t.Sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Object is a stateful object or a flowtable that rules refer to: counter, quota, limit, ct helper, flowtable ...
type Object struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Text string `json:"text,omitempty"`
}

// Chain is a base chain (Base is set) or a chain that is only jumped to.
type Chain struct {
	Name  string  `json:"name"`
	Base  *Base   `json:"base,omitempty"`
	Rules []*Rule `json:"rules"`
}

// Base is where a base chain is registered and what its policy is.
type Base struct {
	Type     ChainType   `json:"type"`
	Hook     Hook        `json:"hook"`
	Priority int32       `json:"priority"`
	Policy   VerdictKind `json:"policy"`            // accept or drop
	Devices  []string    `json:"devices,omitempty"` // netdev and inet ingress, netdev egress
	Counters *Counters   `json:"counters,omitempty"`
}

// Counters are packets and bytes since the rule was loaded or its counters were reset.
type Counters struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Rule is one rule. Number is its place in the chain, from 1. Line is its line in the dump it came from (0: none).
//
// Text is the rule as its owner would write it: an iptables-save line without "-A CHAIN", or nft syntax. Ops are what it
// does, in order. Rules of the xtables backends read from a dump carry no Ops: they are parsed from Text when somebody
// asks ([github.com/ctaudit/ctaudit/internal/netfilter/xtables.Ops]), because a kube-proxy node has a hundred thousand
// rules of which a verdict needs a few hundred.
type Rule struct {
	Number   int       `json:"number"`
	Handle   uint64    `json:"handle,omitempty"`
	Line     int       `json:"line,omitempty"`
	Text     string    `json:"text"`
	Comment  string    `json:"comment,omitempty"`
	Counters *Counters `json:"counters,omitempty"`
	Ops      Ops       `json:"ops,omitempty"`
}

// Set is a set, map or verdict map. Elements of a concatenation have one interval for each of Fields.
type Set struct {
	Name      string    `json:"name"`
	Types     []string  `json:"types,omitempty"`     // nft's names of the key's types: ipv4_addr, inet_service ...
	DataTypes []string  `json:"dataTypes,omitempty"` // and of a map's data
	Map       bool      `json:"map,omitempty"`       // elements carry Data
	Verdicts  bool      `json:"verdicts,omitempty"`
	Dynamic   bool      `json:"dynamic,omitempty"` // the packet path adds elements: content varies from packet to packet
	Elements  []Element `json:"elements,omitempty"`
	// CatchAll is the "*" element of a map or set, if there is one.
	CatchAll *Element `json:"catchAll,omitempty"`
	// Incomplete says why the content is not known (empty: it is). Membership in an incomplete set is undecided.
	Incomplete string `json:"incomplete,omitempty"`
}

// Element is one element of a set: the key's interval for each field, and what a map maps it to.
type Element struct {
	Key     []Interval `json:"key"`
	Verdict *Verdict   `json:"verdict,omitempty"`
	Data    []Value    `json:"data,omitempty"`
}

// RuleRef names a rule, or a base chain's policy (Number 0, Policy set), so that a person finds it.
type RuleRef struct {
	Backend Backend     `json:"backend"`
	Family  Family      `json:"family"`
	Table   string      `json:"table"`
	Chain   string      `json:"chain"`
	Number  int         `json:"number"` // 1-based place in the chain; 0: the chain's policy
	Handle  uint64      `json:"handle,omitempty"`
	Text    string      `json:"text"`
	Policy  VerdictKind `json:"policy,omitempty"`
}

// longestExcerpt is enough for every rule that a person wrote, in bytes.
const longestExcerpt = 4 << 10

// Excerpt is the rule's text as reports show it: whole, or the beginning of one that a program filled with a list of thousands.
// A report repeats a rule's text wherever the rule decides.
func (r *Rule) Excerpt() string {
	if len(r.Text) <= longestExcerpt {
		return r.Text
	}
	end := longestExcerpt
	for end > 0 && !utf8.RuneStart(r.Text[end]) {
		end--
	}
	return fmt.Sprintf("%s... (%d bytes)", r.Text[:end], len(r.Text))
}
