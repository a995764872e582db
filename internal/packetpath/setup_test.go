package packetpath

import (
	"net/netip"
	"testing"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// TestSourcesByRoute: what is routed over another link does not arrive by this one; the longest prefix decides.
func TestSourcesByRoute(t *testing.T) {
	n := testNode()
	for i, networks := range map[int][]string{1: {"198.51.100.0/24", "10.1.2.0/24", "0.0.0.0/0"}, 2: {"172.17.0.0/16", "10.0.0.0/8"}} {
		for _, p := range networks {
			n.Interfaces[i].Networks = append(n.Interfaces[i].Networks, netip.MustParsePrefix(p))
		}
	}
	set := Compile(n).routedBy("eth0", 0)
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "172.17.0.5": false, "10.9.9.9": false, "10.1.2.3": true,
		"198.51.100.7": true, "198.51.100.1": false, "127.0.0.1": false, "224.0.0.1": false, "240.0.0.1": false, "0.1.2.3": false, "192.168.1.1": true,
	} {
		if got := set.contains(nf.Addr(netip.MustParseAddr(addr))); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}

// TestQueryErrors: what a query lacks is said.
func TestQueryErrors(t *testing.T) {
	for _, q := range []Query{
		{Question: A, Family: nf.INET, In: "eth0"},
		{Question: A, Family: nf.IP},
		{Question: B, Family: nf.IP, In: "eth0"},
		{Question: A, Family: nf.IP6, In: "docker0"},
		{Question: Custom, Family: nf.IP, In: "eth0", Dst: []netip.Prefix{netip.MustParsePrefix("::1/128")}},
	} {
		if a, err := Evaluate(testNode(), q); err == nil {
			t.Errorf("%+v: no error, %+v", q, a)
		}
	}
}
