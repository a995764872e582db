package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/report"
)

// fleetFlags are everything that fleet takes.
type fleetFlags struct {
	inventory inventoryFlags
	reach     reachFlags
	judge     scanFlags
	out       outputFlags
	shard     string
	sample    time.Duration
	snapshots string
	dryRun    bool
	journalFlags
}

// journalFlags say where results go while they come.
type journalFlags struct {
	journal  string
	resume   bool
	again    bool
	anyway   bool
	shardOf  fleet.Shard
	notSaved bool // no --journal: it ends with the run
}

func (f *journalFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.journal, "journal", "", "keep results in `file` while they come, so that --resume can go on after a kill")
	fs.BoolVar(&f.resume, "resume", false, "go on with --journal: hosts that it has are not audited again")
	fs.BoolVar(&f.again, "retry-unreachable", false, "with --resume: try again what could not be audited")
	fs.BoolVar(&f.anyway, "resume-anyway", false, "with --resume: also when inventory, tool, policies or options have changed since")
}

func (a *app) fleetCommand() *cobra.Command {
	var ff fleetFlags
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Audit the hosts of an inventory over SSH",
		Long: `Read every host of an inventory over SSH, with nothing installed there, and judge all of them as scan judges one.

A host that could not be reached is never a pass: it is named, with how far ctaudit came, and the run exits 3 (or 1 where there
are findings). With --journal results are on the disk as they come: after a kill, or ctrl-C, --resume goes on with the rest.`,
		Example: `  ctaudit fleet --inventory hosts.yaml --become sudo
  ctaudit fleet -i hosts.yaml --limit 'web:!web01' --journal run.journal -o sarif=fleet.sarif
  ctaudit fleet -i hosts.yaml --journal run.journal --resume
  ctaudit fleet -i hosts.yaml --shard 3/8 --journal shard3.journal
  ctaudit fleet -i hosts.yaml --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.fleet(cmd.Context(), &ff) },
	}
	p := cmd.PersistentFlags()
	ff.inventory.flags(p)
	ff.reach.flags(p)
	f := cmd.Flags()
	ff.out.flags(f)
	f.StringVar(&ff.judge.policyDir, "policy", "", "add the controls in `dir`, or override those of the same id")
	ff.judge.flags(f)
	ff.journalFlags.flags(f)
	f.StringVar(&ff.shard, "shard", "", "only part `i/n` of the hosts, i from 0 to n-1, by their names: merge the parts with ctaudit merge")
	f.DurationVar(&ff.sample, "sample", 0, "read counters twice, this far apart, for rates (0: once)")
	f.StringVar(&ff.snapshots, "snapshots", "", "keep every host's snapshot in `folder`")
	f.BoolVar(&ff.dryRun, "dry-run", false, "print the hosts and what would run on them, and connect to none")
	cmd.AddCommand(a.pingCommand(&ff))
	return cmd
}

// check refuses what cannot work before any host is asked.
func (ff *fleetFlags) check() (sshhost.Options, error) {
	var err error
	if ff.shardOf, err = fleet.ParseShard(ff.shard); err != nil {
		return sshhost.Options{}, fmt.Errorf("--shard: %w", err)
	}
	switch {
	case ff.resume && ff.journal == "":
		return sshhost.Options{}, errors.New("--resume goes on with a journal: name it with --journal FILE")
	case (ff.again || ff.anyway) && !ff.resume:
		return sshhost.Options{}, errors.New("--retry-unreachable and --resume-anyway go with --resume")
	case ff.sample < 0 || ff.sample > time.Hour:
		return sshhost.Options{}, fmt.Errorf("--sample %s: want between 0 and 1h", ff.sample)
	}
	if err := ff.out.check(); err != nil {
		return sshhost.Options{}, err
	}
	return ff.reach.options()
}

// fleet audits the hosts of an inventory.
func (a *app) fleet(ctx context.Context, ff *fleetFlags) error {
	opts, err := ff.check()
	if err != nil {
		return err
	}
	judge, err := ff.judge.policy()
	if err != nil {
		return err
	}
	waivers, err := a.waivers(ff.judge.waivers)
	if err != nil {
		return err
	}
	all, warnings, err := ff.inventory.targets(a.in)
	a.warnInventory(warnings)
	if err != nil {
		return err
	}
	ff.reach.apply(all)
	if ff.dryRun {
		return a.printPlan(ff.shardOf.Select(all), ff, opts)
	}
	r, err := a.newFleetRun(ff, all, opts)
	if err != nil {
		return err
	}
	defer r.journal.Close()
	defer a.fleetMemory()()
	failed := r.all(ctx, ff.shardOf.Select(all))
	return a.fleetEnd(ctx, r, failed, finishing{judge, waivers, ff.out, ff.reportHint()})
}

// What one host leaves behind is garbage once it is in the journal, and little is held besides: collecting it more rarely than for one
// node saves a fifth of the processor time. The limit keeps a fleet of large nodes from making use of that.
const (
	fleetGC     = 400
	fleetMemory = 256 << 20
)

// fleetMemory sets the collector for a fleet, unless the user has, and returns what sets it back.
func (a *app) fleetMemory() func() {
	if a.env["GOGC"] != "" || a.env["GOMEMLIMIT"] != "" {
		return func() {}
	}
	percent, limit := debug.SetGCPercent(fleetGC), debug.SetMemoryLimit(fleetMemory)
	return func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }
}

// fleetEnd reports what there is, however the run ended.
func (a *app) fleetEnd(ctx context.Context, r *fleetRun, failed error, f finishing) error {
	hosts := hostsOf(r.journal)
	hosts.why = func(string) string { return "the run ended before this host was audited" }
	exit, err := a.finish(hosts, f)
	err = errors.Join(failed, err)
	var signal interrupted
	if errors.As(context.Cause(ctx), &signal) && r.left() > 0 {
		return errors.Join(err, r.interrupted(signal))
	}
	if exit.Code != report.ExitClean {
		return errors.Join(err, &exitError{exit.Code, exit.String()})
	}
	if err == nil {
		a.say("%s", exit)
	}
	return err
}

// reportHint is what to do where a report finds no room.
func (ff *fleetFlags) reportHint() string {
	if ff.notSaved {
		return againHint
	}
	return "the audits are kept: make room there, or name another file, and write the report with: ctaudit merge " + ff.journal
}

// interrupted says what is kept, and how to go on.
func (r *fleetRun) interrupted(i interrupted) error {
	code := exitInterrupt
	if i.sig == syscall.SIGTERM {
		code = exitTerminate
	}
	asked := len(asked(r.journal.Header()))
	reason := fmt.Sprintf("exit %d: %v: %d of %s audited", code, i, asked-r.left(), count(asked, "host"))
	if !r.ff.notSaved {
		reason += "\nhint: go on with: ctaudit fleet --resume --journal " + r.ff.journal + " and the same flags"
	}
	return &exitError{code, reason}
}

// unique refuses names that stand twice: a host is its name.
func unique(targets []fleet.Target) error {
	seen := map[string]bool{}
	for _, t := range targets {
		if seen[t.Name] {
			return fmt.Errorf("inventory: %s stands there twice", printable(t.Name))
		}
		seen[t.Name] = true
	}
	return nil
}

// collectOptions are how a target is read.
func (ff *fleetFlags) collectOptions(t fleet.Target) collect.Options {
	return collect.Options{HostName: t.Name, Sample: ff.sample, Tool: toolName()}
}

// left is how many of the hosts that were asked for have no entry.
func (r *fleetRun) left() int {
	n := 0
	for _, name := range asked(r.journal.Header()) {
		if !isDone(r.journal, name) {
			n++
		}
	}
	return n
}

// asked are the hosts of a journal's own shard.
func asked(h journal.Header) []string {
	shard, err := fleet.ParseShard(h.Shard)
	if err != nil {
		return h.Hosts
	}
	return slices.DeleteFunc(slices.Clone(h.Hosts), func(name string) bool { return !shard.Has(name) })
}
