package report

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// hosts makes n hosts, each with one passing control; edit changes the first ones.
func hosts(n int, edit ...func(*Host)) *Report {
	r := &Report{Controls: []Control{{ID: "CT-B"}, {ID: "CT-A"}}}
	for i := range n {
		h := Host{Name: string(rune('a' + i)), Results: []Result{
			{Control: "CT-B", Outcome: Pass, Severity: High, Subject: "node"},
			{Control: "CT-A", Outcome: NotApplicable, Severity: Low, Subject: "node"},
		}}
		if i < len(edit) {
			edit[i](&h)
		}
		r.Hosts = append(r.Hosts, h)
	}
	return r
}

func result(o Outcome, s Severity) func(*Host) {
	return func(h *Host) { h.Results[0].Outcome, h.Results[0].Severity = o, s }
}

func unreachable(h *Host) { *h = Host{Name: h.Name, Status: HostError, Error: "connection refused"} }

func TestDecide(t *testing.T) {
	def := DefaultPolicy()
	fail := result(Fail, Medium)
	for name, c := range map[string]struct {
		report     *Report
		policy     Policy
		want       string
		incomplete bool
	}{
		"clean":              {hosts(2), def, "exit 0: no finding at or above medium on 2 hosts", false},
		"clean, one host":    {hosts(1), def, "exit 0: no finding at or above medium on 1 host", false},
		"no host":            {hosts(0), def, "exit 0: no finding at or above medium on 0 hosts", false},
		"below":              {hosts(1, result(Fail, Low)), def, "exit 0: no finding at or above medium on 1 host", false},
		"finding":            {hosts(1, fail), def, "exit 1: 1 finding at or above medium on 1 host", false},
		"above":              {hosts(4, fail, result(Fail, Critical)), def, "exit 1: 2 findings at or above medium on 2 of 4 hosts", false},
		"fail-on high":       {hosts(1, fail), Policy{FailOn: High, MinCoverage: 100}, "exit 0: no finding at or above high on 1 host", false},
		"fail-on none":       {hosts(1, result(Fail, Critical)), Policy{FailOn: None, MinCoverage: 100}, "exit 0: audit complete, findings never fail this run", false},
		"waived":             {hosts(1, result(Waived, Critical)), def, "exit 0: no finding at or above medium on 1 host", false},
		"unknown":            {hosts(1, result(Unknown, Low)), def, "exit 3: audit incomplete: 1 result unknown on 1 host, coverage 50 %", true},
		"unknown, none":      {hosts(1, result(Unknown, Low)), Policy{FailOn: None, MinCoverage: 100}, "exit 3: audit incomplete: 1 result unknown on 1 host, coverage 50 %", true},
		"unknown, tolerated": {hosts(1, result(Unknown, Low)), Policy{FailOn: Medium, MinCoverage: 50}, "exit 0: no finding at or above medium on 1 host; tolerated: 1 result unknown on 1 host, coverage 50 %", false},
		"all tolerated":      {hosts(2, unreachable, unreachable), Policy{FailOn: Medium}, "exit 0: no finding at or above medium on 2 hosts; tolerated: 2 of 2 hosts could not be audited, coverage 0 %", false},
		"none, tolerated":    {hosts(1, unreachable), Policy{FailOn: None}, "exit 0: findings never fail this run; tolerated: 1 host could not be audited, coverage 0 %", false},
		"unreachable":        {hosts(3, unreachable), def, "exit 3: audit incomplete: 1 of 3 hosts could not be audited, coverage 66.6 %", true},
		"1 wins over 3":      {hosts(3, unreachable, fail), def, "exit 1: 1 finding at or above medium on 1 of 3 hosts; audit incomplete: 1 of 3 hosts could not be audited, coverage 66.6 %", true},
		"exit-zero": {
			hosts(1, fail),
			Policy{FailOn: Medium, MinCoverage: 100, ExitZero: true},
			"exit 0: 1 finding at or above medium on 1 host (would be 1 without --exit-zero)", false,
		},
		"exit-zero, incomplete": {
			hosts(1, unreachable),
			Policy{FailOn: Medium, MinCoverage: 100, ExitZero: true},
			"exit 0: audit incomplete: 1 host could not be audited, coverage 0 % (would be 3 without --exit-zero)", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			Finish(c.report, c.policy)
			if got := c.report.Exit.String(); got != c.want || c.report.Exit.Incomplete != c.incomplete {
				t.Errorf("got  %s (incomplete %v)\nwant %s (incomplete %v)", got, c.report.Exit.Incomplete, c.want, c.incomplete)
			}
		})
	}
}

// TestSilenceIsNotCoverage: a control that gave no result was not decided.
func TestSilenceIsNotCoverage(t *testing.T) {
	r := hosts(1, func(h *Host) { h.Results = h.Results[:1] })
	Finish(r, DefaultPolicy())
	if r.Exit.Code != ExitIncomplete || r.Summary.Coverage != 50 {
		t.Errorf("got %v, coverage %v", r.Exit, r.Summary.Coverage)
	}
	r = hosts(1, func(h *Host) { // one subject decided, the other not: the control is not
		h.Results = append(h.Results, Result{Control: "CT-B", Outcome: Unknown, Subject: "eth1"})
	})
	Finish(r, DefaultPolicy())
	if r.Exit.Code != ExitIncomplete || r.Summary.Coverage != 50 {
		t.Errorf("got %v, coverage %v", r.Exit, r.Summary.Coverage)
	}
}

// TestFormerControlsCoverNothing: what else a host was judged by makes up neither for another host nor for what is unknown.
func TestFormerControlsCoverNothing(t *testing.T) {
	former := func(h *Host) {
		for _, id := range []string{"CT-Y", "CT-Z"} {
			h.Results = append(h.Results, Result{Control: id, Outcome: Pass, Subject: "node"})
		}
	}
	for want, r := range map[string]*Report{
		"exit 3: audit incomplete: 1 of 2 hosts could not be audited, coverage 50 %": hosts(2, former, unreachable),
		"exit 3: audit incomplete: 1 result unknown on 1 host, coverage 100 %":       hosts(1, func(h *Host) { former(h); result(Unknown, Low)(h) }),
	} {
		Finish(r, DefaultPolicy())
		if got := r.Exit.String(); got != want || !r.Exit.Incomplete {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestFinishOrdersAndFills(t *testing.T) {
	var first string
	for range 5 {
		r := hosts(1, func(h *Host) {
			h.Results = append(h.Results, Result{Control: "CT-A", Subject: "eth1", Outcome: Fail, Severity: Low})
			h.Answers = []Answer{{Path: []Step{{
				Hook: "input", Backend: netfilter.Legacy, Family: netfilter.IP, Table: "filter", Chain: "INPUT",
				By: &netfilter.RuleRef{Number: 3, Text: "-j ACCEPT"},
			}}}}
			rand.Shuffle(len(h.Results), func(i, j int) { h.Results[i], h.Results[j] = h.Results[j], h.Results[i] })
		})
		Finish(r, DefaultPolicy())
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(b)
		}
		if string(b) != first {
			t.Fatalf("order of results shows:\n%s\n%s", first, b)
		}
		step := r.Hosts[0].Answers[0].Path[0]
		if step.Place != "iptables-legacy ip filter INPUT (0)" || step.Rule != "rule 3: -j ACCEPT" {
			t.Errorf("step: %+v", step)
		}
		if h := r.Hosts[0]; h.Missing == nil || h.Results[0].Evidence == nil || h.Answers[0].Shadowed == nil {
			t.Error("a list is nil")
		}
	}
}

// TestFingerprint holds the value for ever: another one reopens every alert of every user.
func TestFingerprint(t *testing.T) {
	const want = "9b10af19f793b33f56392dcf52327c1afa1fe1fd9d76d14cadd6ff1f20667aa3"
	if got := Fingerprint("CT-RST-001", "web-1", "ipv4 eth0"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	seen := map[string][3]string{}
	for _, in := range [][3]string{{"a", "b", "c"}, {"ab", "", "c"}, {"a", "bc", ""}, {"", "ab", "c"}, {"a", "b", "c\x00"}} {
		got := Fingerprint(in[0], in[1], in[2])
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q share a fingerprint", in, other)
		}
		seen[got] = in
	}
}

func TestParseFailOn(t *testing.T) {
	for _, s := range []string{"none", "low", "medium", "high", "critical"} {
		if got, err := ParseFailOn(s); err != nil || string(got) != s {
			t.Errorf("%s: got %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "HIGH", "info", "all"} {
		if got, err := ParseFailOn(s); err == nil {
			t.Errorf("%q: got %s, want an error", s, got)
		}
	}
}
