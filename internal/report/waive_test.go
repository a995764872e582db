package report

import (
	"testing"
	"time"
)

func TestWaive(t *testing.T) {
	hosts := []Host{{Name: "edge-1", Results: []Result{
		{Control: "CT-RST-001", Outcome: Fail, Severity: High, Subject: "ipv4 eth0"},
		{Control: "CT-RST-001", Outcome: Fail, Severity: High, Subject: "ipv4 eth1"},
		{Control: "CT-TAB-040", Outcome: Unknown, Severity: Low, Subject: "node"},
	}}}
	day := time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)
	taken := Waive(hosts, []Waiver{
		{Control: "CT-*", Host: "web-*", Reason: "another host"},
		{Control: "CT-RST-*", Host: "edge-?", Subject: "* eth0", Reason: "agreed", Expires: day},
		{Control: "CT-TAB-040", Reason: "unknown is no failure"},
	})
	if taken[0] != 0 || taken[1] != 1 || taken[2] != 0 {
		t.Errorf("taken %v", taken)
	}
	res := hosts[0].Results
	if res[0].Outcome != Waived || res[0].Severity != High || res[0].Evidence[0].Value != "agreed (until 2027-03-31)" {
		t.Errorf("waived result %+v", res[0])
	}
	if res[1].Outcome != Fail || res[2].Outcome != Unknown {
		t.Errorf("others changed: %+v", res[1:])
	}
}

func TestBaseline(t *testing.T) {
	old := Result{Control: "CT-RST-001", Outcome: Fail, Severity: High, Subject: "ipv4 eth0"}
	r := &Report{Controls: []Control{{ID: "CT-RST-001"}}, Hosts: []Host{{Name: "a", Results: []Result{old}}}}
	Finish(r, DefaultPolicy())
	if r.Exit.Code != ExitFindings {
		t.Fatalf("exit %s", r.Exit)
	}
	p := DefaultPolicy()
	p.Baseline = map[string]bool{}
	r.Hosts[0].Known(p.Baseline)
	Finish(r, p)
	if r.Exit.Code != ExitClean {
		t.Errorf("a finding of the baseline fails the run: %s", r.Exit)
	}
	r.Hosts[0].Results = append(r.Hosts[0].Results, Result{Control: "CT-RST-001", Outcome: Fail, Severity: High, Subject: "ipv4 eth1"})
	Finish(r, p)
	if want := "exit 1: 1 new finding at or above medium on 1 host"; r.Exit.String() != want {
		t.Errorf("%q, want %q", r.Exit, want)
	}
}
