package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/ctaudit/ctaudit/internal/host/sshhost"
)

func targets(n int) []Target {
	out := make([]Target, n)
	for i := range out {
		out[i].Target = sshhost.Target{Name: fmt.Sprintf("host-%04d", i)}
	}
	return out
}

func collect[T any](t *testing.T, seq func(func(Outcome[T]) bool)) map[string]Outcome[T] {
	t.Helper()
	got := map[string]Outcome[T]{}
	for out := range seq {
		if _, twice := got[out.Target.Name]; twice {
			t.Errorf("%s ended twice", out.Target.Name)
		}
		got[out.Target.Name] = out
	}
	return got
}

func TestEveryHostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		work := func(_ context.Context, tg Target) (string, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return strings.ToUpper(tg.Name), nil
		}
		begun := time.Now()
		got := collect(t, Run(t.Context(), targets(100), Options{Forks: 10}, work, nil))
		if len(got) != 100 || got["host-0042"].Value != "HOST-0042" || got["host-0042"].Took != time.Second {
			t.Errorf("%d outcomes, host-0042 %+v", len(got), got["host-0042"])
		}
		if most.Load() != 10 || time.Since(begun) != 10*time.Second {
			t.Errorf("%d at once, %s in all; want 10 and 10s", most.Load(), time.Since(begun))
		}
	})
}

// TestTroubleCostsItsHost: a slow host, one that does not heed its deadline, one that panics; each costs one slot, and only that.
func TestTroubleCostsItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		refused := errors.New("refused")
		work := func(ctx context.Context, tg Target) (int, error) {
			switch tg.Name {
			case "host-0001":
				<-ctx.Done()
				return 0, &sshhost.Error{Target: tg.Name, Stage: sshhost.StageRead, Err: ctx.Err()}
			case "host-0002":
				<-stuck
				return 0, nil
			case "host-0003":
				panic("index out of range")
			case "host-0004":
				return 0, refused
			}
			time.Sleep(time.Second)
			return 1, nil
		}
		begun := time.Now()
		got := collect(t, Run(t.Context(), targets(50), Options{Forks: 10, Timeout: 4 * time.Second, Grace: time.Second}, work, nil))
		if took := time.Since(begun); took > 7*time.Second {
			t.Errorf("took %s", took)
		}
		var late *TimeoutError
		var at *sshhost.Error
		if err := got["host-0001"].Err; !errors.As(err, &late) || late.After != 4*time.Second || !errors.As(err, &at) || at.Stage != sshhost.StageRead {
			t.Errorf("slow host: %v", err)
		}
		if out := got["host-0002"]; !errors.As(out.Err, &late) || out.Took != 5*time.Second {
			t.Errorf("stuck host: %v after %s", out.Err, out.Took)
		}
		var broken *PanicError
		if err := got["host-0003"].Err; !errors.As(err, &broken) || !strings.Contains(string(broken.Stack), "run_test.go") {
			t.Errorf("panic: %v", err)
		}
		if err := got["host-0004"].Err; !errors.Is(err, refused) {
			t.Errorf("refused: %v", err)
		}
		good := 0
		for _, out := range got {
			good += out.Value
		}
		if len(got) != 50 || good != 46 {
			t.Errorf("%d outcomes, %d good", len(got), good)
		}
	})
}

func TestCancelEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2500*time.Millisecond, cancel)
		work := func(ctx context.Context, _ Target) (int, error) {
			select {
			case <-time.After(time.Second):
				return 1, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		done, interrupted := 0, 0
		for _, out := range collect(t, Run(ctx, targets(100), Options{Forks: 10}, work, nil)) {
			if done += out.Value; out.Interrupted {
				interrupted++
			}
		}
		if done != 20 || interrupted != 10 {
			t.Errorf("%d done, %d interrupted; want 20 and 10", done, interrupted)
		}
	})
}

func TestReaderStops(t *testing.T) {
	defer goleak.VerifyNone(t)
	var begun atomic.Int32
	work := func(context.Context, Target) (int, error) { begun.Add(1); return 1, nil }
	for range Run(t.Context(), targets(1000), Options{Forks: 4}, work, nil) {
		break
	}
	if n := begun.Load(); n > 10 {
		t.Errorf("%d hosts were begun though nobody read on", n)
	}
	func() {
		defer func() { _ = recover() }()
		for range Run(t.Context(), targets(1000), Options{Forks: 4}, work, nil) {
			panic("the reader's own")
		}
	}()
}

// TestKeep: outcomes are kept in the hosts' own slots, at the same time, before anybody sees them.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("no space left")
		keep := func(out *Outcome[int]) error {
			time.Sleep(time.Second)
			if out.Target.Name == "host-0003" {
				return full
			}
			return nil
		}
		begun := time.Now()
		got := collect(t, Run(t.Context(), targets(20), Options{Forks: 20}, func(context.Context, Target) (int, error) { return 1, nil }, keep))
		if time.Since(begun) != time.Second {
			t.Errorf("kept one after the other: %s", time.Since(begun))
		}
		if !errors.Is(got["host-0003"].Err, full) || got["host-0004"].Err != nil {
			t.Errorf("errors %v, %v", got["host-0003"].Err, got["host-0004"].Err)
		}
	})
}

// TestExhaustedHere: what this machine lacks for a moment costs no host its audit.
func TestExhaustedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		work := func(context.Context, Target) (int, error) {
			n := running.Add(1)
			defer running.Add(-1)
			time.Sleep(100 * time.Millisecond)
			if n > 10 {
				return 0, fmt.Errorf("dial: %w", syscall.EMFILE)
			}
			return 1, nil
		}
		good := 0
		for _, out := range collect(t, Run(t.Context(), targets(300), Options{}, work, nil)) {
			good += out.Value
		}
		if good != 300 {
			t.Errorf("%d of 300 hosts", good)
		}
	})
}

// TestAdapts: the limit follows what brings more hosts a second, and gives way where this machine runs out of something.
func TestAdapts(t *testing.T) {
	for name, c := range map[string]struct {
		hosts int
		took  func(running int) time.Duration // of one host, with so many at once
		err   error
		want  [2]int // the limit at the end: from, to
	}{
		"waiting only":     {9000, func(int) time.Duration { return time.Second }, nil, [2]int{300, 1024}},
		"busy from the go": {4000, func(n int) time.Duration { return time.Duration(n) * 10 * time.Millisecond }, nil, [2]int{1, 64}},
		"busy above 100":   {9000, func(n int) time.Duration { return time.Duration(max(n, 100)) * 10 * time.Millisecond }, nil, [2]int{70, 250}},
		"out of files":     {2000, func(int) time.Duration { return time.Second }, fmt.Errorf("dial: %w", syscall.EMFILE), [2]int{1, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var running atomic.Int32
				work := func(context.Context, Target) (int, error) {
					n := running.Add(1)
					defer running.Add(-1)
					time.Sleep(c.took(int(n)))
					return 1, c.err
				}
				r := &run[int]{o: Options{Grace: time.Second}, work: work, slots: newLimiter(0), outcomes: make(chan Outcome[int])}
				r.slots.most, r.slots.least, r.slots.limit = 1024, 2, 32
				go r.start(t.Context(), targets(c.hosts))
				for range r.outcomes {
				}
				if l := r.slots.limit; l < c.want[0] || l > c.want[1] {
					t.Errorf("limit %d, want %v", l, c.want)
				}
			})
		})
	}
}

func TestShards(t *testing.T) {
	all := targets(1000)
	seen := map[string]int{}
	for i := range 8 {
		part := Shard{i, 8}.Select(all)
		if len(part) < 90 || len(part) > 160 {
			t.Errorf("shard %d has %d of 1000 hosts", i, len(part))
		}
		for _, tg := range part {
			seen[tg.Name]++
		}
	}
	if len(seen) != 1000 || slices.Max(slices.Collect(maps.Values(seen))) != 1 {
		t.Errorf("%d hosts in all shards", len(seen))
	}
	// held for ever: another value would move hosts between the shards of a run that goes on
	if !(Shard{3, 8}).Has("web-1") {
		for i := range 8 {
			t.Logf("web-1 in %d/8: %v", i, Shard{i, 8}.Has("web-1"))
		}
		t.Error("web-1 has moved")
	}
}

func TestParseShard(t *testing.T) {
	for _, bad := range []string{"8/8", "-1/8", "1", "1/0", "a/b", "1/8/2", "/", " 1/8"} {
		if s, err := ParseShard(bad); err == nil {
			t.Errorf("%q: %v", bad, s)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(t, "n")
		want := Shard{rapid.IntRange(0, n-1).Draw(t, "i"), n}
		if got, err := ParseShard(want.String()); err != nil || got != want {
			t.Fatalf("%s: %v, %v", want, got, err)
		}
	})
}
