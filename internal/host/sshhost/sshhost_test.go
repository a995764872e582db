package sshhost_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
)

func TestMain(m *testing.M) {
	os.Unsetenv("SSH_AUTH_SOCK")
	goleak.VerifyTestMain(m)
}

// whoami stands in for the probe: the answer is the user's name, behind a line with the nonce.
func whoami(_ host.Request, nonce string) []byte {
	return fmt.Appendf(nil, "echo answer %s; id -un; echo end\nexit\n", nonce)
}

func readWhoami(r io.Reader, _ host.Request, nonce string, limit int64) (*host.Evidence, error) {
	in := bufio.NewReader(io.LimitReader(r, limit))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "answer "+nonce+"\n" {
			break
		}
	}
	user, _ := in.ReadString('\n')
	if end, err := in.ReadString('\n'); end != "end\n" {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return &host.Evidence{Host: strings.TrimSpace(user)}, nil
}

// client makes a client whose probe is whoami, with short times.
func client(t testing.TB, opts sshhost.Options) *sshhost.Client {
	t.Helper()
	if opts.Login == 0 {
		opts.Login = 10 * time.Second
	}
	if opts.Reader == "" {
		opts.Reader = sshhost.Probe
	}
	c, err := sshhost.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	c.SetProbe(whoami, readWhoami)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// who logs in and says as whom, or why not.
func who(t testing.TB, c *sshhost.Client, target sshhost.Target) (string, *sshhost.Error) {
	t.Helper()
	ev, err := c.Host(target).Fetch(t.Context(), host.Request{})
	if err == nil {
		return ev.Host, nil
	}
	var e *sshhost.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	}
	if !strings.HasPrefix(err.Error(), target.Name+": ") || strings.Contains(err.Error(), "\x1b") || strings.Contains(err.Error(), "\n") {
		t.Errorf("text of the error: %q", err)
	}
	return "", e
}

// root requires a login as root.
func root(t testing.TB, c *sshhost.Client, target sshhost.Target) {
	t.Helper()
	if user, err := who(t, c, target); user != "root" {
		t.Errorf("have %q, %v (%s)", user, err, hintOf(err))
	}
}

func hintOf(e *sshhost.Error) string {
	if e == nil {
		return ""
	}
	return e.Hint
}

// refused requires an error of the stage whose text has the words.
func refused(t testing.TB, c *sshhost.Client, target sshhost.Target, stage sshhost.Stage, words ...string) *sshhost.Error {
	t.Helper()
	user, err := who(t, c, target)
	if err == nil {
		t.Errorf("logged in as %q, want an error of %s", user, stage)
		return &sshhost.Error{}
	}
	for _, w := range words {
		if !strings.Contains(err.Error()+" | "+err.Hint, w) {
			t.Errorf("have %q (hint %q), want %q in it", err, err.Hint, w)
		}
	}
	if err.Stage != stage {
		t.Errorf("have %q of stage %s, want %s", err, err.Stage, stage)
	}
	return err
}

// hostKeyOfTests is a private key that nobody trusts.
func hostKeyOfTests() string {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(block))
}
