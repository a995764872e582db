package main

import (
	"bytes"
	"compress/flate"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
)

// fault is a kind of node, and what has to come of it.
type fault struct {
	name   string
	hosts  int
	serve  func(*chaos) (port int, vars string) // how the inventory has to name it
	stage  string                               // "" with words: audited
	words  string                               // a pattern of the error
	hint   bool
	hung   hung
	answer string // of an audited host: whose findings it must have
}

// hung says what ends a node that does not end by itself.
type hung int

const (
	ends hung = iota
	beforeLogin
	afterLogin
)

// handler is a fault behind a login.
func handler(h sshtest.Handler) func(*chaos) (int, string) {
	return func(c *chaos) (int, string) { return c.stub(h, "") }
}

// below is a fault below SSH, or in it.
func below(serve func(*chaos, net.Conn)) func(*chaos) (int, string) {
	return func(c *chaos) (int, string) {
		port := sshtest.Listen(c.t, func(conn net.Conn) { serve(c, conn) })
		c.known.WriteString(sshtest.KnownHost(fmt.Sprintf("127.0.0.1:%d", port), c.hostKey))
		return port, c.login.Path
	}
}

// spoilt is a fault in the answer: what comes behind the shell's first word.
func spoilt(give func(c *chaos, nonce string, out, errs io.Writer) uint32) func(*chaos) (int, string) {
	return func(c *chaos) (int, string) {
		return c.stub(func(_ string, in io.Reader, out, errs io.Writer) uint32 {
			nonce, err := sshtest.Greet(in, out)
			if err != nil {
				return 2
			}
			return give(c, nonce, out, errs)
		}, "")
	}
}

// lying answers with records that say what cannot be.
func lying(change func(body []byte, nonce string) []byte) func(*chaos) (int, string) {
	return spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 {
		_, _ = io.WriteString(out, sshtest.Marker(nonce, "gzip"))
		_, _ = out.Write(sshtest.Pack(change(c.exposed.Body(nonce), nonce)))
		return 0
	})
}

// inserted adds records behind the first.
func inserted(records string) func(*chaos) (int, string) {
	return lying(func(body []byte, nonce string) []byte {
		i := bytes.IndexByte(body, 0) + 1
		return bytes.Join([][]byte{body[:i], []byte(strings.ReplaceAll(records, "NONCE", nonce)), body[i:]}, nil)
	})
}

// says is a command that prints something, ends with a status, and is no shell.
func says(status uint32, out, errs string) func(*chaos) (int, string) {
	return handler(func(_ string, in io.Reader, o, e io.Writer) uint32 {
		_, _ = io.Copy(io.Discard, in)
		_, _ = io.WriteString(o, out)
		_, _ = io.WriteString(e, errs)
		return status
	})
}

func becoming(serve func(*chaos) (int, string)) func(*chaos) (int, string) {
	return func(c *chaos) (int, string) {
		port, vars := serve(c)
		return port, vars + " ansible_become=true ansible_become_method=sudo"
	}
}

// noisy is a good node whose login prints something around the answer.
func noisy(before, between, behind string) func(*chaos) (int, string) {
	return func(c *chaos) (int, string) {
		return c.stub(func(_ string, in io.Reader, out, errs io.Writer) uint32 {
			_, _ = io.WriteString(out, before)
			nonce, err := sshtest.Greet(in, out)
			if err != nil {
				return 2
			}
			_, _ = io.WriteString(out, between+sshtest.Marker(nonce, "gzip"))
			_, _ = out.Write(sshtest.Pack(c.exposed.Body(nonce)))
			_, _ = io.WriteString(out, behind)
			_, _ = io.WriteString(errs, "\x1b[31mbash: warning: setlocale\n")
			return 0
		}, "")
	}
}

// known is a host whose key known_hosts has something to say about.
func known(line func(addr string, key ssh.Signer) string) func(*chaos) (int, string) {
	return func(c *chaos) (int, string) {
		s := sshtest.Serve(c.t, c.exposed.Canned)
		c.known.WriteString(line(s.Addr(), s.HostKey))
		return s.Port, s.Key.Path
	}
}

// agent is a host whose agent is behind a socket.
func agent(serve func(net.Conn)) func(*chaos) (int, string) {
	return func(c *chaos) (int, string) {
		path := filepath.Join(c.dir, fmt.Sprintf("agent%d", c.agents))
		c.agents++
		if serve != nil {
			l, err := net.Listen("unix", path)
			if err != nil {
				c.t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					serve(conn)
					conn.Close()
				}
			}()
			c.t.Cleanup(func() { l.Close(); <-served })
		}
		s := sshtest.Serve(c.t, c.exposed.Canned)
		c.known.WriteString(sshtest.KnownHost(s.Addr(), s.HostKey))
		return s.Port, "/nonexistent/key ansible_ssh_common_args='-o IdentityAgent=" + path + "'"
	}
}

func newSigner() ssh.Signer {
	_, private, _ := ed25519.GenerateKey(rand.Reader) // never fails
	s, _ := ssh.NewSignerFromKey(private)
	return s
}

// wait is what a hung node does: nothing, until the run is over.
func (c *chaos) wait(conn io.Reader) {
	ended := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, conn); close(ended) }()
	select {
	case <-c.over:
	case <-ended:
	}
}

// trickle writes a byte a second.
func (c *chaos) trickle(w io.Writer) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := w.Write([]byte("x")); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-c.over:
			return
		}
	}
}

// flood writes ten gigabytes, or what somebody takes of them.
func flood(w io.Writer, piece []byte, sent *atomic.Int64) uint32 {
	for range 10 << 30 / len(piece) {
		n, err := w.Write(piece)
		sent.Add(int64(n))
		if err != nil {
			return 1
		}
	}
	return 0
}

// bomb is the beginning of a gzip stream, and a piece that may follow it any number of times and stands for a million times
// what is repeated.
func bomb(begin, repeated []byte) (head, piece []byte) {
	var b bytes.Buffer
	b.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3})
	z, _ := flate.NewWriter(&b, flate.BestSpeed) // the level is one
	put := func(p []byte, times int) {
		for range times {
			_, _ = z.Write(p)
		}
		_ = z.Flush()
	}
	put(begin, 1)
	put(repeated, 1+1<<16/len(repeated)) // the window is full of it
	head = bytes.Clone(b.Bytes())
	b.Reset()
	put(repeated, max(1, 1<<20/len(repeated)))
	return head, bytes.Clone(b.Bytes())
}

// bombed answers with ten gigabytes that come in ten megabytes.
func bombed(marker func(nonce string) string, records func(c *chaos, nonce string) (begin, repeated []byte)) func(*chaos) (int, string) {
	return spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 {
		_, _ = io.WriteString(out, marker(nonce))
		head, piece := bomb(records(c, nonce))
		_, _ = out.Write(head)
		for range 10 << 10 {
			n, err := out.Write(piece)
			c.sent.Add(int64(n))
			if err != nil {
				return 1
			}
		}
		return 0
	})
}

func probeMarker(nonce string) string { return sshtest.Marker(nonce, "gzip") }

func ownMarker(nonce string) string { return "ctaudit-evidence 1 " + nonce + "\n" }

var globbed = regexp.MustCompile(`\x00G (\d+)\x00`)

// files are those of a glob that never ends.
func files(c *chaos, nonce string) (begin, repeated []byte) {
	slot := globbed.FindSubmatch(c.exposed.Body(nonce))[1]
	file := fmt.Sprintf("F %s f /proc/sys/x\x00D\x00%sCT=%s\x00END=%s\x00", slot, strings.Repeat("\n", 1<<20), nonce, nonce)
	return fmt.Appendf(nil, "B 1 liar\x00G %s\x00", slot), []byte(file)
}

const (
	escapes = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\u202e]]>&amp;%s${HOME}"
	motd    = "\x1b[1mWelcome to Debian!\x1b[0m\r\n\r\n  * ctaudit-shell 0123 <b>news</b>\nctaudit-probe 1 00000000000000000000000000000000 gzip\n"
)

func huge(s string) string { return strings.Repeat(s, 200_000/len(s)) }

func writeFile(c *chaos, name, text string) string {
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}
