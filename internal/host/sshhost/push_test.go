package sshhost_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// pushed is a collector on its way: what the node's shell reads.
type pushed struct {
	shell   []string
	path    string // PATH
	program string
	bytes   int // how much of it arrives
	open    bool
	seconds string // how long it may take
}

// run gives the shell what it would get from Push, and returns its exit status and what it printed behind the greeting.
func (p pushed) run(t *testing.T) (int, string) {
	t.Helper()
	script, err := sshhost.Script(sshhost.Push, host.Request{}, fmt.Sprintf("%032x", time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	if p.seconds != "" {
		script = bytes.ReplaceAll(script, []byte("timeout 900"), []byte("timeout "+p.seconds))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.shell[0], append(p.shell[1:], "-s")...)
	cmd.Env = []string{"PATH=" + p.path, "HOME=" + t.TempDir()}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := p.send(t, script, in, bufio.NewReader(out))
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), said
}

// send writes the script, and the program once it is asked for.
func (p pushed) send(t *testing.T, script []byte, in io.WriteCloser, out *bufio.Reader) (said string) {
	t.Helper()
	if _, err := in.Write(script); err != nil {
		t.Fatal(err)
	}
	for line := ""; !strings.HasPrefix(line, "ctaudit-machine "); {
		var err error
		if line, err = out.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(in, "%x %d\n%s", sha256.Sum256([]byte(p.program)), len(p.program), p.program[:p.bytes])
	if !p.open {
		in.Close()
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(rest)
}

// TestPushedProgram: in every shell a whole program runs, from a file that has no name; one that was cut does not, also where
// nothing can tell its sum; and one that does not come is not waited for without end.
func TestPushedProgram(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "root", "busybox")
	few := t.TempDir() // the programs without which there is no system
	for _, name := range []string{"cat", "chmod", "mkdir", "rm", "sh", "uname", "wc"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(few, name)); err != nil {
			t.Fatal(err)
		}
	}
	// readlink's own descriptor 9 is the one that the shell opened.
	program := "#!/bin/sh\necho runs from $(readlink /proc/self/fd/9)\n"
	for _, shell := range [][]string{{"/bin/dash"}, {"/bin/bash"}, {"/bin/busybox", "sh"}} {
		p := pushed{shell: shell, path: "/usr/bin:/bin", program: program, bytes: len(program)}
		if code, out := p.run(t); code != 0 || !strings.HasPrefix(out, "runs from /") || !strings.HasSuffix(out, "(deleted)\n") {
			t.Errorf("%v: exit status %d: %s", shell, code, out)
		}
		for _, path := range []string{"/usr/bin:/bin", few} {
			p.path, p.bytes = path, len(program)-1
			if code, out := p.run(t); code != 94 || out != "the collector did not arrive whole\n" {
				t.Errorf("%v, cut, in %s: exit status %d: %s", shell, path, code, out)
			}
		}
		if shell[0] == "/bin/busybox" {
			continue // its timeout is of no use here
		}
		p.path, p.open, p.seconds = "/usr/bin:/bin", true, "0.2"
		if code, out := p.run(t); code != 93 || out != "" {
			t.Errorf("%v, without an end: exit status %d: %s", shell, code, out)
		}
	}
}
