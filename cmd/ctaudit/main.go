// Command ctaudit audits how a node treats TCP segments that conntrack calls INVALID: whether they make the node reset its
// containers' connections, which rule decides, and what to do about it.
//
// The command line is the only place where the stages meet: collect -> snapshot -> facts -> policy -> report -> render.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "dev"

// gcPercent makes the heap of a node of a hundred thousand rules grow by three quarters instead of doubling between two
// collections: that costs nothing measurable on an ordinary node (docs/performance.md). $GOGC goes before it.
const gcPercent = 75

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signalContext(context.Background())
	defer stop()
	err := run(ctx, os.Args[1:], os.Environ(), streams{os.Stdin, os.Stdout, os.Stderr})
	os.Exit(exitCode(ctx, err, os.Stderr))
}

// streams are what a command reads and writes: data goes to out, talk to err.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// The exit codes (README.md); the same for every format.
const (
	exitFindings   = 1
	exitUsage      = 2
	exitIncomplete = 3
	exitDiffers    = 4   // prove: the kernel did something else than was foretold
	exitInterrupt  = 130 // 128 + SIGINT
	exitTerminate  = 143 // 128 + SIGTERM
)

// exitError carries an exit code and why; an empty reason was said already.
type exitError struct {
	code   int
	reason string
}

func (e *exitError) Error() string { return e.reason }

// writeError is that something could not be written: the audit was made, and somebody does not get it.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

func unwritten(err error) error {
	if err == nil {
		return nil
	}
	return &writeError{err}
}

// hintError is an error with advice for a line of its own.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

const againHint = "make room there, or name another file, and run it again"

// noRoom adds what to do to an error of a full disk, or of one that takes no more for this user.
func noRoom(err error, hint string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return withHint(err, hint)
	}
	return err
}

func withHint(err error, hint string) error { return &hintError{err, hint} }

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ sig os.Signal }

func (i interrupted) Error() string { return "interrupted by " + i.sig.String() }

func signalContext(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		if sig, ok := <-ch; ok {
			cancel(interrupted{sig})
			signal.Stop(ch) // a second signal ends the process at once
		}
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil) }
}

// exitCode prints why a run ended other than well, and returns its exit code. What is neither a finding nor an incomplete audit
// kept the audit from happening: a usage error.
func exitCode(ctx context.Context, err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	var i interrupted
	if errors.As(context.Cause(ctx), &i) && errors.Is(err, context.Canceled) { // a signal that came too late changes nothing
		fmt.Fprintf(stderr, "ctaudit: %v: no file was written\n", i)
		if i.sig == syscall.SIGTERM {
			return exitTerminate
		}
		return exitInterrupt
	}
	unwritten := writeErrors(err)
	for _, w := range unwritten {
		fmt.Fprintf(stderr, "ctaudit: %s\n", strings.ReplaceAll(w.Error(), "\n", "\nctaudit: "))
		sayHint(w, stderr)
	}
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.reason != "" {
			fmt.Fprintf(stderr, "%s\n", exit.reason)
		}
		return exit.code
	}
	if len(unwritten) > 0 {
		fmt.Fprintln(stderr, "exit 3: not everything was written")
		return exitIncomplete
	}
	fmt.Fprintf(stderr, "ctaudit: %v\n", err)
	sayHint(err, stderr)
	return exitUsage
}

// writeErrors are all those that an error is made of.
func writeErrors(err error) []*writeError {
	switch e := err.(type) {
	case *writeError:
		return []*writeError{e}
	case interface{ Unwrap() []error }:
		var all []*writeError
		for _, one := range e.Unwrap() {
			all = append(all, writeErrors(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return writeErrors(e.Unwrap())
	}
	return nil
}

func sayHint(err error, stderr io.Writer) {
	var hint *hintError
	if errors.As(err, &hint) {
		fmt.Fprintf(stderr, "hint: %s\n", hint.hint)
	}
}
