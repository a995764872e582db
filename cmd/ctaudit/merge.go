package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/fleet"
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
	m := &merging{app: a, hosts: fleetHosts{at: map[string]*journal.Journal{}}, from: map[string]string{}, shards: map[int]map[int]bool{}}
	defer m.close()
	for _, path := range paths {
		if err := m.add(path); err != nil {
			return err
		}
	}
	if err := m.whole(); err != nil {
		return err
	}
	if more := m.warned - warnings; more > 0 {
		m.say("warning: %d more hosts are in several parts", more)
	}
	m.hosts.why = func(string) string { return "none of the merged parts has this host" }
	exit, err := a.finish(&m.hosts, finishing{judge, waivers, out, againHint})
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
	knows  bool                 // a part is a journal, which knows the hosts of those that are missing
	shards map[int]map[int]bool // of reports: by the number of parts, those that are there
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
		j, shard, err := spool(r)
		if err != nil {
			return fmt.Errorf("merge %s: neither a journal nor a report of ctaudit: %w", printable(path), err)
		}
		m.has(shard)
		return m.join(path, j)
	}
	m.knows = true
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

func (m *merging) has(s fleet.Shard) {
	if s.Of == 0 {
		return
	}
	if m.shards[s.Of] == nil {
		m.shards[s.Of] = map[int]bool{}
	}
	m.shards[s.Of][s.Index] = true
}

// whole refuses reports of parts of an inventory of which one is missing: nothing would say that its hosts were not audited.
func (m *merging) whole() error {
	if m.knows {
		return nil
	}
	var lacks []string
	for _, of := range slices.Sorted(maps.Keys(m.shards)) {
		if len(m.shards[of]) == of {
			return nil
		}
		for i := range of {
			if !m.shards[of][i] {
				lacks = append(lacks, fleet.Shard{Index: i, Of: of}.String())
				break
			}
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return withHint(fmt.Errorf("merge: the reports are of parts of an inventory, and part %s is missing", strings.Join(lacks, " and ")),
		"name its report as well, or merge journals (--journal): they know the hosts of a part that is missing")
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
		m.say("warning: %s is in %s and in %s%s: taken from %s", printable(name), printable(had), printable(path), elsewhere(name, other, j),
			printable(m.from[name]))
	}
	return nil
}

// elsewhere says that two journals have reached a name in different ways, which may be two machines.
func elsewhere(name string, a, b *journal.Journal) string {
	if a, b := a.Where(name), b.Where(name); a != "" && b != "" && a != b {
		return ", reached in different ways (address, port or ssh arguments)"
	}
	return ""
}

// rank orders audits of a host by how complete they are. One that the node's own kernel contradicted is never passed over for one that
// did not ask it.
func rank(h *report.Host) int {
	if h.Proof.Contradicted() > 0 {
		return 3
	}
	return slices.Index([]report.HostStatus{report.HostError, report.Incomplete, report.Complete}, h.Status)
}

// spool puts the hosts of a JSON report into a journal, one after the other. It says of which part of an inventory they are.
func spool(r io.Reader) (*journal.Journal, fleet.Shard, error) {
	j, err := journal.Temporary("", journal.Header{Tool: toolName()})
	if err != nil {
		return nil, fleet.Shard{}, err
	}
	head, err := eachHost(r, func(h *report.Host) error {
		if attempt, _ := j.Done(h.Name); attempt > 0 || h.Name == "" {
			return fmt.Errorf("host %q stands there twice, or has no name", h.Name)
		}
		b, err := json.Marshal(keptHost{Host: *h})
		if err != nil {
			return err
		}
		return j.Append(journal.Entry{Host: h.Name, Attempt: 1, Outcome: string(h.Status), Report: b})
	})
	var shard fleet.Shard
	if err == nil {
		shard, err = fleet.ParseShard(head.Shard)
	}
	if err == nil {
		err = rehead(j, head.Controls)
	}
	if err != nil {
		return nil, shard, errors.Join(err, j.Close())
	}
	return j, shard, nil
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
