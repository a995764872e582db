package report

import (
	"fmt"
	"strings"
)

// Tally summarises hosts that come one after the other, none of which it keeps.
type Tally struct {
	policy       Policy
	controls     int
	decided      int // controls, over all hosts
	findings     int // that fail the run
	failing      int // hosts with such a finding
	summary      Summary
	contradicted int // questions that a node's kernel answered otherwise than was foretold
}

// NewTally begins with no host; each host is to be judged by so many controls.
func NewTally(controls int, p Policy) *Tally {
	t := &Tally{policy: p, controls: controls, summary: Summary{Outcomes: map[Outcome]int{}, Failures: map[Severity]int{}}}
	for _, o := range Outcomes {
		t.summary.Outcomes[o] = 0
	}
	for _, sev := range Severities {
		t.summary.Failures[sev] = 0
	}
	return t
}

// Add counts a finished host ([FinishHost]).
func (t *Tally) Add(h *Host) {
	t.summary.Hosts++
	t.decided += min(t.summary.count(h), t.controls) // a host with results of former controls makes up for no other host
	t.contradicted += h.Proof.Contradicted()
	before := t.findings
	for i := range h.Results {
		if t.fails(&h.Results[i]) {
			t.findings++
		}
	}
	if t.findings > before {
		t.failing++
	}
}

func (t *Tally) fails(r *Result) bool {
	return t.policy.FailOn != None && r.Outcome == Fail && r.Severity.AtLeast(t.policy.FailOn) && !t.policy.Baseline[r.Fingerprint]
}

// Summary is that of the hosts so far.
func (t *Tally) Summary() Summary {
	s := t.summary
	s.Coverage = 100
	if all := t.controls * s.Hosts; all > 0 {
		s.Coverage = 100 * float64(t.decided) / float64(all)
	}
	return s
}

// Failing is how many of the hosts so far have a finding that fails the run.
func (t *Tally) Failing() int { return t.failing }

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

// Exit is the exit code of the hosts so far. Findings win over an incomplete audit; the reason tells both.
func (t *Tally) Exit() Exit {
	s, p := t.Summary(), t.policy
	lacks := s.Errors > 0 || s.Outcomes[Unknown] > 0
	e := Exit{Incomplete: s.Coverage < p.MinCoverage || lacks && p.MinCoverage >= 100}
	missing := incompleteness(&s)
	switch {
	case t.findings > 0:
		e.Code, e.Reason = ExitFindings, fmt.Sprintf("%s at or above %s on %s", count(t.findings, p.noun()), p.FailOn, of(t.failing, s.Hosts))
		if e.Incomplete {
			e.Reason += "; audit incomplete: " + missing
		}
	case e.Incomplete:
		e.Code, e.Reason = ExitIncomplete, "audit incomplete: "+missing
	case p.FailOn == None:
		e.Reason = "findings never fail this run"
		if !lacks {
			e.Reason = "audit complete, " + e.Reason
		}
	default:
		e.Reason = fmt.Sprintf("no finding at or above %s on %s", p.FailOn, count(s.Hosts, "host"))
	}
	if lacks && e.Code == ExitClean {
		e.Reason += "; tolerated: " + missing
	}
	if p.ExitZero && e.Code != ExitClean {
		e.Reason = fmt.Sprintf("%s (would be %d without --exit-zero)", e.Reason, e.Code)
		e.Code = ExitClean
	}
	if t.contradicted > 0 {
		e.Code, e.Incomplete = ExitContradicted, true
		e.Reason = fmt.Sprintf("the kernel did something else than was foretold in %s: please report this", count(t.contradicted, "question"))
	}
	return e
}

func incompleteness(s *Summary) string {
	var parts []string
	if n := s.Outcomes[Unknown]; n > 0 {
		parts = append(parts, count(n, "result")+" unknown on "+of(s.Incomplete, s.Hosts))
	}
	if n := s.Errors; n > 0 {
		parts = append(parts, of(n, s.Hosts)+" could not be audited")
	}
	return strings.Join(append(parts, fmt.Sprintf("coverage %s %%", Percent(s.Coverage))), ", ")
}
