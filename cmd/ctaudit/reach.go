package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
)

// reach is the way to a fleet's hosts; close ends what they share.
type reach struct {
	host  func(fleet.Target) host.Host
	ping  func(context.Context, fleet.Target, host.Request) (*sshhost.Ping, error)
	close func() error
}

// overSSH reaches them as users do.
func overSSH(o sshhost.Options) (reach, error) {
	c, err := sshhost.New(o)
	if err != nil {
		return reach{}, err
	}
	return reach{
		host: func(t fleet.Target) host.Host { return c.Host(t.Target) },
		ping: func(ctx context.Context, t fleet.Target, req host.Request) (*sshhost.Ping, error) {
			return c.Ping(ctx, t.Target, req)
		},
		close: c.Close,
	}, nil
}

// reachFlags say how hosts are reached.
type reachFlags struct {
	forks      int
	timeout    time.Duration
	become     string
	becomeUser string
	hostKeys   string
	reader     string
	push       bool
	system     bool
	sshConfig  string
	maxOutput  int64 // MiB
}

func (f *reachFlags) flags(fs *pflag.FlagSet) {
	fs.IntVar(&f.forks, "forks", 0, "hosts at once (0: adapts to what is measured)")
	fs.DurationVar(&f.timeout, "timeout", 3*time.Minute, "of one host, everything included")
	fs.StringVar(&f.become, "become", "", "become another user by sudo, doas or su, where the inventory says nothing")
	fs.StringVar(&f.becomeUser, "become-user", "", "whom to become (default: root)")
	fs.StringVar(&f.hostKeys, "host-key-policy", string(sshhost.Strict), "strict, or accept-new: note the keys of hosts that known_hosts does not have")
	fs.StringVar(&f.reader, "reader", string(sshhost.Auto), "auto: the node's own ctaudit, or else the probe; probe: the script; push: a collector that is removed afterwards")
	fs.BoolVar(&f.push, "push", false, "the same as --reader push")
	fs.BoolVar(&f.system, "system-ssh", false, "go through the system's ssh for every host")
	fs.Int64Var(&f.maxOutput, "max-output", 256, "what one host may answer, decompressed, in `MiB`")
	fs.StringVar(&f.sshConfig, "ssh-config", "", "the ssh configuration, instead of the user's, in `file`")
}

// options checks the flags.
func (f *reachFlags) options() (sshhost.Options, error) {
	o := sshhost.Options{
		HostKeyPolicy: sshhost.HostKeyPolicy(f.hostKeys), ConfigFile: f.sshConfig, System: f.system, Reader: sshhost.Reader(f.reader), Retries: 2,
		MaxOutput: f.maxOutput << 20,
		Read:      f.timeout * 2 / 3, // so that it is the reading that is said to be slow, and not the host
	}
	switch {
	case !slices.Contains([]sshhost.HostKeyPolicy{sshhost.Strict, sshhost.AcceptNew}, o.HostKeyPolicy):
		return o, fmt.Errorf("--host-key-policy %q: want strict or accept-new", f.hostKeys)
	case !slices.Contains([]sshhost.Reader{sshhost.Auto, sshhost.Probe, sshhost.Push}, o.Reader):
		return o, fmt.Errorf("--reader %q: want auto, probe or push", f.reader)
	case f.push && o.Reader == sshhost.Probe:
		return o, errors.New("--push and --reader probe contradict each other")
	case !slices.Contains([]string{"", "sudo", "doas", "su"}, f.become):
		return o, fmt.Errorf("--become %q: want sudo, doas or su", f.become)
	case f.becomeUser != "" && f.become == "":
		return o, errors.New("--become-user goes with --become")
	case f.forks < 0 || f.forks > 10000:
		return o, fmt.Errorf("--forks %d: want between 0 and 10000", f.forks)
	case f.maxOutput < 1 || f.maxOutput > 1<<20:
		return o, fmt.Errorf("--max-output %d: want between 1 and %d MiB", f.maxOutput, 1<<20)
	case f.timeout < time.Second:
		return o, fmt.Errorf("--timeout %s: want at least 1s", f.timeout)
	}
	if f.push {
		o.Reader = sshhost.Push
	}
	if f.sshConfig != "" {
		if _, err := os.Stat(f.sshConfig); err != nil {
			return o, fmt.Errorf("--ssh-config: %w", err)
		}
	}
	return o, nil
}

// apply gives targets what the inventory leaves open.
func (f *reachFlags) apply(targets []fleet.Target) {
	for i := range targets {
		if t := &targets[i]; t.Become.Method == "" && f.become != "" {
			t.Become = sshhost.Become{Method: f.become, User: f.becomeUser}
		}
	}
}

// request is what an audit asks a node for.
func (ff *fleetFlags) request() host.Request {
	return host.Request{Needs: collect.NeedsOf(registry.All()), Sample: ff.sample}
}

// printPlan prints the hosts, the script that the probe runs on each, and what has to be in sudoers for it.
func (a *app) printPlan(targets []fleet.Target, ff *fleetFlags, o sshhost.Options) error {
	if err := a.targetTable(targets); err != nil {
		return err
	}
	var b strings.Builder
	if lines := sudoers(targets); len(lines) > 0 {
		fmt.Fprintf(&b, "\n# in /etc/sudoers.d/ctaudit, where become is sudo (the line lets the user run any script as that user)\n%s\n", strings.Join(lines, "\n"))
	}
	nonce := strings.Repeat("0", 32) // a fresh one in every session
	script, err := sshhost.Script(o.Reader, ff.request(), nonce)
	if err != nil {
		return err
	}
	fmt.Fprintf(&b, "\n# what runs on %s, by sh -s\n%s", count(len(targets), "host"), script)
	_, err = io.WriteString(a.out, b.String())
	return unwritten(err)
}

// sudoers are the lines that the targets need, each once.
func sudoers(targets []fleet.Target) []string {
	var lines []string
	for _, t := range targets {
		if t.Become.Method != "sudo" {
			continue
		}
		user := t.User
		if user == "" {
			user = "USER" // the ssh configuration's
		}
		if line := probe.Sudoers(user, t.Become.User); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}
