package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// Nodes far larger or stranger than real ones: read in bounded time, and judged or left undecided, never wrongly.

// within fails when the scan took longer, a bound far above what it takes.
func (n *testNode) within(limit time.Duration) (outcome, report.Report) {
	n.t.Helper()
	start := time.Now()
	o, r := n.scan()
	if took := time.Since(start); took > limit {
		n.t.Errorf("the scan took %s, more than %s", took, limit)
	}
	return o, r
}

// TestMillionElements: the set is read to its limit, and what it decides is not known.
func TestMillionElements(t *testing.T) {
	t.Parallel()
	n := newTestNode(t)
	var b strings.Builder
	b.WriteString("table inet big {\n set s {\n type ipv4_addr\n elements = { ")
	for i := range 1_000_000 {
		fmt.Fprintf(&b, "10.%d.%d.%d, ", i>>16&255, i>>8&255, i&255)
	}
	b.WriteString("192.0.2.1 }\n }\n chain post {\n type nat hook postrouting priority 100\n oifname eth0 masquerade\n }\n" +
		" chain in {\n type filter hook input priority 0\n ip saddr @s accept\n ct state invalid drop\n }\n}\n")
	n.must(n.router.Load(netfilter.NFTables, "", b.String()))
	_, r := n.within(time.Minute)
	if withOutcome(r, report.Pass)["CT-RST-001"].Control != "" || len(r.Hosts[0].Missing) == 0 {
		t.Errorf("missing %+v, passed %v: the set was not read whole", r.Hosts[0].Missing, withOutcome(r, report.Pass)["CT-RST-001"])
	}
}

func TestThousandTables(t *testing.T) {
	t.Parallel()
	n := newTestNode(t)
	n.load(netfilter.NFTables, scenarios[0])
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "table inet t%d {\n chain in {\n type filter hook input priority %d\n ip saddr 10.0.%d.%d drop\n }\n}\n", i, i, i>>8, i&255)
	}
	n.must(n.router.Load(netfilter.NFTables, "", b.String()))
	if o, r := n.within(time.Minute); failed(r)["CT-RST-001"].Control == "" {
		t.Errorf("exit %d: CT-RST-001 does not fail", o.code)
	}
}

func TestThousandLinks(t *testing.T) {
	t.Parallel()
	n, truth := exposedNode(t, netfilter.NFTables)
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "link add v%d type veth peer name w%d\n", i, i)
	}
	_, err := n.router.Pipe(b.String(), "ip", "-batch", "-")
	n.must(err)
	_, r := n.within(time.Minute)
	withhold(t, truth, r)
}

func TestManyNamespaces(t *testing.T) {
	t.Parallel()
	n, truth := exposedNode(t, netfilter.NFTables)
	for range 200 {
		ns := labtest.NewNetns(t)
		n.occupy(ns)
	}
	_, r := n.within(time.Minute)
	withhold(t, truth, r)
}

// TestStrangeChains: what no kernel accepts, a dump may still say.
func TestStrangeChains(t *testing.T) {
	const head = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
	var declared, deep strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&declared, ":c%d - [0:0]\n", i)
		if i < 9999 {
			fmt.Fprintf(&deep, "-A c%d -s 10.0.0.0/8 -j c%d\n-A c%d -p tcp -j c%d\n", i, i+1, i, i+1)
		}
	}
	for name, tt := range map[string]struct {
		dump   string
		answer string // question A's reset; empty: anything but "no"
	}{
		"loop":      {head + ":a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n-A a -j b\n-A b -j a\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n", "depends"},
		"to itself": {head + ":a - [0:0]\n-A INPUT -j a\n-A a -j a\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n", "depends"},
		"deep":      {head + declared.String() + "-A INPUT -j c0\n" + deep.String() + "-A c9999 -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n", "no"},
		"nowhere":   {head + "-A INPUT -j missing\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, _ := exposedNode(t, netfilter.Legacy)
			dir := t.TempDir()
			n.must(os.WriteFile(filepath.Join(dir, "dump"), []byte(tt.dump), 0o644))
			n.must(os.WriteFile(filepath.Join(dir, "iptables-legacy-save"), []byte("#!/bin/sh\nexec cat "+dir+"/dump\n"), 0o755))
			_, r := n.confinedScan("", "PATH="+dir+":$PATH "+scanJSON)
			got := answer(t, r, "A", netfilter.IP).Reset
			if tt.answer != "" && got != tt.answer || tt.answer == "" && got == "no" {
				t.Errorf("question A: reset %q, want %q", got, tt.answer)
			}
		})
	}
}
