// Package collect turns a node's evidence into a snapshot. A collector declares what it needs before it runs, and parses
// what came; reading itself is host's business.
package collect

import (
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// Collector fills one section of the document. Its name is its folder, its section's key and its flag value.
type Collector interface {
	Name() string
	// Needs are constant: they depend on nothing that was read.
	Needs() []host.Need
	// Collect parses the evidence into its section of doc and returns what was missing. It touches no other section.
	// It never fails: what it could not read or parse is Missing, and Unreadable in the section.
	Collect(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing
}
