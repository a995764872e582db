package sshhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/served"
)

// maxNoise bounds what a login may print before the shell is there, in bytes.
const maxNoise = 256 << 10

// talk is what is said with one shell.
type talk struct {
	client *Client
	sh     *remote
	nonce  string
	become Become
	user   string      // the login
	silent atomic.Bool // the shell was given up because it said nothing
	noise  []byte      // the end of what came before the greeting
}

// evidence sends the script and takes the answer, in whichever way the node gives it.
func (k *talk) evidence(ctx context.Context, asked *asked) (*host.Evidence, error) {
	room, _ := asked.rooms.Get().(*[]byte)
	if room == nil {
		room = new([]byte)
	}
	*room = asked.script((*room)[:0], k.nonce)
	out, err := k.begin(ctx, *room, k.client.opts.Reader != Push)
	asked.rooms.Put(room)
	if err != nil {
		return nil, err
	}
	if k.client.opts.Reader == Push {
		if err := k.push(ctx, out); err != nil {
			return nil, err
		}
	}
	ev, err := k.answer(ctx, out, asked)
	if err != nil {
		return nil, k.broken(ctx, err)
	}
	return ev, nil
}

func (k *talk) answer(ctx context.Context, out *bufio.Reader, asked *asked) (*host.Evidence, error) {
	limit := k.client.opts.MaxOutput
	answer := k.client.weigh(ctx, out)
	defer answer.done()
	marker := []byte(served.Marker(k.nonce))
	if head, err := out.Peek(len(marker)); bytes.Equal(head, marker) {
		_, _ = out.Discard(len(marker))
		return served.Read(ctx, answer, asked.req, limit)
	} else if len(head) == 0 && err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	if k.client.opts.Reader == Push {
		line, _ := out.Peek(min(200, out.Buffered()))
		return nil, fmt.Errorf("the collector's answer begins with %q", lastLine(string(line)))
	}
	if k.client.read != nil {
		return k.client.read(answer, asked.req, k.nonce, limit)
	}
	return asked.plan.Read(answer, k.nonce, limit)
}

// begin writes the script and waits for the greeting.
func (k *talk) begin(ctx context.Context, script []byte, end bool) (*bufio.Reader, error) {
	timer := time.AfterFunc(k.greetTime(), func() {
		k.silent.Store(true)
		k.sh.close()
	})
	defer timer.Stop()
	_, err := k.sh.in.Write(script)
	if err == nil && end {
		err = k.sh.in.Close()
	}
	_ = err                          // a shell that hangs up says more on its output
	out := bufio.NewReader(k.sh.out) // small: whoever reads the answer has a larger one
	if err := k.greeting(out); err != nil {
		return nil, k.noShell(ctx, err)
	}
	return out, nil
}

var errFlood = fmt.Errorf("more than %d bytes on standard error", maxStderr)

var errNoise = errors.New("noise without end")

// greeting reads up to the line with which the shell says that it is there. What the login printed before is skipped.
func (k *talk) greeting(out *bufio.Reader) error {
	want := []byte(greeting(k.nonce))
	for seen, fresh := 0, true; seen < maxNoise; {
		line, err := out.ReadSlice('\n')
		if fresh && bytes.Equal(line, want) {
			return nil
		}
		seen += len(line)
		fresh = err == nil // else the line goes on
		if len(bytes.TrimSpace(line)) > 0 {
			k.noise = append(k.noise[:0], line[:min(len(line), 200)]...)
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
	return errNoise
}

// noShell explains why there was no greeting.
func (k *talk) noShell(ctx context.Context, err error) error {
	if ctx.Err() != nil && context.Cause(ctx) != ctx.Err() {
		return &Error{Stage: k.stage(), Err: context.Cause(ctx)}
	}
	if k.silent.Load() {
		stage := k.stage()
		if k.system() {
			stage = StageLogin // or before it: ssh does not say
		}
		return &Error{Stage: stage, Err: fmt.Errorf("%w: no shell answered in %s%s", errTimeout, k.greetTime(), k.heard())}
	}
	if errors.Is(err, errNoise) {
		k.sh.close()
		return &Error{Stage: k.stage(), Err: fmt.Errorf("no shell, but more than %d bytes of output%s", maxNoise, k.heard())}
	}
	stderr := k.sh.errs.whole()
	status := k.sh.wait()
	if k.sh.lost != nil {
		if e := k.sh.lost(); e != nil {
			return e
		}
	}
	if k.sh.errs.over.Load() {
		return &Error{Stage: k.stage(), Err: fmt.Errorf("no shell, but %w; it says %s", errFlood, quoted(stderr))}
	}
	said := lastLine(stderr)
	if said == "" {
		said = strings.TrimPrefix(k.heard(), "; ")
	}
	e := &Error{Stage: k.stage(), Err: fmt.Errorf("no POSIX shell%s: %s", exited(status), said)}
	if said == "" {
		e.Err = fmt.Errorf("no POSIX shell%s", exited(status))
	}
	e.Hint = k.hint(status)
	if e.Stage == StageBecome && said != "" {
		e.Err = errors.New(said)
	}
	return e
}

// system says whether the system's ssh is between us and the node.
func (k *talk) system() bool { return k.sh.lost != nil }

// greetTime is how long a shell may take to say its first word. The system's ssh has to dial and log in before that.
func (k *talk) greetTime() time.Duration {
	if k.system() {
		return k.sh.dial + k.client.opts.Login
	}
	return k.client.opts.Login
}

func exited(status int) string {
	if status < 0 {
		return ""
	}
	return fmt.Sprintf(" (exit status %d)", status)
}

// heard is what came in place of the greeting.
func (k *talk) heard() string {
	if text := lastLine(string(k.noise)); text != "" {
		return "; it says " + quoted(text)
	}
	return ""
}

func (k *talk) stage() Stage {
	if k.become.Method != "" {
		return StageBecome
	}
	return StageShell
}

func (k *talk) hint(status int) string {
	user := k.become.User
	if user == "" {
		user = "root"
	}
	switch {
	case k.become.Method != "" && status == 127:
		return k.become.Method + " is not installed there, or not in the login's PATH."
	case k.become.Method == "sudo":
		return "sudo must not ask for a password. The line for sudoers: " + probe.Sudoers(printable(k.user, 60), k.become.User)
	case k.become.Method == "doas":
		return fmt.Sprintf("doas must not ask for a password. The line for doas.conf: permit nopass %s as %s cmd sh args -s", printable(k.user, 60), user)
	case k.become.Method == "su":
		return "Log in as root, or use sudo or doas."
	}
	return "The login must be allowed to run sh: no nologin shell, no command bound to its key, no ForceCommand."
}

// broken is a failure behind the greeting.
func (k *talk) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &Error{Stage: StageRead, Err: context.Cause(ctx)}
	}
	e := &Error{Stage: StageRead, Err: errors.New(printable(err.Error(), 400))}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, probe.ErrCut) {
		stderr := k.sh.errs.whole()
		if k.sh.errs.over.Load() {
			e.Err = fmt.Errorf("%w; it says %s", errFlood, quoted(stderr))
			return e
		}
		e.Err = fmt.Errorf("the answer ends early%s", exited(k.sh.wait()))
		if said := lastLine(stderr); said != "" {
			e.Err = fmt.Errorf("%w: %s", e.Err, said)
		}
	}
	return e
}
