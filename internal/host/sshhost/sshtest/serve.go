package sshtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// Handler is a session's command: its exit status is returned. The streams end with it.
type Handler func(command string, in io.Reader, out, errs io.Writer) (status uint32)

// Stub is a server within the process. It takes every connection as a node of its own, so one stub is as many nodes as there
// are names for its address.
type Stub struct {
	Host    string
	Port    int
	HostKey ssh.Signer
	Key     Key    // the one key that it takes
	User    string // the one login that it knows; empty: any
	conf    *ssh.ServerConfig
	handler Handler
}

// Serve starts a server on a free port of 127.0.0.1 that ends with the test.
func Serve(t testing.TB, handler Handler) *Stub {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	s := &Stub{Host: "127.0.0.1", handler: handler, Key: NewKey(t, filepath.Join(t.TempDir(), "id"))}
	s.HostKey, err = ssh.NewSignerFromKey(private)
	check(t, err)
	want := string(s.Key.Signer.PublicKey().Marshal())
	s.conf = &ssh.ServerConfig{PublicKeyCallback: func(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != want || s.User != "" && conn.User() != s.User {
			return nil, errors.New("not one of ours")
		}
		return nil, nil
	}}
	s.conf.AddHostKey(s.HostKey)
	s.Port = Listen(t, s.conn)
	return s
}

// Listen gives every connection to a function of its own goroutine, and closes it afterwards; at the end of the test all are
// closed and waited for. It returns the port.
func Listen(t testing.TB, serve func(net.Conn)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	listen(t, l, serve)
	return l.Addr().(*net.TCPAddr).Port
}

// Everywhere makes the server answer at all addresses of 127.0.0.0/8, at a port of its own, which it returns: a host each.
func (s *Stub) Everywhere(t testing.TB) int {
	t.Helper()
	loopback := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var bound error
		err := c.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), "lo") })
		return errors.Join(err, bound)
	}}
	l, err := loopback.Listen(t.Context(), "tcp4", "0.0.0.0:0") // on the device lo: nobody else gets there
	check(t, err)
	listen(t, l, s.conn)
	return l.Addr().(*net.TCPAddr).Port
}

func listen(t testing.TB, l net.Listener, serve func(net.Conn)) {
	var all sync.WaitGroup
	var mu sync.Mutex
	open, closed := map[net.Conn]bool{}, false
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			if closed {
				conn.Close()
			}
			mu.Unlock()
			all.Go(func() {
				serve(conn)
				conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		closed = true
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
}

// Addr is where the server listens, "127.0.0.1:port".
func (s *Stub) Addr() string {
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.Port}).String()
}

// Config writes an ssh_config for it, as [Server.Config] does.
func (s *Stub) Config(t testing.TB, more ...string) string {
	return Config(t, s.Key.Path, KnownHost(s.Addr(), s.HostKey), more...)
}

func (s *Stub) conn(c net.Conn) {
	conn, channels, requests, err := ssh.NewServerConn(c, s.conf)
	if err != nil {
		return
	}
	defer conn.Close()
	var all sync.WaitGroup
	all.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "")
			continue
		}
		if channel, requests, err := ch.Accept(); err == nil {
			all.Go(func() { s.session(channel, requests) })
		}
	}
	all.Wait()
}

func (s *Stub) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	defer ch.Close()
	for r := range requests {
		var exec struct{ Command string }
		ok := r.Type == "exec" && ssh.Unmarshal(r.Payload, &exec) == nil
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if !ok {
			continue
		}
		go ssh.DiscardRequests(requests)
		status := s.handler(exec.Command, ch, ch, ch.Stderr())
		_, _ = ch.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, status))
		return
	}
}
