package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// opens reads a document as scan --snapshot does.
func opens(text []byte) error {
	s := source{}
	_, err := s.open(context.Background(), "-", bytes.NewReader(text))
	return err
}

// TestSnapshotCutAnywhere: a document that lost its end is refused wherever it was cut.
func TestSnapshotCutAnywhere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/snapshots/docker.json")
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.TrimSpace(text)
	step := max(1, len(whole)/4000)
	for i := 0; i < len(whole); i += step {
		if err := opens(whole[:i]); err == nil || err.Error() == "" {
			t.Fatalf("cut behind %d of %d bytes: %v", i, len(whole), err)
		}
	}
	if err := opens(text); err != nil {
		t.Errorf("whole: %v", err)
	}
}

// TestSnapshotDamaged: wrong bytes in the middle are refused or change a value; nothing panics.
func TestSnapshotDamaged(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/snapshots/docker.json")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		damaged := bytes.Clone(text)
		for range 1 + random.IntN(4) {
			damaged[random.IntN(len(damaged))] = "\x00{}[]\",:0-\xff\\"[random.IntN(12)]
		}
		_ = opens(damaged)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"deep":          {`{"version": 1, "tool": ` + strings.Repeat("[", 5_000_000), "exceeded max depth"},
		"deep objects":  {strings.Repeat(`{"a":`, 2_000_000), "exceeded max depth"},
		"long text":     {`{"version": 1, "tool": "` + strings.Repeat("x", 10<<20) + `"}`, "a string of"},
		"gzip":          {"\x1f\x8b\x08", "gzip -dc"},
		"UTF-16":        {"\xff\xfe{\x00", "convert it to UTF-8"},
		"a list":        {"[]", "a list where an object is expected"},
		"huge number":   {`{"version": 1e999}`, "/version"},
		"two documents": {string(text) + string(text), "after top-level value"},
	} {
		if err := opens([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %.200v, want %q", name, err, tt.want)
		}
	}
}

// TestRecordingDamaged: a recording that was cut or edited is refused, or is another whole recording; nothing panics.
func TestRecordingDamaged(t *testing.T) {
	n := newTestNode(t)
	n.load(netfilter.IPTablesNFT, scenarios[1])
	file := filepath.Join(t.TempDir(), "node.txtar")
	if o := ctaudit(t, "collect", "--netns", n.router.Path(), "--record", file); o.code != 0 {
		t.Fatal(o.stderr)
	}
	text, err := os.ReadFile(file)
	n.must(err)
	if err := opens(text); err != nil {
		t.Fatalf("whole: %v", err)
	}
	for i := 0; i < len(text)-1; i += max(1, len(text)/300) {
		if err := opens(text[:i]); err == nil {
			t.Fatalf("cut behind %d of %d bytes and accepted", i, len(text))
		}
	}
	first := bytes.Index(text, []byte("-- 0001/"))
	second := bytes.Index(text, []byte("-- 0002/"))
	twice := append(bytes.Clone(text[:second]), text[first:]...)
	inBase64 := regexpReplace(text, ".base64 --\n", ".base64 --\n*not base64*\n")
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"a section twice": {twice, "section"},
		"bad base64":      {inBase64, "illegal base64 data"},
		"other version":   {regexpReplace(text, "ctaudit recording 1", "ctaudit recording 7"), `version "7" of the format is unknown`},
		"behind the end":  {append(bytes.Clone(text), "-- more --\n"...), "behind the end"},
	} {
		if err := opens(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %.200v, want %q", name, err, tt.want)
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 40 {
		damaged := bytes.Clone(text)
		for range 20 {
			damaged[random.IntN(len(damaged))] = byte(random.IntN(256))
		}
		_ = opens(damaged)
	}
}

func regexpReplace(text []byte, old, with string) []byte {
	return bytes.Replace(text, []byte(old), []byte(with), 1)
}

// TestEndlessPipe: a pipe that never ends is read up to the limit, one that never begins until the signal.
func TestEndlessPipe(t *testing.T) {
	labtest.Require(t, "root")
	bin := program(t)
	for name, tt := range map[string]struct {
		writer string
		code   int
		want   string
	}{
		"zeros":        {"cat /dev/zero", exitUsage, "this is no snapshot"},
		"silent":       {"sleep 60", exitInterrupt, "interrupted"},
		"spaces":       {"yes ''", exitUsage, "nothing but white space"},
		"one recorder": {"echo 'ctaudit recording 1'; echo 'tool: x'", exitUsage, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			writer := exec.Command("sh", "-c", "exec > "+fifo+"; "+tt.writer)
			writer.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := writer.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(-writer.Process.Pid, syscall.SIGKILL); _ = writer.Wait() }()
			cmd := exec.Command(bin, "scan", "--snapshot", fifo)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if tt.code == exitInterrupt {
				time.Sleep(300 * time.Millisecond)
				_ = cmd.Process.Signal(os.Interrupt)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("exit %d, want %d with %q: %.300s", code, tt.code, tt.want, errs.String())
			}
			if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && usage.Maxrss > 2<<20 {
				t.Errorf("%d MiB resident", usage.Maxrss>>10)
			}
		})
	}
}

// TestSignals: at whatever moment a signal comes, the exit code says so, no file is half written, and no process stays.
func TestSignals(t *testing.T) {
	n := newTestNode(t)
	n.load(netfilter.IPTablesNFT, scenarios[1])
	bin, dir := program(t), t.TempDir()
	random := rand.New(rand.NewPCG(5, uint64(runtime.NumCPU())))
	ended := map[int]int{}
	for i := range 50 {
		file := filepath.Join(dir, "out.json")
		argv := [][]string{{bin, "collect", "--sample", "40ms", "-O", file}, {bin, "scan", "--sample", "40ms", "-o", "json=" + file, "--exit-zero"}}[i%2]
		sig, code := []os.Signal{os.Interrupt, syscall.SIGTERM}[i/2%2], []int{exitInterrupt, exitTerminate}[i/2%2]
		cmd := n.router.Command(argv...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		n.must(n.router.Start(cmd))
		// Before it handles signals at all, a process dies of them as every other does.
		time.Sleep(time.Duration(random.IntN(250)) * time.Millisecond)
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
		got := cmd.ProcessState.ExitCode()
		status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signaled() && status.Signal() == sig {
			got = code
		}
		ended[got]++
		text, err := os.ReadFile(file)
		switch {
		case got == 0 && err == nil && bytes.HasSuffix(text, []byte("}\n")):
		case got == code && os.IsNotExist(err):
		default:
			t.Errorf("%v %v: exit %d, file of %d bytes (%v): %s", argv[1], sig, got, len(text), err, errs.String())
		}
		_ = os.Remove(file)
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Fatalf("left behind: %v %v", left, err)
		}
		if err := syscall.Kill(-cmd.Process.Pid, 0); err != syscall.ESRCH {
			t.Errorf("a process of the group is still there: %v", err)
		}
	}
	t.Log(fmt.Sprint(ended))
	if ended[exitInterrupt] == 0 || ended[exitTerminate] == 0 {
		t.Errorf("no signal came in time: %v", ended)
	}
}
