package report

import (
	"fmt"
	"strconv"
)

// None, as a Policy's FailOn, lets no finding fail the run.
const None Severity = "none"

// Exit codes, the same for every format. A usage error is no report's business, but has its place in the list.
const (
	ExitClean        = 0
	ExitFindings     = 1
	ExitUsage        = 2
	ExitIncomplete   = 3
	ExitContradicted = 4 // this node's kernel did something else than was foretold: our mistake, whatever else was found
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

// String is the last line on stderr: "exit 1: 3 findings at or above medium on 2 of 40 hosts".
func (e Exit) String() string { return fmt.Sprintf("exit %d: %s", e.Code, e.Reason) }

// Percent writes a percentage, and never rounds up to a whole that was not reached.
func Percent(f float64) string {
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
