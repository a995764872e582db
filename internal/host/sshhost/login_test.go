package sshhost_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// startAgent starts OpenSSH's agent and returns its socket.
func startAgent(t *testing.T, keys ...string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
	}
	for _, key := range keys {
		add := exec.Command("ssh-add", "-q", key)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v: %s", err, out)
		}
	}
	return socket
}

// encrypt sets a passphrase, and leaves the public half beside the key.
func encrypt(t *testing.T, path string, args ...string) {
	t.Helper()
	args = append([]string{"-q", "-p", "-N", "secret words", "-f", path}, args...)
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
}

func TestKeys(t *testing.T) {
	s := sshd(t, sshtest.Options{})
	dir := t.TempDir()
	stranger := sshtest.NewKey(t, filepath.Join(dir, "stranger"))
	locked := filepath.Join(dir, "locked")
	copyFile(t, s.Key.Path, locked, 0o600)
	socket := startAgent(t, stranger.Path, s.Key.Path)
	encrypt(t, locked)
	open := filepath.Join(dir, "open")
	copyFile(t, s.Key.Path, open, 0o644)
	public := filepath.Join(dir, "agentkey.pub")
	copyFile(t, s.Key.Path+".pub", public, 0o644)
	empty := startAgent(t)
	agent := func(socket string) string { return "IdentityAgent " + socket }

	for name, tt := range map[string]struct {
		key   string
		more  []string
		words []string
	}{
		"file":                       {s.Key.Path, nil, nil},
		"second file":                {stranger.Path, []string{"IdentityFile " + s.Key.Path}, nil},
		"agent":                      {filepath.Join(dir, "absent"), []string{agent(socket)}, nil},
		"agent, but only this file":  {stranger.Path, []string{agent(socket), "IdentitiesOnly yes"}, []string{"refuses root", "(agent)"}},
		"agent by its public key":    {public, []string{agent(socket), "IdentitiesOnly yes"}, nil},
		"passphrase":                 {locked, nil, []string{"no key to log in", "locked has a passphrase", "ssh-add " + locked}},
		"passphrase, through agent":  {locked, []string{agent(socket), "IdentitiesOnly yes"}, nil},
		"others may read":            {open, nil, []string{"no key to log in", "others may read it"}},
		"absent":                     {filepath.Join(dir, "absent"), nil, []string{"no key to log in with as root", "absent: no such file"}},
		"agent gone":                 {filepath.Join(dir, "absent"), []string{agent(filepath.Join(dir, "nobody"))}, []string{"agent: ", "nobody"}},
		"agent without keys":         {filepath.Join(dir, "absent"), []string{agent(empty)}, []string{"the agent has no keys"}},
		"refused":                    {stranger.Path, nil, []string{"refuses root", ssh.FingerprintSHA256(stranger.Signer.PublicKey()), "authorized_keys"}},
		"token in the file name":     {"~/../" + strings.TrimPrefix(dir, "/") + "/%%no", []string{"IdentityFile " + filepath.Dir(s.Key.Path) + "/%jid"}, nil},
		"algorithm that is excluded": {s.Key.Path, []string{"PubkeyAcceptedAlgorithms rsa-sha2-512"}, []string{"PubkeyAcceptedAlgorithms"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, tt.key, s.KnownHost(), tt.more...)})
			if tt.words == nil {
				root(t, c, target(s))
				return
			}
			e := refused(t, c, target(s), sshhost.StageLogin, tt.words...)
			if strings.Contains(e.Error()+e.Hint, "secret") {
				t.Errorf("the error tells a secret: %v", e)
			}
		})
	}
	t.Run("of the inventory", func(t *testing.T) {
		c := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, stranger.Path, s.KnownHost())})
		tt := target(s)
		tt.KeyFiles = []string{s.Key.Path}
		root(t, c, tt)
	})
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRSA logs in with and to RSA keys, without SHA-1.
func TestRSA(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "user.pub"))
	if err != nil {
		t.Fatal(err)
	}
	s := sshd(t, sshtest.Options{Config: "HostKey " + filepath.Join(dir, "host") + "\nAuthorizedKeysFile " + filepath.Join(dir, "user.pub") + "\n"})
	public, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	// The server has an ed25519 key, too, but known_hosts has the RSA key alone.
	known := fmt.Sprintf("[%s]:%d %s", s.Host, s.Port, public)
	conf := func(more ...string) string { return sshtest.Config(t, filepath.Join(dir, "user"), known, more...) }
	root(t, client(t, sshhost.Options{ConfigFile: conf()}), target(s))
	refused(t, client(t, sshhost.Options{ConfigFile: conf("RequiredRSASize 3072")}), target(s), sshhost.StageHostKey, "2048 bits")
	refused(t, client(t, sshhost.Options{ConfigFile: conf("HostKeyAlgorithms ssh-ed25519")}), target(s), sshhost.StageHostKey, "CHANGED", "ssh-rsa")
	encrypt(t, filepath.Join(dir, "user"), "-m", "PEM")
	refused(t, client(t, sshhost.Options{ConfigFile: conf()}), target(s), sshhost.StageLogin, "has a passphrase")
	socketless := string(text)
	if !strings.HasPrefix(socketless, "ssh-rsa ") {
		t.Errorf("have %q", socketless)
	}
}

func TestUsersAndBecome(t *testing.T) {
	labtest.Require(t, "sudo", "doas")
	doas := "permit nopass boss as root cmd sh args -s\npermit nopass boss as other cmd sh args -s\npermit clerk as root\n"
	sudo := probe.Sudoers("boss", "") + "\n" + probe.Sudoers("boss", "other") + "\nclerk ALL=(root) ALL\n"
	s := sshd(t, sshtest.Options{
		Etc:   map[string]string{"doas.conf": doas, "sudoers": sudo},
		Users: map[string]string{"boss": "/bin/dash", "clerk": "/bin/bash", "other": "/usr/sbin/nologin", "other2": "/bin/sh", "gone": "/bin/nothing-there"},
	})
	c := client(t, sshhost.Options{ConfigFile: s.Config(t)})
	as := func(user, method, become string) sshhost.Target {
		tt := target(s)
		tt.User, tt.Become = user, sshhost.Become{Method: method, User: become}
		return tt
	}
	for _, tt := range []struct {
		target sshhost.Target
		user   string
	}{
		{as("boss", "", ""), "boss"},
		{as("clerk", "", ""), "clerk"},
		{as("boss", "doas", ""), "root"},
		{as("boss", "sudo", ""), "root"},
		{as("boss", "sudo", "other"), "other"},
		{as("boss", "doas", "other"), "other"},
		{as("root", "su", "other"), "other"},
		{as("root", "su", ""), "root"},
	} {
		if user, err := who(t, c, tt.target); user != tt.user {
			t.Errorf("%+v: have %q, %v", tt.target, user, err)
		}
	}
	refused(t, c, as("clerk", "doas", ""), sshhost.StageBecome, "doas: ", "permit nopass clerk as root cmd sh args -s")
	refused(t, c, as("clerk", "sudo", ""), sshhost.StageBecome, "sudo: a password is required", "clerk ALL=(root) NOPASSWD: /bin/sh -s")
	refused(t, c, as("other2", "sudo", ""), sshhost.StageBecome, "sudo: ")
	refused(t, c, as("other", "", ""), sshhost.StageShell, "no POSIX shell", "This account is currently not available", "nologin")
	refused(t, c, as("boss", "su", "other"), sshhost.StageBecome, "only root may become another user")
	refused(t, c, as("boss", "pfexec", ""), sshhost.StageConfig, "pfexec")
	refused(t, c, as("boss", "sudo", "a;b"), sshhost.StageConfig, "not a name")
	refused(t, c, as("nobody-here", "", ""), sshhost.StageLogin, "refuses nobody-here")
	refused(t, c, as("gone", "", ""), sshhost.StageLogin, "refuses gone")
}

// TestNoise is logins that print before, and around, what is asked for.
func TestNoise(t *testing.T) {
	labtest.Require(t, "fish")
	for name, opts := range map[string]sshtest.Options{
		"profile":            {Profile: "echo Welcome; echo '\033[31mto\033[0m the machine'; printf 'no newline'; echo oops >&2"},
		"bash with a bashrc": {Users: map[string]string{"root2": "/bin/bash"}},
		"fish":               {Shell: "/usr/bin/fish"},
		"busybox":            {Profile: `exec busybox sh -c "$SSH_ORIGINAL_COMMAND"`},
		"a banner":           {Config: "Banner /etc/passwd\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sshd(t, opts)
			root(t, client(t, sshhost.Options{ConfigFile: s.Config(t)}), target(s))
		})
	}
	endless := sshd(t, sshtest.Options{Profile: "yes noise"})
	refused(t, client(t, sshhost.Options{ConfigFile: endless.Config(t)}), target(endless), sshhost.StageShell, "no shell, but more than", `\"noise\"`[2:7])
	silent := sshd(t, sshtest.Options{Profile: "echo 'what now?'; exec sleep 60"})
	refused(t, client(t, sshhost.Options{ConfigFile: silent.Config(t), Login: time.Second}), target(silent), sshhost.StageShell, "timed out", "what now?")
}
