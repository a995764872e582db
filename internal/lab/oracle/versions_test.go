package oracle_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/lab/archive"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/nftversions"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

var (
	versionCases = flag.Uint64("oracle.versions", 0, "how many rulesets every nft of the matrix reads (make nft-versions)")
	versionCache = flag.String("oracle.versions.cache", "", "where nft's packages are kept (default: ctaudit/nft in the user's cache folder)")
)

// version is an nft of the matrix, and what it came to.
type version struct {
	*nftversions.Program
	mu                sync.Mutex
	read, equal, part int
	opaque, wrong     int
}

// TestNftVersions has every nft of the matrix read the same random rulesets, loaded by the installed one: what the text reader makes
// of each is netlink's ruleset, or it says itself that something is missing.
func TestNftVersions(t *testing.T) {
	if *versionCases == 0 {
		t.Skip("make nft-versions reads with them: -oracle.versions is 0")
	}
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	us, err := universes(false)
	if err != nil {
		t.Fatal(err)
	}
	versions := fetchVersions(t)
	start := time.Now()
	everyVersion(t, us, versions)
	for _, v := range versions {
		t.Logf("%-44s %5d rulesets: %5d equal, %4d in part, %d wrong; %d opaque rules", v.Version, v.read, v.equal, v.part, v.wrong, v.opaque)
		if v.read == 0 || v.equal == 0 {
			t.Errorf("%s proved nothing", v.Version)
		}
	}
	t.Logf("%.0f s", time.Since(start).Seconds())
}

// fetchVersions returns the matrix; an archive that cannot be reached is no fault of ours.
func fetchVersions(t *testing.T) (out []*version) {
	t.Helper()
	dir, err := *versionCache, error(nil)
	if dir == "" {
		if dir, err = archive.CacheDir("nft"); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range nftversions.All() {
		p, err := nftversions.Fetch(t.Context(), r, dir)
		if errors.Is(err, archive.ErrNone) {
			t.Skipf("nft of %s was not tried: %v", r.Suite, err)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &version{Program: p})
	}
	return out
}

func everyVersion(t *testing.T, us [2]oracle.Universe, versions []*version) {
	var (
		next atomic.Uint64
		wg   sync.WaitGroup
	)
	next.Store(*seed)
	for worker := range *workers {
		wg.Go(func() {
			bs := &benches{cpu: worker}
			defer bs.close()
			for s := next.Add(1) - 1; s < *seed+*versionCases; s = next.Add(1) - 1 {
				if err := versionCase(t, bs, us[s/7%2], s, versions); err != nil {
					t.Errorf("seed %d: %v", s, err)
				}
			}
		})
	}
	wg.Wait()
}

// versionCase loads the seed's ruleset and reads it with every version.
func versionCase(t *testing.T, bs *benches, u oracle.Universe, s uint64, versions []*version) error {
	c := oracle.Generate(s, u)
	b, err := bs.take(c)
	if err != nil {
		return err
	}
	loaded, err := b.load(c)
	if err != nil { // the kernel refuses a combination at times
		return b.kept.Clear()
	}
	for _, v := range versions {
		if err := v.reads(t, b, fmt.Sprintf("-oracle.seed=%d -oracle.versions=1\n%s", s, loaded)); err != nil {
			return err
		}
	}
	return b.kept.Clear()
}

// reads compares the two readers on what is loaded. What differs is read again first: the neighbours talk between two readings, and
// rules add to sets what they hear.
func (v *version) reads(t *testing.T, b *workbench, ruleset string) error {
	diff, opaque, partial := "", 0, false
	for range 2 {
		wire, text, err := b.readWith(v.Path)
		if err != nil {
			return err
		}
		if partial = part(text); partial {
			break
		}
		mine := text.Ruleset()
		opaque = withoutOpaque(wire.Ruleset(), mine)
		if diff = cmp.Diff(wire.Ruleset(), mine, unsaid()); diff == "" {
			break
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.read, v.opaque = v.read+1, v.opaque+opaque
	switch {
	case partial:
		v.part++
	case diff == "":
		v.equal++
	default:
		if v.wrong++; v.wrong <= 3 {
			t.Errorf("%s: the text's ruleset differs (-netlink +text):\n%s\nreplay with %s", v.Version, diff, ruleset)
		}
	}
	return nil
}

// readWith is the node as netlink has it, and with the nf_tables that this nft prints in their place. What iptables' tools say is
// the same.
func (w *workbench) readWith(nft string) (wire, text *snapshot.Document, err error) {
	if wire, err = w.read(); err != nil {
		return nil, nil, err
	}
	shell := hosttest.Shell(hosttest.WithProgram(w.host, "nft", nft))
	only, _, err := collect.Run(context.Background(), shell, registry.All(), collect.Options{Only: []string{"nftables"}})
	if err != nil {
		return nil, nil, err
	}
	both := *wire
	both.NFTables, both.Collectors = only.NFTables, slices.Clone(wire.Collectors)
	for i, c := range only.Collectors {
		if c.Name == "nftables" {
			both.Collectors[i] = c
		}
	}
	return wire, &both, nil
}
