package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/ctaudit/ctaudit/internal/report"
)

// progress tells people how a run goes: one line that is written over on a terminal, and in a log a line for every tenth of the hosts,
// at most one every few seconds.
type progress struct {
	w        io.Writer
	terminal bool
	quiet    bool
	now      func() time.Time

	mu          sync.Mutex
	begun       time.Time
	said        time.Time
	all         int
	before      int // done by an earlier run
	done        int
	tenth       int // of the hosts, that was said
	failing     int
	unreachable int
	width       int // of the line that stands there
	closed      chan struct{}
	ticked      sync.WaitGroup
}

const (
	redraw   = 200 * time.Millisecond
	logPause = 5 * time.Second
)

func (a *app) newProgress(all, before int) *progress {
	f, ok := a.err.(*os.File)
	p := &progress{
		w: a.err, terminal: ok && term.IsTerminal(int(f.Fd())), quiet: a.quiet, now: time.Now, all: all, before: before, done: before,
		closed: make(chan struct{}),
	}
	p.begun = p.now()
	p.said = p.begun
	if p.terminal && !p.quiet {
		p.ticked.Go(p.tick)
	}
	return p
}

// tick keeps the line fresh while no host ends.
func (p *progress) tick() {
	t := time.NewTicker(redraw)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		case <-p.closed:
			return
		}
	}
}

// host counts one that ended.
func (p *progress) host(h *report.Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if h.Status == report.HostError {
		p.unreachable++
	}
	for i := range h.Results {
		if h.Results[i].Outcome == report.Fail {
			p.failing++
			break
		}
	}
	tenth := p.done * 10 / p.all
	if !p.terminal && !p.quiet && tenth > p.tenth && p.done < p.all && p.now().Sub(p.said) >= logPause {
		p.tenth, p.said = tenth, p.now()
		fmt.Fprintln(p.w, p.line())
	}
}

func (p *progress) line() string {
	s := fmt.Sprintf("%d of %s done", p.done, count(p.all, "host"))
	if p.failing > 0 {
		s += fmt.Sprintf(", %d with findings", p.failing)
	}
	if p.unreachable > 0 {
		s += fmt.Sprintf(", %d not audited", p.unreachable)
	}
	took := p.now().Sub(p.begun).Seconds()
	if here := p.done - p.before; here > 0 && took > 0 {
		rate := float64(here) / took
		s += fmt.Sprintf(", %.1f/s", rate)
		if left := p.all - p.done; left > 0 {
			s += fmt.Sprintf(", %s left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	return s
}

func (p *progress) draw() {
	s := p.line()
	fmt.Fprintf(p.w, "\r%s\x1b[K", s)
	p.width = len(s)
}

// end takes the line away.
func (p *progress) end() {
	close(p.closed)
	p.ticked.Wait()
	if p.width > 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
