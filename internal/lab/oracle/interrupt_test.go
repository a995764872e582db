package oracle_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

var interrupts = flag.Int("oracle.interrupts", 5, "how often to interrupt a run of the oracle")

// An oracle that is interrupted at any moment leaves no process, file, link or namespace. A namespace without a name lives
// in a process or in a mount, so the processes and the mounts are looked at.
func TestInterruptedRunsLeaveNothing(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	if *recordFile != "" {
		t.Skip("recording")
	}
	held := 0
	for i := range *interrupts {
		signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
		r := interrupted{dir: t.TempDir(), mark: fmt.Sprintf("CTAUDIT_ORACLE_RUN=%d-%d", os.Getpid(), i)}
		if err := r.run(signal, time.Duration(rand.IntN(1200))*time.Millisecond); err != nil {
			t.Errorf("run %d, %s: %v", i, signal, err)
		}
		held += len(r.namespaces)
	}
	t.Logf("%d namespaces were there when the signals came", held)
	if held == 0 {
		t.Error("no run had come as far as to make a namespace")
	}
}

// interrupted is a run of this test binary that is sent a signal.
type interrupted struct {
	dir        string // its TMPDIR
	mark       string // in the environment of all its processes
	namespaces []string
}

func (r *interrupted) run(signal syscall.Signal, after time.Duration) error {
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestRandomRulesetsAgreeWithTheKernel$", "-oracle.duration", "1h", "-oracle.workers", "4")
	cmd.Env = append(os.Environ(), r.mark, "TMPDIR="+r.dir)
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(after) // the moment is to be any; nothing is waited for
	r.namespaces = namespacesOf(cmd.Process.Pid)
	if err := cmd.Process.Signal(signal); err != nil {
		return err
	}
	_ = cmd.Wait() // it died of the signal
	if state := cmd.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() || state.Signal() != signal {
		return fmt.Errorf("it did not die of it: %s", cmd.ProcessState)
	}
	return r.left(before)
}

// namespacesOf lists the network namespaces that a process holds: "net:[4026532281]".
func namespacesOf(pid int) (list []string) {
	own, _ := os.Readlink("/proc/self/ns/net")
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "net:[") && to != own && !slices.Contains(list, to) {
			list = append(list, to)
		}
	}
	return list
}

// left says what is still there. A program that was being run may end its work: it is given a moment.
func (r *interrupted) left(mounts []byte) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		processes := r.processes()
		if len(processes) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes are left: %s", processes)
		}
	}
	if files, err := os.ReadDir(r.dir); err != nil || len(files) > 0 {
		return fmt.Errorf("files are left: %v, %v", files, err)
	}
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		if slices.Contains([]string{"u0", "u1", "p0", "p1"}, l.Name) {
			return fmt.Errorf("link %s is left", l.Name)
		}
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(after) {
		for _, ns := range r.namespaces {
			if bytes.Contains(line, []byte(ns)) && !bytes.Contains(mounts, line) {
				return fmt.Errorf("a namespace is left in a mount: %s", line)
			}
		}
	}
	return nil
}

// processes lists those that have the mark in their environment.
func (r *interrupted) processes() (list []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range all {
		env, err := os.ReadFile(file)
		if err == nil && slices.Contains(strings.Split(string(env), "\x00"), r.mark) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			list = append(list, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return list
}
