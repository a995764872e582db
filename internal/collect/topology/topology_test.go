package topology

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

var update = flag.Bool("update", false, "write the dumps in testdata anew from a namespace made here")

// scene is a namespace with one of everything that the collector reads.
func scene(t *testing.T) *lab.Netns {
	t.Helper()
	labtest.Require(t, "root", "netns", "ip", "tc")
	n, other := labtest.NewNetns(t), labtest.NewNetns(t)
	err := lab.Veth(
		lab.End{NS: n, Name: "veth0", Addresses: []string{"10.1.0.1/24", "fd01::1/64"}},
		lab.End{NS: other, Name: "eth0", Addresses: []string{"10.1.0.2/24"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"ip link add br0 type bridge",
		"ip link add d0 type veth peer name d1",
		"ip link add a0 type veth peer name b0",
		"ip link set a0 master br0",
		"ip link set d0 group 7",
		"ip link set br0 up", "ip link set d0 up", "ip link set d1 up", "ip link set a0 up", "ip link set b0 up",
		"ip addr add 192.0.2.1/24 broadcast 192.0.2.255 dev br0",
		"ip addr add 203.0.113.1 peer 203.0.113.9/32 dev d0",
		"ip -6 addr add 2001:db8::1/64 dev br0 nodad",
		"ip route add default via 192.0.2.254 metric 100",
		"ip route add 198.51.100.0/24 nexthop via 192.0.2.7 weight 1 nexthop via 10.1.0.2 weight 2",
		"ip route add 198.18.0.0/15 via inet6 fd01::2 dev veth0 src 10.1.0.1",
		"ip route add blackhole 240.0.0.0/8", "ip route add unreachable 241.0.0.0/8", "ip route add prohibit 242.0.0.0/8",
		"ip route add throw 243.0.0.0/8 table 77",
		"ip route add 10.9.0.0/16 via 10.1.0.2 table 1000",
		"ip -6 route add default via fd01::2",
		"ip rule add fwmark 0x1/0xff table 77 priority 100",
		"ip rule add not from 10.0.0.0/8 to 192.0.2.0/24 iif veth0 lookup 1000 priority 200",
		"ip rule add priority 300 blackhole",
		"ip rule add priority 310 goto 32766",
		"ip -6 rule add from fd01::/64 prohibit priority 400",
		"tc qdisc add dev veth0 clsact",
		"tc qdisc add dev d0 ingress",
	} {
		if err := n.Run(strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func fetch(t *testing.T, path string) *host.Evidence {
	t.Helper()
	ev, err := host.Local(host.LocalOptions{Namespace: path}).Fetch(context.Background(), host.Request{Needs: New().Needs()})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func section1(t *testing.T, ev *host.Evidence) *snapshot.Topology {
	t.Helper()
	var doc snapshot.Document
	missing := New().Collect(ev, &doc)
	missing = slices.DeleteFunc(missing, func(m snapshot.Missing) bool {
		// Other processes of the machine that runs the test may be out of sight.
		return m.What == "network namespaces" && doc.Topology.NamespacesIncomplete != ""
	})
	if len(missing) > 0 {
		t.Fatalf("missing: %+v", missing)
	}
	return &doc.Topology
}

func must[T any](t *testing.T, v snapshot.Value[[]T]) []T {
	t.Helper()
	all, ok := v.Get()
	if !ok {
		t.Fatalf("%T: %v", all, v)
	}
	return all
}

// ipJSON is what the ip tool says about the same namespace.
func ipJSON[T any](t *testing.T, n *lab.Netns, argv ...string) []T {
	t.Helper()
	out, err := n.Output(append([]string{"ip", "-N", "-d", "-j"}, argv...)...)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	if err := json.Unmarshal(bytes.TrimSpace(out), &all); err != nil {
		t.Fatalf("ip %v: %v", argv, err)
	}
	return all
}

func TestLinksAgreeWithIP(t *testing.T) {
	n := scene(t)
	type ipLink struct {
		Index     uint32 `json:"ifindex"`
		Name      string `json:"ifname"`
		Peer      string `json:"link"`
		PeerIndex uint32 `json:"link_index"`
		PeerNS    *int32 `json:"link_netnsid"`
		Master    string
		Group     string
		Flags     []string
		Info      struct {
			Kind string `json:"info_kind"`
		} `json:"linkinfo"`
	}
	index := map[string]uint32{}
	want := map[string]string{}
	all := ipJSON[ipLink](t, n, "link")
	for _, l := range all {
		index[l.Name] = l.Index
	}
	for _, l := range all {
		peer := l.PeerIndex
		if l.Peer != "" {
			peer = index[l.Peer]
		}
		want[l.Name] = fmt.Sprint(l.Index, l.Info.Kind, l.Group, index[l.Master], peer, l.PeerNS != nil,
			slices.Contains(l.Flags, "UP"), slices.Contains(l.Flags, "LOOPBACK"))
	}
	got := map[string]string{}
	for _, l := range must(t, section1(t, fetch(t, n.Path())).Links) {
		got[l.Name] = fmt.Sprint(l.Index, l.Kind, fmt.Sprint(l.Group), l.Master, l.Peer, l.PeerNS != nil, l.Up, l.Loopback)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 6 {
		t.Errorf("links (-ip +ours):\n%s", diff)
	}
}

func TestAddressesAgreeWithIP(t *testing.T) {
	n := scene(t)
	type ipAddress struct {
		Index     uint32 `json:"ifindex"`
		Addresses []struct {
			Local     string
			Prefix    int `json:"prefixlen"`
			Broadcast string
		} `json:"addr_info"`
	}
	var want, got []string
	for _, l := range ipJSON[ipAddress](t, n, "addr") {
		for _, a := range l.Addresses {
			want = append(want, fmt.Sprintf("%d %s/%d %s", l.Index, a.Local, a.Prefix, a.Broadcast))
		}
	}
	for _, a := range must(t, section1(t, fetch(t, n.Path())).Addresses) {
		got = append(got, fmt.Sprintf("%d %s %s", a.Link, a.Prefix, a.Broadcast))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 6 {
		t.Errorf("addresses (-ip +ours):\n%s", diff)
	}
}

// settle waits until IPv6 has found its addresses to be nobody else's: routes come with them.
func settle(t *testing.T, n *lab.Netns) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if tentative, err := n.Output("ip", "-6", "addr", "show", "tentative"); err == nil && len(tentative) == 0 {
			return
		}
	}
	t.Fatal("addresses stay tentative")
}

func TestRoutesAgreeWithIP(t *testing.T) {
	n := scene(t)
	type ipHop struct {
		Dev     string
		Gateway string
		Via     struct{ Host string }
	}
	type ipRoute struct {
		ipHop
		Type     string
		Dst      string
		Table    string
		Source   string `json:"prefsrc"`
		Metric   uint32
		NextHops []ipHop
	}
	settle(t, n)
	topology := section1(t, fetch(t, n.Path()))
	name := map[uint32]string{}
	for _, l := range must(t, topology.Links) {
		name[l.Index] = l.Name
	}
	var want, got []string
	for family, zero := range map[string]string{"-4": "0.0.0.0/0", "-6": "::/0"} {
		for _, r := range ipJSON[ipRoute](t, n, family, "route", "show", "table", "all") {
			r.Type = ipNumbers[r.Type] + r.Type[min(len(r.Type), len(r.Type)*len(ipNumbers[r.Type])):]
			r.Table = map[string]string{"": "254"}[r.Table] + r.Table
			r.Dst = map[string]string{"default": zero}[r.Dst] + strings.TrimPrefix(r.Dst, "default")
			if !strings.Contains(r.Dst, "/") {
				r.Dst += map[string]string{"-4": "/32", "-6": "/128"}[family]
			}
			devices := []string{}
			for _, h := range append(r.NextHops, r.ipHop) {
				if r.Gateway == "" {
					r.Gateway = h.Gateway + h.Via.Host
				}
				if h.Dev != "" {
					devices = append(devices, h.Dev)
				}
			}
			slices.Sort(devices)
			want = append(want, fmt.Sprint(r.Table, r.Type, r.Dst, r.Gateway, r.Source, r.Metric, devices))
		}
	}
	for _, r := range must(t, topology.Routes) {
		devices := []string{}
		for _, i := range r.Links {
			devices = append(devices, name[i])
		}
		slices.Sort(devices)
		got = append(got, fmt.Sprint(fmt.Sprint(r.Table), r.Type, r.Dst, r.Gateway, r.Source, r.Metric, devices))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 15 {
		t.Errorf("routes (-ip +ours):\n%s", diff)
	}
}

// ipNumbers is what "ip -N" prints for a route's type.
var ipNumbers = map[string]string{
	"1": "unicast", "2": "local", "3": "broadcast", "4": "anycast", "5": "multicast", "6": "blackhole", "7": "unreachable",
	"8": "prohibit", "9": "throw",
}

func TestRulesAndQdiscs(t *testing.T) {
	topology := section1(t, fetch(t, scene(t).Path()))
	var rules []string
	for _, r := range must(t, topology.Rules) {
		rules = append(rules, fmt.Sprintf("%s %d table %d src %q dst %q mark %q in %q invert %v %s",
			r.Family, r.Priority, r.Table, r.Src, r.Dst, r.Mark, r.In, r.Invert, r.Action))
	}
	want := []string{
		`ip 0 table 255 src "" dst "" mark "" in "" invert false lookup`,
		`ip 100 table 77 src "" dst "" mark "0x1/0xff" in "" invert false lookup`,
		`ip 200 table 1000 src "10.0.0.0/8" dst "192.0.2.0/24" mark "" in "veth0" invert true lookup`,
		`ip 300 table 0 src "" dst "" mark "" in "" invert false blackhole`,
		`ip 310 table 0 src "" dst "" mark "" in "" invert false goto`,
		`ip 32766 table 254 src "" dst "" mark "" in "" invert false lookup`,
		`ip 32767 table 253 src "" dst "" mark "" in "" invert false lookup`,
		`ip6 0 table 255 src "" dst "" mark "" in "" invert false lookup`,
		`ip6 400 table 0 src "fd01::/64" dst "" mark "" in "" invert false prohibit`,
		`ip6 32766 table 254 src "" dst "" mark "" in "" invert false lookup`,
	}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	programs := map[string][]string{}
	for _, l := range must(t, topology.Links) {
		if len(l.TCPrograms) > 0 {
			programs[l.Name] = l.TCPrograms
		}
	}
	wantPrograms := map[string][]string{
		"veth0": {"clsact qdisc, may carry filters"}, "d0": {"ingress qdisc, may carry filters"},
	}
	if diff := cmp.Diff(wantPrograms, programs); diff != "" {
		t.Errorf("qdiscs (-want +got):\n%s", diff)
	}
}

// A container is a process in a namespace of its own; the veth that leads there must be found.
func TestNamespaceOfAProcess(t *testing.T) {
	labtest.Require(t, "root", "netns")
	node, container := labtest.NewNetns(t), labtest.NewNetns(t)
	for _, name := range []string{"veth1", "veth2"} { // veth1 leads elsewhere
		end := lab.End{NS: labtest.NewNetns(t), Name: "eth0"}
		if name == "veth2" {
			end = lab.End{NS: container, Name: "eth0", Addresses: []string{"10.2.0.2/24", "fd02::2/64"}}
		}
		if err := lab.Veth(lab.End{NS: node, Name: name}, end); err != nil {
			t.Fatal(err)
		}
	}
	if err := container.Sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", "1"); err != nil {
		t.Fatal(err)
	}
	process := container.Command("sleep", "60")
	if err := container.Start(process); err != nil {
		t.Fatal(err)
	}
	defer func() {
		process.Process.Kill()
		process.Wait()
	}()
	id, err := container.Inode()
	if err != nil {
		t.Fatal(err)
	}
	topology := section1(t, fetch(t, node.Path()))
	all := must(t, topology.Namespaces)
	i := slices.IndexFunc(all, func(ns snapshot.Namespace) bool { return ns.ID == id })
	if i < 0 {
		t.Fatalf("namespace %d is not among %d", id, len(all))
	}
	got := all[i]
	var link uint32
	for _, l := range must(t, topology.Links) {
		if l.Name == "veth2" {
			link = l.Index
		}
	}
	if got.Command != "sleep" || got.Processes != 1 || !slices.Equal(got.PIDs, []int{process.Process.Pid}) {
		t.Errorf("processes: %+v", got)
	}
	if !slices.Equal(got.Links, []uint32{link}) || !slices.Equal(got.Addresses, []string{"10.2.0.2/24", "fd02::2/64"}) {
		t.Errorf("links %v, want [%d]; addresses %v", got.Links, link, got.Addresses)
	}
	if v, ok := got.Sysctl["net.netfilter.nf_conntrack_tcp_be_liberal"].Get(); !ok || v != "1" {
		t.Errorf("be_liberal: %q, %v", v, ok)
	}
	if v, ok := got.Sysctl["net.netfilter.nf_conntrack_count"].Get(); !ok || v != "0" {
		t.Errorf("count: %q, %v", v, ok)
	}
}

// dumpNames are the dumps kept in testdata: of the scene above, on Linux 6.18.
func dumpNames() []string {
	return []string{host.DumpLinks, host.DumpAddresses, host.DumpRoutes, host.DumpRules, host.DumpQdiscs}
}

func fixture(name string) string {
	return filepath.Join("testdata", strings.ReplaceAll(name, "/", "-")+".bin")
}

func TestUpdateFixtures(t *testing.T) {
	if !*update {
		t.Skip("only with -update")
	}
	ev := fetch(t, scene(t).Path())
	for _, name := range dumpNames() {
		if err := os.WriteFile(fixture(name), ev.Answer(netlinkNeed(name)).Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
