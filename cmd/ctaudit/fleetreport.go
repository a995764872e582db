package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/render"
	"github.com/ctaudit/ctaudit/internal/render/text"
	"github.com/ctaudit/ctaudit/internal/report"
)

// fleetHosts are hosts that stand in journals, none of which is held: one after the other is read when its turn comes.
type fleetHosts struct {
	controls []report.Control
	shard    string                      // of the inventory; empty: all of it
	asked    []string                    // sorted, each once
	at       map[string]*journal.Journal // whose entry counts
	why      func(host string) string    // a host that has none is not audited: why
}

// hostsOf are those that one journal was asked for.
func hostsOf(j *journal.Journal) *fleetHosts {
	f := &fleetHosts{shard: j.Header().Shard, asked: asked(j.Header()), at: map[string]*journal.Journal{}}
	var head journalHead
	if json.Unmarshal(j.Header().Head, &head) == nil {
		f.controls = head.controls()
	}
	for _, name := range f.asked {
		if attempt, _ := j.Done(name); attempt > 0 {
			f.at[name] = j
		}
	}
	return f
}

// each reads one host after the other, by name.
func (f *fleetHosts) each() iter.Seq2[*report.Host, error] {
	return func(yield func(*report.Host, error) bool) {
		for _, name := range f.asked {
			h, err := f.host(name)
			if !yield(h, err) || err != nil {
				return
			}
		}
	}
}

func (f *fleetHosts) host(name string) (*report.Host, error) {
	j := f.at[name]
	if j == nil {
		return &report.Host{Name: name, Status: report.HostError, Error: f.why(name)}, nil
	}
	e, _, err := j.Entry(name)
	if err != nil {
		return nil, err
	}
	var k keptHost
	if err := json.Unmarshal(e.Report, &k); err != nil {
		return nil, fmt.Errorf("journal %s: %s: %w", j.Path(), printable(name), err)
	}
	k.Host.Seconds, k.Host.File, k.Host.Line = k.Seconds, k.File, k.Line
	return &k.Host, nil
}

// finishing is what makes hosts a report: what fails the run, what is accepted, what is written where.
type finishing struct {
	judge   report.Policy
	waivers []report.Waiver
	out     outputFlags
	room    string // what to do where a file finds no room
}

// finish streams the hosts once, through all outputs at the same time, and counts them. Files stand whole or not at all.
func (a *app) finish(hosts *fleetHosts, f finishing) (report.Exit, error) {
	head := &report.Report{Tool: toolName(), Shard: hosts.shard, Controls: hosts.controls}
	report.FinishHead(head, f.judge)
	outs, err := a.outputs(f.out)
	if err != nil {
		return report.Exit{Code: report.ExitIncomplete, Incomplete: true, Reason: "the report could not be written"}, unwritten(noRoom(err, f.room))
	}
	tally := report.NewTally(len(head.Controls), f.judge)
	taken := make([]int, len(f.waivers))
	outs.do(func(h render.Handler) error { return h.Begin(head) })
	var broken error
	var outside scoped
	for h, err := range hosts.each() {
		if err != nil {
			broken = err
			break
		}
		for i, n := range report.Waive([]report.Host{*h}, f.waivers) {
			taken[i] += n
		}
		report.FinishHost(h)
		tally.Add(h)
		outside.add(h)
		outs.do(func(r render.Handler) error { return r.Host(h) })
	}
	exit := tally.Exit()
	if broken != nil {
		exit = report.Exit{Code: report.ExitIncomplete, Incomplete: true, Reason: "the results could not be read back"}
		outs.fail(broken)
		return exit, unwritten(noRoom(outs.end(), f.room))
	}
	outs.do(func(h render.Handler) error { return h.End(tally.Summary(), exit) })
	a.sayScoped(outside)
	a.sayUnused(f.waivers, taken)
	return exit, unwritten(noRoom(outs.end(), f.room))
}

// output is one form of the report on its way to one place.
type output struct {
	render.Handler
	failed error
	end    func(failed error) error
}

type outputList []*output

// outputs begins the files, and stdout.
func (a *app) outputs(o outputFlags) (outputList, error) {
	var list outputList
	for _, out := range o.outputs {
		format, path, _ := strings.Cut(out, "=")
		p, err := render.Begin(path)
		if err == nil {
			err = a.addOutput(&list, o, format, text.Options{Width: plainWidth, Unicode: true}, p, p.End)
		}
		if err != nil {
			list.fail(err)
			return nil, list.end()
		}
	}
	stdout := bufio.NewWriter(a.out)
	err := a.addOutput(&list, o, o.format, a.textOptions(), stdout, func(failed error) error { return errors.Join(failed, stdout.Flush()) })
	return list, err
}

func (a *app) addOutput(list *outputList, o outputFlags, format string, t text.Options, w io.Writer, end func(error) error) error {
	opts, err := a.renderOptions(o, t)
	if err != nil {
		return err
	}
	opts.Fleet = true
	h, err := render.New(format, w, opts)
	*list = append(*list, &output{Handler: h, end: end})
	return err
}

// do passes a step to every output that has not failed.
func (l outputList) do(step func(render.Handler) error) {
	for _, o := range l {
		if o.failed == nil {
			o.failed = step(o)
		}
	}
}

func (l outputList) fail(err error) {
	for _, o := range l {
		o.failed = errors.Join(o.failed, err)
	}
}

func (l outputList) end() error {
	var errs []error
	for _, o := range l {
		errs = append(errs, o.end(o.failed))
	}
	return errors.Join(errs...)
}

func (a *app) sayUnused(waivers []report.Waiver, taken []int) {
	for i, n := range taken {
		if n == 0 {
			a.say("warning: the waiver of %s waives nothing here", waivers[i].Control)
		}
	}
}

// union are all words of the lists, sorted, each once.
func union(lists ...[]string) []string {
	all := map[string]bool{}
	for _, l := range lists {
		for _, w := range l {
			all[w] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
