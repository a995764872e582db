package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// floods are hosts that send what has no end, each in a place of its own.
func floods() []fault {
	all := []fault{
		{name: "own-exposed", hosts: 8, serve: func(c *chaos) (int, string) { return c.stub(c.ownExposed.Canned, "") }, answer: "exposed"},
		{name: "bomb-of-files", hosts: 3, serve: bombed(probeMarker, files), stage: "read", words: `too long`},
		{name: "own-bomb", hosts: 3, serve: bombed(ownMarker, func(*chaos, string) (begin, repeated []byte) { return nil, bytes.Repeat([]byte("x"), 1<<10) }), stage: "read", words: `too long`},
	}
	for _, f := range append(shells(), answers()...) {
		if strings.HasPrefix(f.name, "zeros") || strings.HasPrefix(f.name, "stderr") || strings.HasPrefix(f.name, "bomb") {
			f.hosts = 8
			all = append(all, f)
		}
	}
	return all
}

// TestChaosMemory: what hosts send without end costs the time to see it, and memory for the two that may be heavy at a time, not for
// each: the six bombs alone unpack to 256 MiB each. The bound is that of two, as a buffer that doubles and a heap that doubles hold
// them, with the slots' own 32 MiB (measured: 940 MiB).
func TestChaosMemory(t *testing.T) {
	labtest.Require(t, "root", "netns", "ssh")
	c := newChaos(t)
	names := c.inventory(floods())
	cmd := exec.Command(filepath.Join(ownProgram(t), "ctaudit"), append(c.args(), "-q", "--forks", "32", "-o", "json="+c.dir+"/json")...)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if exitOf(err) != exitFindings {
		t.Errorf("%v: %s", err, out)
	}
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	t.Logf("%d hosts in %s; %d MiB resident; %d MiB of floods taken", len(names), time.Since(begun), usage.Maxrss>>10, c.sent.Load()>>20)
	c.checkHosts(names)
	if usage.Maxrss > 1536<<10 {
		t.Errorf("%d MiB resident", usage.Maxrss>>10)
	}
}

// TestChaosTimeout: hosts that hang are cut off by --timeout alone, and the report says how far each came.
func TestChaosTimeout(t *testing.T) {
	labtest.Require(t, "root", "netns", "ssh")
	c := newChaos(t)
	var hanging []fault
	for _, f := range faults() {
		if f.hung != ends {
			f.hosts, f.words = 1, "^no end after 2s$|^timed out"
			hanging = append(hanging, f)
		}
	}
	names := c.inventory(hanging)
	begun := time.Now()
	o := ctaudit(t, append(c.args(), "-q", "--timeout", "2s", "--forks", "4", "-o", "json="+c.dir+"/json")...)
	if o.code != exitIncomplete {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	if took, most := time.Since(begun), time.Duration(len(names)/4+1)*2*time.Second+5*time.Second; took > most {
		t.Errorf("took %s, want %s at most", took, most)
	}
	c.checkHosts(names)
}
