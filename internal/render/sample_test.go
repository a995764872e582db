package render

import (
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// hostile is what a rule's comment can hold: terminal controls, markup of every format, text that runs backwards.
const hostile = "\x1b]0;owned\x07\x1b[2J\u009b31m<script>&\"']]>{0}[x](http://e)\u202e\U000e0041\x00\xff\n| `x` | *b*"

func controls() []report.Control {
	return []report.Control{
		{
			ID: "CT-RST-001", Area: "rst", Severity: report.High, Title: "SNAT egress exposed to host RST (IPv4)", Description: "A reply that conntrack calls INVALID reaches the node's own TCP, which answers RST.",
			Remediation: "Drop INVALID packets in the mangle table's PREROUTING chain.", References: []string{"https://github.com/moby/libnetwork/issues/1090"}, Help: "# CT-RST-001\n\nWhat it is.\n",
		},
		{ID: "CT-RST-002", Area: "rst", Severity: report.High, Title: "SNAT egress exposed to host RST (IPv6)", Description: "The same over IPv6.", Remediation: "As above, by ip6tables."},
		{ID: "CT-DROP-010", Area: "drop", Severity: report.High, Title: "INVALID drop shadowed by an earlier accept", Description: "A rule in front accepts.", Remediation: "Move it up."},
		{ID: "CT-DROP-021", Area: "drop", Severity: report.Medium, Title: "INVALID drop is rate-limited", Description: "Only some packets are dropped.", Remediation: "Remove the limit."},
		{ID: "CT-LIB-030", Area: "lib", Severity: report.Info, Title: "be_liberal and a drop at once", Description: "One of them is enough.", Remediation: "Choose one."},
		{ID: "CT-LIB-033", Area: "lib", Severity: report.High, Title: "be_liberal set only inside a container", Description: "It has no effect there.", Remediation: "Set it on the node."},
		{ID: "CT-TAB-040", Area: "tab", Severity: report.Low, Title: "Conntrack table fills up", Description: "The table is nearly full.", Remediation: "Raise nf_conntrack_max."},
		{ID: "CT-META-080", Area: "meta", Severity: report.Medium, Title: "A fact is missing", Description: "Something could not be read.", Remediation: "Run as root."},
	}
}

func acceptRule() *netfilter.RuleRef {
	return &netfilter.RuleRef{Backend: netfilter.IPTablesNFT, Family: netfilter.IP, Table: "filter", Chain: "INPUT", Number: 3, Handle: 7, Text: "-i eth0 -j ACCEPT"}
}

func step(hook, table, chain string, priority int32, verdict string, by *netfilter.RuleRef) report.Step {
	return report.Step{Hook: hook, Priority: priority, Backend: netfilter.IPTablesNFT, Family: netfilter.IP, Table: table, Chain: chain, Packet: "packet", Verdict: verdict, By: by}
}

func exposed(iface string) report.Answer {
	drop := netfilter.RuleRef{Backend: netfilter.IPTablesNFT, Family: netfilter.IP, Table: "filter", Chain: "INPUT", Number: 4, Text: "-m conntrack --ctstate INVALID -m comment --comment " + hostile + " -j DROP"}
	rst := func(hook, table, chain string) report.Step {
		s := step(hook, table, chain, 0, "continue", nil)
		s.Packet = "reset"
		return s
	}
	return report.Answer{
		Question: "A", Family: netfilter.IP, Interface: iface, State: report.Exposed, Verdict: "not-dropped", Reset: "yes",
		Sentence:  "An INVALID reply reaches this node's TCP, which resets the peer: filter INPUT accepts it by rule 3.",
		DecidedBy: acceptRule(),
		Path: []report.Step{
			step("prerouting", "raw", "PREROUTING", -300, "continue", nil), step("prerouting", "mangle", "PREROUTING", -150, "continue", nil),
			step("prerouting", "nat", "PREROUTING", -100, "skipped", nil), step("input", "mangle", "INPUT", -150, "continue", nil),
			step("input", "filter", "INPUT", 0, "accept", acceptRule()),
			rst("output", "raw", "OUTPUT"), rst("output", "mangle", "OUTPUT"), rst("output", "filter", "OUTPUT"), rst("postrouting", "mangle", "POSTROUTING"),
		},
		Outcomes: []report.Class{{Fate: "reset", Region: "tcp dport 1024-65535", Witness: "in eth0 203.0.113.9:443 > 198.51.100.1:31000 ack", By: acceptRule()}},
		Shadowed: []report.Shadow{{Rule: drop, Reason: "shadowed", By: acceptRule(), Detail: "rule 3 accepts every packet of eth0"}},
	}
}

func protected() report.Answer {
	drop := &netfilter.RuleRef{Backend: netfilter.NFTables, Family: netfilter.INET, Table: "firewalld", Chain: "filter_INPUT", Number: 2, Text: "ct state invalid drop"}
	s := report.Step{Hook: "input", Priority: 10, Backend: netfilter.NFTables, Family: netfilter.INET, Table: "firewalld", Chain: "filter_INPUT", Packet: "packet", Verdict: "drop", By: drop}
	return report.Answer{
		Question: "A", Family: netfilter.IP6, Interface: "eth0", State: report.Protected, Verdict: "dropped", Reset: "no",
		Sentence: "An INVALID reply is dropped before it reaches TCP.", DecidedBy: drop,
		Path: []report.Step{{Hook: "prerouting", Priority: -150, Backend: netfilter.NFTables, Family: netfilter.INET, Table: "firewalld", Chain: "mangle_PREROUTING", Packet: "packet", Verdict: "continue"}, s},
	}
}

func undecided() report.Answer {
	set := &netfilter.RuleRef{Backend: netfilter.IPTablesNFT, Family: netfilter.IP, Table: "filter", Chain: "FORWARD", Number: 1, Text: "-m set --match-set bad" + hostile + " src -j DROP"}
	return report.Answer{
		Question: "B", Family: netfilter.IP, Interface: "cni0", State: report.Undecided, Verdict: "depends", Reset: "depends",
		Sentence: "It depends on the set bad.", DecidedBy: nil, DependsOn: []string{"set bad" + hostile},
		Path: []report.Step{step("prerouting", "mangle", "PREROUTING", -150, "continue", nil), step("forward", "filter", "FORWARD", 0, "depends", set), step("postrouting", "mangle", "POSTROUTING", -150, "continue", nil)},
	}
}

func richHost() report.Host {
	return report.Host{
		Name: "web-1", Kernel: "6.1.0-18-amd64", OS: "Debian GNU/Linux 12 (bookworm)", Taken: time.Date(2026, 11, 23, 14, 30, 0, 0, time.UTC), Seconds: 0.1234, Groups: []string{"web"},
		Answers: []report.Answer{exposed("eth0"), exposed("wlan0"), protected(), undecided()},
		Results: []report.Result{
			{
				Control: "CT-RST-001", Outcome: report.Fail, Severity: report.High, Subject: "ipv4 eth0", Message: "replies to 10.88.0.0/16 that conntrack calls INVALID are answered with a reset",
				Evidence: []report.Evidence{{Kind: "rule", Name: "iptables-nft ip filter INPUT rule 3", Value: "-i eth0 -j ACCEPT"}, {Kind: "sysctl", Name: "net.netfilter.nf_conntrack_tcp_be_liberal", Value: "0"}},
				Fix:      "iptables -t mangle -I PREROUTING -m conntrack --ctstate INVALID -j DROP\niptables-save > /etc/iptables/rules.v4",
			},
			{Control: "CT-RST-002", Outcome: report.Pass, Severity: report.High, Subject: "ipv6 eth0", Message: "dropped by firewalld"},
			{
				Control: "CT-DROP-010", Outcome: report.Fail, Severity: report.High, Subject: "ipv4 eth0", Message: "rule 4 drops INVALID, but rule 3 accepts first",
				Evidence: []report.Evidence{{Kind: "rule", Name: "iptables-nft ip filter INPUT rule 4", Value: "-m conntrack --ctstate INVALID -m comment --comment " + hostile + " -j DROP"}},
			},
			{Control: "CT-DROP-021", Outcome: report.Waived, Severity: report.Medium, Subject: "node", Message: "waived until 2027"},
			{Control: "CT-LIB-030", Outcome: report.Fail, Severity: report.Info, Subject: "node", Message: "both are set"},
			{Control: "CT-LIB-033", Outcome: report.Fail, Severity: report.Medium, Subject: "container 0123456789ab", Message: "be_liberal is 1 in the container and 0 on the node"},
			{Control: "CT-TAB-040", Outcome: report.NotApplicable, Severity: report.Low, Subject: "node", Message: "nothing is tracked"},
			{Control: "CT-META-080", Outcome: report.Unknown, Severity: report.Medium, Subject: "node", Message: "iptables-legacy filter (ip) could not be read: permission denied", Hint: "run as root, or grant CAP_NET_ADMIN"},
		},
		Missing: []report.Missing{
			{Collector: "iptables", What: "iptables-legacy filter (ip)", Why: "permission denied", Hint: "run as root, or grant CAP_NET_ADMIN"},
			{Collector: "iptables", What: "iptables-legacy filter (ip6)", Why: "permission denied", Hint: "run as root, or grant CAP_NET_ADMIN"},
			{Collector: "topology", What: "namespaces " + hostile, Why: "operation not permitted", Hint: "run as root, or grant CAP_NET_ADMIN"},
		},
	}
}

// proved is a clean host whose kernel was asked, and contradicts once.
func proved() *report.Report {
	r := clean()
	r.Hosts[0].Proof = kernelAsked()
	report.Finish(r, report.DefaultPolicy())
	return r
}

// kernelAsked is a proof in which the families and the questions differ, and a twin with every agreement.
func kernelAsked() *report.Proof {
	p := &report.Proof{
		KernelFix: "partial",
		Twin: []report.ProofTwin{
			{Question: "A", Family: "ip", Interface: "eth0", Agreement: "agrees", Detail: []string{}},
			{Question: "A", Family: "ip6", Interface: "eth0", Agreement: "agrees", Detail: []string{}},
			{Question: "B", Family: "ip", Agreement: "undecided", Detail: []string{"the set " + hostile + " could not be rebuilt"}},
			{Question: "A", Family: "ip", Interface: hostile, Agreement: "differs", Detail: []string{"stale ACK: worked out: no RST, observed: RST"}},
		},
		NotBuilt: []string{"the set " + hostile},
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		for _, question := range []string{"A", "B"} {
			p.Segments = append(p.Segments,
				report.ProofSegment{Question: question, Family: family, Segment: "control", Connection: "alive"},
				report.ProofSegment{Question: question, Family: family, Segment: "stale ACK", Connection: "alive"},
				report.ProofSegment{Question: question, Family: family, Segment: "SEQ over, far", Invalid: true, Reset: family == "ipv4" || question == "A", Connection: "reset"},
				report.ProofSegment{Question: question, Family: family, Segment: "out-of-window RST", Invalid: true, Connection: "alive"})
		}
	}
	return p
}

// rich is a report with everything in it: every outcome and severity, a host that could not be reached, hostile strings.
func rich() *report.Report {
	nasty := report.Host{Name: "db.1" + hostile, Kernel: hostile, OS: hostile, Scope: "only " + hostile, Taken: time.Date(2026, 11, 23, 14, 31, 0, 0, time.UTC)}
	for _, c := range controls() {
		nasty.Results = append(nasty.Results, report.Result{Control: c.ID, Outcome: report.Pass, Severity: c.Severity, Subject: "node", Message: "fine"})
	}
	nasty.Results[0] = report.Result{
		Control: "CT-RST-001", Outcome: report.Fail, Severity: report.Critical, Subject: "if " + hostile, Message: hostile,
		Evidence: []report.Evidence{{Kind: hostile, Name: hostile, Value: hostile}}, Fix: hostile, Hint: hostile,
	}
	r := &report.Report{Tool: "ctaudit 0.1.0", Controls: controls(), Hosts: []report.Host{
		richHost(), {Name: "web-2.example.org", Status: report.HostError, Error: "connection refused"}, nasty,
	}}
	report.Finish(r, report.DefaultPolicy())
	return r
}

// clean is one host with nothing to say.
func clean() *report.Report {
	h := report.Host{Name: "web-1", Kernel: "6.18.0", OS: "Debian GNU/Linux 13 (trixie)", Taken: time.Date(2026, 11, 23, 14, 30, 0, 0, time.UTC), Answers: []report.Answer{protected()}}
	for _, c := range controls() {
		h.Results = append(h.Results, report.Result{Control: c.ID, Outcome: report.Pass, Severity: c.Severity, Subject: "node", Message: "fine"})
	}
	r := &report.Report{Tool: "ctaudit 0.1.0", Controls: controls(), Hosts: []report.Host{h}}
	report.Finish(r, report.DefaultPolicy())
	return r
}
