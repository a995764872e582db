package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"time"
)

// Options say how a run goes.
type Options struct {
	// Forks is how many hosts are worked on at once. 0 adapts: it begins with [StartPerCore] a core and follows what is
	// measured (see limiter), between one a core and what the limit of open files allows.
	Forks int
	// Timeout is how long one host's work may take; 0: as long as it likes.
	Timeout time.Duration
	// Grace is how long a host's work may go on behind its timeout, or behind the end of the run, before its slot is taken
	// from it; 0: 5 s. Work should end by its context, and then nobody waits for the grace.
	Grace time.Duration
}

// Outcome is what came of one host.
type Outcome[T any] struct {
	Target Target
	Value  T     // when Err is nil
	Err    error // what the work said, a [TimeoutError] or a [PanicError]
	// Interrupted: the run ended before the work did, which says nothing about the host.
	Interrupted bool
	Took        time.Duration
}

// Work is done on one host.
type Work[T any] func(context.Context, Target) (T, error)

// TimeoutError is that a host's work took too long.
type TimeoutError struct {
	After time.Duration
	Err   error // what the work said about it
}

// Error says how long it was.
func (e *TimeoutError) Error() string { return fmt.Sprintf("no end after %s", e.After) }

// Unwrap is what the work said.
func (e *TimeoutError) Unwrap() error { return e.Err }

// PanicError is a mistake in the work that one host's data brought to light. It costs that host only.
type PanicError struct {
	Value any
	Stack []byte
}

// Error says what the mistake is, and leaves the stack to whoever wants it.
func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// Run does the work on every target and yields what came of each as it ends. Keep, when it is not nil, is told each outcome first, in
// the host's own slot, so that several may be kept at the same time; what it returns becomes the outcome's error.
//
// A slot is taken until its outcome was yielded: a slow reader of the sequence slows the run down, and memory stays bounded by the
// slots. Once ctx ends, or the reader stops, no host is begun any more, and the sequence ends when those begun have. Hosts that were not
// begun are not yielded.
func Run[T any](ctx context.Context, targets []Target, o Options, work Work[T], keep func(*Outcome[T]) error) iter.Seq[Outcome[T]] {
	if o.Grace <= 0 {
		o.Grace = 5 * time.Second
	}
	return func(yield func(Outcome[T]) bool) {
		ctx, cancel := context.WithCancel(ctx)
		r := &run[T]{o: o, work: work, keep: keep, slots: newLimiter(o.Forks), outcomes: make(chan Outcome[T])}
		go r.start(ctx, targets)
		defer func() { // also when the reader panics: nobody may be left waiting to hand over an outcome
			cancel()
			for range r.outcomes {
			}
		}()
		for out := range r.outcomes {
			if !yield(out) {
				return
			}
		}
	}
}

type run[T any] struct {
	o        Options
	work     Work[T]
	keep     func(*Outcome[T]) error
	slots    *limiter
	outcomes chan Outcome[T]
}

// start begins one host after the other as slots come free, and closes the outcomes behind the last one.
func (r *run[T]) start(ctx context.Context, targets []Target) {
	for i, t := range targets {
		if !r.slots.acquire(ctx, len(targets)-i) {
			break
		}
		go func() {
			out := r.one(ctx, t)
			r.outcomes <- out
			r.slots.release()
		}()
	}
	r.slots.wait()
	close(r.outcomes)
}

// one is a host from its begin to its end.
func (r *run[T]) one(ctx context.Context, t Target) Outcome[T] {
	begun := time.Now()
	own, cancel := ctx, context.CancelFunc(func() {})
	if r.o.Timeout > 0 {
		own, cancel = context.WithTimeout(ctx, r.o.Timeout)
	}
	defer cancel()
	out := r.persistent(own, t)
	out.Took = time.Since(begun)
	switch {
	case out.Err == nil:
	case ctx.Err() != nil:
		out.Interrupted = true
	case own.Err() != nil && isDeadline(out.Err):
		out.Err = &TimeoutError{r.o.Timeout, out.Err}
	}
	if r.keep != nil {
		if err := r.keep(&out); err != nil {
			out.Err = err
		}
	}
	return out
}

const (
	tries = 4                      // at a host, while this machine lacks something
	pause = 500 * time.Millisecond // behind the first; then twice as long each
)

// persistent tries again where it was this machine that lacked something (files, ports, memory), which says nothing about the host:
// with fewer hosts at once there may be enough.
func (r *run[T]) persistent(ctx context.Context, t Target) Outcome[T] {
	for try := range tries - 1 {
		out := r.guarded(ctx, t)
		if !exhausted(out.Err) {
			return out
		}
		r.slots.strained()
		select {
		case <-time.After(pause << try):
		case <-ctx.Done():
			return out
		}
	}
	return r.guarded(ctx, t)
}

// isDeadline reports whether work ended for want of time, and not for a reason of its own that came first.
func isDeadline(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout()
}

// guarded does the work in a goroutine of its own, which is left behind if it does not heed its context: one stuck host must not
// hold up the run. What it says afterwards is heard by nobody.
func (r *run[T]) guarded(ctx context.Context, t Target) Outcome[T] {
	done := make(chan Outcome[T], 1)
	go func() {
		out := Outcome[T]{Target: t}
		defer func() {
			if v := recover(); v != nil {
				out.Err = &PanicError{v, debug.Stack()}
			}
			done <- out
		}()
		out.Value, out.Err = r.work(ctx, t)
	}()
	select {
	case out := <-done:
		return out
	case <-ctx.Done():
	}
	grace := time.NewTimer(r.o.Grace)
	defer grace.Stop()
	select {
	case out := <-done:
		return out
	case <-grace.C:
		return Outcome[T]{Target: t, Err: ctx.Err()}
	}
}
