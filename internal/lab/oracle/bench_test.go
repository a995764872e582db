package oracle_test

import (
	"sync/atomic"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
)

// BenchmarkRulesets is whole cases of one backend: bench built, ruleset loaded, -oracle.packets segments sent, node read,
// evaluated and compared, bench taken down. There are more workers than CPUs, for a commit waits for RCU.
func BenchmarkRulesets(b *testing.B) {
	labtest.Require(b, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	for i, backend := range []string{"legacy", "nftables", "iptables-nft"} { // of seeds 0, 1, 2 modulo 7: see oracle.Generate
		b.Run(backend, func(b *testing.B) {
			var next atomic.Uint64
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				var own tally
				for pb.Next() {
					n := next.Add(1)
					err := oneCase(&own, int(n), 7*n+uint64(i), func(total *tally, bench *lab.Bench, s uint64) error {
						universe := oracle.NewUniverse(bench, families[s/7%2])
						return total.runCase(bench, oracle.Generate(s, universe), universe)
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rulesets/s")
		})
	}
}
