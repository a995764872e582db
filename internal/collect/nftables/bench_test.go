package nftables

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables/xtablestest"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// manyRules is a table of n native rules, each with an address, a port, a counter and a verdict of its own.
func manyRules(n int) string {
	var b strings.Builder
	b.WriteString("table inet big {\n chain input { type filter hook input priority 0; policy accept;\n")
	for i := range n {
		fmt.Fprintf(&b, "ip saddr 10.%d.%d.%d tcp dport %d counter drop\n", i>>16&255, i>>8&255, i&255, 1+i%60000)
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// BenchmarkCollect parses the real dumps of 100,000 rules, nft's own and kube-proxy's in iptables-nft. live-MB is what the
// parsed rules hold, dump-MB the dumps themselves.
func BenchmarkCollect(b *testing.B) {
	labtest.Require(b, "root", "netns", "nft", "iptables")
	b.Run("native", func(b *testing.B) { benchCollect(b, 100_000, manyRules(100_000), "nft", "-f", "-") })
	b.Run("iptables", func(b *testing.B) { benchCollect(b, 0, xtablestest.KubeProxySave(10_000), "iptables-nft-restore") })
}

func benchCollect(b *testing.B, rules int, in string, argv ...string) {
	ns := labtest.NewNetns(b)
	if _, err := ns.Pipe(in, argv...); err != nil {
		b.Fatal(err)
	}
	ev := evidence(b, ns)
	size := 0
	for _, a := range ev.Answers {
		size += len(a.Data)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var doc snapshot.Document
	b.ReportAllocs()
	for b.Loop() {
		doc = snapshot.Document{}
		if missing := New().Collect(ev, &doc); len(missing) > 0 {
			b.Fatal(missing)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "live-MB")
	b.ReportMetric(float64(size)/(1<<20), "dump-MB")
	runtime.KeepAlive(ev)
	if n := len(doc.NFTables.Tables[0].Chains[0].Rules); rules > 0 && n != rules {
		b.Fatalf("%d rules", n)
	}
}
