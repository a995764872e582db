package packetpath

import (
	"net/netip"
	"testing"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// TestSources: what can come from outside, and what cannot.
func TestSources(t *testing.T) {
	e := Compile(testNode())
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "172.17.0.5": true, "198.51.100.7": true, "192.168.1.1": true, "169.254.1.1": true, "223.255.255.255": true,
		"198.51.100.1": false, "127.0.0.1": false, "224.0.0.1": false, "240.0.0.1": false, "0.1.2.3": false,
		"2600::1": true, "fd00::1": true, "::1": false, "::": false, "fe80::1": false, "ff02::1": false, "::ffff:8.8.8.8": false,
	} {
		a, f := netip.MustParseAddr(addr), 0
		if a.Is6() {
			f = 1
		}
		if got := e.sources(f).contains(nf.Addr(a)); got != want {
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
