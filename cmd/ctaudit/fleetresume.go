package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/report"
)

// moved is the outcome of a host whose name now leads elsewhere than when it was audited: what was found says nothing about it.
const moved = "moved"

// whereIs tells apart what the same name may lead to: two inventories can have a web1 each. As whom one logs in is left out, since
// that does not change what is found, or leaves it undecided.
func whereIs(t fleet.Target) string {
	if t.Local {
		return "local"
	}
	b, _ := json.Marshal([]any{t.Address, t.Port, t.Options}) // strings and a number: no error
	return digest(string(b))[len("sha256:"):][:16]
}

// isDone says whether the journal has an audit of the host, or why there is none.
func isDone(j *journal.Journal, name string) bool {
	attempt, outcome := j.Done(name)
	return attempt > 0 && outcome != moved
}

// hasMoved says whether the journal's audit is of something else than the target.
func (r *fleetRun) hasMoved(t fleet.Target) bool {
	was := r.journal.Where(t.Name)
	return was != "" && was != whereIs(t)
}

// todo leaves out what the journal has, or with --retry-unreachable what it has an audit of.
func (r *fleetRun) todo(targets []fleet.Target) []fleet.Target {
	var out []fleet.Target
	for _, t := range targets {
		_, outcome := r.journal.Done(t.Name)
		if !isDone(r.journal, t.Name) || r.hasMoved(t) || r.ff.again && outcome == string(report.HostError) {
			out = append(out, t)
		}
	}
	return out
}

// sayResumed says what is not audited now, and since when it may be known: a job that always resumes one journal audits nothing any more.
func (r *fleetRun) sayResumed(todo, all int) {
	if todo == all {
		return
	}
	s := "journal " + r.journal.Path()
	if begun := r.journal.Header().Begun; !begun.IsZero() {
		s += ", begun " + begun.Format("2006-01-02 15:04 UTC")
	}
	s += fmt.Sprintf(": %d of %s are not audited again", all-todo, count(all, "host"))
	if todo == 0 {
		s = "warning: " + s + "\nhint: name another --journal for a new audit"
	}
	r.say("%s", s)
}

// atOnce is how many lines are written together: they share one fsync.
const atOnce = 64

// forgetMoved takes back the audits of hosts whose names lead elsewhere now, before anything else is done: however this run ends,
// nobody reads them as audits of what the names mean today.
func (r *fleetRun) forgetMoved(todo []fleet.Target) error {
	gone := slices.DeleteFunc(slices.Clone(todo), func(t fleet.Target) bool { return !r.hasMoved(t) })
	for i, t := range gone {
		if i == warnings {
			r.say("warning: and %d hosts more", len(gone)-i)
			break
		}
		r.say("warning: journal %s: %s is reached otherwise than when it was audited (address, port or ssh arguments): it is audited again",
			r.journal.Path(), printable(t.Name))
	}
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, t := range gone {
		all.Go(func() error { return r.forget(t) })
	}
	return all.Wait()
}

func (r *fleetRun) forget(t fleet.Target) error {
	h := report.Host{Name: t.Name, Groups: t.Groups, Status: report.HostError, Error: "reached otherwise than when it was audited, and not audited again yet"}
	report.FinishHost(&h)
	b, err := json.Marshal(keptHost{Host: h})
	if err != nil {
		return err
	}
	attempt, _ := r.journal.Done(t.Name)
	return r.journal.Append(journal.Entry{Host: t.Name, Attempt: attempt + 1, Outcome: moved, Where: whereIs(t), Report: b})
}
