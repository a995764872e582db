package lab_test

import (
	"os"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

func readlink(t *testing.T) string {
	t.Helper()
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDoEntersAndLeaves(t *testing.T) {
	n := labtest.NewNetns(t)
	home := readlink(t)
	var inside string
	if err := n.Do(func() (err error) {
		inside, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if inside == home {
		t.Errorf("Do ran in %s, the namespace of the test", inside)
	}
	main, err := os.Readlink("/proc/self/ns/net")
	if err != nil || main != home {
		t.Errorf("main thread in %s (%v), want %s", main, err, home)
	}
	out, err := n.Output("readlink", "/proc/self/ns/net")
	if err != nil || strings.TrimSpace(string(out)) != inside {
		t.Errorf("child in %q (%v), want %s", out, err, inside)
	}
}

func TestVethCarriesPackets(t *testing.T) {
	labtest.Require(t, "root", "netns", "ip")
	a, b := labtest.NewNetns(t), labtest.NewNetns(t)
	err := lab.Veth(
		lab.End{NS: a, Name: "a0", Addresses: []string{"192.0.2.1/24", "2001:db8::1/64"}},
		lab.End{NS: b, Name: "b0", Addresses: []string{"192.0.2.2/24", "2001:db8::2/64"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Route("default", "192.0.2.1"); err != nil {
		t.Error(err)
	}
	out, err := b.Output("ip", "-br", "addr", "show", "b0")
	if err != nil || !strings.Contains(string(out), "192.0.2.2/24") || !strings.Contains(string(out), "2001:db8::2/64") {
		t.Errorf("ip addr: %q, %v", out, err)
	}
}

func TestLoadEveryBackend(t *testing.T) {
	labtest.Require(t, "nft", "iptables", "iptables-legacy")
	const rules = "*filter\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
	tests := []struct {
		backend  netfilter.Backend
		family   netfilter.Family
		document string
		read     []string
	}{
		{netfilter.Legacy, netfilter.IP, rules, []string{"iptables-legacy-save"}},
		{netfilter.Legacy, netfilter.IP6, rules, []string{"ip6tables-legacy-save"}},
		{netfilter.IPTablesNFT, netfilter.IP, rules, []string{"iptables-nft-save"}},
		{netfilter.IPTablesNFT, netfilter.IP6, rules, []string{"ip6tables-nft-save"}},
		{netfilter.NFTables, "", "table inet x { chain INPUT { ct state invalid drop; }; }", []string{"nft", "list", "ruleset"}},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.read, " "), func(t *testing.T) {
			n := labtest.NewNetns(t)
			if err := n.Load(tt.backend, tt.family, tt.document); err != nil {
				t.Fatal(err)
			}
			out, err := n.Output(tt.read...)
			if err != nil || !strings.Contains(string(out), "INPUT") || !strings.Contains(strings.ToLower(string(out)), "drop") {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

func TestSysctlStaysInside(t *testing.T) {
	n := labtest.NewNetns(t)
	const path = "/proc/sys/net/ipv4/tcp_syn_retries"
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Sysctl("net.ipv4.tcp_syn_retries", "9"); err != nil {
		t.Fatal(err)
	}
	inside, err := n.Output("cat", path)
	after, _ := os.ReadFile(path)
	if err != nil || string(inside) != "9\n" || string(after) != string(before) {
		t.Errorf("inside %q (%v), outside before %q, after %q", inside, err, before, after)
	}
	if err := n.Sysctl("kernel.panic", "1"); err == nil {
		t.Error("a key outside net was written")
	}
}
