// Package facts answers questions about a snapshot, with evidence: the policies' input. It is pure, and it does not judge:
// thresholds, severities and combinations are Rego's.
//
// The document is small whatever the node's size: counts and deciding rules, never rulesets.
package facts

import "github.com/ctaudit/ctaudit/internal/netfilter"

// Facts is the input document of every policy. Field names in JSON are the contract with policy authors
// (docs/facts.md describes each); lists are never null.
type Facts struct {
	Host    string                  `json:"host"`
	Kernel  Kernel                  `json:"kernel"`
	Liberal Fact[int]               `json:"liberal"` // be_liberal of the node's own namespace
	Sysctl  map[string]Fact[string] `json:"sysctl"`  // every live key read, by dotted name, but those of single interfaces
	// Forwarding by family ("ip", "ip6"): net.ipv4.ip_forward or any interface's own setting; net.ipv6.conf.all.forwarding.
	Forwarding    map[netfilter.Family]Fact[bool] `json:"forwarding"`
	ConntrackUsed Fact[bool]                      `json:"conntrackUsed"` // false: no rule needs conntrack and the table is empty: hooks are not even registered

	// SNAT are the source NAT rules that the node's nat POSTROUTING chains reach, by family, at most 100. Known false where none
	// of them has Own and Egress, and the ruleset could not be read whole or understood.
	SNAT map[netfilter.Family]Fact[[]NAT] `json:"snat"`
	// DNAT are the destination NAT rules that nat PREROUTING and OUTPUT reach, by family: the first 5.
	DNAT map[netfilter.Family]Fact[[]NAT] `json:"dnat"`
	// ServiceProxy says who programs Service DNAT: "kube-proxy-iptables", "kube-proxy-nftables", "kube-proxy-ipvs",
	// "kube-router" or "none".
	ServiceProxy Fact[string] `json:"serviceProxy"`
	// Services says by family whether a Service proxy translates Service addresses here.
	Services map[netfilter.Family]Fact[bool] `json:"services"`

	// Exposure has one entry a question, family and interface: A for every uplink, B for every container-facing
	// interface. Whether the premise holds (SNAT present ...) is for the policy to combine.
	Exposure []Exposure `json:"exposure"`
	// Drops are the rules meant to drop INVALID packets, wherever they stand: one of each kind, and those that an exposure names.
	Drops []Drop `json:"drops"`

	Containers []Container `json:"containers"`
	Uplinks    []Uplink    `json:"uplinks"`
	Conntrack  Conntrack   `json:"conntrack"`
	Persisted  Persisted   `json:"persisted"`
	// Missing is everything that the collectors could not read.
	Missing []Missing `json:"missing"`
}

// Fact is a value with three states. Known false: Why and Hint say what was missing. Absent: looked for, and not there
// (Known is true and Value is the zero value).
type Fact[T any] struct {
	Known  bool   `json:"known"`
	Absent bool   `json:"absent,omitempty"`
	Value  T      `json:"value"`
	Why    string `json:"why,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// Kernel is the release and what it fixes. Fix is "none", "partial" or "unknown", by the version; where Measured, by a proof run on
// the node's own kernel, which can also show "full": no segment is INVALID.
type Kernel struct {
	Release  Fact[string] `json:"release"`
	Vendor   string       `json:"vendor"`
	Fix      string       `json:"fix"`
	FixWhy   string       `json:"fixWhy"` // one sentence
	Measured bool         `json:"measured"`
	// ConntrackAtBoot says whether nf_conntrack is there when sysctl.d is applied: "builtin", "modules-load" (with the file),
	// "late" (a module nobody loads at boot), "unknown".
	ConntrackAtBoot     string        `json:"conntrackAtBoot"`
	ConntrackAtBootFile string        `json:"conntrackAtBootFile,omitempty"`
	UptimeSeconds       Fact[float64] `json:"uptimeSeconds"`
}

// NAT is a NAT rule.
type NAT struct {
	Rule         netfilter.RuleRef `json:"rule"`
	Action       string            `json:"action"`                 // masquerade, snat, dnat, redirect, netmap
	Sources      []string          `json:"sources"`                // prefixes it applies to; ["any"]: any
	Excluded     []string          `json:"excluded,omitempty"`     // prefixes excluded by negation
	OutInterface string            `json:"outInterface,omitempty"` // as iptables writes it, "! docker0" when negated
	To           string            `json:"to,omitempty"`
	// CoversContainers: the sources meet a container subnet of this node (a bridge's or veth's network), or are any.
	CoversContainers bool `json:"coversContainers"`
	// Egress is false where the rule certainly translates nothing that leaves by an uplink: it is for containers'
	// destinations (Docker's hairpin rule), or for links to containers alone.
	Egress bool `json:"egress"`
	// Own is false where the rule certainly translates to addresses that are not this node's: what is sent to those reaches
	// no TCP here, and nothing answers it.
	Own bool `json:"own"`
}

// Exposure is the answer to one question.
type Exposure struct {
	Question  string           `json:"question"` // A, B
	Family    netfilter.Family `json:"family"`
	Interface string           `json:"interface"`
	Verdict   string           `json:"verdict"` // dropped, partly, not-dropped, depends
	Reset     string           `json:"reset"`   // yes, no, some, depends
	// Protected: no reset can reach the peer ("dropped", or the RST is). Exposed: some can, by a known way. Neither: depends.
	Protected bool               `json:"protected"`
	Exposed   bool               `json:"exposed"`
	Implicit  bool               `json:"implicit"` // protected only by a policy or a rule that does not name INVALID
	DecidedBy *netfilter.RuleRef `json:"decidedBy"`
	DependsOn []string           `json:"dependsOn"`
	Witness   string             `json:"witness"` // "in eth0 203.0.113.9:443 > 198.51.100.1:31000 ack"
	Shadowed  []Shadow           `json:"shadowed"`
}

// Shadow is a rule meant to drop INVALID packets that does not help here; Reason is packetpath's.
type Shadow struct {
	Rule   netfilter.RuleRef  `json:"rule"`
	Reason string             `json:"reason"`
	By     *netfilter.RuleRef `json:"by,omitempty"`
	Detail string             `json:"detail,omitempty"`
}

// Drop is a rule meant to drop INVALID packets; see packetpath.Drop.
type Drop struct {
	Rule         netfilter.RuleRef  `json:"rule"`
	Hooks        []string           `json:"hooks"`
	Priority     int                `json:"priority"`
	Action       string             `json:"action"` // drop, reject, queue
	With         string             `json:"with,omitempty"`
	Limited      string             `json:"limited,omitempty"`
	InInterfaces []string           `json:"inInterfaces"`
	ChainType    string             `json:"chainType,omitempty"` // of the base chain it is reached from: filter, nat, route; empty: unreached
	Catastrophic bool               `json:"catastrophic"`
	Families     []netfilter.Family `json:"families"` // packet families it sees: ip, ip6
	Like         int                `json:"like"`     // how many more there are of its kind, in other places
}

// Container is a network namespace of containers.
type Container struct {
	Name      string    `json:"name"` // "docker 0123456789ab", "pid 4711 (nginx)"
	Liberal   Fact[int] `json:"liberal"`
	Connected bool      `json:"connected"` // a veth of the node leads there
}

// Uplink is an interface that source-NATed flows to the outside can leave by.
type Uplink struct {
	Name     string             `json:"name"`
	Families []netfilter.Family `json:"families"`
}

// Conntrack is the table's pressure. Rates are a second, from two samples, or since boot when there is one (PerBoot).
type Conntrack struct {
	Count           Fact[int] `json:"count"`
	Max             Fact[int] `json:"max"`
	Buckets         Fact[int] `json:"buckets"`
	Sampled         bool      `json:"sampled"` // two readings: Deltas are over IntervalSeconds; else since boot
	IntervalSeconds float64   `json:"intervalSeconds"`
	// Deltas by the kernel's counter name: invalid, insert, insert_failed, drop, early_drop, chaintoolong,
	// clash_resolve, and "Tcp.OutRsts", "Tcp.EstabResets" ... A name that the kernel does not have is not in the map.
	Deltas Fact[map[string]int] `json:"deltas"`
}

// Persisted is what the next boot will set.
type Persisted struct {
	Known bool   `json:"known"`
	Why   string `json:"why,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Effective is the winning assignment by key; All lists every assignment to a key of interest, in order.
	Effective map[string]Assignment `json:"effective"`
	All       []Assignment          `json:"all"`
	// Mentions are lines in boot scripts and unit files that name be_liberal; nobody says that they are ever run.
	Mentions []Mention `json:"mentions"`
}

// Mention is a line of a script or a unit.
type Mention struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
	Dead bool   `json:"dead"` // it names the key's dead name
}

// Assignment is one line of a sysctl.d file.
type Assignment struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Ignore bool   `json:"ignore"`
	Dead   bool   `json:"dead"`   // the key's name does not exist in any kernel since 4.9
	Unread bool   `json:"unread"` // nothing that runs at boot reads the file
}

// Missing is something that could not be read.
type Missing struct {
	Collector string `json:"collector"`
	What      string `json:"what"`
	Why       string `json:"why"`
	Hint      string `json:"hint"`
}
