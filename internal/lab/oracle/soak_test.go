package oracle_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
)

// bothQuestions runs a test with the universes of question A, and with those of B.
func bothQuestions(t *testing.T, run func(*testing.T, [2]oracle.Universe)) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	for _, through := range []bool{false, true} {
		t.Run(map[bool]string{false: "A", true: "B"}[through], func(t *testing.T) {
			us, err := universes(through)
			if err != nil {
				t.Fatal(err)
			}
			run(t, us)
		})
	}
}

// generated runs the case of a seed.
type generated func(total *tally, bs *benches, seed uint64) error

// drawn generates the case of a seed, and runs it on one of the worker's benches.
func drawn(us [2]oracle.Universe, run func(*tally, *workbench, oracle.Case, oracle.Universe) error) generated {
	return func(total *tally, bs *benches, s uint64) error {
		u := us[s/7%2]
		c := oracle.Generate(s, u)
		b, err := bs.take(c)
		if err != nil {
			return err
		}
		return errors.Join(run(total, b, c, u), b.kept.Clear())
	}
}

// campaign is many generated cases, from -oracle.seed on.
type campaign struct {
	run    generated
	more   func(seed uint64) bool // false: the worker that asks stops
	replay string                 // the flag with which the first seed runs alone
}

// soak runs the cases from many workers: most of a case's time is waiting for the kernel to commit (RCU). It ends early when
// several have failed.
func (c campaign) soak(t *testing.T) *tally {
	var (
		next     atomic.Uint64
		failures atomic.Int32
		mu       sync.Mutex
		total    tally
		wg       sync.WaitGroup
	)
	next.Store(*seed)
	for worker := range *workers {
		wg.Go(func() {
			var own tally
			bs := &benches{cpu: worker}
			defer bs.close()
			for s := next.Add(1) - 1; c.more(s) && failures.Load() < 5; s = next.Add(1) - 1 {
				if err := c.run(&own, bs, s); err != nil {
					failures.Add(1)
					t.Errorf("replay with -oracle.seed=%d %s:\n%v", s, c.replay, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(&own)
		})
	}
	wg.Wait()
	return &total
}
