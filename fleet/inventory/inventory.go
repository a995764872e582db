// Package inventory reads the inventories that people have already, unchanged: Ansible's YAML, INI and --list JSON, ctaudit's
// native form, plain lists, and kubectl's nodes. Hosts, groups, variables and limits come out as Ansible computes them
// (measured against ansible-core 2.14); only the variables that say how a host is reached are kept. Secrets are refused.
package inventory

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/fleet"
)

// Inventory is what all sources together say: hosts in inventory order, groups with children, variables resolved.
type Inventory struct {
	hosts    map[string]*host
	groups   map[string]*group
	order    []*host  // as first named
	grouped  []*group // as first named; all and ungrouped lead
	all      *group
	loose    *group // ungrouped
	folders  []*folder
	warnings []Warning
	unsaid   int // warnings beyond those that are kept
}

// Warning is something that is no error and may surprise.
type Warning struct {
	File string // as the user named it, "-" for standard input; empty: no one place
	Line int    // 1-based, 0: no one line
	Text string
}

// String is the warning behind its place.
func (w Warning) String() string { return place(w.File, w.Line) + w.Text }

// Error is a mistake at one place of an inventory.
type Error struct {
	File string
	Line int // 1-based, 0: no one line
	Text string
	Hint string // what to do, empty when there is nothing to say
}

// Error is the mistake behind its place, without the hint.
func (e *Error) Error() string { return place(e.File, e.Line) + e.Text }

func place(file string, line int) string {
	if !printable(file) {
		file = strconv.Quote(file)
	}
	switch {
	case file == "":
		return ""
	case line == 0:
		return file + ": "
	}
	return fmt.Sprintf("%s:%d: ", file, line)
}

// Errors are the single mistakes inside an error of [Load] or [Inventory.Select].
func Errors(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// bounds of an inventory: far beyond what anybody audits, far below what hurts.
const (
	maxHosts    = 1 << 18
	maxGroups   = 1 << 16
	maxLevels   = 1000      // of groups
	maxNames    = 1 << 17   // of one range
	maxProblems = 200       // reported
	maxText     = 256 << 20 // bytes of a source: ten thousand nodes of kubectl
	maxYAML     = 16 << 20  // bytes of a YAML or INI source
	maxDepth    = 64        // of nesting
	maxNodes    = 2 << 20   // YAML nodes that are visited, aliases counted each time
	maxName     = 1024      // bytes of a host's or group's name
)

// Load reads inventories (files, folders as Ansible takes them, "a,b," as a list of hosts, "-" for stdin), merges them in order
// and detects each form by its content. All mistakes of all sources come at once, joined, each with file and line; the inventory
// is returned with them, for its warnings only.
func Load(sources []string, stdin io.Reader) (*Inventory, error) {
	l := &loader{inv: newInventory(), stdin: stdin}
	if len(sources) == 0 {
		l.fail(0, "name one with --inventory, or pipe one to --inventory -", "no inventory")
	}
	for _, s := range sources {
		l.source(s)
	}
	l.file = ""
	l.reconcile()
	l.readFolders()
	if len(l.problems) > 0 {
		return l.inv, errors.Join(rest(l.problems, l.unsaid)...)
	}
	l.inv.resolve()
	return l.inv, nil
}

// Warnings are duplicates, and what is passed over although it changes how a host is reached.
func (inv *Inventory) Warnings() []Warning {
	out := slices.Clone(inv.warnings)
	if inv.unsaid > 0 {
		out = append(out, Warning{Text: fmt.Sprintf("%d more warnings", inv.unsaid)})
	}
	return out
}

// rest adds how many mistakes were not kept, when there were any.
func rest(problems []error, unsaid int) []error {
	if unsaid > 0 {
		problems = append(problems, &Error{Text: fmt.Sprintf("%d more mistakes", unsaid)})
	}
	return problems
}

// Select gives the hosts that a limit in Ansible's pattern language leaves, in inventory order; an empty one leaves all. It fails
// when nothing is left, and when one of the hosts cannot be reached as it is declared: those mistakes come joined. A pattern
// that matches nothing beside others that do adds a warning, as in Ansible.
func (inv *Inventory) Select(limit string) ([]fleet.Target, error) {
	hosts, err := inv.limited(limit)
	if err != nil {
		return nil, err
	}
	targets := make([]fleet.Target, 0, len(hosts))
	var problems []error
	seen := map[string]bool{}
	for _, h := range hosts {
		targets = append(targets, h.target)
		for _, p := range h.problems {
			if !seen[p.Error()] { // a group's mistake is one, however many hosts it has
				seen[p.Error()] = true
				problems = append(problems, p)
			}
		}
	}
	if n := len(problems); n > 0 {
		return nil, errors.Join(rest(problems[:min(n, maxProblems)], n-maxProblems)...)
	}
	return targets, nil
}

func (inv *Inventory) limited(limit string) ([]*host, error) {
	hosts := inv.all.allHosts()
	if len(hosts) == 0 {
		return nil, errors.New("the inventory has no hosts")
	}
	if strings.TrimSpace(limit) == "" {
		return hosts, nil
	}
	m := &matcher{inv: inv}
	keep, err := m.subset(limit)
	if err != nil {
		return nil, fmt.Errorf("limit %q: %w", limit, err)
	}
	hosts = slices.DeleteFunc(hosts, func(h *host) bool { return !keep[h] })
	if len(hosts) == 0 {
		return nil, &Error{
			Text: fmt.Sprintf("limit %q: no host of the inventory is left", limit),
			Hint: "ctaudit inventory graph shows the hosts and groups there are",
		}
	}
	return hosts, nil
}
