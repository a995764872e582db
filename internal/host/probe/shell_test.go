package probe_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	switch os.Getenv(localEnv) {
	case "":
	case "answers":
		os.Exit(printAnswers())
	default:
		os.Exit(printLocal())
	}
	goleak.VerifyTestMain(m)
}

const testLimit = 64 << 20

// shell is a host that gives the script to a shell in a namespace, as a login over SSH would.
type shell struct {
	netns *lab.Netns
	argv  []string
	path  string              // PATH; empty: the test's
	as    *syscall.Credential // nil: root
}

func (h shell) Fetch(ctx context.Context, req host.Request) (*host.Evidence, error) {
	nonce := newNonce()
	cmd := h.netns.Command(h.argv...)
	cmd.Dir, cmd.Stdin = "/", bytes.NewReader(probe.Script(req, nonce))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/"}
	if h.path != "" {
		cmd.Env[0] = "PATH=" + h.path
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.as}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := h.netns.Start(cmd); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	ev, err := probe.Read(&out, req, nonce, testLimit)
	if err == nil && errs.Len() > 0 {
		err = fmt.Errorf("the script complains: %s", errs.String())
	}
	return ev, err
}

func newNonce() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// shells are what "sh -s" may be.
func shells(t testing.TB) map[string]shell {
	all := map[string]shell{
		"dash":    {argv: []string{"dash", "-s"}},
		"bash":    {argv: []string{"bash", "--posix", "-s"}},
		"busybox": {argv: []string{"busybox", "ash", "-s"}},
	}
	for name, s := range all {
		if _, err := exec.LookPath(s.argv[0]); err != nil {
			t.Logf("no %s here", name)
			delete(all, name)
		}
	}
	if len(all) == 0 {
		t.Fatal("no shell here")
	}
	return all
}

// applets is a folder with busybox's applets alone, and ip.
func applets(t *testing.T) string {
	dir, err := os.MkdirTemp("", "applets") // that everybody may enter
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	labtest.Require(t, "busybox")
	list, err := exec.Command("busybox", "--list").Output()
	must(t, err)
	for name := range strings.Lines(string(list)) {
		if name = strings.TrimSpace(name); name != "ip" && name != "tc" {
			if err := os.Symlink("/bin/busybox", filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestConformance(t *testing.T) {
	for name, s := range shells(t) {
		t.Run(name, func(t *testing.T) {
			hosttest.RunWithoutNetlink(t, func(_ *testing.T, node *hosttest.Node, _ []host.Need) host.Host {
				s.netns = node.Netns
				return s
			})
		})
	}
}

func TestSyntax(t *testing.T) {
	script := probe.Script(host.Request{Needs: everything()}, newNonce())
	for name, s := range shells(t) {
		cmd := exec.Command(s.argv[0], append(s.argv[1:len(s.argv)-1:len(s.argv)-1], "-n")...)
		cmd.Stdin = bytes.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestLint(t *testing.T) {
	labtest.Require(t, "shellcheck")
	cmd := exec.Command("shellcheck", "-")
	cmd.Stdin = bytes.NewReader(probe.Script(host.Request{Needs: everything()}, newNonce()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
