package sarif

import (
	"fmt"

	"github.com/ctaudit/ctaudit/internal/report"
)

// maxLocations is how many locations of a result GitHub reads.
const maxLocations = 1000

type groupKey struct{ rule, group, level, outcome string }

// startGroups turns the results so far into one for each control, inventory group, level and outcome. Every finding stays, in the
// result's properties.
func (w *Writer) startGroups() {
	single, groups := w.results, w.groups
	w.results, w.groups, w.at = nil, nil, map[groupKey]int{}
	for i, r := range single {
		w.addToGroup(r, groups[i])
	}
}

func (w *Writer) addToGroup(r result, group string) {
	key := groupKey{r.RuleID, group, r.Level, r.Properties.Outcome}
	n, ok := w.at[key]
	if !ok {
		n = len(w.results)
		w.at[key] = n
		w.results = append(w.results, groupOf(r, key))
	}
	g := &w.results[n]
	if len(g.Locations) < maxLocations {
		g.Locations = append(g.Locations, r.Locations...)
	}
	g.Properties.Findings = append(g.Properties.Findings, finding{r.Properties.Host, w.word(r.Properties.Subject)})
}

func (w *Writer) describeGroups() {
	for i := range w.results {
		w.results[i].Message = message{Text: text(groupMessage(&w.results[i]))}
	}
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
