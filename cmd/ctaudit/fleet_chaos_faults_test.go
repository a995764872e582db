package main

import (
	"bytes"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
)

// faults are all that can be wrong with a node, beside nodes on which nothing is. An empty stage: audited all the same.
func faults() []fault {
	all := goodNodes()
	for _, more := range [][]fault{refusals(), logins(), shells(), answers(), hostileBelow()} {
		all = append(all, more...)
	}
	for i := range all {
		switch f := &all[i]; {
		case f.hung != ends:
			f.hosts = 12
		case f.hosts == 0:
			f.hosts = 4
		}
	}
	return all
}

func goodNodes() []fault {
	return []fault{
		{name: "own-exposed", hosts: 40, serve: func(c *chaos) (int, string) { return c.stub(c.ownExposed.Canned, "") }, answer: "exposed"},
		{name: "own-protected", hosts: 30, serve: func(c *chaos) (int, string) { return c.stub(c.ownProtected.Canned, "") }, answer: "protected"},
		{name: "exposed", hosts: 55, serve: func(c *chaos) (int, string) { return c.stub(c.exposed.Canned, "") }, answer: "exposed"},
		{name: "protected", hosts: 30, serve: func(c *chaos) (int, string) { return c.stub(c.protected.Canned, "") }, answer: "protected"},
		{name: "sudo", serve: becoming(func(c *chaos) (int, string) { return c.stub(c.protected.Canned, "") }), answer: "protected"},
		{name: "motd", serve: noisy(motd, "", ""), answer: "exposed"},
		{name: "profile-noise", serve: noisy(huge("noise\n"), huge("\x00\xff\x1b"), ""), answer: "exposed"},
		{name: "noise-behind", serve: noisy("no line break", "nor here", huge("logout\n")), answer: "exposed"},
		{name: "no-gzip", serve: spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 {
			_, _ = io.WriteString(out, sshtest.Marker(nonce, "plain"))
			_, _ = out.Write(c.protected.Body(nonce))
			return 0
		}), answer: "protected"},
		{name: "fails-behind", serve: spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 {
			_, _ = io.WriteString(out, sshtest.Marker(nonce, "gzip"))
			_, _ = out.Write(sshtest.Pack(c.protected.Body(nonce)))
			return 137 // the answer is whole, whatever the login shell's end was
		}), answer: "protected"},
		{name: "fish", hosts: 2, serve: func(c *chaos) (int, string) { return c.stub(c.through("fish"), "") }, answer: "here"},
		{name: "busybox", hosts: 2, serve: func(c *chaos) (int, string) { return c.stub(c.through("busybox", "ash"), "") }, answer: "here"},
		{name: "read-only", hosts: 2, serve: func(c *chaos) (int, string) { return c.stub(c.through("unshare", "-m", "sh"), "") }, answer: "here"},
		{name: "no-proc", serve: func(c *chaos) (int, string) { return c.stub(c.noProc.Canned, "") }, answer: "unknown"},
		{name: "other-system", serve: func(c *chaos) (int, string) { return c.stub(c.otherSystem.Canned, "") }, answer: "unknown"},
		{name: "old-kernel", serve: func(c *chaos) (int, string) { return c.stub(c.oldKernel.Canned, "") }, answer: "any"},
		{name: "hostile-name", serve: func(c *chaos) (int, string) { return c.stub(c.hostileName.Canned, "") }, answer: "exposed"},
		{name: "hostile-rules", serve: func(c *chaos) (int, string) { return c.stub(c.hostileRules.Canned, "") }, answer: "any"},
	}
}

// refusals are hosts that are not to be trusted, or do not trust us.
func refusals() []fault {
	return []fault{
		{name: "key-unknown", serve: known(func(string, ssh.Signer) string { return "" }), stage: "host key", words: `^ssh-ed25519 SHA256:\S+ of \[127\.0\.0\.1\]:\d+ is not known$`, hint: true},
		{name: "key-changed", serve: known(func(addr string, _ ssh.Signer) string { return sshtest.KnownHost(addr, newSigner()) }), stage: "host key", words: `^CHANGED: the server shows ssh-ed25519 `, hint: true},
		{name: "key-revoked", serve: known(func(addr string, key ssh.Signer) string {
			return sshtest.KnownHost(addr, key) + "@revoked " + sshtest.KnownHost(addr, key)
		}), stage: "host key", words: `is revoked: .*known_hosts:\d+$`, hint: true},
		{name: "wrong-user", serve: func(c *chaos) (int, string) {
			port, vars := c.stub(c.exposed.Canned, "nobody-else")
			return port, vars + " ansible_user=somebody"
		}, stage: "login", words: `^the server refuses somebody with SHA256:`, hint: true},
		{name: "key-refused", serve: func(c *chaos) (int, string) {
			port, _ := c.stub(c.exposed.Canned, "")
			return port, sshtest.NewKey(c.t, c.dir+"/refused").Path
		}, stage: "login", words: `^the server refuses root with SHA256:`, hint: true},
		{name: "no-key", serve: func(c *chaos) (int, string) {
			port, _ := c.stub(c.exposed.Canned, "")
			return port, "/nonexistent/key"
		}, stage: "login", words: `^no key to log in with as root .*/nonexistent/key: no such file`},
		{name: "agent-gone", serve: agent(nil), stage: "login", words: `^no key to log in with as root .*agent\d+: connect: no such file or directory`},
		{name: "agent-hangs-up", serve: agent(func(net.Conn) {}), stage: "login", words: `agent: `},
		{name: "agent-silent", serve: agent(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), stage: "login", words: `the agent does not answer`, hung: beforeLogin},
	}
}

// logins are logins that lead nowhere.
func logins() []fault {
	return []fault{
		{name: "sudo-asks", serve: becoming(says(1, "", "sudo: a password is required\n")), stage: "become", words: `^sudo: a password is required$`, hint: true},
		{name: "sudo-refuses", serve: becoming(says(1, "", "somebody is not in the sudoers file.\nThis incident has been \x1b[5mreported.\n")), stage: "become", words: `^This incident has been \\x1b\[5mreported\.$`, hint: true},
		{name: "sudo-missing", serve: becoming(says(127, "", "sh: 1: sudo: not found\n")), stage: "become", words: `sudo: not found`, hint: true},
		{name: "nologin", serve: says(1, "This account is currently not available.\n", ""), stage: "shell", words: `^no POSIX shell \(exit status 1\):.*This account is currently not available`, hint: true},
		{name: "no-shell", serve: says(127, "", escapes+": sh: command not found\n"), stage: "shell", words: `exit status 127.*command not found$`, hint: true},
		{name: "says-nothing", serve: says(0, "", ""), stage: "shell", words: `^no POSIX shell \(exit status 0\)$`, hint: true},
		{name: "status-alone", serve: says(255, "", ""), stage: "shell", words: `^no POSIX shell \(exit status 255\)$`, hint: true},
		{name: "huge-error", serve: says(1, "", huge(escapes)), stage: "shell", words: `^no POSIX shell \(exit status 1\): `, hint: true},
		{name: "no-session", serve: below(noSession), stage: "shell", words: `^the server opens no session: .*not for you`, hint: true},
		{name: "no-exec", serve: below(noExec), stage: "shell", words: `^no POSIX shell`, hint: true},
		{name: "gone-after-login", serve: below(goneAfterLogin), stage: "shell", words: `hung up after the login|no POSIX shell`, hint: true},
		{name: "noise-without-end", serve: handler(func(_ string, _ io.Reader, out, _ io.Writer) uint32 {
			_, _ = io.WriteString(out, strings.Repeat(huge("noise\n"), 10))
			return 0
		}), stage: "shell", words: `more than \d+ bytes of output`},
	}
}

// shells are sessions that hang, or have no end.
func shells() []fault {
	zeros := make([]byte, 32<<10)
	return []fault{
		{name: "hangs-after-login", serve: func(c *chaos) (int, string) {
			return c.stub(func(_ string, in io.Reader, out, _ io.Writer) uint32 { c.hang(out); return 0 }, "")
		}, stage: "shell", words: `timed out`, hung: afterLogin},
		{name: "hangs-in-answer", serve: spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 {
			packed := sshtest.Pack(c.exposed.Body(nonce))
			_, _ = io.WriteString(out, sshtest.Marker(nonce, "gzip"))
			_, _ = out.Write(packed[:len(packed)/2])
			c.hang(out)
			return 0
		}), stage: "read", words: `^timed out after `, hung: afterLogin},
		{name: "trickles", serve: spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 { c.trickle(out); return 0 }), stage: "read", words: `^timed out after `, hung: afterLogin},
		{name: "zeros", serve: func(c *chaos) (int, string) {
			return c.stub(func(_ string, _ io.Reader, out, _ io.Writer) uint32 { return flood(out, zeros, &c.sent) }, "")
		}, stage: "shell", words: `more than \d+ bytes of output`},
		{name: "zeros-in-answer", serve: spoilt(func(c *chaos, _ string, out, _ io.Writer) uint32 { return flood(out, zeros, &c.sent) }), stage: "read", words: `bytes of something else came`},
		{name: "stderr-flood", serve: func(c *chaos) (int, string) {
			return c.stub(func(_ string, _ io.Reader, _, errs io.Writer) uint32 { return flood(errs, zeros, &c.sent) }, "")
		}, stage: "shell", words: `^no shell, but more than \d+ bytes on standard error`},
		{name: "stderr-flood-in-answer", serve: spoilt(func(c *chaos, _ string, _, errs io.Writer) uint32 {
			return flood(errs, []byte(huge(escapes)[:32<<10]), &c.sent)
		}), stage: "read", words: `^more than \d+ bytes on standard error`},
		{name: "half-closed", serve: spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 {
			_, _ = io.WriteString(out, sshtest.Marker(nonce, "gzip"))
			_ = out.(ssh.Channel).CloseWrite()
			c.hang(out)
			return 0
		}), stage: "read", words: `ends early|was cut`},
	}
}

// answers are answers that are not what was asked for.
func answers() []fault {
	after := func(text string) func(*chaos) (int, string) {
		return spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 {
			_, _ = io.WriteString(out, strings.ReplaceAll(text, "NONCE", nonce))
			return 0
		})
	}
	return []fault{
		{name: "bomb", serve: bombed(probeMarker, func(*chaos, string) (begin, repeated []byte) { return []byte("B 1 liar\x00M\x00"), make([]byte, 1<<10) }), stage: "read", words: `bytes where the script stops`},
		{name: "bomb-of-words", serve: bombed(probeMarker, func(*chaos, string) (begin, repeated []byte) {
			return []byte("B 1 "), bytes.Repeat([]byte("\x1b<b>"), 100)
		}), stage: "read", words: `a record without an end`},
		{name: "cut", serve: spoilt(func(c *chaos, nonce string, out, errs io.Writer) uint32 {
			packed := sshtest.Pack(c.exposed.Body(nonce))
			_, _ = io.WriteString(out, sshtest.Marker(nonce, "gzip"))
			_, _ = out.Write(packed[:len(packed)/2])
			_, _ = io.WriteString(errs, "sh: out of \x1b[7mmemory\n")
			return 137
		}), stage: "read", words: `^the answer ends early \(exit status 137\): sh: out of \\x1b\[7mmemory$`},
		{name: "cut-at-once", serve: after(""), stage: "read", words: `ends early`},
		{name: "flipped", serve: spoilt(func(c *chaos, nonce string, out, _ io.Writer) uint32 {
			packed := sshtest.Pack(c.exposed.Body(nonce))
			packed[len(packed)/2] ^= 0x55
			_, _ = io.WriteString(out, sshtest.Marker(nonce, "gzip"))
			_, _ = out.Write(packed)
			return 0
		}), stage: "read", words: `^probe: `},
		{name: "wrong-nonce", serve: after("\nctaudit-probe 1 00000000000000000000000000000000 gzip\n" + escapes), stage: "read", words: `did not begin: `},
		{name: "other-version", serve: after("\nctaudit-probe 2 NONCE gzip\n"), stage: "read", words: `did not begin: "ctaudit-probe 2 `},
		{name: "other-codec", serve: after("\nctaudit-probe 1 NONCE zstd\x1b[2J\n"), stage: "read", words: `packed with "zstd\\x1b`},
		{name: "own-garbage", serve: after("ctaudit-evidence 1 NONCE\n" + escapes), stage: "read", words: `gzip`},
		{name: "no-such-index", serve: inserted("N 9999 absent\x00"), stage: "read", words: `no such slot`},
		{name: "negative-index", serve: inserted("N -1 absent\x00"), stage: "read", words: `no such slot`},
		{name: "twice", serve: inserted("N 0 absent\x00N 0 absent\x00"), stage: "read", words: `answered twice|not what was asked`},
		{name: "foreign-file", serve: inserted("F 0 f /etc/shadow" + escapes + "\x00"), stage: "read", words: `not what was asked for`},
		{name: "longer-than-asked", serve: inserted("M\x00" + strings.Repeat("x", 17<<20)), stage: "read", words: `bytes where the script stops`},
		{name: "fewer-answers", serve: lying(func(body []byte, _ string) []byte {
			return append(body[:bytes.LastIndex(body, []byte("\x00Z "))+1], "Z 1\x00"...)
		}), stage: "read", words: `states "1" answers`},
		{name: "goes-on", serve: lying(func(body []byte, _ string) []byte { return append(body, body...) }), stage: "read", words: `bytes behind the end`},
	}
}

// hostileBelow are servers that are none, or speak SSH in their own way.
func hostileBelow() []fault {
	zeros := make([]byte, 64<<10)
	return []fault{
		{name: "refused", serve: func(c *chaos) (int, string) { return sshtest.FreePort(c.t), c.login.Path }, stage: "dial", words: `^127\.0\.0\.1:\d+: .*connection refused$`},
		{name: "silent", serve: below(func(c *chaos, conn net.Conn) { c.wait(conn) }), stage: "login", words: `^timed out: nothing came from 127\.0\.0\.1:\d+ in `, hung: beforeLogin},
		{name: "hangs-up", serve: below(func(*chaos, net.Conn) {}), stage: "dial", words: `hung up before it said anything|reset by peer`, hint: true},
		{name: "banner-alone", serve: below(func(_ *chaos, conn net.Conn) { _, _ = io.WriteString(conn, "SSH-2.0-x\r\n") }), stage: "login", words: `^key exchange: `},
		{name: "half-closed-early", serve: below(func(c *chaos, conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-x\r\n")
			_ = conn.(*net.TCPConn).CloseWrite()
			c.wait(conn)
		}), stage: "login", words: `^key exchange: `},
		{name: "web-server", serve: below(func(c *chaos, conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 "+escapes+"\r\n\r\n")
			_ = conn.(*net.TCPConn).CloseWrite()
			c.wait(conn)
		}), stage: "login", words: `is no SSH server: it says "HTTP`},
		{name: "endless-lines", serve: below(func(c *chaos, conn net.Conn) { flood(conn, bytes.Repeat([]byte("hello\n"), 5000), &c.sent) }), stage: "login", words: `is no SSH server`},
		{name: "endless-garbage", serve: below(func(c *chaos, conn net.Conn) { flood(conn, zeros, &c.sent) }), stage: "login", words: `is no SSH server`},
		{name: "garbage-behind-version", serve: below(func(c *chaos, conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-"+escapes+"\r\n")
			flood(conn, bytes.Repeat([]byte("\xff\x1b"), 30000), &c.sent)
		}), stage: "login", words: `^key exchange: `},
		{name: "endless-banner", serve: below(endlessBanner), stage: "login", words: `banner does not end`},
		{name: "version-1", serve: below(func(c *chaos, conn net.Conn) { _, _ = io.WriteString(conn, "SSH-1.5-old\r\n"); c.wait(conn) }), stage: "login", words: `.`, hung: beforeLogin},
		{name: "trickles-version", serve: below(func(c *chaos, conn net.Conn) { _, _ = io.WriteString(conn, "SSH-2.0-"); c.trickle(conn) }), stage: "login", words: `^timed out`, hung: beforeLogin},
		{name: "hangs-in-login", serve: below(func(c *chaos, conn net.Conn) {
			serve(conn, &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
				c.hang(conn)
				return nil, io.EOF
			}}, c.hostKey, nil)
		}), stage: "login", words: `^timed out`, hung: beforeLogin},
	}
}

func endlessBanner(c *chaos, conn net.Conn) {
	serve(conn, &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, io.EOF },
		PreAuthConnCallback: func(conn ssh.ServerPreAuthConn) {
			for conn.SendAuthBanner(huge(escapes)[:30000]) == nil {
				c.sent.Add(30000)
			}
		},
	}, c.hostKey, nil)
}

func noSession(c *chaos, conn net.Conn) {
	serve(conn, &ssh.ServerConfig{NoClientAuth: true}, c.hostKey, func(ch ssh.NewChannel) { _ = ch.Reject(ssh.Prohibited, "not for you "+huge(escapes)[:20000]) })
}

func noExec(c *chaos, conn net.Conn) {
	serve(conn, &ssh.ServerConfig{NoClientAuth: true}, c.hostKey, func(ch ssh.NewChannel) {
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			_ = r.Reply(false, nil)
			channel.Close()
		}
	})
}

func goneAfterLogin(c *chaos, conn net.Conn) {
	serve(conn, &ssh.ServerConfig{NoClientAuth: true}, c.hostKey, func(ssh.NewChannel) { conn.Close() })
}

// serve speaks SSH as far as the login, and hands each channel on.
func serve(conn net.Conn, conf *ssh.ServerConfig, key ssh.Signer, open func(ssh.NewChannel)) {
	conf.AddHostKey(key)
	sc, channels, requests, err := ssh.NewServerConn(conn, conf)
	if err != nil {
		return
	}
	defer sc.Close()
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		open(ch)
	}
}
