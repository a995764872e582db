package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/proof"
	"github.com/ctaudit/ctaudit/internal/report/schematest"
)

// ctauditCommand is this program as a process of its own: the one that was built, or else one built now.
func ctauditCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path := os.Getenv("CTAUDIT_BIN")
	if path == "" {
		path = filepath.Join(t.TempDir(), "ctaudit")
		if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v: %s", err, out)
		}
	}
	return exec.Command(path, args...)
}

func TestProveTextAndJSON(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket")
	dir := t.TempDir()
	var text, doc, talk bytes.Buffer
	ctx := context.Background()
	if err := run(ctx, []string{"prove", "--question", "A", "--family", "ipv6"}, nil, streams{nil, &text, &talk}); err != nil {
		t.Fatal(err)
	}
	err := run(ctx, []string{"prove", "--question", "B", "--family", "ipv4", "-f", "json", "--pcap", dir}, nil, streams{nil, &doc, &talk})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A: client - MASQUERADE - server", "(IPv6)", "INVALID    RST, dead  -           -      RST, dead  -       -"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "B: client pod") || talk.Len() > 0 {
		t.Errorf("more than was asked for: %s%s", text.String(), talk.String())
	}
	schematest.Validate(t, proof.Schema(), doc.Bytes())
	var d proof.Document
	if err := json.Unmarshal(doc.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2*len(d.Runs) || d.Tool != toolName() {
		t.Errorf("%d captures of %d runs by %s, %v", len(files), len(d.Runs), d.Tool, err)
	}
}

// What cannot be run is no verdict: exit code 3, and what is missing.
func TestProveWithoutRoot(t *testing.T) {
	cmd := asNobody(t)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exitIncomplete {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if stdout.Len() > 0 || !strings.Contains(stderr.String(), "network namespaces") || !strings.Contains(stderr.String(), "hint: run it as root") {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

// In a user namespace, which "unshare -rn" makes, no root is needed.
func TestProveInUserNamespace(t *testing.T) {
	labtest.Require(t, "netns", "afpacket")
	cmd := asNobody(t, "--question", "A")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: nobody, Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: nobody, Size: 1}}
	cmd.SysProcAttr.Credential = &syscall.Credential{NoSetGroups: true} // root inside
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Skipf("no user namespaces here: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "A: client - MASQUERADE - server") {
		t.Errorf("%v: %s", err, out)
	}
}

// nobody is the user without rights.
const nobody = 65534

// asNobody is prove run by nobody, from a directory of theirs.
func asNobody(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	labtest.Require(t, "root")
	dir, err := os.MkdirTemp("/tmp", "ctaudit-prove") // the test's own directory is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := ctauditCommand(t, append([]string{"prove"}, args...)...)
	program, err := os.ReadFile(cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(dir, "ctaudit")
	if err := errors.Join(os.WriteFile(cmd.Path, program, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir}
	return cmd
}

// traces are what a run could leave behind: interfaces of this namespace, and named namespaces.
func traces(t *testing.T) string {
	t.Helper()
	links, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, line := range strings.Split(string(links), "\n") {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, strings.TrimSpace(name))
	}
	named, _ := filepath.Glob("/run/netns/*")
	return strings.Join(append(names, named...), " ")
}

// A signal at any moment ends it with the signal's exit code and without output, and nothing is left: no interface, no
// named namespace, no capture. SIGKILL is the harshest panic.
func TestProveInterrupted(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket")
	program := ctauditCommand(t).Path
	before := traces(t)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, seed))
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
	codes := map[syscall.Signal]int{syscall.SIGINT: exitInterrupt, syscall.SIGTERM: exitTerminate, syscall.SIGKILL: -1}
	const rounds = 12
	interrupted := 0
	for i := range rounds {
		dir, sig := t.TempDir(), signals[i%len(signals)]
		cmd := exec.Command(program, "prove", "--pcap", dir)
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pause := 20*time.Millisecond + time.Duration(random.Int64N(int64(600*time.Millisecond)))
		time.Sleep(pause)
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() //nolint:errcheck // the state says more
		code := cmd.ProcessState.ExitCode()
		if code == 0 {
			continue // done before the signal came
		}
		interrupted++
		files, err := os.ReadDir(dir)
		if code != codes[sig] || stdout.Len() > 0 || err != nil || sig != syscall.SIGKILL && len(files) > 0 {
			t.Errorf("seed %d: %s after %s: exit code %d, %d octets of output, %d captures, %v", seed, sig, pause, code, stdout.Len(), len(files), err)
		}
	}
	if interrupted == 0 {
		t.Errorf("seed %d: none of %d runs was interrupted", seed, rounds)
	}
	if after := traces(t); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}
