package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// testNode is a router with a container behind it and an uplink in front, each a network namespace.
type testNode struct {
	t      *testing.T
	router *lab.Netns
	client *lab.Netns
	server *lab.Netns
}

func newTestNode(t *testing.T) *testNode {
	t.Helper()
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy")
	n := &testNode{t: t, router: labtest.NewNetns(t), client: labtest.NewNetns(t), server: labtest.NewNetns(t)}
	n.must(lab.Veth(lab.End{NS: n.router, Name: "c0", Addresses: []string{"10.251.0.1/24", "fd00:251::1/64"}},
		lab.End{NS: n.client, Name: "eth0", Addresses: []string{"10.251.0.2/24", "fd00:251::2/64"}}))
	n.must(lab.Veth(lab.End{NS: n.router, Name: "eth0", Addresses: []string{"198.51.100.1/24", "2001:db8:1::1/64"}},
		lab.End{NS: n.server, Name: "eth0", Addresses: []string{"198.51.100.9/24", "2001:db8:1::9/64"}}))
	n.must(n.router.Route("default", "198.51.100.9"))
	n.must(n.router.Route("::/0", "2001:db8:1::9"))
	n.must(n.client.Route("default", "10.251.0.1"))
	n.sysctl(n.router, "/proc/sys/net/ipv4/ip_forward", "1")
	n.sysctl(n.router, "/proc/sys/net/ipv6/conf/all/forwarding", "1")
	n.occupy(n.client)
	return n
}

// occupy starts a process in the namespace: containers are found through their processes.
func (n *testNode) occupy(ns *lab.Netns) {
	n.t.Helper()
	cmd := ns.Command("sleep", "600")
	n.must(ns.Start(cmd))
	n.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func (n *testNode) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *testNode) sysctl(ns *lab.Netns, path, value string) {
	n.t.Helper()
	n.must(ns.Do(func() error { return os.WriteFile(path, []byte(value), 0o644) }))
}

// outcome is one run of the program.
type outcome struct {
	code           int
	stdout, stderr string
}

func ctaudit(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	ctx := context.Background()
	err := run(ctx, args, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, streams{strings.NewReader(""), &out, &errs})
	return outcome{exitCode(ctx, err, &errs), out.String(), errs.String()}
}

// scan audits the node and decodes the JSON report.
func (n *testNode) scan(args ...string) (outcome, report.Report) {
	n.t.Helper()
	o := ctaudit(n.t, append([]string{"scan", "--netns", n.router.Path(), "--host-name", "router", "-f", "json"}, args...)...)
	var r report.Report
	n.decode(o, &r)
	return o, r
}

func (n *testNode) decode(o outcome, into any) {
	n.t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), into); err != nil {
		n.t.Fatalf("decode: %v\nexit %d\nstdout: %s\nstderr: %s", err, o.code, o.stdout, o.stderr)
	}
}

// failed lists the controls with a failing result.
func failed(r report.Report) map[string]report.Result { return withOutcome(r, report.Fail) }

func withOutcome(r report.Report, o report.Outcome) map[string]report.Result {
	out := map[string]report.Result{}
	for _, h := range r.Hosts {
		for _, res := range h.Results {
			if res.Outcome == o {
				out[res.Control] = res
			}
		}
	}
	return out
}

func answer(t *testing.T, r report.Report, question string, fam netfilter.Family) report.Answer {
	t.Helper()
	for _, a := range r.Hosts[0].Answers {
		if a.Question == question && a.Family == fam && a.Interface != "c0" {
			return a
		}
	}
	t.Fatalf("no answer to %s for %s in %+v", question, fam, r.Hosts[0].Answers)
	return report.Answer{}
}

// rules writes one scenario in the words of each backend. Fragments are iptables commands without the program; v4only leaves
// IPv6 without them.
type scenario struct {
	name   string
	rules  []string // iptables arguments, in the order in which they are appended
	native string   // the same, as chains of table inet t
	v4only bool
	code   int
	fails  []string
	passes []string
	reset  string // what the peer sees for question A, IPv4
	rule   string // part of the deciding rule's text
	names  string // part of a failing result's message or evidence, by the first control in fails
}

const (
	dropInput = "-A INPUT -m conntrack --ctstate INVALID -j DROP"
)

var scenarios = []scenario{
	{
		name: "exposed", code: 1, fails: []string{"CT-RST-001", "CT-RST-002"}, reset: "yes",
	},
	{
		name: "input drop", rules: []string{dropInput},
		native: "chain in { type filter hook input priority 0; ct state invalid drop; }",
		code:   0, passes: []string{"CT-RST-001", "CT-RST-002"}, reset: "no", rule: "DROP|drop",
	},
	{
		name: "drop below accept", rules: []string{"-A INPUT -i eth0 -j ACCEPT", dropInput},
		native: `chain in { type filter hook input priority 0; iifname "eth0" accept; ct state invalid drop; }`,
		code:   1, fails: []string{"CT-DROP-010", "CT-RST-001"}, reset: "yes", rule: "eth0", names: "INVALID|invalid",
	},
	{
		name: "forward only", rules: []string{"-A FORWARD -m conntrack --ctstate INVALID -j DROP"},
		native: "chain forward { type filter hook forward priority 0; ct state invalid drop; }",
		code:   1, fails: []string{"CT-DROP-011", "CT-RST-001"}, reset: "yes",
	},
	{
		name: "scoped to containers", rules: []string{"-A INPUT -d 10.251.0.0/24 -m conntrack --ctstate INVALID -j DROP"}, v4only: true,
		native: "chain in { type filter hook input priority 0; ip daddr 10.251.0.0/24 ct state invalid drop; }",
		code:   1, fails: []string{"CT-DROP-017", "CT-RST-001"}, reset: "yes",
	},
	{
		name: "nat table", rules: []string{"-t nat -A PREROUTING -m conntrack --ctstate INVALID -j ACCEPT"},
		native: "chain natin { type nat hook prerouting priority -100; ct state invalid drop; }",
		code:   1, fails: []string{"CT-RST-001"}, reset: "yes",
	},
	{
		name: "reject with reset", rules: []string{"-A INPUT -p tcp -m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset"},
		native: "chain in { type filter hook input priority 0; ct state invalid meta l4proto tcp reject with tcp reset; }",
		code:   1, fails: []string{"CT-DROP-020", "CT-RST-001"}, reset: "yes",
	},
	{
		name: "ipv4 only", rules: []string{dropInput}, v4only: true,
		native: "chain in { type filter hook input priority 0; meta nfproto ipv4 ct state invalid drop; }",
		code:   1, fails: []string{"CT-DROP-019", "CT-RST-002"}, passes: []string{"CT-RST-001"}, reset: "no",
	},
	{
		name: "policy drop", rules: []string{"-P INPUT DROP", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"},
		native: "chain in { type filter hook input priority 0; policy drop; ct state established,related accept; }",
		code:   0, fails: []string{"CT-RST-007"}, passes: []string{"CT-RST-001"}, reset: "no",
	},
	{
		name: "raw prerouting", rules: []string{"-t raw -A PREROUTING -m conntrack --ctstate INVALID -j DROP"},
		native: "chain raw { type filter hook prerouting priority -300; ct state invalid drop; }",
		code:   1, fails: []string{"CT-DROP-015"}, reset: "no",
	},
	{
		name: "mangle prerouting", rules: []string{"-t mangle -A PREROUTING -m conntrack --ctstate INVALID -j DROP"},
		native: "chain pre { type filter hook prerouting priority -150; ct state invalid drop; }",
		code:   0, passes: []string{"CT-RST-001", "CT-RST-002"}, reset: "no", rule: "DROP|drop",
	},
}

func (n *testNode) load(backend netfilter.Backend, s scenario) {
	n.t.Helper()
	if backend == netfilter.NFTables {
		n.must(n.router.Load(backend, "", `table inet t {
	chain post { type nat hook postrouting priority 100; oifname "eth0" masquerade; }
	`+s.native+`
}`))
		return
	}
	for _, family := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
		ipt, err := n.router.IPTables(backend, family)
		n.must(err)
		n.must(ipt.Append("nat", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE"))
		if family == netfilter.IP6 && s.v4only {
			continue
		}
		for _, rule := range s.rules {
			n.must(command(ipt, rule))
		}
	}
}

// command carries out "[-t TABLE] -A CHAIN RULE" or "-P CHAIN POLICY".
func command(ipt *lab.IPTables, text string) error {
	words, table := strings.Fields(text), "filter"
	if words[0] == "-t" {
		table, words = words[1], words[2:]
	}
	if words[0] == "-P" {
		return ipt.Policy(table, words[1], words[2])
	}
	return ipt.Append(table, words[1], words[2:]...)
}

func TestScanScenarios(t *testing.T) {
	for _, backend := range []netfilter.Backend{netfilter.Legacy, netfilter.IPTablesNFT, netfilter.NFTables} {
		for _, s := range scenarios {
			t.Run(string(backend)+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				n := newTestNode(t)
				n.load(backend, s)
				o, r := n.scan()
				s.check(t, o, r)
			})
		}
	}
}

func (s scenario) check(t *testing.T, o outcome, r report.Report) {
	t.Helper()
	bad := failed(r)
	if o.code != s.code {
		t.Errorf("exit code %d, want %d; failed: %v; unknown: %v\n%s", o.code, s.code, bad, withOutcome(r, report.Unknown), o.stderr)
	}
	for _, id := range s.fails {
		if _, ok := bad[id]; !ok {
			t.Errorf("%s does not fail", id)
		}
	}
	for _, id := range s.passes {
		if res, ok := bad[id]; ok {
			t.Errorf("%s fails: %s", id, res.Message)
		}
	}
	a := answer(t, r, "A", netfilter.IP)
	if a.Reset != s.reset {
		t.Errorf("question A: reset %q, want %q: %s", a.Reset, s.reset, a.Sentence)
	}
	if s.rule != "" && (a.DecidedBy == nil || !containsOne(a.DecidedBy.Text, s.rule)) {
		t.Errorf("question A is decided by %+v, want a rule with %q", a.DecidedBy, s.rule)
	}
	if s.names != "" {
		res := bad[s.fails[0]]
		text, err := json.Marshal(res)
		if err != nil || !containsOne(string(text), s.names) || !containsOne(string(text), s.rule) {
			t.Errorf("%s does not name both rules: %s", s.fails[0], text)
		}
	}
}

func containsOne(s, alternatives string) bool {
	for _, a := range strings.Split(alternatives, "|") {
		if strings.Contains(s, a) {
			return true
		}
	}
	return false
}

func TestLiberalProtects(t *testing.T) {
	t.Parallel()
	n := newTestNode(t)
	n.load(netfilter.IPTablesNFT, scenario{})
	n.sysctl(n.router, "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", "1")
	o, r := n.scan("--fail-on", "high") // that no file keeps the value is a medium finding
	if bad := failed(r); o.code != 0 || bad["CT-RST-001"].Control != "" || bad["CT-LIB-035"].Control == "" {
		t.Errorf("exit %d, failed %v: be_liberal=1 cures the reset until the next boot", o.code, bad)
	}
	text := ctaudit(t, "scan", "--netns", n.router.Path()).stdout
	if !strings.Contains(text, "PROTECTED") || !strings.Contains(text, "be_liberal=1: no segment is INVALID") || strings.Contains(text, "answers RST") {
		t.Errorf("what protects is not what is said: %s", text)
	}
}

func TestLiberalInContainerOnly(t *testing.T) {
	t.Parallel()
	n := newTestNode(t)
	n.load(netfilter.IPTablesNFT, scenario{})
	n.sysctl(n.client, "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", "1")
	o, r := n.scan()
	bad := failed(r)
	if o.code != 1 || bad["CT-RST-001"].Control == "" || bad["CT-LIB-033"].Control == "" {
		t.Errorf("exit %d, failed %v: want CT-RST-001 and CT-LIB-033", o.code, bad)
	}
}

func TestUnknownIsNeverAPass(t *testing.T) {
	err := &exitError{code: exitIncomplete, reason: "exit 3: audit incomplete"}
	var errs bytes.Buffer
	if code := exitCode(context.Background(), errors.Join(err), &errs); code != exitIncomplete {
		t.Errorf("exit code %d, want %d", code, exitIncomplete)
	}
	if !strings.Contains(errs.String(), "incomplete") {
		t.Errorf("stderr %q does not say why", errs.String())
	}
}
