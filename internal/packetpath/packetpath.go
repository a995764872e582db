// Package packetpath computes what a node's ruleset does to a packet. It is pure: rules and addresses in, verdict out.
//
// See README.md beside this file for the packet's way and for what matches when no conntrack entry is attached.
package packetpath

import (
	"net/netip"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Question is what is asked of a node (README.md).
type Question string

// The questions. A: a reply to a container's SNATed flow, INVALID, arrives at the node itself. B: a reply from a backend
// of a DNATed flow, INVALID, is forwarded to the client pod. Custom: the one packet that the user describes.
const (
	A      Question = "A"
	B      Question = "B"
	Custom Question = "custom"
)

// Verdict is what becomes of the packets asked about.
type Verdict string

// The verdicts. Partly: some packets of the question are dropped, others are not, and it is known which. Depends: it could
// not be decided, and Answer.DependsOn names on what; whatever is undecided never counts as dropped.
const (
	Dropped    Verdict = "dropped"
	Partly     Verdict = "partly"
	NotDropped Verdict = "not-dropped"
	Depends    Verdict = "depends"
)

// Reset says whether the peer sees a RST.
type Reset string

// Whether the peer sees a RST.
const (
	ResetYes     Reset = "yes"
	ResetNo      Reset = "no"
	ResetSome    Reset = "some"
	ResetDepends Reset = "depends"
)

// Node is the network namespace that the packet crosses.
type Node struct {
	Ruleset         *netfilter.Ruleset
	Interfaces      []Interface
	Local           []netip.Addr              // addresses of the node itself (RTN_LOCAL), loopback included
	Broadcast       []netip.Addr              // RTN_BROADCAST
	FwmarkReflect   map[netfilter.Family]bool // net.ipv4.fwmark_reflect, net.ipv6.fwmark_reflect
	BridgeNetfilter bool                      // bridge-nf-call-*: bridged frames cross the IP hooks too
	// OpaqueHooks are programs that may drop without appearing in any ruleset: XDP, tc and BPF netfilter links, by name.
	OpaqueHooks []OpaqueHook
	// HookOrder is the kernel's own list of what is registered where, in running order (NFNL_SUBSYS_HOOK, Linux 5.14). Nil:
	// not known; chains of equal priority are then tried in both orders.
	HookOrder []HookPlace
}

// HookPlace is one function registered at a hook.
type HookPlace struct {
	Family      netfilter.Family // the hook's: ip, ip6, netdev
	Hook        netfilter.Hook
	Device      string // ingress and egress
	Priority    int32
	Function    string
	TableFamily netfilter.Family // an nf_tables base chain: its table's family, table and name
	Table       string
	Chain       string
}

// OpaqueHook is a program at a hook that may drop packets and that no ruleset shows.
type OpaqueHook struct {
	Name      string // as a person finds it: "xdp on eth0"
	Interface string // empty: every interface
}

// Interface is one link of the node.
type Interface struct {
	Name   string
	Index  uint32
	Group  uint32
	Type   uint16 // ARPHRD_*
	Kind   string // rtnl link kind: veth, bridge, ...; empty for hardware
	Master string
	Addrs  []netip.Addr // its addresses: what question A asks about when Query.Dst is empty
}

// Query is a question about a set of packets. Zero fields take the question's defaults (README.md): A asks about any global
// source and any flags without RST.
type Query struct {
	Question     Question
	Family       netfilter.Family // IP or IP6
	In           string           // the interface it arrives by
	Out          string           // B and forwarded custom packets: the interface it leaves by. Empty: delivered locally
	Src, Dst     []netip.Prefix   // Dst empty for A: the node's own addresses on In
	Sport, Dport []PortRange
	Flags        []uint8                    // the TCP flag combinations asked about (fin 1, syn 2, rst 4, psh 8, ack 16, urg 32)
	Fields       map[netfilter.Field]uint64 // other header fields as in Packet.Fields; what is not named may have any value
	State        string                     // conntrack state: "invalid" (default), "untracked", "new", "established", "related"
	Mark         uint32
}

// PortRange is both ends included.
type PortRange struct{ From, To uint16 }

// Answer is the answer to one query.
type Answer struct {
	Question  Question         `json:"question"`
	Family    netfilter.Family `json:"family"`
	Interface string           `json:"interface"`
	Verdict   Verdict          `json:"verdict"`
	Reset     Reset            `json:"reset"`
	// DecidedBy is the rule (or policy) that decides for most of what was asked: the drop when dropped, the accept that
	// lets it through when not; nil when no rule had a say.
	DecidedBy *netfilter.RuleRef `json:"decidedBy"`
	// Implicit: dropped by a policy or a rule that does not name INVALID, so that one more accept re-exposes the node.
	Implicit bool `json:"implicit,omitempty"`
	// ByReset: what is dropped is not the packet but the RST that it provokes.
	ByReset bool `json:"byReset,omitempty"`
	// Path is the way of the deciding class, one step a base chain that it crossed, in order.
	Path []Step `json:"path"`
	// Outcomes are all classes of packets with their fate, together the whole question. They are disjoint, but for the one that
	// assumes [TooComplex] (and those of single orders of tied chains).
	Outcomes []Outcome `json:"outcomes"`
	// Shadowed are the rules meant to drop INVALID packets that do not help here, each with why.
	Shadowed []Shadow `json:"shadowed"`
	// Unlisted: Shadowed does not list all, for want of budget.
	Unlisted bool `json:"-"`
	// DependsOn names what could not be decided and matters; beside any verdict but Dropped also the programs on the way
	// that may drop (Node.OpaqueHooks), which change neither verdict nor reset.
	DependsOn []string `json:"dependsOn,omitempty"`
}

// Step is one base chain on the way.
type Step struct {
	Hook     netfilter.Hook     `json:"hook"`
	Priority int32              `json:"priority"`
	Backend  netfilter.Backend  `json:"backend"`
	Family   netfilter.Family   `json:"family"`
	Table    string             `json:"table"`
	Chain    string             `json:"chain"`
	Packet   string             `json:"packet"`  // "packet", or "reset": the RST it provokes
	Verdict  string             `json:"verdict"` // accept, drop, reject, continue (policy accept), depends, skipped (nat without an entry)
	By       *netfilter.RuleRef `json:"by,omitempty"`
}

// Outcome is a class of packets that share their fate.
type Outcome struct {
	Fate     string             `json:"fate"`   // dropped, rejected-icmp, reset (a RST reaches the peer), delivered (no RST is provoked), depends
	Region   string             `json:"region"` // in words: "tcp dport 1024-31999, saddr not 10.0.0.0/8"; empty: all
	Witness  Packet             `json:"witness"`
	By       *netfilter.RuleRef `json:"by,omitempty"`
	Assuming []string           `json:"assuming,omitempty"` // undecided predicates that this class assumes

	classes  []*class
	deciders []ruleID // of each class
	byReset  bool     // what they took is the RST
	setup    *setup
}

// Packet is one concrete packet.
type Packet struct {
	In    string     `json:"in"`
	Out   string     `json:"out,omitempty"`
	Src   netip.Addr `json:"src"`
	Dst   netip.Addr `json:"dst"`
	Sport uint16     `json:"sport"`
	Dport uint16     `json:"dport"`
	Flags string     `json:"flags"` // "ack", "syn,ack"
	// Fields are other header fields (ip.ttl, meta.length, ip.tos, tcp.window ...) where their value matters.
	Fields map[netfilter.Field]uint64 `json:"fields,omitempty"`
}

// Reason says why a rule meant to drop INVALID packets does not help.
type Reason string

// The reasons.
const (
	ReasonShadowed        Reason = "shadowed"     // an earlier rule of the same base chain accepts: By
	ReasonUnreferenced    Reason = "unreferenced" // no base chain leads to its chain, or only through a jump that never matches
	ReasonNATChain        Reason = "nat-chain"    // nat chains never see a packet without an entry
	ReasonOtherFamily     Reason = "other-family"
	ReasonOtherHook       Reason = "other-hook" // FORWARD for A, INPUT for B, OUTPUT ...
	ReasonDormant         Reason = "dormant"
	ReasonNeedsEntry      Reason = "needs-entry"      // it cannot match without a conntrack entry
	ReasonBeforeConntrack Reason = "before-conntrack" // priority below -200: it matches everything, see Drop.Catastrophic
	ReasonAtConntrack     Reason = "at-conntrack"     // priority exactly -200: by registration order
	ReasonOtherInterface  Reason = "other-interface"
	ReasonScoped          Reason = "scoped"    // its addresses or ports do not cover the packet
	ReasonLimited         Reason = "limited"   // rate-limited or probabilistic: helps only some packets
	ReasonReset           Reason = "reset"     // it rejects with a TCP reset: it is the bug itself
	ReasonICMP            Reason = "icmp"      // it rejects with ICMP: no RST, an error instead
	ReasonUntracked       Reason = "untracked" // notrack before it: the packet is UNTRACKED, not INVALID
	ReasonUndecided       Reason = "undecided" // depends on something not known
)

// Shadow is a rule meant to drop INVALID packets, and why it does not help in this question.
type Shadow struct {
	Rule   netfilter.RuleRef  `json:"rule"`
	Reason Reason             `json:"reason"`
	By     *netfilter.RuleRef `json:"by,omitempty"` // the rule in front, for shadowed and untracked
	Detail string             `json:"detail,omitempty"`
}

// Drop is a rule meant to drop (or reject) INVALID packets, wherever it stands: it names INVALID in a state match and
// drops or rejects.
type Drop struct {
	Rule         netfilter.RuleRef     `json:"rule"`
	Hooks        []netfilter.Hook      `json:"hooks"` // the hooks it is reached from
	Priority     int32                 `json:"priority"`
	Action       netfilter.VerdictKind `json:"action"` // drop, reject, queue
	With         string                `json:"with,omitempty"`
	Limited      string                `json:"limited,omitempty"`      // the non-deterministic match in it
	InInterfaces []string              `json:"inInterfaces,omitempty"` // patterns of a positive -i / iifname
	Catastrophic bool                  `json:"catastrophic,omitempty"` // at or below conntrack: would match new inbound TCP of an uplink too
	Undecided    string                `json:"undecided,omitempty"`    // what of the above is not known, and why
}
