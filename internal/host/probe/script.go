// Package probe reads a node on which there is nothing but a POSIX shell and common tools: it writes the script that answers a
// host.Request in one go, and reads what the script printed. How the script gets to the node, and its output back, is not
// its business.
//
// The script answers like host.Local, with these differences: dumps of nf_tables and of conntrack's counters have no
// counterpart in text and are answered with host.NoNetlink; those of rtnetlink are made from what "ip -j" and "tc -j" print,
// and hold the attributes that collectors read; a namespace's id is derived from the veth pairs that lead there.
package probe

import (
	"bytes"
	_ "embed"
	"fmt"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
)

// protocol is the version of what the script prints.
const protocol = 1

//go:embed probe.sh
var library []byte

// Script is the POSIX sh script that reads what req asks for and prints the answers. nonce (32 hex digits, fresh for each run)
// marks where they begin and end.
func Script(req host.Request, nonce string) []byte { return NewPlan(req).Script(nonce) }

// Script is as the function of that name.
func (p *Plan) Script(nonce string) []byte {
	var b bytes.Buffer
	b.Write(library)
	fmt.Fprintf(&b, "\n# --- What is read "+strings.Repeat("-", 101)+"\n\nnonce=%s sample=%s\n", quote(nonce), p.sample())
	for pass, name := range []string{"first", "rest", "again"} {
		fmt.Fprintf(&b, "\n%s() {\n\t:\n", name)
		for slot, it := range p.items {
			if int(it.pass) == pass {
				fmt.Fprintf(&b, "\t%s\n", it.line(slot))
			}
		}
		b.WriteString("}\n")
	}
	b.WriteString("\nmain; exit 0\n")
	return b.Bytes()
}

// pass is when a need is read: the sampled ones before all others, and again afterwards.
type pass int

const (
	sampled pass = iota
	once
	again
)

// item is one thing that the script reads; its index in the plan is its slot in the output.
type item struct {
	need host.Need
	key  string // the need's
	text text   // not empty: output of ip or tc, for the Netlink needs together
	pass pass
}

// Plan is a request prepared for many nodes: what the script reads, the same for who writes it and for who reads its output. It may
// be used for several nodes at once.
type Plan struct {
	req     host.Request
	needs   []planned // each once
	items   []item
	benches sync.Pool
}

// planned is a need, and the answer to it where nobody has to ask the node.
type planned struct {
	host.Need
	key     string
	refusal *host.Answer
}

// NewPlan prepares a request, which is not to be changed afterwards.
func NewPlan(req host.Request) *Plan {
	p := &Plan{req: req}
	p.benches.New = func() any { return newBench(len(p.items)) }
	seen := map[string]bool{}
	for _, n := range req.Needs {
		if key := n.Key(); !seen[key] {
			seen[key] = true
			p.needs = append(p.needs, planned{Need: n, key: key, refusal: refuse(n)})
		}
	}
	if req.Sample > 0 {
		p.add(sampled, func(n host.Need) bool { return n.Sampled })
		p.add(once, func(n host.Need) bool { return !n.Sampled })
		p.add(again, func(n host.Need) bool { return n.Sampled })
		return p
	}
	p.add(once, func(host.Need) bool { return true })
	return p
}

// add plans the chosen needs for one pass.
func (p *Plan) add(at pass, chosen func(host.Need) bool) {
	var dumps []host.Need
	var namespaces []item
	for _, n := range p.needs {
		one := item{need: n.Need, key: n.key, pass: at}
		switch {
		case !chosen(n.Need) || n.refusal != nil:
		case n.Kind == host.Netlink:
			dumps = append(dumps, n.Need)
		case n.Kind == host.Namespaces:
			namespaces = append(namespaces, one)
		default:
			p.items = append(p.items, one)
		}
	}
	for _, t := range textsFor(dumps) {
		p.items = append(p.items, item{text: t, pass: at})
	}
	// Last, since the dump of links gives ids to the namespaces that they lead to.
	p.items = append(p.items, namespaces...)
}

// sample is the time between the readings in hundredths of a second, as the script wants it.
func (p *Plan) sample() string {
	if p.req.Sample <= 0 {
		return "''"
	}
	return fmt.Sprint(int64((p.req.Sample + 10*time.Millisecond - 1) / (10 * time.Millisecond)))
}

// refuse answers needs that nobody has to ask the node about; nil for the others.
func refuse(n host.Need) *host.Answer {
	switch n.Kind {
	case host.Namespaces:
		return refusePaths(n.Args)
	case host.Command:
		if len(n.Args) == 0 {
			return &host.Answer{Err: "malformed need: " + n.Key()}
		}
		return refuseProgram(n.Args)
	}
	if len(n.Args) != 1 {
		return &host.Answer{Err: "malformed need: " + n.Key()}
	}
	switch n.Kind {
	case host.File:
		return refusePaths(n.Args)
	case host.Glob:
		if _, err := path.Match(n.Args[0], ""); err != nil || !path.IsAbs(n.Args[0]) || strings.ContainsAny(n.Args[0], "\\\n") {
			return &host.Answer{Err: "bad pattern"}
		}
	case host.Netlink:
		return refuseDump(n)
	default:
		return &host.Answer{Err: fmt.Sprintf("no such kind of need: %s", n.Kind)}
	}
	return nil
}

// refuseProgram refuses a program by a relative path, and words that a shell cannot have.
func refuseProgram(argv []string) *host.Answer {
	for _, name := range strings.Split(argv[0], "|") {
		if name == "" || !path.IsAbs(name) && strings.Contains(name, "/") || strings.Contains(strings.Join(argv, ""), "\x00") {
			return &host.Answer{Err: errnoText(syscall.EINVAL)}
		}
	}
	return nil
}

func refusePaths(paths []string) *host.Answer {
	for _, p := range paths {
		if !path.IsAbs(p) || strings.ContainsAny(p, "\n\x00") {
			return &host.Answer{Err: fmt.Sprintf("not a path that the probe reads: %.200q", p)}
		}
	}
	return nil
}

func refuseDump(n host.Need) *host.Answer {
	switch name := n.Args[0]; {
	case len(textsFor([]host.Need{n})) == 0 && !netlinkOnly(name):
		return &host.Answer{Err: fmt.Sprintf("no such dump: %s", name)}
	case netlinkOnly(name):
		return &host.Answer{Err: host.NoNetlink}
	case n.Only != "":
		return &host.Answer{Err: "the probe reads this dump without a condition only"}
	}
	return nil
}

// netlinkOnly are the dumps that no tool prints as text.
func netlinkOnly(name string) bool {
	switch name {
	case host.DumpNFTables, host.DumpNFChains, host.DumpNFRules, host.DumpNFSets, host.DumpNFElements, host.DumpNFObjects,
		host.DumpNFFlowtables, host.DumpNFGen, host.DumpNFHooks, host.DumpCTStats:
		return true
	}
	return false
}

// line is the item's line in the script.
func (it item) line(slot int) string {
	if it.text != "" {
		return fmt.Sprintf("iproute %d %d %s", slot, textLimit+1, quoteAll(it.text.argv()))
	}
	return it.condition(slot) + it.reading(slot)
}

// condition stands before a line whose need has one. That netlink is not spoken is true here.
func (it item) condition(slot int) string {
	if c := conditionOf(it.need); c != "" {
		return fmt.Sprintf("when %d %s && ", slot, quote(c))
	}
	return ""
}

func conditionOf(n host.Need) string {
	c, ok := strings.CutPrefix(n.Only, host.WithoutNetlink)
	if ok {
		c = strings.TrimPrefix(c, ",")
	}
	return c
}

func (it item) reading(slot int) string {
	n := it.need
	switch n.Kind {
	case host.File:
		return fmt.Sprintf("file %d %d %s", slot, bytesOf(n), quote(n.Args[0]))
	case host.Glob:
		return fmt.Sprintf("glob %d %d %s", slot, fileLimit+1, quoteAll(globArgs(n.Args[0])))
	case host.Namespaces:
		return fmt.Sprintf("namespaces %d %s", slot, quoteAll(n.Args))
	}
	return fmt.Sprintf("run %d %d %s", slot, n.Cap()+1, quoteAll(n.Args))
}

// bytesOf is how much the script reads of a file: one byte more than its cap, so that a longer one is known, and enough for what
// stands between two files, which is read in the same way.
func bytesOf(n host.Need) int64 { return max(n.Cap()+1, 128) }

// globArgs splits a pattern into the folder before the first wildcard and the rest, element by element. The shell's word for
// "none of these" is an exclamation mark.
func globArgs(pattern string) []string {
	folder := "/"
	elements := strings.Split(strings.Trim(path.Clean(pattern), "/"), "/")
	for len(elements) > 1 && !strings.ContainsAny(elements[0], "*?[") {
		folder, elements = path.Join(folder, elements[0]), elements[1:]
	}
	for i := range elements {
		elements[i] = strings.ReplaceAll(elements[i], "[^", "[!")
	}
	return append([]string{folder}, elements...)
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:,+=@%") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
