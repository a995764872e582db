package sarif

import (
	"fmt"

	"github.com/ctaudit/ctaudit/internal/report"
)

// maxLocations is how many locations of a result GitHub reads.
const maxLocations = 1000

type groupKey struct{ rule, group, level, outcome string }

// grouped makes one result for each control, inventory group, level and outcome. Every finding stays, in the result's properties.
func (w *Writer) grouped() []result {
	at := map[groupKey]int{}
	var out []result
	for i, r := range w.results {
		key := groupKey{r.RuleID, w.groups[i], r.Level, r.Properties.Outcome}
		n, ok := at[key]
		if !ok {
			n = len(out)
			at[key] = n
			out = append(out, groupOf(r, key))
		}
		g := &out[n]
		if len(g.Locations) < maxLocations {
			g.Locations = append(g.Locations, r.Locations...)
		}
		g.Properties.Findings = append(g.Properties.Findings, finding{r.Properties.Host, r.Properties.Subject})
	}
	for i := range out {
		out[i].Message = message{Text: text(groupMessage(&out[i]))}
	}
	return out
}

func groupOf(first result, key groupKey) result {
	r := first
	r.Locations = nil
	r.PartialFingerprints = fingerprint(report.Fingerprint(key.rule, "group "+key.group, key.level+" "+key.outcome))
	r.Properties = resultProperties{Group: key.group, Outcome: first.Properties.Outcome, Severity: first.Properties.Severity}
	return r
}

func groupMessage(r *result) string {
	hosts := map[string]bool{}
	for _, f := range r.Properties.Findings {
		hosts[f.Host] = true
	}
	where := ""
	if r.Properties.Group != "" {
		where = " of group " + r.Properties.Group
	}
	return fmt.Sprintf("%d findings on %d hosts%s; each is listed in this result's properties.", len(r.Properties.Findings), len(hosts), where)
}
