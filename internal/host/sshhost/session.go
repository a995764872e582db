package sshhost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// remote is a command that runs on a node, natively or behind the system's ssh.
type remote struct {
	in    io.WriteCloser
	out   io.Reader
	errs  *tail
	close func()     // ends it, at any moment and any number of times
	wait  func() int // the exit status once the output has ended; -1: none came
	// lost explains, once the output has ended without a word, what the system's ssh complained about; nil: not it.
	lost func() *Error
	dial time.Duration // how long the system's ssh may take to connect
}

// lastWords is how long the end of standard error, and the status, may take behind that of the output; stderrKept is what is kept of
// standard error, its end; maxStderr bounds what is read of it.
const (
	lastWords  = 3 * time.Second
	stderrKept = 4 << 10
	maxStderr  = 4 << 20
)

// tail keeps the end of a stream.
type tail struct {
	mu   sync.Mutex
	kept []byte
	done chan struct{}
	over atomic.Bool // it was cut off
}

// follow reads until the end; one that does not end is cut off.
func follow(r io.Reader, cut func()) *tail {
	t := &tail{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		if n, _ := io.CopyBuffer(t, io.LimitReader(r, maxStderr), make([]byte, stderrKept)); n == maxStderr {
			t.over.Store(true)
			cut()
		}
	}()
	return t
}

// Write keeps the end.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p[max(0, len(p)-stderrKept):]...)
	if over := len(t.kept) - stderrKept; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// whole waits a moment for the end, which comes right after that of the output, if at all.
func (t *tail) whole() string {
	select {
	case <-t.done:
	case <-time.After(lastWords):
	}
	return t.text()
}

// openSession opens a session and runs the command in it. The answer to the request is not waited for: what is written to
// standard input goes out right behind it.
func openSession(ctx context.Context, conn *connection, command string, limit time.Duration) (*remote, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	hangUp := func() { conn.Close() }
	defer context.AfterFunc(limited, hangUp)()
	ch, requests, err := conn.OpenChannel("session", nil)
	if err == nil {
		_, err = ch.SendRequest("exec", false, ssh.Marshal(struct{ Command string }{command}))
	}
	if err != nil {
		hangUp()
		return nil, sessionError(limited, limit, err)
	}
	status := make(chan int, 1)
	go func() { status <- exitStatus(requests) }()
	return &remote{
		in: channelInput{ch}, out: ch, errs: follow(ch.Stderr(), hangUp), close: hangUp,
		wait: func() int {
			select {
			case s := <-status:
				return s
			case <-time.After(lastWords):
				return -1
			}
		},
	}, nil
}

func sessionError(ctx context.Context, limit time.Duration, err error) error {
	var open *ssh.OpenChannelError
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("no session: %w after %s", errTimeout, limit)
	case errors.As(err, &open):
		err = fmt.Errorf("the server opens no session: %s", printable(open.Message, 200))
	default:
		err = errors.New("the server hung up after the login")
	}
	return &Error{Stage: StageShell, Err: err, Hint: "Is the account locked, or may it do nothing but copy files or forward?"}
}

// channelInput is standard input: its end is not the end of the channel.
type channelInput struct{ ch ssh.Channel }

func (c channelInput) Write(p []byte) (int, error) { return c.ch.Write(p) }
func (c channelInput) Close() error                { return c.ch.CloseWrite() }

// exitStatus waits for the end of the command; -1: none was told, 128 and more: a signal.
func exitStatus(requests <-chan *ssh.Request) int {
	status := -1
	for r := range requests {
		switch {
		case r.Type == "exit-status" && len(r.Payload) >= 4:
			status = int(binary.BigEndian.Uint32(r.Payload))
		case r.Type == "exit-signal":
			status = 128
		case r.WantReply:
			_ = r.Reply(false, nil)
		}
	}
	return status
}
