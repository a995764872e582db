package twin

import (
	_ "embed"
	"slices"
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

//go:generate go test . -run TestPublishedSchema -update

//go:embed twin.schema.json
var schema string

// Schema is the JSON Schema of [Document], draft 2020-12.
func Schema() []byte { return []byte(schema) }

// Version of the document; it rises when a field changes its meaning or goes away.
const Version = 1

// Document is what `ctaudit prove --snapshot -f json` prints: of each node, what was foretold and what this kernel did.
type Document struct {
	Version int       `json:"version"`
	Tool    string    `json:"tool"`
	Kernel  string    `json:"kernel"` // release of the kernel that judged (uname -r)
	Time    time.Time `json:"time"`
	Nodes   []Result  `json:"nodes"`
}

// Result is one node's.
type Result struct {
	Host      string     `json:"host"`
	Kernel    string     `json:"kernel"` // the node's own release, where it was read
	Taken     time.Time  `json:"taken"`
	Agreement Agreement  `json:"agreement"` // the worst of the questions'
	Questions []Question `json:"questions"`
	NotBuilt  []Gap      `json:"notBuilt"` // what of the node the twin does not have
}

// Agreement is how a prediction stands to what the kernel did.
type Agreement string

// The agreements. Undecided: there is no prediction, or the twin lacks what the segments may meet.
const (
	Agrees    Agreement = "agrees"
	Undecided Agreement = "undecided"
	Differs   Agreement = "differs"
)

// Worst returns the worst of several: one difference, or else anything undecided. Of none it is undecided.
func Worst(all ...Agreement) Agreement {
	switch {
	case slices.Contains(all, Differs):
		return Differs
	case len(all) == 0 || slices.Contains(all, Undecided):
		return Undecided
	}
	return Agrees
}

// Question is one question about one interface.
type Question struct {
	Question  string    `json:"question"` // A, B
	Family    string    `json:"family"`   // ip, ip6
	Interface string    `json:"interface"`
	Verdict   string    `json:"verdict"` // foretold: dropped, partly, not-dropped, depends
	Reset     string    `json:"reset"`   // foretold: yes, no, some, depends
	Agreement Agreement `json:"agreement"`
	Why       []string  `json:"why"` // why it is undecided
	Classes   []Class   `json:"classes"`
}

// Class is the segments of a question that share a predicted fate, and those of them that were sent.
type Class struct {
	Predicted string             `json:"predicted"`                // dropped, rejected-icmp, reset, depends
	Region    string             `json:"region"`                   // in words; empty: all
	By        *netfilter.RuleRef `json:"by" jsonschema:"nullable"` // the deciding rule, foretold
	Agreement Agreement          `json:"agreement"`
	Why       []string           `json:"why"`
	Segments  []Sent             `json:"segments"`
}

// Sent is one segment.
type Sent struct {
	Segment   string `json:"segment"`             // "in eth0 203.0.113.9:443 > 198.51.100.1:31000 ack"
	Observed  string `json:"observed"`            // dropped, rejected-icmp, reset; empty: it could not be sent
	Delivered bool   `json:"delivered,omitempty"` // it reached the pod, or whoever is behind the node
	Why       string `json:"why,omitempty"`
}
