package packetpath

import "fmt"

// Size is roughly how much memory the answer holds, in bytes: its classes' sets above all.
func (a *Answer) Size() int {
	const ofOutcome, ofClass, ofInterval, ofShadow, large = 600, 600, 32, 200, 16
	n := len(a.Outcomes)*ofOutcome + len(a.Shadowed)*ofShadow
	seen := setSizes{}
	for i := range a.Outcomes {
		for _, c := range a.Outcomes[i].classes {
			n += ofClass
			for _, s := range c.set {
				if len(s) < large {
					continue
				}
				if key := (setKey{&s[0], len(s)}); seen[key] == 0 {
					seen[key] = 1
					n += len(s) * ofInterval
				}
			}
		}
	}
	return n
}

// Fold makes the answer small: one outcome of each fate, with its own witness, stands for all of them, and no outcome holds any
// segment any more.
func (a *Answer) Fold() {
	at := map[string]int{}
	more := map[string]int{}
	out := []Outcome{}
	for _, o := range a.Outcomes {
		if _, ok := at[o.Fate]; ok {
			more[o.Fate]++
			continue
		}
		at[o.Fate] = len(out)
		o.classes, o.deciders, o.setup = nil, nil, &setup{like: o.setup.like}
		out = append(out, o)
	}
	for i := range out {
		if n := more[out[i].Fate]; n > 0 {
			out[i].Region = fmt.Sprintf("%d regions, the first: %s", n+1, cmpOr(out[i].Region, "all"))
		}
	}
	a.Outcomes = out
}
