package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/policies"
)

// journalHead is what the entries of a journal need to be read as a report.
type journalHead struct {
	Controls []report.Control  `json:"controls"`
	Help     map[string]string `json:"help"` // by control: its page, which reports leave out
}

func headOf(controls []report.Control) journalHead {
	h := journalHead{Controls: controls, Help: map[string]string{}}
	for _, c := range controls {
		h.Help[c.ID] = c.Help
	}
	return h
}

// controls are those of a journal's head, whole again.
func (h journalHead) controls() []report.Control {
	out := slices.Clone(h.Controls)
	for i := range out {
		out[i].Help = h.Help[out[i].ID]
	}
	return out
}

// openJournal opens the journal that the flags ask for: a new one, one to go on with, or one that ends with the run.
func (a *app) openJournal(ff *fleetFlags, all []fleet.Target, controls []report.Control) (*journal.Journal, error) {
	h, err := ff.header(all, controls)
	if err != nil {
		return nil, err
	}
	switch {
	case ff.journal == "":
		ff.notSaved = true
		return journal.Temporary("", h)
	case ff.resume:
		return a.resume(ff, h)
	}
	j, err := journal.Create(ff.journal, h)
	if errors.Is(err, journal.ErrExists) {
		return nil, withHint(err, "go on with it by --resume, or name another file")
	}
	return j, err
}

func (ff *fleetFlags) header(all []fleet.Target, controls []report.Control) (journal.Header, error) {
	h := journal.Header{
		Tool: toolName(), Options: map[string]string{}, Shard: ff.shardOf.String(), Hosts: []string{}, Begun: time.Now().UTC().Truncate(time.Second),
	}
	for _, t := range all {
		h.Hosts = append(h.Hosts, t.Name)
	}
	slices.Sort(h.Hosts)
	h.Inventory = digest(h.Hosts...)
	if ff.sample > 0 {
		h.Options["sample"] = ff.sample.String()
	}
	var err error
	if h.Controls, err = policyDigest(ff.judge.policyDir); err != nil {
		return h, err
	}
	h.Head, err = json.Marshal(headOf(controls))
	return h, err
}

func digest(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		_, _ = io.WriteString(h, w+"\x00")
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// policyDigest is over every Rego file that judges: ours, and those of a user's folder under their paths in it.
func policyDigest(dir string) (string, error) {
	words, err := regoIn(policies.Files())
	if err != nil || dir == "" {
		return digest(words...), err
	}
	own, err := regoIn(os.DirFS(dir))
	return digest(append(append(words, "user"), own...)...), err
}

func regoIn(files fs.FS) ([]string, error) {
	var words []string
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".rego" || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		text, err := fs.ReadFile(files, name)
		words = append(words, name, string(text))
		return err
	})
	return words, err
}

// resume opens a journal of an earlier run, and refuses one that this run's results would not belong to.
func (a *app) resume(ff *fleetFlags, h journal.Header) (*journal.Journal, error) {
	j, err := journal.Resume(ff.journal, h)
	if err != nil {
		return nil, err
	}
	a.sayDamage(j)
	if changed := differences(j.Header(), h); len(changed) > 0 {
		if !ff.anyway {
			return nil, errors.Join(withHint(fmt.Errorf("journal %s: another run's: %s", ff.journal, strings.Join(changed, "; ")),
				"name another --journal, or go on all the same with --resume-anyway"), j.Close())
		}
		a.say("warning: journal %s: %s", ff.journal, strings.Join(changed, "; "))
		h.Begun = j.Header().Begun
		if err := j.Rehead(h); err != nil {
			return nil, errors.Join(err, j.Close())
		}
	}
	return j, nil
}

func (a *app) sayDamage(j *journal.Journal) {
	for i, d := range j.Damaged() {
		if i == warnings {
			a.say("warning: journal %s: %s more are damaged, and are passed over", j.Path(), count(len(j.Damaged())-i, "line"))
			break
		}
		a.say("warning: journal %s: %s: it is passed over", j.Path(), printable(d.String()))
	}
	if j.Cut() > 0 {
		a.say("warning: journal %s: its last line was cut off: it is passed over", j.Path())
	}
}

// differences say in words what two headers disagree in.
func differences(was, is journal.Header) []string {
	var out []string
	if was.Tool != is.Tool {
		out = append(out, fmt.Sprintf("by %s, and this is %s", printable(was.Tool), is.Tool))
	}
	if was.Controls != is.Controls {
		out = append(out, "the policies have changed")
	}
	if !maps.Equal(was.Options, is.Options) {
		out = append(out, fmt.Sprintf("the options have changed (%s, now %s)", options(was.Options), options(is.Options)))
	}
	if was.Shard != is.Shard {
		out = append(out, fmt.Sprintf("the shard is another (%s, now %s)", orAll(was.Shard), orAll(is.Shard)))
	}
	if more, fewer := newIn(was.Hosts, is.Hosts), newIn(is.Hosts, was.Hosts); more+fewer > 0 {
		out = append(out, fmt.Sprintf("the inventory has changed (%d hosts more, %d fewer)", more, fewer))
	}
	return out
}

// newIn is how many of b's words a lacks; both are sorted.
func newIn(a, b []string) int {
	n := 0
	for _, w := range b {
		if _, ok := slices.BinarySearch(a, w); !ok {
			n++
		}
	}
	return n
}

func options(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, "--"+k+" "+m[k])
	}
	if len(out) == 0 {
		return "none"
	}
	return printable(strings.Join(out, " "))
}

func orAll(shard string) string {
	if shard == "" {
		return "all hosts"
	}
	return printable(shard)
}
