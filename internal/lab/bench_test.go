package lab_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

func newBench(t *testing.T) *lab.Bench {
	t.Helper()
	labtest.Require(t, "root", "netns", "afpacket")
	b, err := lab.NewBench()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// probes makes n segments a port, each with a tuple of its own.
func probes(b *lab.Bench, family netfilter.Family, n int) []lab.Probe {
	var all []lab.Probe
	for port := range b.Range.Ports {
		src := b.Sources(port, family).Addr()
		for i := range n {
			src = src.Next()
			all = append(all, lab.Probe{Port: port, Segment: lab.Segment{
				Src: netip.AddrPortFrom(src, 443), Dst: netip.AddrPortFrom(b.Address(port, family), uint16(30000+i)),
				Flags: lab.ACK, Seq: 1, Ack: 1000,
			}})
		}
	}
	return all
}

func TestBenchSeesEveryFate(t *testing.T) {
	labtest.Require(t, "nft", "iptables-legacy")
	tests := []struct {
		name  string
		rules string
		want  lab.Fate
	}{
		{"no rules", "", lab.Reset},
		{"invalid drop", "table inet x { chain i { type filter hook input priority 0; ct state invalid drop; }; }", lab.Silence},
		{"established accepted, policy drop", "table inet x { chain i { type filter hook input priority 0; policy drop; ct state established accept; }; }", lab.Silence},
		{"reject", "table inet x { chain i { type filter hook input priority 0; meta l4proto tcp reject; }; }", lab.Unreachable},
		{"reject with tcp reset", "table inet x { chain i { type filter hook input priority 0; ct state invalid reject with tcp reset; }; }", lab.Reset},
		{"new drop", "table inet x { chain i { type filter hook input priority 0; ct state new drop; }; }", lab.Reset},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			if err := b.Node.Load(netfilter.NFTables, "", tt.rules); err != nil {
				t.Fatal(err)
			}
			for _, family := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
				sent := probes(b, family, 300)
				fates, err := b.Range.Exchange(sent, 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				for i, f := range fates {
					if f != tt.want {
						t.Fatalf("%s probe %d (%s): %s, want %s", family, i, sent[i].Segment, f, tt.want)
					}
				}
			}
		})
	}
}

// A segment from one port's sources to the other's goes through, and so does the RST that answers it.
func TestBenchForwards(t *testing.T) {
	labtest.Require(t, "nft")
	tests := []struct {
		rules string
		want  lab.Fate
	}{
		{"", lab.Reset},
		{"table inet x { chain f { type filter hook forward priority 0; ct state invalid drop; }; }", lab.Silence},
		{"table inet x { chain f { type filter hook forward priority 0; tcp flags rst drop; }; }", lab.Silence},
		{"table inet x { chain f { type filter hook input priority 0; ct state invalid drop; }; }", lab.Reset},
		{"table inet x { chain f { type filter hook forward priority 0; reject; }; }", lab.Unreachable},
	}
	for _, tt := range tests {
		b := newBench(t)
		if err := b.Node.Load(netfilter.NFTables, "", tt.rules); err != nil {
			t.Fatal(err)
		}
		for _, family := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
			sent := probes(b, family, 50)
			for i := range sent {
				sent[i].Dst = netip.AddrPortFrom(b.Sources(1-sent[i].Port, family).Addr().Next(), sent[i].Dst.Port())
			}
			fates, err := b.Range.ExchangeForwarded(sent, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range fates {
				if f != tt.want {
					t.Fatalf("%q, %s probe %d (%s): %s, want %s", tt.rules, family, i, sent[i].Segment, f, tt.want)
				}
			}
		}
	}
}
