package xtables

import (
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables/xtablestest"
)

func kubeProxyRules(services int) (rules []string) {
	for line := range strings.Lines(xtablestest.KubeProxySave(services)) {
		if rule, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-A "); ok {
			_, text, _ := strings.Cut(rule, " ")
			rules = append(rules, text)
		}
	}
	return rules
}

// BenchmarkParse parses one rule of a kube-proxy ruleset.
func BenchmarkParse(b *testing.B) {
	rules := kubeProxyRules(100)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := Parse(netfilter.IP, rules[i%len(rules)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkTarget finds one rule's target without parsing it.
func BenchmarkTarget(b *testing.B) {
	rules := kubeProxyRules(100)
	i := 0
	for b.Loop() {
		Target(rules[i%len(rules)])
		i++
	}
}

func TestParseAllocations(t *testing.T) {
	const rule = `-d 10.96.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU`
	n := testing.AllocsPerRun(100, func() { _, _ = Parse(netfilter.IP, rule) })
	if n > 5 { // the steps, their intervals, two matches and the jump
		t.Errorf("%v allocations", n)
	}
}

func TestKubeProxyRulesParse(t *testing.T) {
	for _, rule := range kubeProxyRules(200) {
		ops, err := Parse(netfilter.IP, rule)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range ops {
			if s, ok := op.(netfilter.Stmt); ok && s.Name == Unparsed {
				t.Errorf("%s: %v", rule, ops)
			}
		}
	}
}
