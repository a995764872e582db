// Package fleet does work on many hosts: which hosts ([github.com/ctaudit/ctaudit/fleet/inventory]), how many at once, and
// what came of each, kept safe while it comes ([github.com/ctaudit/ctaudit/fleet/journal]).
package fleet

import "github.com/ctaudit/ctaudit/internal/host/sshhost"

// Target is one host of an inventory.
type Target struct {
	sshhost.Target
	Local  bool              // this machine, without SSH (ansible_connection=local)
	Groups []string          // every group it is in, sorted, without all and ungrouped
	Labels map[string]string // of the native form
	File   string            // where it is declared: the inventory's file as the user named it, "-" for standard input
	Line   int               // 1-based, 0: the form has no lines
}
