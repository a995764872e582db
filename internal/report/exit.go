package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// None, as a Policy's FailOn, lets no finding fail the run.
const None Severity = "none"

// Exit codes, the same for every format. A usage error is no report's business, but has its place in the list.
const (
	ExitClean      = 0
	ExitFindings   = 1
	ExitUsage      = 2
	ExitIncomplete = 3
)

// Policy is what makes a run fail.
type Policy struct {
	FailOn      Severity // findings at or above it; None: never
	MinCoverage float64  // percent; below it the audit counts as incomplete
	ExitZero    bool     // always exit 0, and say what it would have been
	// Baseline are the fingerprints of findings that were there before and fail no run; nil: every finding counts.
	Baseline map[string]bool
}

// DefaultPolicy fails on medium findings and on anything undecided.
func DefaultPolicy() Policy { return Policy{FailOn: Medium, MinCoverage: 100} }

// noun is what findings are called: those of a run with a baseline are new.
func (p Policy) noun() string {
	if p.Baseline != nil {
		return "new finding"
	}
	return "finding"
}

// ParseFailOn reads a severity or "none".
func ParseFailOn(s string) (Severity, error) {
	for _, sev := range []Severity{None, Low, Medium, High, Critical} {
		if s == string(sev) {
			return sev, nil
		}
	}
	return "", fmt.Errorf("fail-on %q: use none, low, medium, high or critical", s)
}

// Summarise counts the results of all hosts, of which each was to be judged by the given number of controls.
func Summarise(hosts []Host, controls int) Summary {
	s := Summary{Hosts: len(hosts), Outcomes: map[Outcome]int{}, Failures: map[Severity]int{}}
	for _, o := range Outcomes {
		s.Outcomes[o] = 0
	}
	for _, sev := range Severities {
		s.Failures[sev] = 0
	}
	decided := 0
	for i := range hosts {
		decided += s.count(&hosts[i])
	}
	s.Coverage = 100
	if all := controls * len(hosts); all > 0 {
		s.Coverage = 100 * float64(decided) / float64(all)
	}
	return s
}

// count adds one host and returns how many controls were decided there: gave results, and none of them unknown.
func (s *Summary) count(h *Host) int {
	switch h.Status {
	case HostError:
		s.Errors++
	case Incomplete:
		s.Incomplete++
	}
	decided := map[string]bool{}
	for _, r := range h.Results {
		s.Outcomes[r.Outcome]++
		if r.Outcome == Fail {
			s.Failures[r.Severity]++
		}
		before, seen := decided[r.Control]
		decided[r.Control] = r.Outcome != Unknown && (before || !seen)
	}
	n := 0
	for _, ok := range decided {
		if ok {
			n++
		}
	}
	return n
}

// Decide returns the exit code of a summarised report. Findings win over an incomplete audit; the reason tells both.
func Decide(r *Report, p Policy) Exit {
	findings, hosts := failing(r, p)
	e := Exit{Incomplete: r.Summary.Coverage < p.MinCoverage}
	missing := incompleteness(r)
	switch {
	case findings > 0:
		e.Code, e.Reason = ExitFindings, fmt.Sprintf("%s at or above %s on %s", count(findings, p.noun()), p.FailOn, of(hosts, r.Summary.Hosts))
		if e.Incomplete {
			e.Reason += "; audit incomplete: " + missing
		}
	case e.Incomplete:
		e.Code, e.Reason = ExitIncomplete, "audit incomplete: "+missing
	case p.FailOn == None:
		e.Reason = "audit complete, findings never fail this run"
	default:
		e.Reason = fmt.Sprintf("no finding at or above %s on %s", p.FailOn, count(r.Summary.Hosts, "host"))
	}
	if p.ExitZero && e.Code != ExitClean {
		e.Reason = fmt.Sprintf("%s (would be %d without --exit-zero)", e.Reason, e.Code)
		e.Code = ExitClean
	}
	return e
}

// String is the last line on stderr: "exit 1: 3 findings at or above medium on 2 of 40 hosts".
func (e Exit) String() string { return fmt.Sprintf("exit %d: %s", e.Code, e.Reason) }

func failing(r *Report, p Policy) (findings, hosts int) {
	if p.FailOn == None {
		return 0, 0
	}
	for _, h := range r.Hosts {
		fails := func(res Result) bool {
			return res.Outcome == Fail && res.Severity.AtLeast(p.FailOn) && !p.Baseline[res.Fingerprint]
		}
		if slices.ContainsFunc(h.Results, fails) {
			hosts++
		}
		for _, res := range h.Results {
			if fails(res) {
				findings++
			}
		}
	}
	return findings, hosts
}

func incompleteness(r *Report) string {
	var parts []string
	if n := r.Summary.Outcomes[Unknown]; n > 0 {
		parts = append(parts, count(n, "result")+" unknown on "+of(r.Summary.Incomplete, r.Summary.Hosts))
	}
	if n := r.Summary.Errors; n > 0 {
		parts = append(parts, of(n, r.Summary.Hosts)+" could not be audited")
	}
	return strings.Join(append(parts, fmt.Sprintf("coverage %s %%", percent(r.Summary.Coverage))), ", ")
}

// percent never rounds up to a whole that was not reached.
func percent(f float64) string {
	return strconv.FormatFloat(float64(int(f*10))/10, 'f', -1, 64)
}

// of words a part of the hosts: "2 of 40 hosts", and "1 host" when there is only one.
func of(n, all int) string {
	if all == 1 {
		return count(n, "host")
	}
	return fmt.Sprintf("%d of %d hosts", n, all)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return itoa(n) + " " + noun + "s"
}

func itoa(n int) string { return strconv.Itoa(n) }
