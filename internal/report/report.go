// Package report is the vocabulary of judgement: controls, results, outcomes. Renderers print it, policies produce it,
// exit codes follow from it. It computes nothing about nodes.
package report

import (
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Outcome is what a control found. The set is closed.
type Outcome string

// The outcomes. Waived results keep what they would have been in Result.Waived.
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
	Fingerprint string     `json:"fingerprint"`
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
	Kernel  string     `json:"kernel,omitempty"`
	OS      string     `json:"os,omitempty"`
	Taken   time.Time  `json:"taken"`
	Seconds float64    `json:"-"`       // wall time of the audit; varies, so it stays out of JSON
	Answers []Answer   `json:"answers"` // the verdict on each question, for text and pages
	Results []Result   `json:"results"`
	Missing []Missing  `json:"missing"` // what could not be read
}

// Missing is something that could not be read, and how to provide it.
type Missing struct {
	Collector string `json:"collector"`
	What      string `json:"what"`
	Why       string `json:"why"`
	Hint      string `json:"hint,omitempty"`
}

// Answer is one question's verdict, ready to print.
type Answer struct {
	Question  string             `json:"question"`
	Family    netfilter.Family   `json:"family"`
	Interface string             `json:"interface"`
	Verdict   string             `json:"verdict"`
	Reset     string             `json:"reset"`
	DecidedBy *netfilter.RuleRef `json:"decidedBy"`
	Path      []Step             `json:"path"`
	Sentence  string             `json:"sentence"` // the verdict in one sentence
}

// Step is one base chain on the packet's way.
type Step struct {
	Hook    string `json:"hook"`
	Place   string `json:"place"`  // "iptables-nft ip filter INPUT (0)"
	Packet  string `json:"packet"` // packet or reset
	Verdict string `json:"verdict"`
	Rule    string `json:"rule,omitempty"` // "rule 3: -m conntrack --ctstate INVALID -j DROP"
}

// Report is the whole document.
type Report struct {
	Version  int       `json:"version"`
	Tool     string    `json:"tool"`
	Controls []Control `json:"controls"`
	Hosts    []Host    `json:"hosts"`
	FailOn   Severity  `json:"failOn,omitempty"`
	Summary  Summary   `json:"summary"`
	Exit     Exit      `json:"exit"`
}

// Summary counts results.
type Summary struct {
	Hosts    int              `json:"hosts"`
	Outcomes map[Outcome]int  `json:"outcomes"`
	Failures map[Severity]int `json:"failures"`
}

// Exit is the exit code and why.
type Exit struct {
	Code       int    `json:"code"`
	Reason     string `json:"reason"`
	Incomplete bool   `json:"incomplete"` // also true behind code 1
}
