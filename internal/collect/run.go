package collect

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// Options of a run.
type Options struct {
	// Sample is the time between the two readings of sampled needs; 0 reads them once.
	Sample time.Duration
	// HostName is the name to report the node under; empty: its own.
	HostName string
	// Tool is what the document and a recording of the evidence say made them, "ctaudit 0.1.0".
	Tool string
	// Only names the collectors to run; empty: all. The others' sections say that they were not asked for.
	Only []string
	// Keep returns the evidence whole, to be recorded: nothing is streamed.
	Keep bool
}

// Run reads what the collectors need in one Fetch and lets each parse its section. The document and the evidence it was
// made from are returned together; the error is about the node, the context or the request, never about a single need.
func Run(ctx context.Context, h host.Host, collectors []Collector, opts Options) (*snapshot.Document, *host.Evidence, error) {
	r, err := Prepare(collectors, opts.Only)
	if err != nil {
		return nil, nil, err
	}
	return r.Run(ctx, h, opts)
}

// Readers are collectors made ready for many nodes, of which several may be read at once.
type Readers struct {
	all    []Collector
	asked  []asked
	needs  []host.Need
	asking map[string]int // how many of the asked collectors have a need, by its key
}

// asked is a collector that is to run.
type asked struct {
	Collector
	needs []host.Need
}

// Prepare chooses among the collectors (only: their names; empty: all of them) and joins what they need.
func Prepare(collectors []Collector, only []string) (*Readers, error) {
	chosen, err := choose(collectors, only)
	if err != nil {
		return nil, err
	}
	r := &Readers{all: collectors, asking: askers(chosen)}
	if r.needs, err = union(chosen); err != nil {
		return nil, err
	}
	for _, c := range chosen {
		r.asked = append(r.asked, asked{c, c.Needs()})
	}
	return r, nil
}

// Run is as the function of that name, with the collectors that were chosen before.
func (r *Readers) Run(ctx context.Context, h host.Host, opts Options) (*snapshot.Document, *host.Evidence, error) {
	var streams guards
	if _, whole := h.(host.Sinkless); !whole && !opts.Keep {
		streams = r.sinks()
	}
	ev, err := h.Fetch(ctx, host.Request{Needs: r.needs, Sample: opts.Sample, Sinks: streams.sinks()})
	if err != nil {
		return nil, nil, err
	}
	streams.unwrap(ev)
	if ev.Tool == "" {
		ev.Tool = opts.Tool
	}
	doc := &snapshot.Document{Version: snapshot.Version, Tool: opts.Tool, Host: opts.HostName, Taken: ev.Taken.UTC()}
	if doc.Host == "" {
		doc.Host = ev.Host
	}
	p := parsing{ev: ev, streams: streams, asked: r.asked}
	doc.Collectors = p.all(r.all, doc)
	return doc, ev, nil
}

// NeedsOf lists everything that the collectors read, each need once, in their order.
func NeedsOf(collectors []Collector) []host.Need {
	// A contradiction between two collectors is for Run to refuse; what is listed is right up to it.
	needs, _ := union(collectors)
	return needs
}

func choose(collectors []Collector, only []string) ([]Collector, error) {
	if len(only) == 0 {
		return collectors, nil
	}
	var asked []Collector
	unknown := slices.Clone(only)
	for _, c := range collectors {
		if slices.Contains(only, c.Name()) {
			asked = append(asked, c)
			unknown = slices.DeleteFunc(unknown, func(n string) bool { return n == c.Name() })
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("collect %s: no such collector", strings.Join(unknown, ", "))
	}
	return asked, nil
}

// union merges needs with the same key: the larger cap, sampled if one of them is. Two needs that share a key and differ
// in what to read or when are a mistake in the collectors, since one answer cannot serve both.
func union(collectors []Collector) ([]host.Need, error) {
	var needs []host.Need
	at := map[string]int{}
	for _, c := range collectors {
		for _, n := range c.Needs() {
			i, ok := at[n.Key()]
			if !ok {
				at[n.Key()] = len(needs)
				needs = append(needs, n)
				continue
			}
			have := &needs[i]
			if have.Only != n.Only || !slices.Equal(have.Args, n.Args) {
				return needs, fmt.Errorf("collect %s: need %q contradicts another collector's", c.Name(), n.Key())
			}
			if n.Cap() > have.Cap() {
				have.Limit = n.Cap()
			}
			have.Sampled = have.Sampled || n.Sampled
		}
	}
	return needs, nil
}

// parsing is what was fetched, and by whom it is wanted.
type parsing struct {
	ev      *host.Evidence
	streams guards
	asked   []asked
}

// all runs the asked collectors and returns the account of every one, in their order.
func (p *parsing) all(collectors []Collector, doc *snapshot.Document) []snapshot.Collector {
	accounts := make([]snapshot.Collector, len(collectors))
	var todo []task
	for i, c := range collectors {
		at := slices.IndexFunc(p.asked, func(a asked) bool { return a.Name() == c.Name() })
		if at < 0 {
			accounts[i] = unasked(c.Name())
			continue
		}
		todo = append(todo, task{&p.asked[at], &accounts[i]})
	}
	if p.light() {
		for _, t := range todo {
			own, account := p.one(t.asked)
			*t.account = settle(doc, own, account)
		}
		return accounts
	}
	p.sideBySide(todo, doc)
	return accounts
}

// task is a collector, and where its account goes.
type task struct {
	asked   *asked
	account *snapshot.Collector
}

// sideBySide runs collectors at the same time.
func (p *parsing) sideBySide(todo []task, doc *snapshot.Document) {
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	var section sync.Mutex
	for _, t := range todo {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			own, account := p.one(t.asked)
			section.Lock()
			defer section.Unlock()
			*t.account = settle(doc, own, account)
		})
	}
	wg.Wait()
}

// lightEvidence is in bytes what is parsed in less than a few milliseconds: goroutines for that, with a stack that each has to grow
// first, cost a fleet more than they spare a single node.
const lightEvidence = 512 << 10

func (p *parsing) light() bool {
	n := 0
	for _, a := range p.ev.Answers {
		n += len(a.Data)
		for _, b := range a.Files {
			n += len(b)
		}
		if a.Sink != nil || n > lightEvidence {
			return false
		}
	}
	return true
}

func unasked(name string) snapshot.Collector {
	return snapshot.Collector{
		Name: name, Status: snapshot.StatusUnreadable,
		Missing: []snapshot.Missing{{What: name, Why: "not asked for"}},
	}
}

// one lets a collector fill a document of its own. A panic, there or in its sinks, costs that collector its section, and nothing else: what it
// had filled until then is dropped, because half a ruleset would read as a whole one.
func (p *parsing) one(c *asked) (doc *snapshot.Document, account snapshot.Collector) {
	defer func() {
		if cause := recover(); cause != nil {
			doc = &snapshot.Document{}
			account = broken(c.Name(), panicText(cause))
		}
	}()
	doc = &snapshot.Document{}
	if why := p.streams.panicked(c.Name()); why != "" {
		return doc, broken(c.Name(), why)
	}
	missing := c.Collect(p.ev, doc)
	return doc, snapshot.Collector{Name: c.Name(), Status: status(p.ev, c.needs, missing), Missing: missing}
}

// panicPlace is the file and line that panicked: the first behind the call of panic, without the folder.
func panicPlace(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i := len(lines) - 1; i > 0; i-- {
		if strings.HasPrefix(lines[i], "panic(") && i+3 < len(lines) {
			place, _, _ := strings.Cut(strings.TrimSpace(lines[i+3]), " ")
			return place[strings.LastIndexByte(place, '/')+1:]
		}
	}
	return "an unknown place"
}

// status follows from what is missing and from what was answered at all.
func status(ev *host.Evidence, needs []host.Need, missing []snapshot.Missing) snapshot.Status {
	found, absent := 0, 0
	for _, n := range needs {
		switch a := ev.Answer(n); {
		case a.Absent:
			absent++
		case a.Err == "" || len(a.Data) > 0 || len(a.Files) > 0:
			found++
		}
	}
	switch {
	case len(missing) > 0 && found == 0:
		return snapshot.StatusUnreadable
	case len(missing) > 0:
		return snapshot.StatusPartial
	case found == 0 && absent > 0:
		return snapshot.StatusAbsent
	}
	return snapshot.StatusOK
}

// settle moves a collector's section into the document, and only that one. A collector without a section is a mistake
// that shows in its account.
func settle(doc, own *snapshot.Document, account snapshot.Collector) snapshot.Collector {
	switch account.Name {
	case "kernel":
		doc.Kernel = own.Kernel
	case "sysctl":
		doc.Sysctl = own.Sysctl
	case "iptables":
		doc.IPTables = own.IPTables
	case "nftables":
		doc.NFTables = own.NFTables
	case "conntrack":
		doc.Conntrack = own.Conntrack
	case "topology":
		doc.Topology = own.Topology
	default:
		account.Status = snapshot.StatusUnreadable
		account.Missing = append(account.Missing, snapshot.Missing{What: account.Name, Why: "the document has no such section"})
	}
	return account
}
