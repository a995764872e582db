// Package host is where reading happens, and the only seam to a node: this machine, another network namespace of it, or a
// recording. Everything a collector may read is declared as a [Need] first; nothing else is read, and nothing is written.
package host

import (
	"context"
	"strings"
	"time"
)

// Kind is a way of reading.
type Kind string

// The kinds of needs.
const (
	// File is one file, by absolute path.
	File Kind = "file"
	// Glob is every regular file that a shell pattern matches (path.Match syntax), contents included.
	Glob Kind = "glob"
	// Command is a program without a shell: argv[0] is looked up in PATH and the usual sbin folders.
	// "a|b" in its place names alternatives: the first one found is run, under its own name.
	Command Kind = "command"
	// Netlink is a dump by its name (the Dump constants). The answer is the kernel's messages, headers included, one
	// behind the other, each padded to 4 bytes, as they came from the socket.
	Netlink Kind = "netlink"
	// Namespaces finds the network namespaces of processes (other than the node's own) and reads files inside each.
	Namespaces Kind = "namespaces"
)

// The netlink dumps that a host knows, Need.Args[0] of a Netlink need.
const (
	DumpLinks     = "rtnl/links"     // RTM_GETLINK, with extended info
	DumpAddresses = "rtnl/addresses" // RTM_GETADDR
	DumpRoutes    = "rtnl/routes"    // RTM_GETROUTE, every table and family
	DumpRules     = "rtnl/rules"     // RTM_GETRULE
	DumpQdiscs    = "rtnl/qdiscs"    // RTM_GETQDISC
	DumpNFTables  = "nft/tables"     // NFT_MSG_GETTABLE, all families
	DumpNFChains  = "nft/chains"
	DumpNFRules   = "nft/rules"
	DumpNFSets    = "nft/sets"
	// DumpNFElements is every set's elements, set by set; each message carries table and set name. A set that was cut at
	// the cap ends with a message of type NLMSG_OVERRUN (4) whose body, like those before it, is nfgenmsg, table and set
	// name; the answer is then Truncated.
	DumpNFElements   = "nft/elements"
	DumpNFObjects    = "nft/objects"
	DumpNFFlowtables = "nft/flowtables"
	DumpNFGen        = "nft/gen" // NFT_MSG_GETGEN
	// DumpNFHooks is NFNL_SUBSYS_HOOK, every family and hook; absent when the kernel has none. The kernel's replies do not
	// name the device, so the request (flag NLM_F_REQUEST, NFNLA_HOOK_HOOKNUM and NFNLA_HOOK_DEV) stands before the
	// replies to it.
	DumpNFHooks = "nft/hooks"
	DumpCTStats = "ct/stats" // IPCTNL_MSG_CT_GET_STATS_CPU
)

// Need is one thing to read.
type Need struct {
	Kind Kind
	// Args is the path, the pattern, the argument vector, the dump's name, or the files to read in each namespace.
	Args []string
	// Limit caps the answer in bytes; 0 takes the default of the kind (64 MiB; 1 MiB for files). A longer answer is cut
	// there and marked Truncated.
	Limit int64
	// Sampled needs are read a second time when Request.Sample is set.
	Sampled bool
	// Only, when set, makes the need conditional; when the condition does not hold, the answer is Absent. It is either a
	// file, which must exist and not be empty (paths below /proc/net are those of the namespace that is read), or
	// "module:NAME", a kernel module that must be loaded or built in, or that the kernel could not load if asked.
	// A command that would make the kernel load a module is written with the latter: iptables-nft-save, for one, talks to
	// nf_tables and asks nft_compat for the revisions of extensions, so it takes "module:nft_compat" (without that module
	// there is no compat expression on the node, and the netlink dumps alone say everything).
	//
	// [WithoutNetlink] holds on hosts that do not speak netlink; it may stand in front of another condition, with a comma.
	Only string
}

// WithoutNetlink is the condition of needs that stand in for netlink dumps where nobody can ask for those: a shell on the
// node has tools that print text, and no socket. Where it holds, the dumps that have no counterpart in text are answered
// with the error [NoNetlink].
const WithoutNetlink = "without:netlink"

// NoNetlink is the Err of a Netlink need on a host that does not speak netlink.
const NoNetlink = "no netlink here"

// Key identifies a need in a recording.
func (n Need) Key() string { return string(n.Kind) + " " + strings.Join(n.Args, " ") }

// appendKey appends the key.
func (n Need) appendKey(b []byte) []byte {
	b = append(append(b, n.Kind...), ' ')
	for i, a := range n.Args {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, a...)
	}
	return b
}

// Request is everything to read, at once.
type Request struct {
	Needs  []Need
	Sample time.Duration // 0: sampled needs are read once
	// Sinks take the answers to Netlink needs in pieces while they come, by Need.Key, so that a dump of 90 MB is never
	// held whole. A host that cannot do so, and any for the other kinds, for sampled needs and for DumpNFHooks, pays no heed
	// to them.
	Sinks map[string]Sink
}

// Sink takes one answer in pieces. Its methods are never called at the same time, nor are those of several sinks whose
// needs are read together (the dumps of nf_tables): these come one after the other, in the order of the needs. A Fetch
// that was interrupted may still call them.
type Sink interface {
	// Begin announces a reading from its start. What was handed over before no longer counts: dumps of nf_tables are all
	// read again when the ruleset changed meanwhile.
	Begin()
	// Piece hands over whole messages, the next ones of the answer. The bytes are the host's again once it returns.
	Piece(b []byte)
}

// Answer is what came of one need.
type Answer struct {
	Data []byte
	// Sink is the request's sink when that was given everything since its last Begin, in place of Data.
	Sink Sink
	// Files holds a Glob's files by path; for Namespaces see [ReadNamespaces].
	Files map[string][]byte
	// Failed holds why single files or folders of a Glob could not be read, by path. Err is then set as well, while Files
	// still holds the others.
	Failed map[string]string
	// Absent: looked for, and not there (no such file, no such command, no such protocol, Only was empty).
	Absent bool
	// Err says why it could not be read, "" when it could. Exit is a command's exit status, Stderr the end of its stderr.
	Err       string
	Denied    bool // the cause was a missing permission
	Exit      int
	Stderr    string
	Truncated bool
	// Second is the second reading of a sampled need.
	Second *Answer
}

// Evidence is the answers by Need.Key. Interval is the real time between the two readings of sampled needs.
type Evidence struct {
	Host     string // the node's own name (uname -n)
	Tool     string // what read it, "ctaudit 0.1.0"; empty: not said
	Taken    time.Time
	Answers  map[string]*Answer
	Interval time.Duration
}

// Answer returns the answer to the need; one that was never asked reads as an error, never as absent.
func (e *Evidence) Answer(n Need) *Answer {
	var room [256]byte // collectors ask often: no key is made for it
	if a := e.Answers[string(n.appendKey(room[:0]))]; a != nil {
		return a
	}
	return &Answer{Err: "not collected"}
}

// Sinkless is a host that pays no heed to sinks. It need not be given any.
type Sinkless interface {
	Host
	Sinkless()
}

// Host reads needs on one node.
type Host interface {
	// Fetch reads all needs. It fails as a whole only when the node itself is out of reach or ctx ends; what a single
	// need lacks stands in its answer.
	Fetch(ctx context.Context, req Request) (*Evidence, error)
}
