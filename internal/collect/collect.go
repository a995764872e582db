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

// Streaming is a collector that parses its big answers while they are read. What each of its sinks was given it finds in
// the answer's Sink; an answer without one has the usual Data.
type Streaming interface {
	Collector
	// Sinks returns new sinks for one Fetch, by the need's key. A need that another collector has, too, is not streamed.
	Sinks() map[string]host.Sink
}
