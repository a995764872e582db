// Package sshtest is SSH servers for tests: OpenSSH's own on loopback, and ones within the process for what OpenSSH never
// does, and by the thousands.
package sshtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options shape a server.
type Options struct {
	// Config is more lines of sshd_config; they come first, and so win.
	Config string
	// Shell is root's login shell; empty: /bin/sh, whatever the machine's root likes to start.
	Shell string
	// Etc is files in /etc that only this server and what it starts see, by their names below /etc.
	Etc map[string]string
	// Users are accounts that only this server has, beside the machine's: name to login shell.
	Users map[string]string
	// Start starts a process in place of (*exec.Cmd).Start: in another namespace, for one. The server then lives there, one
	// process a connection, while its port stays where the test is.
	Start func(*exec.Cmd) error
	// Profile is shell code that runs before the login shell of each session.
	Profile string
}

// Server is an OpenSSH server that ends with the test.
type Server struct {
	Host, Dir string
	Port      int
	HostKey   ssh.Signer
	Key       Key // the login's
	Log       string
}

// Key is a key pair on disk.
type Key struct {
	Path   string
	Signer ssh.Signer
}

// NewKey writes an ed25519 key pair, Path and Path.pub.
func NewKey(t testing.TB, path string) Key {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	block, err := ssh.MarshalPrivateKey(private, filepath.Base(path))
	check(t, err)
	check(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	signer, err := ssh.NewSignerFromKey(private)
	check(t, err)
	key, err := ssh.NewPublicKey(public)
	check(t, err)
	check(t, os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(key), 0o644))
	return Key{path, signer}
}

// Public is the public key as one line, as in authorized_keys.
func (k Key) Public() string { return Public(k.Signer) }

// Public is a key as one line, as in authorized_keys.
func Public(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// StartSSHD starts a server on a free port of 127.0.0.1. Every user may log in with Server.Key. The test needs root (see
// labtest.Require, "root" and "sshd").
func StartSSHD(t testing.TB, opts Options) *Server {
	t.Helper()
	dir := t.TempDir()
	// The users of the server must get to their keys.
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	check(t, os.Chmod(dir, 0o755))
	host := NewKey(t, filepath.Join(dir, "hostkey"))
	s := &Server{Host: "127.0.0.1", Dir: dir, HostKey: host.Signer, Key: NewKey(t, filepath.Join(dir, "id")), Log: filepath.Join(dir, "log")}
	check(t, os.WriteFile(filepath.Join(dir, "authorized"), []byte(s.Key.Public()+"\n"), 0o644))
	// sshd insists on its folder for privilege separation.
	check(t, os.MkdirAll("/run/sshd", 0o755))
	s.writeConfig(t, opts)
	if opts.Start != nil {
		s.serveEach(t, opts)
	} else {
		s.serve(t, opts)
	}
	return s
}

func (s *Server) writeConfig(t testing.TB, opts Options) {
	conf := opts.Config + `
HostKey ` + s.Dir + `/hostkey
AuthorizedKeysFile ` + s.Dir + `/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 500
LogLevel VERBOSE
`
	if opts.Profile != "" {
		script := filepath.Join(s.Dir, "profile")
		check(t, os.WriteFile(script, []byte("#!/bin/sh\n"+opts.Profile+"\neval \"$SSH_ORIGINAL_COMMAND\"\n"), 0o755))
		conf += "ForceCommand " + script + "\n"
	}
	check(t, os.WriteFile(filepath.Join(s.Dir, "sshd_config"), []byte(conf), 0o600))
}

// argv is how sshd is started: in a mount namespace with an /etc of its own.
func (s *Server) argv(t testing.TB, opts Options, args ...string) []string {
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd"
	}
	argv := append([]string{sshd, "-f", filepath.Join(s.Dir, "sshd_config"), "-E", s.Log}, args...)
	etc := filepath.Join(s.Dir, "etc")
	if _, err := os.Stat(etc); err != nil {
		s.makeEtc(t, etc, opts)
	}
	mount := `for f in passwd group shadow; do mount --bind "$1/$f" /etc/$f || exit 1; done`
	if len(opts.Etc) > 0 {
		mount = `mount --bind "$1" /etc || exit 1`
	}
	return append([]string{"unshare", "--mount", "sh", "-c", mount + `; shift; exec "$@"`, "sh", etc}, argv...)
}

// makeEtc makes the files that differ: the accounts, and a copy of everything where there are files of other names.
func (s *Server) makeEtc(t testing.TB, etc string, opts Options) {
	check(t, os.Mkdir(etc, 0o755))
	from := []string{"/etc/passwd", "/etc/group", "/etc/shadow"}
	if len(opts.Etc) > 0 {
		from = []string{"/etc/."}
	}
	if out, err := exec.Command("cp", append(append([]string{"-a"}, from...), etc)...).CombinedOutput(); err != nil {
		t.Fatalf("copy /etc: %v: %s", err, out)
	}
	for name, text := range opts.Etc {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(etc, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(etc, name), []byte(text), 0o400))
	}
	s.makeUsers(t, etc, opts)
}

func (s *Server) makeUsers(t testing.TB, etc string, opts Options) {
	shell := opts.Shell
	if shell == "" {
		shell = "/bin/sh"
	}
	accounts, err := os.ReadFile(filepath.Join(etc, "passwd"))
	check(t, err)
	accounts = regexp.MustCompile(`(?m)^(root:.*:)[^:]*$`).ReplaceAll(accounts, []byte("${1}"+shell))
	check(t, os.WriteFile(filepath.Join(etc, "passwd"), accounts, 0o644))
	id := 61000
	for name, shell := range opts.Users {
		id++
		home := s.Home(name)
		check(t, os.Mkdir(home, 0o700))
		check(t, os.Chown(home, id, id))
		for file, line := range map[string]string{
			"passwd": fmt.Sprintf("%s:x:%d:%d::%s:%s\n", name, id, id, home, shell),
			"group":  fmt.Sprintf("%s:x:%d:\n", name, id),
			"shadow": fmt.Sprintf("%s:*:20000::::::\n", name),
		} {
			f, err := os.OpenFile(filepath.Join(etc, file), os.O_APPEND|os.O_WRONLY, 0)
			check(t, err)
			_, err = f.WriteString(line)
			check(t, err)
			check(t, f.Close())
		}
	}
}

// Home is the home of one of Options.Users.
func (s *Server) Home(user string) string { return filepath.Join(s.Dir, "home-"+user) }

// serve runs one server for all connections.
func (s *Server) serve(t testing.TB, opts Options) {
	s.Port = FreePort(t)
	argv := s.argv(t, opts, "-D", "-o", "ListenAddress=127.0.0.1:"+strconv.Itoa(s.Port))
	cmd := exec.Command(argv[0], argv[1:]...)
	check(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(s.Log)
			t.Logf("sshd: %s", log)
		}
	})
	s.await(t)
}

// await waits until the server takes connections.
func (s *Server) await(t testing.TB) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.Addr())
		if err == nil {
			conn.Close()
			return
		}
	}
	log, _ := os.ReadFile(s.Log)
	t.Fatalf("sshd does not answer on %s: %s", s.Addr(), log)
}

// serveEach starts sshd for each connection, as inetd does.
func (s *Server) serveEach(t testing.TB, opts Options) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s.Port = l.Addr().(*net.TCPAddr).Port
	argv := s.argv(t, opts, "-i")
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.one(conn.(*net.TCPConn), argv, opts) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
}

func (s *Server) one(conn *net.TCPConn, argv []string, opts Options) {
	f, err := conn.File()
	conn.Close()
	if err != nil {
		return
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout = f, f
	err = opts.Start(cmd)
	f.Close()
	if err == nil {
		_ = cmd.Wait()
	}
}

// Addr is where the server listens, "127.0.0.1:port".
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// KnownHost is a line for known_hosts.
func (s *Server) KnownHost() string { return KnownHost(s.Addr(), s.HostKey) }

// KnownHost is a line for known_hosts, for an address "host:port".
func KnownHost(addr string, key ssh.Signer) string {
	host, port, _ := net.SplitHostPort(addr)
	return "[" + host + "]:" + port + " " + Public(key) + "\n"
}

// Config writes an ssh_config that leads to the server with its key and its known_hosts; more lines come first, and so win.
func (s *Server) Config(t testing.TB, more ...string) string {
	return Config(t, s.Key.Path, s.KnownHost(), more...)
}

// Config writes an ssh_config with a key and a known_hosts of its own, and returns its path. The known_hosts lies beside it.
func Config(t testing.TB, key, knownHosts string, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	known := filepath.Join(dir, "known_hosts")
	check(t, os.WriteFile(known, []byte(knownHosts), 0o600))
	text := strings.Join(more, "\n") + "\nHost *\nUserKnownHostsFile " + known + "\nGlobalKnownHostsFile none\nUser root\nIdentityFile " + key + "\nIdentityAgent none\n"
	path := filepath.Join(dir, "config")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// FreePort is a port that nobody listens on.
func FreePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
