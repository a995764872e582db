package sshhost_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// reading makes a client that reads in earnest.
func reading(t testing.TB, opts sshhost.Options) *sshhost.Client {
	t.Helper()
	c, err := sshhost.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// collector builds what Push sends.
func collector(t *testing.T) (path string, give func(string) ([]byte, string, error)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "collector")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/ctaudit/ctaudit/cmd/ctaudit-collector")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	return path, func(string) ([]byte, string, error) { return program, hex.EncodeToString(sum[:]), nil }
}

// TestConformance reads the suite's node through an sshd within its namespace, by every reader, natively and through ssh.
func TestConformance(t *testing.T) {
	labtest.Require(t, "root", "sshd")
	path, give := collector(t)
	// A node's own ctaudit, which answers with the same protocol.
	bin := t.TempDir()
	own := "#!/bin/sh\n[ \"$*\" = evidence ] && exec " + path + "\nexit 2\n"
	if err := os.WriteFile(filepath.Join(bin, "ctaudit"), []byte(own), 0o755); err != nil {
		t.Fatal(err)
	}
	withOwn := "SetEnv PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin\n"
	for name, tt := range map[string]struct {
		opts   sshhost.Options
		config string
		run    func(*testing.T, hosttest.Factory)
		tool   string
	}{
		"probe":              {sshhost.Options{Reader: sshhost.Probe}, withOwn, hosttest.RunWithoutNetlink, ""},
		"auto, through ssh":  {sshhost.Options{System: true}, "", hosttest.RunWithoutNetlink, ""},
		"auto, with ctaudit": {sshhost.Options{}, withOwn, hosttest.Run, "ctaudit-collector"},
		"push":               {sshhost.Options{Reader: sshhost.Push, Collector: give}, "", hosttest.Run, "ctaudit-collector"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.run(t, func(t *testing.T, node *hosttest.Node, _ []host.Need) host.Host {
				s := sshtest.StartSSHD(t, sshtest.Options{Start: node.Netns.Start, Config: tt.config})
				tt.opts.ConfigFile, tt.opts.Read = s.Config(t), time.Minute
				h := reading(t, tt.opts).Host(target(s))
				if ev, err := h.Fetch(t.Context(), host.Request{}); err != nil || !strings.HasPrefix(ev.Tool, tt.tool) {
					t.Errorf("have %v, %v", ev, err)
				}
				return h
			})
		})
	}
}

// TestPushLeavesNothing looks for what the collector was written to: while it runs, after it ran, and after it was killed.
func TestPushLeavesNothing(t *testing.T) {
	s := sshd(t, sshtest.Options{})
	left := func() []string {
		var all []string
		for _, dir := range []string{"/run", "/dev/shm", "/tmp", "/root"} {
			found, _ := filepath.Glob(dir + "/ctaudit.????????????????????????????????")
			all = append(all, found...)
		}
		return all
	}
	program := func(text string) func(string) ([]byte, string, error) {
		sum := sha256.Sum256([]byte(text))
		return func(string) ([]byte, string, error) { return []byte(text), hex.EncodeToString(sum[:]), nil }
	}
	mark := filepath.Join(t.TempDir(), "running")
	push := func(text string) error {
		c := reading(t, sshhost.Options{ConfigFile: s.Config(t), Reader: sshhost.Push, Collector: program(text)})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		go func() {
			for ctx.Err() == nil {
				if _, err := os.Stat(mark); err == nil {
					cancel()
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		_, err := c.Host(target(s)).Fetch(ctx, host.Request{})
		return err
	}
	if err := push("#!/bin/sh\nls /run/ctaudit.* /dev/shm/ctaudit.* /tmp/ctaudit.?????????????* 2>/dev/null | head -1\n"); err == nil || !strings.Contains(err.Error(), "ends early") {
		t.Errorf("while it runs: %v", err)
	}
	if err := push("#!/bin/sh\necho 'oh dear' >&2; exit 3\n"); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "oh dear") {
		t.Errorf("one that fails: %v", err)
	}
	if err := push(fmt.Sprintf("#!/bin/sh\necho $$ >%s.new; mv %s.new %s; exec sleep 60\n", mark, mark, mark)); !errors.Is(err, context.Canceled) {
		t.Errorf("one that was interrupted: %v", err)
	}
	pid, _ := os.ReadFile(mark)
	exec.Command("kill", strings.TrimSpace(string(pid))).Run()
	if l := left(); len(l) > 0 {
		t.Errorf("left behind: %v", l)
	}
	bad := reading(t, sshhost.Options{ConfigFile: s.Config(t), Reader: sshhost.Push, Collector: func(string) ([]byte, string, error) {
		return []byte("#!/bin/sh\ntouch " + mark + ".ran\n"), strings.Repeat("0", 64), nil
	}})
	refused(t, bad, target(s), sshhost.StageRead, "did not arrive whole", "exit status 94")
	if _, err := os.Stat(mark + ".ran"); err == nil || len(left()) > 0 {
		t.Errorf("a program with another sum ran, or stays: %v", left())
	}
}

func TestPing(t *testing.T) {
	s := sshd(t, sshtest.Options{})
	req := host.Request{Needs: []host.Need{{Kind: host.Command, Args: []string{"ctaudit-no-such-program|nor-this"}}}}
	c := reading(t, sshhost.Options{ConfigFile: s.Config(t)})
	p, err := c.Ping(t.Context(), target(s), req)
	if err != nil {
		t.Fatal(err)
	}
	if p.System != "" || !strings.HasPrefix(p.Server, "SSH-2.0-OpenSSH") || !strings.HasPrefix(p.HostKey, "ssh-ed25519 SHA256:") || !strings.Contains(p.Auth, s.Key.Path) ||
		p.User != "root" || !p.Root || !strings.HasPrefix(p.Kernel, "Linux ") || p.Machine == "" || p.Ctaudit || p.Duration <= 0 ||
		strings.Join(p.Lacks, " ") != "ctaudit-no-such-program|nor-this" {
		t.Errorf("have %+v", p)
	}
	through := reading(t, sshhost.Options{ConfigFile: s.Config(t, "ProxyCommand nc %h %p"), Log: func(_, line string) { t.Log(line) }})
	if _, err := exec.LookPath("nc"); err == nil {
		if p, err := through.Ping(t.Context(), target(s), req); err != nil || p.System != "ProxyCommand" || !p.Root {
			t.Errorf("have %+v, %v", p, err)
		}
	}
}
