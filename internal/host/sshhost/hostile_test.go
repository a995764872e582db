package sshhost_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
)

func stubTarget(s *sshtest.Stub) sshhost.Target {
	return sshhost.Target{Name: "node", Address: s.Host, Port: s.Port}
}

// slow writes a byte, and another one every so often.
func slow(w io.Writer, b []byte) {
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// gone does nothing until the other side is no longer there.
func gone(out io.Writer) uint32 {
	for {
		if _, err := out.(ssh.Channel).SendRequest("keepalive@openssh.com", true, nil); err != nil {
			return 1
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestHostileServers is what a server can do before the login. Each costs its time and no more.
func TestHostileServers(t *testing.T) {
	zeros := make([]byte, 64<<10)
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		stage sshhost.Stage
		words []string
	}{
		"hangs up":     {func(net.Conn) {}, sshhost.StageDial, []string{"hung up", "MaxStartups"}},
		"resets":       {func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, sshhost.StageDial, nil},
		"says nothing": {func(c net.Conn) { io.Copy(io.Discard, c) }, sshhost.StageLogin, []string{"timed out: nothing came"}},
		"a web server": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad \x1b[31mRequest\r\n\r\n")
			io.Copy(io.Discard, c)
		}, sshhost.StageLogin, []string{"no SSH server", `400 Bad \x1b[31mRequest`}},
		"garbage":          {func(c net.Conn) { c.Write(bytes.Repeat([]byte("\xff\x00x"), 1000)) }, sshhost.StageLogin, []string{"no SSH server"}},
		"zeros for ever":   {func(c net.Conn) { slow(c, zeros) }, sshhost.StageLogin, []string{"no SSH server"}},
		"lines for ever":   {func(c net.Conn) { slow(c, []byte("hello\n")) }, sshhost.StageLogin, []string{"no SSH server", "hello"}},
		"trickles":         {func(c net.Conn) { io.WriteString(c, "SSH-2.0-x"); slow(c, []byte("y")) }, sshhost.StageLogin, []string{"timed out after"}},
		"version only":     {func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") }, sshhost.StageLogin, []string{"key exchange: the server hung up"}},
		"version 1":        {func(c net.Conn) { io.WriteString(c, "SSH-1.5-old\r\n"); io.Copy(io.Discard, c) }, sshhost.StageLogin, nil},
		"version and junk": {func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n"); c.Write(zeros); io.Copy(io.Discard, c) }, sshhost.StageLogin, []string{"key exchange"}},
		"old algorithms":   {legacy, sshhost.StageLogin, []string{"no common algorithm", "KexAlgorithms"}},
		"endless banner":   {banner, sshhost.StageLogin, []string{"banner does not end"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := sshtest.Listen(t, tt.serve)
			c := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, "/nonexistent", ""), HostKeyPolicy: sshhost.AcceptNew, Login: 2 * time.Second})
			begun := time.Now()
			refused(t, c, sshhost.Target{Name: "node", Address: "127.0.0.1", Port: port}, tt.stage, tt.words...)
			if d := time.Since(begun); d > 10*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

// legacy speaks what nobody should any more.
func legacy(c net.Conn) {
	conf := &ssh.ServerConfig{NoClientAuth: true}
	conf.KeyExchanges = []string{ssh.InsecureKeyExchangeDH1SHA1}
	serverConn(c, conf)
}

// banner sends greetings for as long as somebody listens.
func banner(c net.Conn) {
	serverConn(c, &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, io.EOF },
		PreAuthConnCallback: func(conn ssh.ServerPreAuthConn) {
			for range 100_000 {
				if conn.SendAuthBanner(strings.Repeat("hello ", 100)) != nil {
					return
				}
			}
		},
	})
}

func serverConn(c net.Conn, conf *ssh.ServerConfig) {
	key, err := ssh.ParsePrivateKey([]byte(hostKeyOfTests()))
	if err != nil {
		panic(err)
	}
	conf.AddHostKey(key)
	if conn, _, _, err := ssh.NewServerConn(c, conf); err == nil {
		conn.Close()
	}
}

// TestHostileSessions is what a node can do after the login.
func TestHostileSessions(t *testing.T) {
	// greeting answers as the shell would, as far as its first word.
	greeting := func(in io.Reader, out io.Writer) string {
		script, _ := io.ReadAll(in)
		nonce := strings.Fields(string(script[bytes.Index(script, []byte("ctaudit-shell")):]))[2]
		io.WriteString(out, "\nctaudit-shell "+nonce+"\n")
		return nonce
	}
	big := make([]byte, 32<<10)
	var sent atomic.Int64
	for name, tt := range map[string]struct {
		handler sshtest.Handler
		stage   sshhost.Stage
		words   []string
	}{
		"no shell": {func(_ string, _ io.Reader, _, errs io.Writer) uint32 {
			io.WriteString(errs, "rbash: sh: \x1b]0;command not found\n")
			return 127
		}, sshhost.StageShell, []string{"no POSIX shell (exit status 127)", `\x1b]0;command not found`}},
		"closes": {func(string, io.Reader, io.Writer, io.Writer) uint32 { return 0 }, sshhost.StageShell, []string{"no POSIX shell"}},
		"hangs":  {func(_ string, in io.Reader, out, _ io.Writer) uint32 { io.Copy(io.Discard, in); return gone(out) }, sshhost.StageShell, []string{"timed out"}},
		"trickles": {func(_ string, in io.Reader, out, _ io.Writer) uint32 {
			greeting(in, out)
			slow(out, []byte("x"))
			return 0
		}, sshhost.StageRead, []string{"timed out after 3s"}},
		"half closed": {func(_ string, in io.Reader, out, _ io.Writer) uint32 {
			greeting(in, out)
			out.(ssh.Channel).CloseWrite()
			return gone(out)
		}, sshhost.StageRead, []string{"ends early"}},
		"cut": {func(_ string, in io.Reader, out, errs io.Writer) uint32 {
			io.WriteString(out, "answer "+greeting(in, out)+"\nroot\n")
			io.WriteString(errs, "out of memory\n")
			return 137
		}, sshhost.StageRead, []string{"ends early (exit status 137): out of memory"}},
		"ten gigabytes": {func(_ string, in io.Reader, out, _ io.Writer) uint32 {
			greeting(in, out)
			for range 10 << 30 / len(big) {
				n, err := out.Write(big)
				if sent.Add(int64(n)); err != nil {
					return 1
				}
			}
			return 0
		}, sshhost.StageRead, nil},
		"stderr for ever": {func(_ string, in io.Reader, out, errs io.Writer) uint32 {
			greeting(in, out)
			for {
				if _, err := errs.Write(big); err != nil {
					return 1
				}
			}
		}, sshhost.StageRead, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sshtest.Serve(t, tt.handler)
			c := client(t, sshhost.Options{ConfigFile: s.Config(t), Login: 2 * time.Second, Read: 3 * time.Second, MaxOutput: 8 << 20})
			begun := time.Now()
			refused(t, c, stubTarget(s), tt.stage, tt.words...)
			if d := time.Since(begun); d > 10*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
	t.Cleanup(func() {
		if n := sent.Load(); n > 64<<20 {
			t.Errorf("took %d bytes", n)
		}
	})
}

// TestInterrupted cancels at each stage: the context's error comes back at once, and nothing stays (TestMain looks for
// goroutines, this test for descriptors).
func TestInterrupted(t *testing.T) {
	before := descriptors(t)
	t.Run("stages", func(t *testing.T) {
		reached := make(chan struct{}, 100)
		here := func() { reached <- struct{}{} }
		hang := sshtest.Listen(t, func(c net.Conn) { here(); io.Copy(io.Discard, c) })
		banner := sshtest.Listen(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n"); here(); io.Copy(io.Discard, c) })
		s := sshtest.Serve(t, func(_ string, in io.Reader, out, _ io.Writer) uint32 {
			here()
			io.Copy(io.Discard, in)
			return gone(out)
		})
		c := client(t, sshhost.Options{ConfigFile: s.Config(t), Login: time.Minute, Retries: 3})
		system := client(t, sshhost.Options{ConfigFile: s.Config(t), System: true})
		for _, run := range []struct {
			c    *sshhost.Client
			port int
		}{{c, hang}, {c, banner}, {c, s.Port}, {system, s.Port}, {system, hang}} {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-reached
				cancel()
			}()
			_, err := run.c.Host(sshhost.Target{Name: "node", Address: "127.0.0.1", Port: run.port}).Fetch(ctx, host.Request{})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("have %v", err)
			}
			cancel()
		}
	})
	for range 100 {
		if descriptors(t) <= before {
			return
		}
		runtime.Gosched()
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d descriptors, %d before", descriptors(t), before)
}

func descriptors(t *testing.T) int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// TestRetries dials again, and never logs in twice.
func TestRetries(t *testing.T) {
	s := sshtest.Serve(t, sshtest.Shell)
	var dials atomic.Int32
	front := sshtest.Listen(t, func(c net.Conn) {
		if dials.Add(1) < 3 {
			return
		}
		back, err := net.Dial("tcp", s.Addr())
		if err != nil {
			return
		}
		defer back.Close()
		go func() {
			io.Copy(back, c)
			back.Close()
		}()
		io.Copy(c, back)
	})
	conf := sshtest.Config(t, s.Key.Path, "name "+sshtest.Public(s.HostKey)+"\n", "HostKeyAlias name")
	at := sshhost.Target{Name: "node", Address: "127.0.0.1", Port: front}
	refused(t, client(t, sshhost.Options{ConfigFile: conf, Retries: 1}), at, sshhost.StageDial, "hung up")
	if n := dials.Load(); n != 2 {
		t.Errorf("%d dials", n)
	}
	root(t, client(t, sshhost.Options{ConfigFile: conf, Retries: 1}), at)
	dials.Store(2)
	bad := sshtest.Config(t, s.Key.Path, "", "HostKeyAlias name")
	refused(t, client(t, sshhost.Options{ConfigFile: bad, Retries: 5}), at, sshhost.StageHostKey)
	if n := dials.Load(); n != 3 {
		t.Errorf("%d dials for a host key that is not known", n-2)
	}
	refused(t, client(t, sshhost.Options{ConfigFile: conf}), sshhost.Target{Name: "n", Address: "no-such-host.invalid"}, sshhost.StageResolve, "no-such-host.invalid")
}
