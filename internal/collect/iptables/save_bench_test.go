package iptables

import (
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables/xtablestest"
)

// BenchmarkParseSave reads the dump of a node with 10,000 services.
func BenchmarkParseSave(b *testing.B) {
	dump := []byte(strings.ReplaceAll(xtablestest.KubeProxySave(10_000), "\n-A ", "\n[0:0] -A "))
	b.SetBytes(int64(len(dump)))
	b.ReportAllocs()
	rules := 0
	for b.Loop() {
		rules = 0
		for _, t := range parseSave(dump, source{backend: netfilter.IPTablesNFT, family: netfilter.IP}).Tables {
			for _, c := range t.Chains {
				rules += len(c.Rules)
			}
		}
	}
	b.ReportMetric(float64(rules), "rules")
}
