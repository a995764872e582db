package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/report"
)

// pong is what fleet ping says of a host.
type pong struct {
	Host    string   `json:"host"`
	OK      bool     `json:"ok"` // an audit would be complete
	Stage   string   `json:"stage,omitempty"`
	Error   string   `json:"error,omitempty"`
	Hint    string   `json:"hint,omitempty"`
	Lacks   []string `json:"lacks"`
	Reader  string   `json:"reader,omitempty"`
	User    string   `json:"user,omitempty"`
	Login   string   `json:"login,omitempty"`
	Kernel  string   `json:"kernel,omitempty"`
	Machine string   `json:"machine,omitempty"`
	Server  string   `json:"server,omitempty"`
	HostKey string   `json:"hostKey,omitempty"`
	Auth    string   `json:"auth,omitempty"`
	Jump    string   `json:"jump,omitempty"`
	System  string   `json:"systemSSH,omitempty"` // why through the system's ssh
	Seconds float64  `json:"seconds"`
}

func (a *app) pingCommand(ff *fleetFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "ping",
		Short: "Try to reach the hosts, and say what an audit would lack on each",
		Long: `Connect to every host, check its key, log in, become who reads, and look for the programs that the probe uses. Nothing is
audited: that a part of the node is hidden from whoever reads it (a masked /proc, a container around the login), or that a program
there is of no use, only the audit finds out.

Exit codes: 0 every host can be reached, and has what a complete audit takes; 2 usage error; 3 some have not.`,
		Example: "  ctaudit fleet ping -i hosts.yaml --become sudo\n  ctaudit fleet ping -i hosts.yaml -v -f json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.ping(cmd.Context(), ff, format) },
	}
	cmd.Flags().StringVarP(&format, "format", "f", "text", "text or json")
	return cmd
}

func (a *app) ping(ctx context.Context, ff *fleetFlags, format string) error {
	if format != "text" && format != "json" {
		return fmt.Errorf("--format %q: want text or json", format)
	}
	opts, err := ff.reach.options()
	if err != nil {
		return err
	}
	var talk sync.Mutex
	opts.Log = func(target, line string) {
		talk.Lock()
		defer talk.Unlock()
		if a.verbose {
			a.say("%s: %s", printable(target), printable(line))
		}
	}
	targets, warnings, err := ff.inventory.targets(a.in)
	a.warnInventory(warnings)
	if err != nil {
		return err
	}
	if err := unique(targets); err != nil {
		return err
	}
	ff.reach.apply(targets)
	way, err := a.reach(opts)
	if err != nil {
		return err
	}
	pongs := a.pingAll(ctx, targets, ff, way)
	if err := errors.Join(way.close(), a.printPongs(pongs, format)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return pingExit(pongs)
}

// pingAll asks all targets and returns what they say in the inventory's order; a host that an interruption kept from being asked says so.
func (a *app) pingAll(ctx context.Context, targets []fleet.Target, ff *fleetFlags, way reach) []pong {
	at, pongs := map[string]int{}, make([]pong, len(targets))
	for i, t := range targets {
		at[t.Name] = i
		pongs[i] = pong{Host: t.Name, Error: "not asked: interrupted", Lacks: []string{}}
	}
	p := a.newProgress(len(targets), 0)
	defer p.end()
	work := func(ctx context.Context, t fleet.Target) (*sshhost.Ping, error) {
		if t.Local {
			return nil, nil
		}
		return way.ping(ctx, t, ff.request())
	}
	for out := range fleet.Run(ctx, targets, fleet.Options{Forks: ff.reach.forks, Timeout: ff.reach.timeout}, work, nil) {
		if out.Interrupted {
			continue
		}
		h := report.Host{Status: report.Complete}
		if out.Err != nil {
			h = unaudited(out.Target, out.Err)
		}
		pongs[at[out.Target.Name]] = pongOf(out, h)
		p.host(&h)
	}
	return pongs
}

func pongOf(out fleet.Outcome[*sshhost.Ping], h report.Host) pong {
	g := pong{Host: out.Target.Name, Lacks: []string{}, Seconds: out.Took.Seconds()}
	if out.Err != nil {
		g.Stage, g.Error, g.Hint = h.Stage, h.Error, h.Hint
		return g
	}
	if out.Value == nil {
		g.Reader, g.OK = "this machine", true
		return g
	}
	p := out.Value
	g.User, g.Login, g.Kernel, g.Machine, g.Server = p.User, p.Login, p.Kernel, p.Machine, p.Server
	g.HostKey, g.Auth, g.Jump, g.System = p.HostKey, p.Auth, p.Jump, p.System
	g.Reader = "probe"
	if p.Ctaudit {
		g.Reader = "ctaudit"
	}
	if !p.Root {
		g.Lacks = append(g.Lacks, "root")
		g.Hint = "not everything can be read as " + p.User + ": log in as root, or use --become sudo"
	}
	g.Lacks = append(g.Lacks, p.Lacks...)
	g.OK = len(g.Lacks) == 0
	return g
}

func (a *app) printPongs(pongs []pong, format string) error {
	if format == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return unwritten(enc.Encode(pongs))
	}
	var b strings.Builder
	widest := 0
	for _, g := range pongs {
		widest = max(widest, len(printable(g.Host)))
	}
	for _, g := range pongs {
		fmt.Fprintf(&b, "%-*s  %s\n", widest, printable(g.Host), printable(g.line()))
		if g.Hint != "" {
			fmt.Fprintf(&b, "%-*s  hint: %s\n", widest, "", printable(g.Hint))
		}
		for _, d := range g.details() {
			if a.verbose && d[1] != "" {
				fmt.Fprintf(&b, "%-*s  %s: %s\n", widest, "", d[0], printable(d[1]))
			}
		}
	}
	_, err := fmt.Fprint(a.out, b.String())
	return unwritten(err)
}

func (g *pong) line() string {
	switch {
	case g.Error != "" && g.Stage != "":
		return "FAILED  " + g.Stage + ": " + g.Error
	case g.Error != "":
		return "FAILED  " + g.Error
	case !g.OK:
		return "lacks   " + strings.Join(g.Lacks, ", ")
	case g.User == "":
		return "ok      " + g.Reader
	}
	return fmt.Sprintf("ok      %s as %s, %s %s, %.2fs", g.Reader, g.User, g.Kernel, g.Machine, g.Seconds)
}

func (g *pong) details() [][2]string {
	return [][2]string{
		{"login", g.Login},
		{"through the system's ssh", g.System},
		{"jump", g.Jump},
		{"server", g.Server},
		{"host key", g.HostKey},
		{"authentication", g.Auth},
	}
}

func pingExit(pongs []pong) error {
	failed, lacking := 0, 0
	for _, g := range pongs {
		switch {
		case g.Error != "":
			failed++
		case !g.OK:
			lacking++
		}
	}
	if failed+lacking == 0 {
		return nil
	}
	return &exitError{exitIncomplete, fmt.Sprintf("exit 3: of %s, %d cannot be reached, %d lack something", count(len(pongs), "host"), failed, lacking)}
}
