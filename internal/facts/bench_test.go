package facts

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables/xtablestest"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// kubeProxy is a node of 100,000 iptables rules for 10,000 Services at a hundred veths' node.
func kubeProxy(b testing.TB, services int) *snapshot.Document {
	s := node().link("cni0", "bridge").address("cni0", "10.244.1.1/24", "global")
	for i := range 100 {
		name := fmt.Sprintf("veth%d", i)
		s.link(name, "").away(name, true).master(name, "cni0")
	}
	s.IPTables.Tables = parse(b, xtablestest.KubeProxySave(services))
	return s.Document
}

// parse reads an iptables-save dump of the test's own making.
func parse(b testing.TB, save string) (tables []*netfilter.Table) {
	hooks := map[string]netfilter.Hook{"PREROUTING": "prerouting", "INPUT": "input", "FORWARD": "forward", "OUTPUT": "output", "POSTROUTING": "postrouting"}
	var t *netfilter.Table
	chains := map[string]*netfilter.Chain{}
	for line := range strings.Lines(save) {
		line = strings.TrimSuffix(line, "\n")
		switch line[0] {
		case '*':
			t = &netfilter.Table{Backend: netfilter.Legacy, Family: netfilter.IP, Name: line[1:]}
			tables, chains = append(tables, t), map[string]*netfilter.Chain{}
		case ':':
			name, _, _ := strings.Cut(line[1:], " ")
			c := &netfilter.Chain{Name: name}
			if h := hooks[name]; h != "" {
				c.Base = &netfilter.Base{Type: netfilter.FilterChain, Hook: h, Policy: netfilter.Accept}
				if t.Name == "nat" {
					c.Base.Type, c.Base.Priority = netfilter.NATChain, 100
				}
			}
			chains[name] = c
			t.Chains = append(t.Chains, c)
		case '-':
			name, text, _ := strings.Cut(line[3:], " ")
			c := chains[name]
			if c == nil {
				b.Fatalf("no chain for %s", line)
			}
			c.Rules = append(c.Rules, &netfilter.Rule{Number: len(c.Rules) + 1, Text: text})
		}
	}
	return tables
}

// BenchmarkFacts is everything but reading the snapshot; the evaluator's own part is BenchmarkPacketPath.
func BenchmarkFacts(b *testing.B) {
	for _, services := range []int{100, 1_000, 10_000} {
		doc := kubeProxy(b, services)
		b.Run(fmt.Sprint(services), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f := Of(doc).Facts()
				if !f.Services["ip"].Value || len(f.SNAT["ip"].Value) == 0 || len(f.Exposure) != 3 {
					b.Fatalf("%d exposures, %+v, %+v", len(f.Exposure), f.Services, f.SNAT)
				}
			}
		})
	}
}

// BenchmarkPacketPath is what of BenchmarkFacts the evaluator takes.
func BenchmarkPacketPath(b *testing.B) {
	for _, services := range []int{100, 1_000, 10_000} {
		n := Of(kubeProxy(b, services))
		b.Run(fmt.Sprint(services), func(b *testing.B) {
			for b.Loop() {
				n.path = packetpath.Compile(n.packets)
				n.askA()
				n.askB()
				n.path.Drops()
			}
		})
	}
}

// BenchmarkIdle is the walk over every rule of a node whose conntrack table is empty.
func BenchmarkIdle(b *testing.B) {
	var lines strings.Builder
	lines.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
	for i := range 100_000 {
		fmt.Fprintf(&lines, "-A INPUT -s 10.%d.%d.%d/32 -p tcp -m tcp --dport 80 -j DROP\n", i>>16, i>>8&255, i&255)
	}
	s := node()
	s.Conntrack.Count = snapshot.Known[uint64](0)
	s.IPTables.Tables = parse(b, lines.String())
	n := Of(s.Document)
	for b.Loop() {
		if f := n.conntrackUsed(); !f.Known || f.Value {
			b.Fatalf("%+v", f)
		}
	}
}
