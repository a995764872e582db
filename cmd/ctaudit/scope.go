package main

import (
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// scopeOf says what was read where that is not the whole node, for a login can end in a container or in a network namespace of its own:
// what is found there is true, and says nothing about the node. Empty: nothing hints at that.
func scopeOf(doc *snapshot.Document) string {
	var not []string
	if first, ok := doc.Sysctl.Contained.Get(); ok {
		not = append(not, "a container was read, whose first process is "+printable(first)+", and of the node only what it shares with it")
	}
	spaces := doc.Topology.Namespaces.Or(nil)
	if slices.ContainsFunc(spaces, func(ns snapshot.Namespace) bool { return slices.Contains(ns.PIDs, 1) }) {
		not = append(not, "another network namespace was read than that of the node's first process: its rules and settings are not the node's")
	}
	return strings.Join(not, "; ")
}

// scoped are hosts of which something else was read than their names promise.
type scoped struct{ names []string }

func (s *scoped) add(h *report.Host) {
	if h.Scope != "" {
		s.names = append(s.names, printable(h.Name))
	}
}

func scopedOf(hosts []report.Host) (s scoped) {
	for i := range hosts {
		s.add(&hosts[i])
	}
	return s
}

// sayScoped warns whoever looks at the exit code alone.
func (a *app) sayScoped(s scoped) {
	n := len(s.names)
	if n == 0 {
		return
	}
	names := strings.Join(s.names[:min(n, warnings)], ", ")
	if n > warnings {
		names += ", ..."
	}
	a.say("warning: not the whole node was read of %s: %s", count(n, "host"), names)
}
