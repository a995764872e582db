package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/policy"
	"github.com/ctaudit/ctaudit/internal/report"
)

func (a *app) mergeCommand() *cobra.Command {
	var (
		judge scanFlags
		out   outputFlags
	)
	cmd := &cobra.Command{
		Use:   "merge JOURNAL|REPORT.json...",
		Short: "Make one report of the parts of a fleet",
		Long: `Join journals (ctaudit fleet --journal) and JSON reports (-f json) into one report, in any format.

A host that several of them have counts once: the more complete audit, of two alike the later one. A host that a journal was
asked for and none has is reported as not audited. Parts that were judged by different controls are refused.`,
		Example: `  ctaudit merge shard*.journal -f json
  ctaudit merge monday.json tuesday.json -o sarif=fleet.sarif`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.merge(args, judge, out) },
	}
	out.flags(cmd.Flags())
	judge.flags(cmd.Flags())
	return cmd
}

func (a *app) merge(paths []string, flags scanFlags, out outputFlags) error {
	if err := out.check(); err != nil {
		return err
	}
	judge, err := flags.policy()
	if err != nil {
		return err
	}
	waivers, err := a.waivers(flags.waivers)
	if err != nil {
		return err
	}
	m := &merging{app: a, hosts: fleetHosts{at: map[string]*journal.Journal{}}, from: map[string]string{}}
	defer m.close()
	for _, path := range paths {
		if err := m.add(path); err != nil {
			return err
		}
	}
	if more := m.warned - warnings; more > 0 {
		m.say("warning: %d more hosts are in several parts", more)
	}
	m.hosts.why = func(string) string { return "none of the merged parts has this host" }
	exit, err := a.finish(&m.hosts, finishing{judge, waivers, out})
	if exit.Code != report.ExitClean {
		return errors.Join(err, &exitError{exit.Code, exit.String()})
	}
	if err == nil {
		a.say("%s", exit)
	}
	return err
}

// merging joins parts, each of which is a journal: a report is put into one.
type merging struct {
	*app
	hosts  fleetHosts
	from   map[string]string // by host: the part whose entry counts
	first  string            // the part that the others' controls have to agree with
	parts  []*journal.Journal
	warned int
}

func (m *merging) close() {
	for _, j := range m.parts {
		_ = j.Close()
	}
}

// add joins one part.
func (m *merging) add(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	start, _ := r.Peek(len(`{"journal":`))
	if string(start) != `{"journal":` {
		j, err := spool(r)
		if err != nil {
			return fmt.Errorf("merge %s: neither a journal nor a report of ctaudit: %w", printable(path), err)
		}
		return m.join(path, j)
	}
	j, err := journal.Open(path)
	if err != nil {
		return err
	}
	m.sayDamage(j)
	return m.join(path, j)
}

func (m *merging) join(path string, j *journal.Journal) error {
	m.parts = append(m.parts, j)
	part := hostsOf(j)
	if err := m.sameControls(path, part.controls); err != nil {
		return err
	}
	m.hosts.asked = union(m.hosts.asked, j.Header().Hosts)
	for _, name := range j.Hosts() {
		if _, asked := slices.BinarySearch(m.hosts.asked, name); !asked {
			continue // of an inventory that the journal was used with before
		}
		if err := m.take(path, name, j); err != nil {
			return err
		}
	}
	return nil
}

// sameControls refuses parts that were judged differently: one report has one list of controls.
func (m *merging) sameControls(path string, controls []report.Control) error {
	if m.first == "" {
		m.first, m.hosts.controls = path, controls
		return nil
	}
	have, err1 := json.Marshal(m.hosts.controls)
	want, err2 := json.Marshal(controls)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return withHint(fmt.Errorf("merge: %s and %s were judged by different controls", printable(m.first), printable(path)),
			"audit both with the same ctaudit and the same --policy, or keep their snapshots (--snapshots) and judge those again")
	}
	return nil
}

const warnings = 10 // about single hosts, before the rest is only counted

// take lets one part's entry count, unless another one's is better.
func (m *merging) take(path, name string, j *journal.Journal) error {
	other := m.hosts.at[name]
	if other == nil {
		m.hosts.at[name], m.from[name] = j, path
		return nil
	}
	was, err1 := m.hosts.host(name)
	is, err2 := (&fleetHosts{at: map[string]*journal.Journal{name: j}}).host(name)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	had := m.from[name]
	if rank(is) > rank(was) || rank(is) == rank(was) && is.Taken.After(was.Taken) {
		m.hosts.at[name], m.from[name] = j, path
	}
	if m.warned++; m.warned <= warnings {
		m.say("warning: %s is in %s and in %s: taken from %s", printable(name), printable(had), printable(path), printable(m.from[name]))
	}
	return nil
}

// rank orders audits of a host by how complete they are.
func rank(h *report.Host) int {
	return slices.Index([]report.HostStatus{report.HostError, report.Incomplete, report.Complete}, h.Status)
}

// spool puts the hosts of a JSON report into a journal, one after the other.
func spool(r io.Reader) (*journal.Journal, error) {
	j, err := journal.Temporary("", journal.Header{Tool: toolName()})
	if err != nil {
		return nil, err
	}
	controls, err := eachHost(r, func(h *report.Host) error {
		if attempt, _ := j.Done(h.Name); attempt > 0 || h.Name == "" {
			return fmt.Errorf("host %q stands there twice, or has no name", h.Name)
		}
		b, err := json.Marshal(keptHost{Host: *h})
		if err != nil {
			return err
		}
		return j.Append(journal.Entry{Host: h.Name, Attempt: 1, Outcome: string(h.Status), Report: b})
	})
	if err == nil {
		err = rehead(j, controls)
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// rehead gives a report's journal what is known only at the report's end. The controls' pages are not in a report; ours are known.
func rehead(j *journal.Journal, controls []report.Control) error {
	engine, err := policy.Load(policy.Options{})
	if err != nil {
		return err
	}
	pages := map[string]string{}
	for _, c := range engine.Controls() {
		pages[c.ID] = c.Help
	}
	for i := range controls {
		if c := &controls[i]; c.Source == "embedded" {
			c.Help = pages[c.ID]
		}
	}
	head, err := json.Marshal(headOf(controls))
	if err != nil {
		return err
	}
	return j.Rehead(journal.Header{Tool: toolName(), Hosts: j.Hosts(), Head: head})
}
