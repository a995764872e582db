package lab

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Restorer loads iptables-legacy documents into one namespace through one restore process, which takes document after document
// on its standard input: to start it costs ten times as much as to load a ruleset. It is for one goroutine at a time.
//
// A document is loaded when a comment behind its last COMMIT has been echoed, which restore does under --verbose: restore reads
// line by line, ends at a commit that fails, and flushes its output with each comment (iptables/iptables-restore.c, 1.8).
type Restorer struct {
	ns      *Netns
	family  netfilter.Family
	process *restoring // nil: none runs
}

// restoring is a restore process.
type restoring struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr bytes.Buffer
	loaded bool // it has taken a document
}

const (
	restorePatience = 30 * time.Second // how long a document may take before its process is killed
	restoredMark    = "# the document ends here\n"
)

// Restorer makes one for a family, [netfilter.IP] or [netfilter.IP6]. Its process starts with the first document.
func (n *Netns) Restorer(family netfilter.Family) *Restorer { return &Restorer{ns: n, family: family} }

// Load is [Netns.Load] of [netfilter.Legacy]. A refused document ends the process, and is put to a new one: the line that its
// error names is then the document's own.
func (r *Restorer) Load(document string) error {
	// Of such a document the echo would not mean that it was committed.
	if !strings.HasSuffix(document, "\nCOMMIT\n") || strings.Contains(document, restoredMark) {
		return r.ns.Load(netfilter.Legacy, r.family, document)
	}
	for {
		if r.process == nil {
			if err := r.start(); err != nil {
				return err
			}
		}
		again := r.process.loaded
		err := r.put(document)
		if err == nil || !again {
			return err
		}
	}
}

// Close ends the process and waits for it.
func (r *Restorer) Close() error {
	p := r.process
	if r.process = nil; p == nil {
		return nil
	}
	return errors.Join(p.stdin.Close(), p.cmd.Wait())
}

func (r *Restorer) start() (err error) {
	p := &restoring{cmd: r.ns.Command(legacyRestore(r.family), "-w", "-v")}
	p.cmd.Stderr = &p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return errors.Join(err, p.stdin.Close())
	}
	p.stdout = bufio.NewReader(stdout)
	if err := r.ns.Start(p.cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.cmd, err)
	}
	r.process = p
	return nil
}

// put hands the document over and waits until it is loaded. When it is not, the process is gone.
func (r *Restorer) put(document string) error {
	p := r.process
	late := time.AfterFunc(restorePatience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	written := make(chan error, 1) // the echo of a long document fills its pipe before the document is read
	go func() {
		_, err := io.WriteString(p.stdin, document+restoredMark)
		written <- err
	}()
	if p.echoed(restoredMark) {
		p.loaded = true
		return <-written
	}
	r.process = nil
	err := cmp.Or(p.cmd.Wait(), errors.New("ended before the document did"))
	<-written // the pipe is closed by now
	return fmt.Errorf("%s: %w: %s", strings.Join(p.cmd.Args, " "), err, bytes.TrimSpace(p.stderr.Bytes()))
}

// echoed reads the output up to the line; false: there is no such line.
func (p *restoring) echoed(mark string) bool {
	for {
		line, err := p.stdout.ReadString('\n')
		if err != nil || line == mark {
			return err == nil
		}
	}
}
