package sshhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/served"
)

// greeting is the first line that the shell prints; what comes before it is the login's.
func greeting(nonce string) string { return "ctaudit-shell " + nonce + "\n" }

// greet prints it on a line of its own, whatever was printed before.
func greet(nonce string) string { return fmt.Sprintf("printf '\\nctaudit-shell %%s\\n' %s\n", nonce) }

// ownCtaudit tries a ctaudit on the node. One that is too old, or speaks another version of the protocol, fails without a
// word on its output, and the script goes on.
const ownCtaudit = `# A ctaudit that is on this node answers, if it understands the question (--reader probe does without).
if (PATH=$PATH:/usr/local/bin:/usr/local/sbin; command -v ctaudit && printf %%s %s | ctaudit evidence >&3) 3>&1 >/dev/null 2>&1; then exit 0; fi
`

// asked is what hosts with the same request share: the script, which differs in the nonce alone, and what to make of the answer.
// Preparing either anew for each would cost a tenth of a connection.
type asked struct {
	needs []host.Need // as they were handed over; the next host's are the same ones, mostly
	req   host.Request
	plan  *probe.Plan
	nonce string
	text  []byte
	rooms sync.Pool // *[]byte, for scripts that were sent
}

// asked prepares a request, or has done so for the host before.
func (c *Client) asked(req host.Request) (*asked, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || !c.last.covers(req) {
		kept := host.Request{Needs: slices.Clone(req.Needs), Sample: req.Sample}
		a := &asked{needs: req.Needs, req: kept, plan: probe.NewPlan(kept), nonce: newNonce()}
		var err error
		if a.text, err = c.compose(a.req, a.nonce); err != nil {
			return nil, err
		}
		c.last = a
	}
	return c.last, nil
}

// script is what to send, behind what is in room.
func (a *asked) script(room []byte, nonce string) []byte {
	for rest := a.text; ; {
		before, after, found := bytes.Cut(rest, []byte(a.nonce))
		if room = append(room, before...); !found {
			return room
		}
		room, rest = append(room, nonce...), after
	}
}

// covers reports whether it is the same request.
func (a *asked) covers(req host.Request) bool {
	if req.Sample != a.req.Sample || len(req.Needs) != len(a.needs) {
		return false
	}
	if len(req.Needs) > 0 && &req.Needs[0] == &a.needs[0] {
		return true
	}
	return slices.EqualFunc(a.req.Needs, req.Needs, func(a, b host.Need) bool {
		return a.Kind == b.Kind && a.Limit == b.Limit && a.Sampled == b.Sampled && a.Only == b.Only && slices.Equal(a.Args, b.Args)
	})
}

// compose writes the script for a request.
func (c *Client) compose(req host.Request, nonce string) ([]byte, error) {
	return compose(c.opts.Reader, req, nonce, c.script)
}

// Script is what a node's shell is given on standard input by the reader, to the letter: what people read before they let it in.
// (Push sends the collector behind it.)
func Script(reader Reader, req host.Request, nonce string) ([]byte, error) {
	return compose(reader, req, nonce, probe.Script)
}

func compose(reader Reader, req host.Request, nonce string, script func(host.Request, string) []byte) ([]byte, error) {
	var b bytes.Buffer
	if reader == Push {
		ask, err := served.Request(req, nonce)
		if err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, pushScript, nonce, nonce, quote(string(ask))), nil
	}
	b.WriteString(greet(nonce))
	if reader == Auto {
		ask, err := served.Request(req, nonce)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, ownCtaudit, quote(string(ask)))
	}
	b.Write(script(req, nonce))
	return b.Bytes(), nil
}

// quote makes a text one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// pushScript is one compound command, so the shell has read it to its end before the program comes on the same standard
// input, which is sent only once the machine's kind is told. Where the program is written, one may run, and nobody else may enter.
// Its file is opened and removed before anything is in it, so that however this ends (a cut connection, a killed shell), nothing
// stays. Without /proc it has a name until the end, and the trap removes it. A connection that dies without a word holds up
// cat; a quarter of an hour is more than a program takes that arrives at all. (busybox's timeout, which knows no --version, would
// keep the file open, and the kernel starts no program that somebody may write to.)
const pushScript = `{
printf '\nctaudit-shell %%s\nctaudit-machine %%s\n' %s "$(uname -m)"
read -r sum size || exit 90
umask 077
d=
trap 'test -z "$d" || rm -rf "$d"' EXIT
trap 'exit 91' HUP INT TERM PIPE
for p in /run /dev/shm /tmp "$HOME"; do
	[ -d "$p" ] && [ -w "$p" ] || continue
	d=$p/ctaudit.%s
	mkdir -m 700 "$d" 2>/dev/null || { d=; continue; }
	printf '#!/bin/sh\nexit 0\n' >"$d/c" && chmod 700 "$d/c" && "$d/c" 2>/dev/null && break
	rm -rf "$d"
	d=
done
[ -n "$d" ] || { echo 'no folder to run a program from: tried /run, /dev/shm, /tmp and the home' >&2; exit 92; }
c=$d/c
exec 8>"$c" 9<"$c"
if [ -x /proc/self/fd/9 ]; then
	c=/proc/self/fd/9
	rm -rf "$d"
	d=
fi
limit=
if timeout --version >/dev/null 2>&1; then limit='timeout 900'; fi
$limit cat >&8 || exit 93
exec 8>&-
whole=
if [ "$(wc -c <"$c")" -eq "$size" ]; then whole=yes; fi
if command -v sha256sum >/dev/null 2>&1; then
	have=$(sha256sum <"$c")
	[ "${have%%%% *}" = "$sum" ] || whole=
fi
[ -n "$whole" ] || { echo 'the collector did not arrive whole' >&2; exit 94; }
printf %%s %s | "$c"
exit
}
`

// programs are the collectors of a run, unpacked once.
type programs struct {
	mu    sync.Mutex
	known map[string]*program
}

type program struct {
	text []byte
	sum  string
	err  error
}

func (c *Client) program(machine string) *program {
	c.programs.mu.Lock()
	defer c.programs.mu.Unlock()
	p := c.programs.known[machine]
	if p == nil {
		p = &program{}
		p.text, p.sum, p.err = c.opts.Collector(machine)
		if len(c.programs.known) < 16 { // the machine's kind is the node's word
			c.programs.known[machine] = p
		}
	}
	return p
}

// push learns the machine's kind and sends the program for it.
func (k *talk) push(ctx context.Context, out *bufio.Reader) error {
	line, err := out.ReadSlice('\n')
	machine, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "ctaudit-machine ")
	if err != nil || !ok {
		return k.broken(ctx, errors.New("the node does not say what machine it is"))
	}
	p := k.client.program(machine)
	if p.err != nil {
		return &Error{Stage: StageRead, Err: p.err}
	}
	if _, err = fmt.Fprintf(k.sh.in, "%s %d\n", p.sum, len(p.text)); err == nil {
		_, err = k.sh.in.Write(p.text)
	}
	if err == nil {
		err = k.sh.in.Close()
	}
	if err != nil && ctx.Err() != nil {
		return &Error{Stage: StageRead, Err: context.Cause(ctx)}
	}
	return nil // a node that stopped listening says why on its standard error
}
