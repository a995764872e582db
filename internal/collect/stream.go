package collect

import (
	"fmt"
	"runtime/debug"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// guards are the sinks of one run, by the need's key.
type guards map[string]*guard

// guard is a collector's sink. A panic in it costs that collector its section, as one in Collect does, and not the run.
type guard struct {
	collector string
	sink      host.Sink
	panicked  string // what happened; empty: nothing
}

// Begin and Piece pass on what comes, until something panicked.
func (g *guard) Begin() {
	defer g.recover()
	if g.panicked == "" {
		g.sink.Begin()
	}
}

func (g *guard) Piece(b []byte) {
	defer g.recover()
	if g.panicked == "" {
		g.sink.Piece(b)
	}
}

func (g *guard) recover() {
	if p := recover(); p != nil {
		g.panicked = panicText(p)
	}
}

// sinks makes the sinks of the collectors that stream, but for needs that others have, too.
func (r *Readers) sinks() guards {
	out := guards{}
	for _, c := range r.asked {
		s, ok := c.Collector.(Streaming)
		if !ok {
			continue
		}
		for key, sink := range s.Sinks() {
			if r.asking[key] <= 1 {
				out[key] = &guard{collector: c.Name(), sink: sink}
			}
		}
	}
	return out
}

// askers is how many collectors have a need, by its key.
func askers(collectors []Collector) map[string]int {
	out := map[string]int{}
	for _, c := range collectors {
		own := map[string]bool{}
		for _, n := range c.Needs() {
			if key := n.Key(); !own[key] {
				own[key] = true
				out[key]++
			}
		}
	}
	return out
}

// sinks is the guards as a request has them.
func (gs guards) sinks() map[string]host.Sink {
	out := make(map[string]host.Sink, len(gs))
	for key, g := range gs {
		out[key] = g
	}
	return out
}

// unwrap puts the collectors' own sinks into the answers, in place of the guards.
func (gs guards) unwrap(ev *host.Evidence) {
	for _, a := range ev.Answers {
		if g, ok := a.Sink.(*guard); ok {
			a.Sink = g.sink
		}
	}
}

// panicked says what happened to a collector's sinks, "" when all is well.
func (gs guards) panicked(collector string) string {
	for _, g := range gs {
		if g.collector == collector && g.panicked != "" {
			return g.panicked
		}
	}
	return ""
}

func panicText(p any) string {
	return fmt.Sprintf("internal error: %v at %s", p, panicPlace(debug.Stack()))
}

// broken is the account of a collector that panicked.
func broken(name, why string) snapshot.Collector {
	return snapshot.Collector{Name: name, Status: snapshot.StatusUnreadable, Missing: []snapshot.Missing{{
		What: name, Why: why, Hint: "please report this, with the evidence that ctaudit collect --record writes",
	}}}
}
