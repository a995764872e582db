package probe

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
)

const (
	fileLimit    = 1 << 20 // of a file of a Glob, or in a namespace
	maxGlobFiles = 1 << 16 // of one Glob, as host.Local has it
)

// evidence makes the answers from what was read.
func (r *reading) evidence() (*host.Evidence, error) {
	ev := &host.Evidence{Host: r.name, Taken: r.taken, Answers: make(map[string]*host.Answer, len(r.plan.needs))}
	for i := range r.plan.needs {
		if n := &r.plan.needs[i]; n.refusal != nil {
			a := *n.refusal
			ev.Answers[n.key] = &a
		}
	}
	for _, at := range []pass{sampled, once} {
		r.answers(at, func(key string, a *host.Answer) { ev.Answers[key] = a })
	}
	r.answers(again, func(key string, a *host.Answer) { ev.Answers[key].Second = a })
	if r.plan.req.Sample > 0 {
		r.repeatRefusals(ev)
		ev.Interval = r.interval()
	}
	return ev, nil
}

// interval is the time from the middle of one reading to the middle of the other, by the node's clock; what was asked for where
// the node hides that.
func (r *reading) interval() time.Duration {
	u := r.uptimes
	if u[0] == 0 || u[3] <= u[0] {
		return r.plan.req.Sample
	}
	return max(0, (u[2]-u[0]+u[3]-u[1])/2)
}

// repeatRefusals gives sampled needs that the node was not asked about their second answer.
func (r *reading) repeatRefusals(ev *host.Evidence) {
	for _, n := range r.plan.needs {
		if a := ev.Answers[n.key]; n.Sampled && a.Second == nil {
			again := *a
			a.Second = &again
		}
	}
}

// answers makes those of one pass.
func (r *reading) answers(at pass, put func(key string, a *host.Answer)) {
	texts := map[text]*slot{}
	for i := range r.plan.items {
		switch it := &r.plan.items[i]; {
		case it.pass != at:
		case it.text != "":
			texts[it.text] = &r.slots[i]
		case it.need.Kind != host.Namespaces:
			put(it.key, r.answer(it.need, &r.slots[i]))
		}
	}
	d := newDumps(texts)
	for i := range r.plan.needs {
		if n := &r.plan.needs[i]; n.Kind == host.Netlink && n.refusal == nil && r.plan.passes(n.Need, at) {
			put(n.key, d.answer(n.Need))
		}
	}
	for i := range r.plan.items {
		if it := &r.plan.items[i]; it.pass == at && it.text == "" && it.need.Kind == host.Namespaces {
			put(it.key, r.namespaces(it.need, &r.slots[i], d))
		}
	}
}

// passes says whether the need is read in that pass.
func (p *Plan) passes(n host.Need, at pass) bool {
	if p.req.Sample > 0 && n.Sampled {
		return at != once
	}
	return at == once
}

func (r *reading) answer(n host.Need, s *slot) *host.Answer {
	if a := r.unmet(n, s); a != nil {
		return a
	}
	switch n.Kind {
	case host.File:
		a := r.file(s.files[0], n.Cap())
		return &a
	case host.Glob:
		return r.glob(n, s)
	}
	return commandAnswer(s.output, n.Cap())
}

// unmet is the answer to a need that was not read; nil when it was.
func (r *reading) unmet(n host.Need, s *slot) *host.Answer {
	if len(s.held) > 0 {
		return r.heldBack(conditionOf(n), s.held[0])
	}
	if s.why != "" {
		return notRead(s.why, conditionOf(n))
	}
	return nil
}

// heldBack is the answer to a need whose condition, a file, does not hold.
func (r *reading) heldBack(condition string, f fileRead) *host.Answer {
	a := r.file(f, 1<<62)
	switch {
	case a.Err != "":
		return &host.Answer{Err: condition + ": " + a.Err, Denied: a.Denied}
	case a.Absent, len(a.Data) == 0:
		return &host.Answer{Absent: true}
	}
	return &host.Answer{Err: condition + ": changed while reading"}
}

// notRead turns the script's reason into an answer.
func notRead(why, condition string) *host.Answer {
	switch {
	case why == "absent":
		return &host.Answer{Absent: true}
	case why == "denied":
		return &host.Answer{Err: errnoText(syscall.EACCES), Denied: true}
	}
	why, ok := strings.CutPrefix(why, "unknown ")
	if !ok {
		return &host.Answer{Err: fmt.Sprintf("not read: %.200q", why)}
	}
	name := strings.TrimPrefix(condition, "module:")
	if name == condition {
		name = "that it needs"
	}
	return &host.Answer{Err: fmt.Sprintf("cannot tell whether the kernel module %s is loaded without loading it: /proc/kallsyms, "+
		"/proc/modules and /lib/modules are %s or unreadable: %.200s", name, host.Hidden, printable(why))}
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}

// file is what one path came to. Where something is mounted over /proc or /sys, nothing is not nothing.
func (r *reading) file(f fileRead, limit int64) host.Answer {
	a := f.answer(limit)
	if a.Absent || len(a.Data) == 0 && a.Err == "" {
		a = r.mounts.orMasked(f.path, a)
	}
	return a
}

// answer is what one path came to by itself.
func (f fileRead) answer(limit int64) host.Answer {
	switch f.kind {
	case 'n':
		return host.Answer{Data: []byte{}}
	case 'o':
		return host.Answer{Err: "not a regular file"}
	case 'p':
		return host.Answer{Err: errnoText(syscall.EACCES), Denied: true}
	case 'x':
		return host.Answer{Err: "a name with a line break"}
	}
	if f.unread {
		return host.Answer{Err: fmt.Sprintf("the program that reads files ended before it: %.200s", printable(string(lastOf(f.data))))}
	}
	if err := complaint(f); err != nil {
		return readError(f, err)
	}
	if int64(len(f.data)) > limit {
		return host.Answer{Data: f.data[:limit:limit], Truncated: true}
	}
	return host.Answer{Data: f.data}
}

// complaint is what the program that reads files said in place of the rest of a file; nil when it said nothing. A file whose
// last line looks just like this complaint about itself counts as unreadable, which errs on the safe side.
func complaint(f fileRead) error {
	line := lastOf(f.data)
	program, _, ok := bytes.Cut(line, []byte(": "))
	if !ok || !bytes.Contains(program, []byte("head")) || path.Base(string(program)) != "head" || f.kind == 'f' && !bytes.Contains(line, []byte(f.path)) {
		return nil
	}
	return errors.New(string(line[bytes.LastIndex(line, []byte(": "))+2:]))
}

// readError answers like host.Local: a file that was not there is absent; one that was and could not be read is an error.
func readError(f fileRead, err error) host.Answer {
	cause := strings.ToLower(err.Error())
	switch cause {
	case errnoText(syscall.ESRCH):
		return host.Answer{Absent: true}
	case errnoText(syscall.ENOENT), errnoText(syscall.ENOTDIR):
		if f.kind == 'a' {
			return host.Answer{Absent: true}
		}
		return host.Answer{Err: "changed while reading"}
	case errnoText(syscall.EACCES), errnoText(syscall.EPERM):
		return host.Answer{Err: cause, Denied: true}
	case errnoText(syscall.EISDIR):
		return host.Answer{Err: "not a regular file"}
	}
	return host.Answer{Err: printable(cause)}
}

// errnoText is the C library's text of an error in lower case, which is Go's.
func errnoText(e syscall.Errno) string { return strings.ToLower(e.Error()) }

// glob sums up a Glob's files in the order of their paths.
func (r *reading) glob(n host.Need, s *slot) *host.Answer {
	g := &globbed{answer: &host.Answer{Files: make(map[string][]byte, len(s.files))}, left: n.Cap()}
	for _, f := range s.folders {
		g.fail(f.path, f.answer(fileLimit))
	}
	slices.SortFunc(s.files, func(a, b fileRead) int { return strings.Compare(a.path, b.path) })
	for _, f := range s.files {
		f.path = path.Clean(f.path)
		g.add(r, f)
	}
	a := g.answer
	a.Absent = len(a.Files) == 0 && len(a.Failed) == 0 && !a.Truncated
	if a.Absent {
		*a = r.mounts.orMasked(fixedPart(n.Args[0]), *a)
	}
	host.SumUp(a, g.denied)
	return a
}

// fixedPart is the pattern up to its first wildcard.
func fixedPart(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

type globbed struct {
	answer *host.Answer
	left   int64 // bytes of the need's limit
	denied bool
}

func (g *globbed) add(r *reading, f fileRead) {
	if len(g.answer.Files) >= maxGlobFiles || g.left <= 0 {
		g.answer.Truncated = true
		return
	}
	a := r.file(f, min(g.left, fileLimit))
	if a.Err != "" || a.Absent {
		g.fail(f.path, a)
		return
	}
	g.left -= int64(len(a.Data))
	g.answer.Files[f.path] = a.Data
	g.answer.Truncated = g.answer.Truncated || a.Truncated
}

// fail notes what could not be read. Folders and the like are not what a Glob asks for.
func (g *globbed) fail(name string, a host.Answer) {
	if a.Absent || a.Err == "" || a.Err == "not a regular file" {
		return
	}
	if g.answer.Failed == nil {
		g.answer.Failed = map[string]string{}
	}
	g.answer.Failed[name] = a.Err
	g.denied = g.denied || a.Denied
}

// commandAnswer says how a command ended.
func commandAnswer(o *output, limit int64) *host.Answer {
	a := &host.Answer{Data: o.data, Exit: o.status, Stderr: o.stderr}
	if int64(len(o.data)) > limit {
		a.Data, a.Truncated, a.Exit = o.data[:limit:limit], true, -1
		return a
	}
	if o.status == 0 {
		return a
	}
	if o.asks && lacksNFTables(o) {
		return &host.Answer{Absent: true}
	}
	a.Err = ended(o.status)
	if last := lastLine(o.stderr); last != "" {
		a.Err += ": " + last
	}
	a.Denied = host.SaysDenied(o.stderr)
	if o.status > signalled {
		a.Exit = -1
	}
	return a
}

// What a shell, and timeout(1), make of the end of a program.
const (
	timedOut  = 124
	signalled = 128
)

func ended(status int) string {
	switch {
	case status == timedOut:
		return "timed out after 30s"
	case status > signalled && status <= signalled+64:
		return "signal: " + syscall.Signal(status-signalled).String()
	}
	return fmt.Sprintf("exit status %d", status)
}

// lacksNFTables recognises how nft and its kin say that the kernel has no nf_tables: nobody registered the netlink protocol, or
// nobody in it answers. Other complaints stay errors, since this one makes "no rules" of a failure.
func lacksNFTables(o *output) bool {
	if len(o.data) > 0 {
		return false
	}
	for _, s := range []string{
		"Failed to initialize nft: Protocol not supported", "Unable to initialize Netlink socket: Protocol not supported",
		"Could not fetch rule set generation id: Invalid argument", "cache initialization failed: Invalid argument",
	} {
		if strings.Contains(o.stderr, s) {
			return true
		}
	}
	return false
}

// lastLine is the last line that says something.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

func lastOf(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return bytes.TrimSpace(b[bytes.LastIndexByte(b, '\n')+1:])
}
