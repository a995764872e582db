package sshhost_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

func sshd(t *testing.T, opts sshtest.Options) *sshtest.Server {
	t.Helper()
	labtest.Require(t, "root", "sshd")
	return sshtest.StartSSHD(t, opts)
}

func target(s *sshtest.Server) sshhost.Target {
	return sshhost.Target{Name: "node", Address: s.Host, Port: s.Port}
}

// hashed is a known_hosts line with a hashed name, made by OpenSSH.
func hashed(t *testing.T, line string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-H", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "|1|") {
		t.Fatalf("%v: %s", err, text)
	}
	return string(text)
}

func TestHostKeys(t *testing.T) {
	s := sshd(t, sshtest.Options{})
	other := sshtest.NewKey(t, filepath.Join(t.TempDir(), "other"))
	fingerprint := ssh.FingerprintSHA256(s.HostKey.PublicKey())
	for name, tt := range map[string]struct {
		known string
		words []string // of the refusal; nil: it must go well
	}{
		"known":                {s.KnownHost(), nil},
		"hashed":               {hashed(t, s.KnownHost()), nil},
		"behind bad lines":     {"x\n127.0.0.1 ssh-ed448 AAAA\n@what 127.0.0.1 ssh-ed25519 !!\n" + s.KnownHost(), nil},
		"wildcard":             {"[127.0.*]:* " + sshtest.Public(s.HostKey) + "\n", nil},
		"without port":         {"127.0.0.1 " + sshtest.Public(s.HostKey) + "\n", nil},
		"two keys":             {sshtest.KnownHost(s.Addr(), other.Signer) + s.KnownHost(), nil},
		"unknown":              {"", []string{fingerprint, "not known", "accept-new"}},
		"another host":         {"[127.0.0.2]:22 " + sshtest.Public(s.HostKey) + "\n", []string{"not known"}},
		"negated":              {"[127.0.*]:*,!" + strings.Fields(s.KnownHost())[0] + " " + sshtest.Public(s.HostKey) + "\n", []string{"not known"}},
		"changed":              {"# comment\n" + sshtest.KnownHost(s.Addr(), other.Signer), []string{"CHANGED", fingerprint, ssh.FingerprintSHA256(other.Signer.PublicKey()), "known_hosts:2", "ssh-keygen -f"}},
		"changed, hashed":      {hashed(t, sshtest.KnownHost(s.Addr(), other.Signer)), []string{"CHANGED"}},
		"changed and accepted": {sshtest.KnownHost(s.Addr(), other.Signer), []string{"CHANGED"}},
		"revoked":              {s.KnownHost() + "@revoked * " + sshtest.Public(s.HostKey) + "\n", []string{"revoked", "known_hosts:2", fingerprint}},
		"revoked and accepted": {"@revoked * " + sshtest.Public(s.HostKey) + "\n", []string{"revoked"}},
	} {
		t.Run(name, func(t *testing.T) {
			opts := sshhost.Options{ConfigFile: sshtest.Config(t, s.Key.Path, tt.known, "StrictHostKeyChecking no")}
			if strings.HasSuffix(name, "accepted") {
				opts.HostKeyPolicy = sshhost.AcceptNew
			}
			c := client(t, opts)
			if tt.words == nil {
				root(t, c, target(s))
				return
			}
			refused(t, c, target(s), sshhost.StageHostKey, tt.words...)
		})
	}
}

func TestStrictHostKeyCheckingNoIsNamedOnce(t *testing.T) {
	s := sshd(t, sshtest.Options{})
	var lines []string
	c := client(t, sshhost.Options{ConfigFile: s.Config(t, "StrictHostKeyChecking no"), Log: func(_, line string) { lines = append(lines, line) }})
	root(t, c, target(s))
	root(t, c, target(s))
	if len(lines) != 1 || !strings.Contains(lines[0], "StrictHostKeyChecking") {
		t.Errorf("have %q", lines)
	}
}

// TestCertificates checks a host by its authority, and logs in with a certificate.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	ca := sshtest.NewKey(t, filepath.Join(dir, "ca"))
	user := sshtest.NewKey(t, filepath.Join(dir, "user"))
	sign(t, ca, user, ssh.UserCert, "root")
	s := sshd(t, sshtest.Options{Config: "TrustedUserCAKeys " + ca.Path + ".pub\n"})
	cert := sign(t, ca, sshtest.Key{Path: filepath.Join(s.Dir, "hostkey"), Signer: s.HostKey}, ssh.HostCert, "127.0.0.1")
	// A server with the certificate, which is made once the key is there.
	s2 := sshd(t, sshtest.Options{Config: "HostKey " + filepath.Join(s.Dir, "hostkey") + "\nHostCertificate " + cert + "\nTrustedUserCAKeys " + ca.Path + ".pub\n"})
	authority := "@cert-authority 127.0.0.* " + sshtest.Public(ca.Signer) + "\n"

	c := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, user.Path, authority)})
	root(t, c, target(s2))
	moved := filepath.Join(dir, "cert")
	if err := os.Rename(user.Path+"-cert.pub", moved); err != nil {
		t.Fatal(err)
	}
	refused(t, client(t, sshhost.Options{ConfigFile: sshtest.Config(t, user.Path, authority)}), target(s2), sshhost.StageLogin, "refuses root")
	root(t, client(t, sshhost.Options{ConfigFile: sshtest.Config(t, user.Path, authority, "CertificateFile "+moved)}), target(s2))

	elsewhere := "@cert-authority *.example.com " + sshtest.Public(ca.Signer) + "\n"
	refused(t, client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s2.Key.Path, elsewhere)}), target(s2), sshhost.StageHostKey, "not known")
	alias := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s2.Key.Path, "@cert-authority * "+sshtest.Public(ca.Signer)+"\n", "HostKeyAlias elsewhere")})
	refused(t, alias, target(s2), sshhost.StageHostKey, "principal")
	revoked := authority + "@revoked * " + sshtest.Public(ca.Signer) + "\n"
	refused(t, client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s2.Key.Path, revoked)}), target(s2), sshhost.StageHostKey, "revoked")
	weak := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s2.Key.Path, authority, "CASignatureAlgorithms rsa-sha2-512")})
	refused(t, weak, target(s2), sshhost.StageHostKey, "CASignatureAlgorithms")
}

// sign writes a certificate beside the key and returns its path.
func sign(t *testing.T, ca, key sshtest.Key, kind uint32, principal string) string {
	t.Helper()
	cert := &ssh.Certificate{Key: key.Signer.PublicKey(), CertType: kind, ValidPrincipals: []string{principal}, ValidBefore: ssh.CertTimeInfinity}
	if kind == ssh.UserCert {
		cert.Extensions = map[string]string{"permit-pty": ""}
	}
	if err := cert.SignCert(rand.Reader, ca.Signer); err != nil {
		t.Fatal(err)
	}
	path := key.Path + "-cert.pub"
	if err := os.WriteFile(path, ssh.MarshalAuthorizedKey(cert), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAcceptNewNotesEachHostOnce meets a host many times at once, from two clients, which are two processes to the file.
func TestAcceptNewNotesEachHostOnce(t *testing.T) {
	s := sshd(t, sshtest.Options{})
	for _, hash := range []string{"yes", "no"} {
		t.Run("HashKnownHosts "+hash, func(t *testing.T) {
			conf := sshtest.Config(t, s.Key.Path, "# no newline at the end", "HashKnownHosts "+hash)
			file := filepath.Join(filepath.Dir(conf), "known_hosts")
			clients := []*sshhost.Client{
				client(t, sshhost.Options{ConfigFile: conf, HostKeyPolicy: sshhost.AcceptNew}),
				client(t, sshhost.Options{ConfigFile: conf, HostKeyPolicy: sshhost.AcceptNew}),
			}
			var all sync.WaitGroup
			for i := range 12 {
				all.Go(func() {
					tt := target(s)
					tt.Options = []string{fmt.Sprintf("HostKeyAlias=node%d", i%3)}
					root(t, clients[i%2], tt)
				})
			}
			all.Wait()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if lines := strings.Count(string(text), "\n"); lines != 4 || strings.Contains(string(text), "node1") == (hash == "yes") {
				t.Errorf("have %d lines:\n%s", lines, text)
			}
			for i := range 3 {
				if out, err := exec.Command("ssh-keygen", "-f", file, "-F", fmt.Sprintf("node%d", i)).CombinedOutput(); err != nil {
					t.Errorf("ssh does not find node%d: %v: %s", i, err, out)
				}
			}
			if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", st.Mode(), err)
			}
			// The next run is strict, and knows them.
			tt := target(s)
			tt.Options = []string{"HostKeyAlias=node2"}
			root(t, client(t, sshhost.Options{ConfigFile: conf}), tt)
		})
	}
}
