package render

import (
	"fmt"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/render/text"
	"github.com/ctaudit/ctaudit/internal/report"
)

// many is forty hosts: most alike but for their addresses and counters, some of another shape, some out of reach.
func many() *report.Report {
	r := &report.Report{Tool: "ctaudit 0.1.0", Controls: controls()}
	for i := range 40 {
		r.Hosts = append(r.Hosts, member(i))
	}
	report.Finish(r, report.DefaultPolicy())
	return r
}

func member(i int) report.Host {
	h := report.Host{Name: fmt.Sprintf("web-%02d", i), Taken: time.Date(2026, 11, 23, 14, 30, i, 0, time.UTC), Groups: []string{"web"}}
	if i == 7 || i == 30 || i == 31 {
		h.Status, h.Stage = report.HostError, "dial"
		h.Error, h.Hint = fmt.Sprintf("connect to 192.0.2.%d port 22: connection refused", i), "is sshd running there?"
		if i == 31 {
			h.Stage, h.Error, h.Hint = "host key", "the key differs from the one in known_hosts"+hostile, ""
		}
		return h
	}
	h.Answers = []report.Answer{exposed("eth0")}
	for _, c := range controls() {
		h.Results = append(h.Results, report.Result{Control: c.ID, Outcome: report.Pass, Severity: c.Severity, Subject: "node", Message: "fine"})
	}
	h.Results[0] = report.Result{
		Control: "CT-RST-001", Outcome: report.Fail, Severity: report.High, Subject: "ipv4 eth0", Message: fmt.Sprintf("replies to 10.88.%d.0/24 are answered with a reset", i),
		Evidence: []report.Evidence{{Kind: "rule", Name: "iptables-nft ip filter INPUT rule 3", Value: fmt.Sprintf("-d 198.51.100.%d/32 -i eth0 -j ACCEPT", i)}},
		Fix:      "iptables -t mangle -I PREROUTING -m conntrack --ctstate INVALID -j DROP",
	}
	h.Results[6] = report.Result{
		Control: "CT-TAB-040", Outcome: report.Fail, Severity: report.Low, Subject: "node", Message: fmt.Sprintf("the table was full %d times", 1000+i*i),
		Evidence: []report.Evidence{{Kind: "counter", Name: "drop", Value: fmt.Sprint(1000 + i*i)}}, Fix: fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 65536*(1+i%2)),
	}
	switch i {
	case 3:
		h.Answers = []report.Answer{protected()}
		h.Results[0] = report.Result{Control: "CT-RST-001", Outcome: report.Pass, Severity: report.High, Subject: "node", Message: "dropped"}
		h.Results[5] = report.Result{Control: "CT-LIB-033", Outcome: report.Fail, Severity: report.High, Subject: "container 0123456789ab", Message: "be_liberal is 1 in the container"}
	case 12, 13:
		h.Answers = []report.Answer{undecided()}
		for _, k := range []int{1, 2} {
			h.Results[k].Outcome, h.Results[k].Message, h.Results[k].Hint = report.Unknown, "iptables-legacy filter (ip6) could not be read: permission denied", "run as root"
		}
	}
	return h
}

func TestGoldenFleet(t *testing.T) {
	for name, o := range map[string]text.Options{
		"fleet.txt":        {Unicode: true, Width: 80},
		"fleet.ascii.txt":  {Width: 80},
		"fleet.narrow.txt": {Unicode: true, Width: 48, Quiet: true},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, render(t, many(), "text", Options{Fleet: true, Text: o})) })
	}
}

// TestFleetVerbose: each host is there in full, as it is without the grouping, and the common causes behind them.
func TestFleetVerbose(t *testing.T) {
	o := Options{Text: text.Options{Unicode: true, Width: 100, Verbose: true}}
	single := string(render(t, many(), "text", o))
	o.Fleet = true
	fleet := string(render(t, many(), "text", o))
	end := len(single)
	for i := 0; i < len(single) && i < len(fleet); i++ {
		if single[i] != fleet[i] {
			end = i
			break
		}
	}
	if rest := len(single) - end; rest > 200 {
		t.Errorf("the hosts differ from the single form at byte %d of %d", end, len(single))
	}
	if len(fleet) < len(single)+2000 {
		t.Error("no causes behind the hosts")
	}
}
