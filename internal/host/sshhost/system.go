package sshhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// jumpsNeedSystem says which of a host's jump hosts needs the system's ssh, which then does the whole chain. What else is wrong
// with one is said when it is connected to.
func (c *Client) jumpsNeedSystem(ctx context.Context, cfg *config) string {
	for range maxJumps {
		chain := cfg.set("proxyjump")
		if chain == "" {
			return ""
		}
		h, err := lastHop(chain)
		if err != nil {
			return ""
		}
		if cfg, err = c.resolver.resolve(ctx, h); err != nil {
			return ""
		}
		if why := systemReason(cfg); why != "" {
			return fmt.Sprintf("%s of the jump host %s", why, printable(h.name, 120))
		}
	}
	return ""
}

// keysNeedSystem says why the keys of a host need the system's ssh: one on a FIDO token that no agent has, or none at all
// where Kerberos may do.
func (c *Client) keysNeedSystem(ctx context.Context, t Target, cfg *config) string {
	if !cfg.yes("gssapiauthentication") && !c.tokens(t, cfg) {
		return ""
	}
	ids, err := c.identities(ctx, t, cfg)
	switch {
	case err != nil || len(ids.list) > 0:
		return ""
	case ids.token:
		return "a key on a FIDO token"
	case cfg.yes("gssapiauthentication") && kerberos():
		return "GSSAPIAuthentication, and no key"
	}
	return ""
}

// tokens says whether a configured key file is the public part of a token's key.
func (c *Client) tokens(t Target, cfg *config) bool {
	first, files, _, err := c.keyFiles(t, cfg)
	return err == nil && slices.ContainsFunc(append(first, files...), func(k *keyFile) bool { return k.token })
}

// kerberos says whether there may be a ticket.
func kerberos() bool {
	if os.Getenv("KRB5CCNAME") != "" {
		return true
	}
	for _, name := range []string{fmt.Sprintf("/tmp/krb5cc_%d", os.Getuid()), "/etc/krb5.conf"} {
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return false
}

// systemArgs is the command line of the system's ssh. Our own options come first, and ssh keeps the first value of each.
func (c *Client) systemArgs(t Target, r *route) []string {
	policy := "yes"
	if c.opts.HostKeyPolicy == AcceptNew {
		policy = "accept-new"
	}
	args := []string{"-T", "-a", "-x"}
	for _, o := range []string{
		"BatchMode=yes", "StrictHostKeyChecking=" + policy, "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "Tunnel=no",
		"PermitLocalCommand=no", "RemoteCommand=none", "RequestTTY=no", "SessionType=default", "ForkAfterAuthentication=no",
		"StdinNull=no", "ControlMaster=no", "EscapeChar=none", "LogLevel=ERROR", "UpdateHostKeys=no",
		"ConnectTimeout=" + strconv.Itoa(max(1, int((c.dialTime(t, r.cfg)+time.Second-1)/time.Second))),
		"ConnectionAttempts=" + strconv.Itoa(1+max(0, c.opts.Retries)),
	} {
		args = append(args, "-o", o)
	}
	for _, k := range t.KeyFiles {
		if path, err := r.cfg.expand(k); err == nil {
			k = path
		}
		if abs, err := filepath.Abs(k); err == nil {
			k = abs
		}
		args = append(args, "-i", k)
	}
	return append(append(args, c.resolver.args(r.hop)...), "--", r.hop.name, r.command)
}

// openSystem starts the system's ssh in a process group of its own, so that a ProxyCommand ends with it.
func (c *Client) openSystem(ctx context.Context, t Target, r *route) (*remote, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.Command(c.resolver.ssh, c.systemArgs(t, r)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, configError(ctx, err)
	}
	p := &process{cmd: cmd}
	sh := &remote{in: in, out: out, wait: p.status, dial: c.dialTime(t, r.cfg)}
	sh.close = func() {
		p.kill()
		out.Close()
		errs.Close()
	}
	sh.errs = follow(errs, sh.close)
	sh.lost = func() *Error { return systemError(sh.errs.text(), p.status(), r) }
	return sh, nil
}

// process is a running ssh.
type process struct {
	cmd  *exec.Cmd
	once sync.Once
	code int
}

// status waits for the end.
func (p *process) status() int {
	p.once.Do(func() {
		timer := time.AfterFunc(time.Second, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
		defer timer.Stop()
		_ = p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
	})
	return p.code
}

func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.status()
}

// systemError reads ssh's own complaints (exit status 255). Their words have been the same for many years.
func systemError(stderr string, status int, r *route) *Error {
	if status != 255 {
		return nil
	}
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(stderr, w) })
	}
	e := &Error{Stage: StageLogin, Err: errors.New("ssh: " + lastLine(stderr))}
	switch {
	case has("IDENTIFICATION HAS CHANGED", "Host key verification failed", "is revoked", "host key is known for", "host key for"):
		e.Stage = StageHostKey
		e.Err = errors.New("ssh: " + hostKeyComplaint(stderr))
	case has("Could not resolve hostname"):
		e.Stage = StageResolve
	case has("Bad configuration option", "terminating,", "no argument after keyword"):
		e.Stage = StageConfig
	case has("Permission denied", "Too many authentication failures", "no mutual signature", "Unable to negotiate"):
	case has("ssh: connect to host", "Connection timed out", "banner exchange", "kex_exchange_identification", "proxy", "UNKNOWN port 65535"):
		e.Stage = StageDial
	case lastLine(stderr) == "":
		e.Err = errors.New("ssh: exit status 255 without a word")
	}
	return e
}

// hostKeyComplaint is the line that names what is wrong, not the last one.
func hostKeyComplaint(stderr string) string {
	for _, mark := range []string{"Offending", "host key is known for", "is revoked", "fingerprint"} {
		for line := range strings.Lines(stderr) {
			if strings.Contains(line, mark) {
				return printable(strings.TrimSpace(line), 200) + "; " + lastLine(stderr)
			}
		}
	}
	return lastLine(stderr)
}
