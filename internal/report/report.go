// Package report is the vocabulary of judgement: controls, results, outcomes. Renderers print it, policies produce it,
// exit codes follow from it. It computes nothing about nodes.
package report

import (
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Outcome is what a control found. The set is closed.
type Outcome string

// The outcomes. Waived is a failure that somebody has accepted.
const (
	Pass          Outcome = "pass"
	Fail          Outcome = "fail"
	NotApplicable Outcome = "not-applicable"
	Unknown       Outcome = "unknown"
	Waived        Outcome = "waived"
)

// Severity orders findings.
type Severity string

// The severities, from lowest to highest.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Severities lists them from lowest to highest.
var Severities = [...]Severity{Info, Low, Medium, High, Critical}

// Outcomes lists them in the order in which reports count them.
var Outcomes = [...]Outcome{Fail, Unknown, Waived, Pass, NotApplicable}

// AtLeast reports whether s is as high as min or higher.
func (s Severity) AtLeast(min Severity) bool { return s.rank() >= min.rank() }

func (s Severity) rank() int {
	for i, x := range Severities {
		if x == s {
			return i
		}
	}
	return -1
}

// Control is what never varies about a check. Its home is the METADATA of its policy.
type Control struct {
	ID          string   `json:"id"`   // CT-RST-001
	Area        string   `json:"area"` // rst, drop, lib, tab, sys, meta
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Severity    Severity `json:"severity"` // the default; a result may differ
	Remediation string   `json:"remediation"`
	References  []string `json:"references,omitempty"`
	Source      string   `json:"source,omitempty"` // "embedded", or the file a user's policy came from
	Help        string   `json:"-"`                // its README, markdown
}

// Result is what one control showed on one host, for one subject.
type Result struct {
	Control     string     `json:"control"`
	Outcome     Outcome    `json:"outcome"`
	Severity    Severity   `json:"severity"`
	Subject     string     `json:"subject"` // "ipv4 eth0", "container 0123456789ab", "node"
	Message     string     `json:"message"`
	Evidence    []Evidence `json:"evidence"`
	Fix         string     `json:"fix,omitempty"`  // commands to paste, lines of shell
	Hint        string     `json:"hint,omitempty"` // unknown: how to provide what was missing
	Fingerprint string     `json:"fingerprint"`    // see [Fingerprint]
}

// Evidence is one observed fact behind a result.
type Evidence struct {
	Kind  string `json:"kind"`  // rule, sysctl, counter, file, route, address, note
	Name  string `json:"name"`  // the rule's place, the key, the counter's name
	Value string `json:"value"` // the rule's text, the value
}

// HostStatus says how a host's audit went.
type HostStatus string

// Complete: every need was met. Incomplete: some results are unknown. Error: nothing could be audited.
const (
	Complete   HostStatus = "complete"
	Incomplete HostStatus = "incomplete"
	HostError  HostStatus = "error"
)

// Host is one node's part of the report.
type Host struct {
	Name    string     `json:"name"`
	Status  HostStatus `json:"status"`
	Error   string     `json:"error,omitempty"`
	Stage   string     `json:"stage,omitempty"` // how far a host came that could not be audited: resolve, dial, host key, login ...
	Hint    string     `json:"hint,omitempty"`  // what to do about the error
	Kernel  string     `json:"kernel,omitempty"`
	OS      string     `json:"os,omitempty"`
	Groups  []string   `json:"groups,omitempty"` // of the inventory
	Scope   string     `json:"scope,omitempty"`  // what was read, where it is not the whole node
	Taken   time.Time  `json:"taken"`
	Seconds float64    `json:"-"`       // wall time of the audit; varies, so it stays out of JSON
	Answers []Answer   `json:"answers"` // the verdict on each question, for text and pages
	Results []Result   `json:"results"`
	Missing []Missing  `json:"missing"`         // what could not be read
	Proof   *Proof     `json:"proof,omitempty"` // what the node's own kernel did, where it was asked (scan --prove)
	File    string     `json:"-"`               // the inventory that declares it, relative to the user's repository; empty: outside of it
	Line    int        `json:"-"`               // there, 1-based
}

// Missing is something that could not be read, and how to provide it.
type Missing struct {
	Collector string `json:"collector"`
	What      string `json:"what"`
	Why       string `json:"why"`
	Hint      string `json:"hint,omitempty"`
}

// Proof is what the node's own kernel did to segments in throw-away namespaces: what conntrack calls INVALID, and what the node's
// rules, rebuilt, do to stray segments.
type Proof struct {
	KernelFix string         `json:"kernelFix"` // measured: none, partial, full; empty: the proof could not be run
	Segments  []ProofSegment `json:"segments"`
	Twin      []ProofTwin    `json:"twin"`
	NotBuilt  []string       `json:"notBuilt"` // what of the node could not be rebuilt
}

// ProofSegment is a segment put to a connection through NAT, without any workaround.
type ProofSegment struct {
	Question   string `json:"question"` // A, B
	Family     string `json:"family"`   // ipv4, ipv6
	Segment    string `json:"segment"`  // "stale ACK"
	Invalid    bool   `json:"invalid"`  // conntrack called it so
	Reset      bool   `json:"reset"`    // the server saw a RST
	Connection string `json:"connection"`
}

// ProofTwin is a question put to the rebuilt node.
type ProofTwin struct {
	Question  string   `json:"question"` // A, B
	Family    string   `json:"family"`   // ip, ip6
	Interface string   `json:"interface"`
	Agreement string   `json:"agreement"` // agrees, undecided, differs
	Detail    []string `json:"detail"`    // what differs, or why it is undecided
}

// Contradicted counts the questions that the kernel answered otherwise than was foretold.
func (p *Proof) Contradicted() (n int) {
	if p == nil {
		return 0
	}
	for _, q := range p.Twin {
		if q.Agreement == "differs" {
			n++
		}
	}
	return n
}

// State is what an answer means for the node once everything that can protect it is counted, be_liberal included.
type State string

// The states. NotConcerned: the question's premise does not hold here (no source NAT, no Services, no IPv6 ...).
const (
	Exposed      State = "exposed"
	Protected    State = "protected"
	Undecided    State = "undecided"
	NotConcerned State = "not-concerned"
)

// Answer is one question's verdict, ready to print, and the object that "trace -f json" writes.
type Answer struct {
	Question  string             `json:"question"`        // A, B, custom
	Family    netfilter.Family   `json:"family"`          // ip, ip6
	Interface string             `json:"interface"`       // the one that the packet arrives by
	State     State              `json:"state,omitempty"` // of the node; the verdict is of the ruleset alone
	Verdict   string             `json:"verdict"`         // dropped, partly, not-dropped, depends
	Reset     string             `json:"reset"`           // yes, no, some, depends
	Sentence  string             `json:"sentence"`        // the verdict in one sentence
	DecidedBy *netfilter.RuleRef `json:"decidedBy" jsonschema:"nullable"`
	Implicit  bool               `json:"implicit,omitempty"` // protected by a policy or a rule that does not name INVALID
	ByReset   bool               `json:"byReset,omitempty"`  // what is dropped is the RST, not the packet
	Path      []Step             `json:"path"`
	Outcomes  []Class            `json:"outcomes,omitempty"`
	Shadowed  []Shadow           `json:"shadowed"`
	DependsOn []string           `json:"dependsOn,omitempty"`
}

// Step is one base chain on the packet's way. Place and Rule are the other fields in words; [FinishAnswer] fills them.
type Step struct {
	Hook     string             `json:"hook"`
	Priority int32              `json:"priority"`
	Backend  netfilter.Backend  `json:"backend"`
	Family   netfilter.Family   `json:"family"` // of the table
	Table    string             `json:"table"`
	Chain    string             `json:"chain"`
	Place    string             `json:"place"`   // "iptables-nft ip filter INPUT (0)"
	Packet   string             `json:"packet"`  // packet, or reset: the RST that it provokes
	Verdict  string             `json:"verdict"` // accept, drop, reject, queue, continue, skipped, depends
	Rule     string             `json:"rule,omitempty"`
	By       *netfilter.RuleRef `json:"by,omitempty"`
}

// Class is packets that share their fate, with one of them as witness.
type Class struct {
	Fate     string             `json:"fate"`             // dropped, rejected-icmp, reset, delivered, depends
	Region   string             `json:"region,omitempty"` // in words; empty: all packets of the question
	Witness  string             `json:"witness"`          // "in eth0 203.0.113.9:443 > 198.51.100.1:31000 ack"
	By       *netfilter.RuleRef `json:"by,omitempty"`
	Assuming []string           `json:"assuming,omitempty"`
}

// Shadow is a rule meant to drop INVALID packets that does not help here.
type Shadow struct {
	Rule   netfilter.RuleRef  `json:"rule"`
	Reason string             `json:"reason"`       // shadowed, unreferenced, nat-chain, other-family ...
	By     *netfilter.RuleRef `json:"by,omitempty"` // the rule in front of it
	Detail string             `json:"detail,omitempty"`
}

// Version is the version of the report document that this build writes.
const Version = 1

// Report is the whole document.
type Report struct {
	Version  int       `json:"version" jsonschema:"minimum=1,maximum=1"`
	Tool     string    `json:"tool"`
	Shard    string    `json:"shard,omitempty"` // the part of an inventory that this is: "3/8", the fourth of eight; empty: no part
	Controls []Control `json:"controls"`
	Hosts    []Host    `json:"hosts"`
	FailOn   Severity  `json:"failOn,omitempty"` // or none
	Summary  Summary   `json:"summary"`
	Exit     Exit      `json:"exit"`
}

// Summary counts results.
type Summary struct {
	Hosts      int              `json:"hosts"`
	Incomplete int              `json:"incomplete"` // hosts with something undecided
	Errors     int              `json:"errors"`     // hosts that could not be audited
	Outcomes   map[Outcome]int  `json:"outcomes"`   // every outcome is a key
	Failures   map[Severity]int `json:"failures"`   // every severity is a key
	Coverage   float64          `json:"coverage"`   // percent of the controls, over all hosts, that were decided
}

// Exit is the exit code and why.
type Exit struct {
	Code       int    `json:"code"`
	Reason     string `json:"reason"`
	Incomplete bool   `json:"incomplete"` // also true behind code 1
}

// Trace is what "trace -f json" writes: one answer, and all of them when several were asked for, of which the one in front
// lets a reset through most freely.
type Trace struct {
	Answer
	Host string   `json:"host,omitempty"`
	All  []Answer `json:"all,omitempty"`
}
