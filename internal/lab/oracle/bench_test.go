package oracle_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// BenchmarkRulesets is whole cases of one backend: ruleset loaded, -oracle.packets segments sent, node read, evaluated and
// compared, on benches that are kept for several of them. There are more workers than CPUs, for a commit waits for RCU.
func BenchmarkRulesets(b *testing.B) {
	labtest.Require(b, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	us, err := universes(false)
	if err != nil {
		b.Fatal(err)
	}
	for i, backend := range []string{"legacy", "nftables", "iptables-nft"} { // of seeds 0, 1, 2 modulo 7: see oracle.Generate
		b.Run(backend, func(b *testing.B) {
			var next, worker atomic.Uint64
			run := drawn(us, (*tally).runCase)
			b.SetParallelism(*workers / runtime.GOMAXPROCS(0))
			spent := processorTime(b)
			b.RunParallel(func(pb *testing.PB) {
				own := tally{once: true}
				bs := &benches{cpu: int(worker.Add(1))}
				defer bs.close()
				for pb.Next() {
					if err := run(&own, bs, 7*next.Add(1)+uint64(i)); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rulesets/s")
			b.ReportMetric((processorTime(b)-spent).Seconds()*1000/float64(b.N), "cpu-ms/ruleset")
		})
	}
}

// processorTime is what this process and the programs that it has waited for took, user and system.
func processorTime(b *testing.B) (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
