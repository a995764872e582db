package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/policy"
	"github.com/ctaudit/ctaudit/internal/render"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// fleetRun is one run over the hosts of an inventory.
type fleetRun struct {
	*app
	ff      *fleetFlags
	engine  *policy.Engine
	journal *journal.Journal
	reach   reach
	readers *collect.Readers
	judges  judges
	stop    context.CancelCauseFunc
}

// keptHost is a host as the journal keeps it: with what its JSON leaves out.
type keptHost struct {
	Host    report.Host `json:"host"`
	Seconds float64     `json:"seconds"`
	File    string      `json:"file,omitempty"`
	Line    int         `json:"line,omitempty"`
}

// judges are goroutines for work that needs a processor and memory: more of it at a time than there are cores would only hold more.
// They stay for all hosts, because the evaluation of policies needs a deep stack: growing a new one for every host costs a sixth of it.
type judges struct {
	todo chan func()
	quit chan struct{}
}

func newJudges() judges {
	j := judges{make(chan func()), make(chan struct{})}
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for {
				select {
				case work := <-j.todo:
					work()
				case <-j.quit:
					return
				}
			}
		}()
	}
	return j
}

// end lets them go, when they have done what they are at.
func (j judges) end() { close(j.quit) }

// do has one of them do the work, and waits for that; it waits for its turn as long as ctx lasts. A panic comes out here, with the
// stack that it happened on.
func (j judges) do(ctx context.Context, work func()) error {
	var broken error
	done := make(chan struct{})
	guarded := func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				broken = fmt.Errorf("%v\n%s", v, debug.Stack())
			}
		}()
		work()
	}
	select {
	case j.todo <- guarded:
	case <-ctx.Done():
		return ctx.Err()
	}
	if <-done; broken != nil {
		panic(broken)
	}
	return nil
}

// newFleetRun prepares everything that can fail before a host is asked; the journal comes last, so that a mistake leaves none.
func (a *app) newFleetRun(ff *fleetFlags, all []fleet.Target, o sshhost.Options) (*fleetRun, error) {
	if err := unique(all); err != nil {
		return nil, err
	}
	if ff.snapshots != "" {
		if err := os.MkdirAll(ff.snapshots, 0o700); err != nil {
			return nil, fmt.Errorf("--snapshots: %w", err)
		}
	}
	engine, err := policy.Load(policy.Options{Dir: ff.judge.policyDir})
	if err != nil {
		return nil, err
	}
	readers, err := collect.Prepare(registry.All(), nil)
	if err != nil {
		return nil, err
	}
	way, err := a.reach(o)
	if err != nil {
		return nil, err
	}
	j, err := a.openJournal(ff, all, engine.Controls())
	if err != nil {
		return nil, errors.Join(err, way.close())
	}
	return &fleetRun{app: a, ff: ff, engine: engine, journal: j, reach: way, readers: readers}, nil
}

// all audits the targets that the journal does not have yet. The error is about the run, never about a host.
func (r *fleetRun) all(ctx context.Context, targets []fleet.Target) error {
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	r.judges = newJudges()
	defer r.judges.end()
	todo := r.todo(targets)
	r.sayResumed(len(todo), len(targets))
	if err := r.forgetMoved(todo); err != nil {
		return errors.Join(unwritten(withHint(err, r.roomHint())), r.reach.close())
	}
	p := r.newProgress(len(targets), len(targets)-len(todo))
	defer p.end()
	var broken error
	for out := range fleet.Run(ctx, todo, fleet.Options{Forks: r.ff.reach.forks, Timeout: r.ff.reach.timeout + r.ff.sample}, r.audit, r.keep) {
		var full *journal.WriteError
		var lost *writeError
		switch {
		case errors.As(out.Err, &full):
			broken = unwritten(withHint(full, r.roomHint()))
		case !out.Interrupted && errors.As(out.Err, &lost):
			broken = lost
		case !out.Interrupted:
			p.host(&out.Value.Host)
		}
	}
	return errors.Join(broken, r.reach.close())
}

func (r *fleetRun) roomHint() string {
	if r.ff.notSaved {
		return "name a --journal where there is room, or another folder for temporary files with TMPDIR"
	}
	return "what was noted before is kept: make room, and go on with --resume"
}

// audit reads and judges one host.
func (r *fleetRun) audit(ctx context.Context, t fleet.Target) (keptHost, error) {
	begun := time.Now()
	from := r.reach.host
	if t.Local {
		from = func(fleet.Target) host.Host { return host.Local(host.LocalOptions{}) }
	}
	doc, _, err := r.readers.Run(ctx, from(t), r.ff.collectOptions(t))
	if err != nil {
		return keptHost{}, err
	}
	var kept keptHost
	if late := r.judges.do(ctx, func() { kept, err = r.judge(ctx, t, doc) }); late != nil {
		return keptHost{}, fmt.Errorf("judge: %w", late)
	}
	kept.Seconds = time.Since(begun).Seconds()
	return kept, err
}

// judge makes a host's report of its snapshot.
func (r *fleetRun) judge(ctx context.Context, t fleet.Target, doc *snapshot.Document) (keptHost, error) {
	if err := r.keepSnapshot(t.Name, doc); err != nil {
		return keptHost{}, unwritten(withHint(err, r.snapshotHint()))
	}
	node := facts.Within(ctx, doc)
	results, err := r.engine.Evaluate(ctx, *node.Facts()) // which fails where ctx has ended
	if err != nil {
		return keptHost{}, fmt.Errorf("judge: %w", err)
	}
	h := hostReport(doc, node, results)
	h.Name, h.Groups, h.Scope = t.Name, t.Groups, scopeOf(doc)
	report.FinishHost(&h)
	return keptHost{Host: h}, nil
}

// mostReport is how large a host's report may be, in bytes, so that its line can be read back.
const mostReport = journal.MaxLine - 1<<20

// keep notes a host's outcome. A host that an interruption cut short is not done, nor is one whose snapshot finds no place: that says
// nothing about the host, and the next ones would fare no better.
func (r *fleetRun) keep(out *fleet.Outcome[keptHost]) error {
	var lost *writeError
	switch {
	case out.Interrupted:
		return out.Err
	case errors.As(out.Err, &lost):
		r.stop(lost)
		return lost
	}
	if out.Err != nil {
		out.Value = keptHost{Host: unaudited(out.Target, out.Err), Seconds: out.Took.Seconds()}
		out.Err = nil
	}
	k := &out.Value
	k.File, k.Line = declared(out.Target)
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if len(b) > mostReport {
		k.Host = unaudited(out.Target, fmt.Errorf("its report has %d MiB, more than the %d that are kept of a host", len(b)>>20, mostReport>>20))
		if b, err = json.Marshal(k); err != nil {
			return err
		}
	}
	attempt, _ := r.journal.Done(out.Target.Name)
	err = r.journal.Append(journal.Entry{Host: out.Target.Name, Attempt: attempt + 1, Outcome: string(k.Host.Status), Where: whereIs(out.Target), Report: b})
	if err != nil {
		r.stop(err)
	}
	return err
}

// unaudited is the report of a host that could not be audited. Causes that are the host's own (its name) stay out of the text,
// so that hosts with the same trouble can stand together.
func unaudited(t fleet.Target, err error) report.Host {
	h := report.Host{Name: t.Name, Groups: t.Groups, Status: report.HostError, Error: err.Error(), Taken: time.Now().UTC().Truncate(time.Second)}
	var at *sshhost.Error
	if errors.As(err, &at) {
		h.Stage, h.Hint, h.Error = string(at.Stage), at.Hint, at.Err.Error()
	}
	var hint *hintError
	if errors.As(err, &hint) && h.Hint == "" {
		h.Hint = hint.hint
	}
	var late *fleet.TimeoutError
	if errors.As(err, &late) {
		h.Error = late.Error()
	}
	report.FinishHost(&h)
	return h
}

// declared is where the inventory names the host, relative to the repository that it lies in: a place that code scanning can show.
// An inventory outside of any repository has none.
func declared(t fleet.Target) (file string, line int) {
	path, err := filepath.Abs(t.File)
	if t.Line == 0 || t.File == "" || t.File == "-" || err != nil {
		return "", 0
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return "", 0
			}
			return filepath.ToSlash(rel), t.Line
		}
		if dir == filepath.Dir(dir) {
			return "", 0
		}
	}
}

// keepSnapshot writes a host's document for later audits.
func (r *fleetRun) keepSnapshot(name string, doc *snapshot.Document) error {
	if r.ff.snapshots == "" {
		return nil
	}
	path := filepath.Join(r.ff.snapshots, snapshotName(name))
	f, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return fmt.Errorf("keep snapshot %s: %w", path, render.Cause(err, path))
	}
	defer func() { _ = f.Cleanup() }()
	if err = snapshot.Encode(f, doc); err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("keep snapshot %s: %w", path, render.Cause(err, path))
	}
	return nil
}

func (r *fleetRun) snapshotHint() string {
	hint := "make room there, or name another folder by --snapshots"
	if !r.ff.notSaved {
		hint += "; what was audited before is kept: go on with --resume"
	}
	return hint
}

const maxFileName = 150 // bytes, far below what file systems take

// snapshotName is the file of a host: its name, every byte that could mean something to a file system or a shell as %XX, and of a
// name that is too long the beginning and a digest. No two names share a file.
func snapshotName(host string) string {
	var b strings.Builder
	for i := range len(host) {
		c := host[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', i > 0 && (c == '-' || c == '.'):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	s := b.String()
	if len(s) > maxFileName {
		sum := sha256.Sum256([]byte(host))
		s = s[:maxFileName-40] + "%" + hex.EncodeToString(sum[:16]) // no escape is %xx in lower case
	}
	return s + ".json"
}
