package report

import (
	"path"
	"time"
)

// Waiver accepts failures: those of the controls, hosts and subjects that its globs match (empty: all). Expires is its last day.
type Waiver struct {
	Control string
	Host    string
	Subject string
	Reason  string
	Expires time.Time
}

// Waive turns the failures that a waiver matches into waived results, which keep their severity and say why, and returns
// how many each waiver took. Only failures can be waived: what is unknown stays unknown.
func Waive(hosts []Host, waivers []Waiver) []int {
	taken := make([]int, len(waivers))
	for i := range hosts {
		for j := range hosts[i].Results {
			res := &hosts[i].Results[j]
			if res.Outcome != Fail {
				continue
			}
			for k, w := range waivers {
				if w.matches(hosts[i].Name, res) {
					taken[k]++
					w.apply(res)
					break
				}
			}
		}
	}
	return taken
}

func (w Waiver) matches(host string, res *Result) bool {
	return glob(w.Control, res.Control) && glob(w.Host, host) && glob(w.Subject, res.Subject)
}

func (w Waiver) apply(res *Result) {
	why := w.Reason
	if !w.Expires.IsZero() {
		why += " (until " + w.Expires.Format(time.DateOnly) + ")"
	}
	res.Outcome = Waived
	res.Evidence = append(res.Evidence, Evidence{Kind: "note", Name: "waived", Value: why})
}

func glob(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}

// Known adds the fingerprints of an earlier report's failures to a baseline.
func (h *Host) Known(baseline map[string]bool) {
	for i := range h.Results {
		if res := &h.Results[i]; res.Outcome == Fail || res.Outcome == Waived {
			baseline[res.Fingerprint] = true
		}
	}
}
