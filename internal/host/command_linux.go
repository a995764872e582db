package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	commandTimeout = 30 * time.Second
	stderrKept     = 8 << 10
	pipeSize       = 1 << 20 // the most that an unprivileged process may ask for; fewer switches on 16 MB of rules
)

// environment is all that a command sees. XTABLES_LOCKFILE is passed on, because it names the lock to wait for.
func environment(dirs []string) []string {
	env := []string{"PATH=" + strings.Join(dirs, ":"), "LC_ALL=C"}
	if lock, ok := os.LookupEnv("XTABLES_LOCKFILE"); ok {
		env = append(env, "XTABLES_LOCKFILE="+lock)
	}
	return env
}

// process is a command that runs: the read ends of its pipes, and the group to end with it.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File
}

// startCommand starts argv on the calling thread, so that it inherits that thread's namespace.
func startCommand(argv []string, m *modules) (*process, error) {
	dirs := searchPath()
	name, file, err := findProgram(argv[0], dirs, m)
	if err != nil {
		return nil, err
	}
	// Programs with many names look at the first argument for the name they were called by.
	argv = append([]string{name}, argv[1:]...)
	p := &process{cmd: &exec.Cmd{Path: file, Args: argv, Env: environment(dirs), Dir: "/", SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}}
	var outW, errW *os.File
	if p.stdout, outW, err = os.Pipe(); err != nil {
		return nil, err
	}
	defer outW.Close()
	if p.stderr, errW, err = os.Pipe(); err != nil {
		p.stdout.Close()
		return nil, err
	}
	defer errW.Close()
	// A smaller pipe only costs time, so a refusal is no error.
	_, _ = unix.FcntlInt(outW.Fd(), unix.F_SETPIPE_SZ, pipeSize)
	p.cmd.Stdout, p.cmd.Stderr = outW, errW
	if err := p.cmd.Start(); err != nil {
		p.stdout.Close()
		p.stderr.Close()
		return nil, err
	}
	return p, nil
}

// finish reads the output up to limit bytes and waits for the end, at most commandTimeout.
func (p *process) finish(ctx context.Context, limit int64) *Answer {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	kill := func() { _ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL) }
	stop := context.AfterFunc(ctx, kill)
	tail := make(chan string, 1)
	go func() { tail <- readTail(p.stderr) }()

	a := &Answer{}
	var out spool
	defer out.drop()
	err := readOutput(p.stdout, &out, limit)
	if err != nil || int64(out.size) > limit {
		kill()
	}
	p.stdout.Close()
	a.Stderr = <-tail
	p.stderr.Close()
	waited := p.cmd.Wait()
	stop()
	if a.Truncated = int64(out.size) > limit; a.Truncated {
		out.cut(int(limit))
	}
	a.Data = out.take()
	a.outcome(ctx, p.cmd, errors.Join(err, waited))
	return a
}

// outcome says how the command ended.
func (a *Answer) outcome(ctx context.Context, cmd *exec.Cmd, err error) {
	a.Exit = cmd.ProcessState.ExitCode()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		a.Err = fmt.Sprintf("timed out after %s", commandTimeout)
	case ctx.Err() != nil:
		a.Err = "interrupted"
	case a.Truncated, err == nil:
	default:
		a.Err = strings.TrimSpace(strings.ReplaceAll(err.Error(), "\n", "; "))
		if last := lastLine(a.Stderr); last != "" {
			a.Err += ": " + last
		}
		a.Denied = saysDenied(a.Stderr)
	}
}

// readOutput reads to the end, or until more than limit bytes came.
func readOutput(r io.Reader, out *spool, limit int64) error {
	for int64(out.size) <= limit {
		p, err := out.space(64 << 10)
		if err != nil {
			return err
		}
		n, err := r.Read(p)
		out.grow(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readTail reads to the end and returns the last stderrKept bytes.
func readTail(r io.Reader) string {
	var kept []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		kept = append(kept, buf[:n]...)
		if len(kept) > 2*stderrKept {
			kept = append(kept[:0], kept[len(kept)-stderrKept:]...)
		}
		if err != nil {
			return string(kept[max(0, len(kept)-stderrKept):])
		}
	}
}
