package sysctl

import (
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// inits are what boots a machine, or a container that is meant to be like one (LXC, systemd-nspawn).
var inits = [...]string{"systemd", "init", "openrc-init", "runit", "runit-init", "dinit", "procd", "finit", "sinit", "machined", "linuxrc"}

// contained tells a container of one application from a node: its first process is that application, or a shell, or what starts one.
// Who may not see either of the two processes knows nothing, and says so elsewhere.
func (r *reader) contained() snapshot.Value[string] {
	first, ok := comm(r.ev.Answer(file(pathInit)))
	if !ok || first == "" {
		return snapshot.Value[string]{}
	}
	threads, ok := comm(r.ev.Answer(file(pathThreads)))
	switch {
	case !ok:
		return snapshot.Value[string]{}
	case threads == "kthreadd" || slices.Contains(inits[:], first):
		return snapshot.Absent[string]()
	}
	r.miss("the node around this container", "process 1 is "+first+", which is no init, and the kernel's threads are not to be seen",
		"log in to the node itself; a pod that is meant to read its node needs hostPID and hostNetwork")
	return snapshot.Known(first)
}

// comm is a process's name, empty where there is no such process; false: it cannot be said.
func comm(a *host.Answer) (string, bool) {
	if a == nil || a.Err != "" {
		return "", false
	}
	return strings.TrimSpace(string(a.Data)), true
}
