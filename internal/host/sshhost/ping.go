package sshhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/served"
)

// Ping is what a reading would meet. What the system's ssh keeps to itself (Server, HostKey, Auth) is empty behind it.
type Ping struct {
	System   string        // why through the system's ssh; empty: natively
	Jump     string        // ProxyJump
	Server   string        // the server's version line
	HostKey  string        // type and fingerprint of its key
	Auth     string        // the key that logged in, and where it is from
	Login    string        // the user of the login; empty: ssh decides
	User     string        // who reads, after Become
	Root     bool          // that user is root
	Kernel   string        // uname -sr
	Machine  string        // uname -m
	Ctaudit  bool          // there is a ctaudit on the node that Auto would use
	Lacks    []string      // programs of the probe that are not there, alternatives as "a|b"; empty where Ctaudit is
	Duration time.Duration // from the first packet to the last answer
}

// Ping connects, logs in, becomes who reads, and looks for the programs that reading req takes. It reads nothing else.
func (c *Client) Ping(ctx context.Context, t Target, req host.Request) (*Ping, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := c.ping(ctx, t, req)
	if err != nil {
		return nil, finish(ctx, t, err)
	}
	return p, nil
}

func (c *Client) ping(ctx context.Context, t Target, req host.Request) (*Ping, error) {
	r, err := c.route(ctx, t)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	sh, err := c.open(ctx, t, r)
	if err != nil {
		return nil, err
	}
	defer sh.close()
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.Read, fmt.Errorf("%w after %s", errTimeout, c.opts.Read))
	defer cancel()
	defer context.AfterFunc(ctx, sh.close)()
	nonce := newNonce()
	talk := &talk{client: c, sh: sh, nonce: nonce, become: t.Become, user: r.cfg.one("user")}
	out, err := talk.begin(ctx, pingText(nonce, probe.Tools(req)), true)
	if err != nil {
		return nil, err
	}
	p := r.ping()
	if err := p.take(io.LimitReader(out, 64<<10), nonce); err != nil {
		return nil, talk.broken(ctx, err)
	}
	p.Duration = time.Since(begun)
	return p, nil
}

// ping is what is known before the node says anything.
func (r *route) ping() *Ping {
	p := &Ping{System: r.system, Jump: r.cfg.set("proxyjump"), Login: r.cfg.one("user")}
	if r.conn != nil {
		p.Server = printable(string(r.conn.ServerVersion()), 120)
		p.HostKey = describe(r.conn.hostKey)
		if used := r.conn.login.used; used.signer != nil {
			p.Auth = describe(plain(used.signer.PublicKey())) + " (" + used.from + ")"
		} else {
			p.Auth = "none asked for"
		}
	}
	return p
}

// pingScript prints one fact a line, and an end with the nonce.
const pingScript = `uid=$(id -u)
printf 'user %%s\nuid %%s\nkernel %%s\nmachine %%s\n' "$(id -un)" "$uid" "$(uname -sr)" "$(uname -m)"
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ "$(ctaudit evidence --protocol 2>/dev/null </dev/null)" = %d ]; then echo ctaudit; fi
for t in %s; do
	found=
	IFS='|'
	for one in $t; do command -v "$one" >/dev/null 2>&1 && found=1; done
	unset IFS
	[ -n "$found" ] || printf 'lacks %%s\n' "$t"
done
printf 'end %s\n'
exit 0
`

func pingText(nonce string, tools []string) []byte {
	quoted := make([]string, len(tools))
	for i, t := range tools {
		quoted[i] = quote(t)
	}
	return fmt.Appendf([]byte(greet(nonce)), pingScript, served.Protocol, strings.Join(quoted, " "), nonce)
}

// take reads the facts.
func (p *Ping) take(r io.Reader, nonce string) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		value = printable(value, 120)
		switch key {
		case "user":
			p.User = value
		case "uid":
			p.Root = value == "0"
		case "kernel":
			p.Kernel = value
		case "machine":
			p.Machine = value
		case "ctaudit":
			p.Ctaudit = true
		case "lacks":
			p.Lacks = append(p.Lacks, value)
		case "end":
			if value != nonce {
				return errors.New("not the answer to this question")
			}
			if p.Ctaudit {
				p.Lacks = nil
			}
			return nil
		}
	}
	if lines.Err() != nil {
		return lines.Err()
	}
	return io.ErrUnexpectedEOF
}
