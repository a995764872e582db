package fleet

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// StartPerCore is with how many hosts a core an adapting run begins: a login costs milliseconds of processor time here, and a
// hundred of waiting.
const StartPerCore = 16

const (
	maxForks     = 1024
	filesAHost   = 4                      // a connection, a spooled answer, and what a lookup or a ProxyCommand takes
	filesKept    = 64                     // for the journal, outputs, agents and the runtime
	window       = 500 * time.Millisecond // at least: a window also lasts until as many hosts as there are slots have ended
	better       = 1.1                    // the throughput that more slots have to bring to be kept
	restWindows  = 6                      // windows at a limit that was found best, before more is tried again
	growNumer    = 3                      // a step up is by a half
	growDenom    = 2
	shrinkFactor = 2
)

// limiter hands out slots. With a fixed limit it is a semaphore; else it looks for the limit with the most hosts a second: as long as
// a step up by a half brings a tenth more, it goes on; a step that brought nothing is taken back, and tried again later, since nodes
// and networks differ along the inventory. An error that says that this machine has run out of something halves the limit.
type limiter struct {
	now   func() time.Time
	fixed bool
	least int
	most  int

	mu      sync.Mutex
	changed *sync.Cond
	limit   int
	running int

	begun  time.Time // of the window
	ended  int       // hosts in it
	full   bool      // all slots were taken at some time in it
	before float64   // hosts a second before the last step up; 0: no step is being tried
	prior  int       // the limit before that step
	rest   int       // windows to wait before the next step up
	shrunk time.Time // when something ran out last
}

func newLimiter(forks int) *limiter {
	cores := runtime.GOMAXPROCS(0)
	l := &limiter{now: time.Now, least: cores, most: mostForks()}
	l.limit = min(StartPerCore*cores, l.most)
	if forks > 0 {
		l.fixed, l.limit = true, forks
	}
	l.changed = sync.NewCond(&l.mu)
	l.begun = l.now()
	return l
}

// mostForks is what the limit of open files allows.
func mostForks() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Cur > maxForks*filesAHost+filesKept {
		return maxForks
	}
	return max(1, (int(files.Cur)-filesKept)/filesAHost)
}

// acquire waits for a slot; left is how many hosts still want one. It returns false once ctx has ended.
func (l *limiter) acquire(ctx context.Context, left int) bool {
	defer context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running >= l.limit && ctx.Err() == nil {
		l.full = l.full || left > 1
		l.changed.Wait()
	}
	if ctx.Err() != nil {
		return false
	}
	l.running++
	return true
}

func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.ended++
	if !l.fixed {
		l.adapt()
	}
	l.changed.Broadcast()
}

// wait returns once no slot is taken.
func (l *limiter) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running > 0 {
		l.changed.Wait()
	}
}

// strained says that this machine ran out of something: it will not grow during a run.
func (l *limiter) strained() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fixed || l.now().Sub(l.shrunk) < window { // those begun before the last step back are still ending
		return
	}
	l.shrunk = l.now()
	l.set(l.limit / shrinkFactor)
	l.most = l.limit
	l.open(0)
}

func (l *limiter) adapt() {
	took := l.now().Sub(l.begun)
	// Before every slot has been used once, what ends was begun with the limit of before, and says nothing of this one.
	if took < window || l.ended < max(l.least, l.limit) {
		return
	}
	rate := float64(l.ended) / took.Seconds()
	switch {
	case l.before > 0 && rate < l.before*better: // nothing gained: the fewer connections, the better for everybody
		l.set(l.prior)
		l.open(restWindows)
	case l.rest > 0:
		l.open(l.rest - 1)
	case l.full:
		l.prior = l.limit
		l.set(l.limit * growNumer / growDenom)
		l.open(0)
		l.before = rate
	default:
		l.open(0)
	}
}

func (l *limiter) set(limit int) { l.limit = max(l.least, min(limit, l.most)) }

// open begins a window in which nothing is tried.
func (l *limiter) open(rest int) {
	l.begun, l.ended, l.full, l.before, l.rest = l.now(), 0, false, 0, rest
}

// exhausted reports whether this machine, and not the host, lacks something.
func exhausted(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL, unix.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
