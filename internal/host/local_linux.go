package host

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// LocalOptions choose what Local reads.
type LocalOptions struct {
	// Namespace is another network namespace of this machine: a name that "ip netns" knows, a path, or a process id. Empty
	// is the namespace that this process is in. Files that do not belong to a network namespace are this machine's.
	Namespace string
}

// Local reads the node that this process runs on. It changes nothing there: it opens files for reading only, asks netlink
// for dumps only, looks for a kernel module before it asks a question that would load it (see modules), and creates no
// table, for which the needs of commands carry the condition (see [Need.Only]).
func Local(opts LocalOptions) Host {
	return &local{opts: opts, modules: newModules("/")}
}

type local struct {
	opts    LocalOptions
	modules *modules
}

const (
	maxReaders  = 4 // threads that read files and netlink
	maxCommands = 4 // commands at the same time
	// grace is how long an interrupted Fetch waits for what is under way; a file of a hung file system is left behind.
	grace = 2 * time.Second
)

// Fetch reads all needs, concurrently. Those of nf_tables are one consistent reading. Sampled needs are read first, and
// again once Sample has passed.
func (l *local) Fetch(ctx context.Context, req Request) (*Evidence, error) {
	ns, err := openNetns(l.opts.Namespace)
	if err != nil {
		return nil, err
	}
	defer ns.close()
	name, err := nodeName()
	if err != nil {
		return nil, err
	}
	f := &fetch{ctx: ctx, ns: ns, sinks: req.Sinks, dumper: &dumper{modules: l.modules}}
	ev := &Evidence{Host: name, Taken: time.Now().UTC(), Answers: make(map[string]*Answer, len(req.Needs))}
	if req.Sample > 0 {
		err = f.twice(req, ev)
	} else {
		err = f.read(req.Needs, ev.Answers)
	}
	if err != nil {
		return nil, err
	}
	return ev, nil
}

func nodeName() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Nodename[:]), nil
}

// fetch is one Fetch under way.
type fetch struct {
	ctx    context.Context
	ns     *netns
	sinks  map[string]Sink
	dumper *dumper
}

// twice reads the sampled needs, everything else, and the sampled needs again.
func (f *fetch) twice(req Request, ev *Evidence) error {
	var sampled, rest []Need
	for _, n := range req.Needs {
		if n.Sampled {
			sampled = append(sampled, n)
		} else {
			rest = append(rest, n)
		}
	}
	began := time.Now()
	if err := f.read(sampled, ev.Answers); err != nil {
		return err
	}
	ended := time.Now()
	if err := f.read(rest, ev.Answers); err != nil {
		return err
	}
	if len(sampled) == 0 {
		return nil
	}
	pause(f.ctx, req.Sample-time.Since(ended))
	again := make(map[string]*Answer, len(sampled))
	beganAgain := time.Now()
	if err := f.read(sampled, again); err != nil {
		return err
	}
	// From the middle of one reading to the middle of the other: on a busy node a reading takes its time.
	ev.Interval = (beganAgain.Sub(began) + time.Since(ended)) / 2
	for key, a := range again {
		ev.Answers[key].Second = a
	}
	return nil
}

// job is needs that one reader takes together.
type job []Need

// result is the answers to a job.
type result struct {
	job     job
	answers []*Answer
}

// read reads needs into answers. It returns early, with the context's error, only when that ends.
func (f *fetch) read(needs []Need, answers map[string]*Answer) error {
	commands, rest := plan(needs)
	results := make(chan result, len(commands)+len(rest)) // never blocks a reader that was given up
	var wg sync.WaitGroup
	start := func(jobs []job, width int, work func(<-chan job, chan<- result)) {
		queue := make(chan job, len(jobs))
		for _, j := range jobs {
			queue <- j
		}
		close(queue)
		for range min(width, len(jobs)) {
			wg.Go(func() { work(queue, results) })
		}
	}
	start(commands, maxCommands, f.runCommands)
	start(rest, min(maxReaders, max(2, runtime.GOMAXPROCS(0))), f.readRest)
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	if err := f.await(done); err != nil {
		return err
	}
	for range len(commands) + len(rest) {
		r := <-results
		for i, n := range r.job {
			answers[n.Key()] = r.answers[i]
		}
	}
	return nil
}

// await waits for the readers, or for the context and then a little longer.
func (f *fetch) await(done <-chan struct{}) error {
	select {
	case <-done:
		return f.ctx.Err()
	case <-f.ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
	return f.ctx.Err()
}

// plan sorts the needs into commands and the rest, the longest work first, each need once. The dumps of nf_tables are one
// job, so that they can be read until they fit each other.
func plan(needs []Need) (commands, rest []job) {
	seen := map[string]bool{}
	var tables job
	var slow, quick []job
	for _, n := range needs {
		if seen[n.Key()] {
			continue
		}
		seen[n.Key()] = true
		switch {
		case n.Kind == Command:
			commands = append(commands, job{n})
		case n.Kind == Netlink && len(n.Args) == 1 && strings.HasPrefix(n.Args[0], "nft/") && n.Only == "":
			tables = append(tables, n)
		case n.Kind == Namespaces, n.Kind == Netlink, n.Kind == Glob:
			slow = append(slow, job{n})
		default:
			quick = append(quick, job{n})
		}
	}
	if len(tables) > 0 {
		rest = append(rest, tables)
	}
	return commands, append(append(rest, slow...), quick...)
}

// readRest takes jobs off the queue, all on one thread inside the namespace.
func (f *fetch) readRest(queue <-chan job, results chan<- result) {
	err := f.ns.do(func() {
		for j := range queue {
			results <- result{j, f.readJob(j)}
		}
	})
	for j := range queue { // nothing left unless the namespace could not be entered
		results <- refused(j, err)
	}
}

func refused(j job, err error) result {
	r := result{job: j}
	for range j {
		r.answers = append(r.answers, failed(err))
	}
	return r
}

func (f *fetch) readJob(j job) []*Answer {
	if len(j) > 1 {
		return f.dumper.readAll(f.ctx, j, f.sinks)
	}
	return []*Answer{f.readNeed(j[0])}
}

func (f *fetch) readNeed(n Need) *Answer {
	if n.Kind != Namespaces && len(n.Args) != 1 {
		return &Answer{Err: fmt.Sprintf("malformed need: %s", n.Key())}
	}
	if a := f.unmet(n); a != nil {
		return a
	}
	switch n.Kind {
	case File:
		return f.readFile(n)
	case Glob:
		return readGlob(n.Args[0], n.Cap())
	case Netlink:
		return f.dumper.readAll(f.ctx, []Need{n}, f.sinks)[0]
	case Namespaces:
		return f.dumper.namespaces(f.ctx, n)
	}
	return &Answer{Err: fmt.Sprintf("no such kind of need: %s", n.Kind)}
}

func (f *fetch) readFile(n Need) *Answer {
	if f.ns != nil && strings.HasPrefix(n.Args[0], "/sys/class/net") {
		// sysfs shows the namespace that it was mounted in, whoever reads it.
		return &Answer{Err: "sysfs does not show another network namespace"}
	}
	return readFile(n.Args[0], n.Cap())
}

// unmet returns the answer to a need whose condition does not hold or cannot be told, nil when it holds.
func (f *fetch) unmet(n Need) *Answer {
	if n.Only == "" {
		return nil
	}
	if strings.HasPrefix(n.Only, WithoutNetlink) {
		return &Answer{Absent: true} // netlink it is, here
	}
	if module, ok := strings.CutPrefix(n.Only, "module:"); ok {
		return f.unmetModule(module)
	}
	a := readFile(n.Only, 1)
	if a.Err != "" {
		a.Err = n.Only + ": " + a.Err
		return a
	}
	if a.Absent || len(a.Data) == 0 {
		return &Answer{Absent: true}
	}
	return nil
}

// unmetModule holds a need back unless the module is there. Where no module can be loaded nothing has been looked up, and
// for those of nf_tables one harmless question tells a kernel without them.
func (f *fetch) unmetModule(module string) *Answer {
	state := f.dumper.modules.state(module)
	switch {
	case state.err != nil:
		return &Answer{Err: state.err.Error()}
	case !state.there:
		return &Answer{Absent: true}
	case state.askIt && (module == "nf_tables" || module == "nft_compat"):
		if a := f.dumper.once(f.ctx, Need{Kind: Netlink, Args: []string{DumpNFGen}}); a.Absent {
			return a
		}
	}
	return nil
}

// runCommands takes commands off the queue. Each starts on a thread inside the namespace; its output is read wherever.
func (f *fetch) runCommands(queue <-chan job, results chan<- result) {
	for j := range queue {
		results <- result{j, []*Answer{f.runCommand(j[0])}}
	}
}

func (f *fetch) runCommand(n Need) *Answer {
	if len(n.Args) == 0 {
		return &Answer{Err: fmt.Sprintf("malformed need: %s", n.Key())}
	}
	var held *Answer
	var p *process
	var failure error
	err := f.ns.do(func() {
		if held = f.unmet(n); held == nil {
			p, failure = startCommand(n.Args, f.dumper.modules)
		}
	})
	if err == nil {
		err = failure
	}
	switch {
	case err != nil:
		return failed(err)
	case held != nil:
		return held
	}
	return p.finish(f.ctx, n.Cap())
}
