package probe_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func everything() []host.Need { return collect.NeedsOf(registry.All()) }

// node is a namespace as Docker leaves it, with more of everything that the topology section holds.
func node(t testing.TB) (n *lab.Netns, containers []uint64) {
	t.Helper()
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy", "ip", "tc")
	n = labtest.NewNetns(t)
	inside := map[string]*lab.Netns{}
	for _, name := range []string{"veth1", "veth2"} {
		c := labtest.NewNetns(t)
		inside[name] = c
		id, err := c.Inode()
		must(t, err)
		containers = append(containers, id)
		must(t, lab.Veth(lab.End{NS: n, Name: name}, lab.End{NS: c, Name: "eth0", Addresses: []string{"172.17.0." + name[4:] + "/16", "fd00::" + name[4:] + "/64"}}))
		process := c.Command("sleep", "600")
		must(t, c.Start(process))
		t.Cleanup(func() {
			process.Process.Kill()
			process.Wait()
		})
	}
	must(t, inside["veth2"].Sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", "1"))
	for _, command := range []string{
		"ip link add docker0 type bridge",
		"ip link add pa type veth peer name pb",
		"ip link add wg type bridge", "ip link add ifb7 type ifb", "ip tuntap add tun0 mode tun",
		"ip link set veth1 master docker0", "ip link set veth2 master docker0",
		"ip link set pa group 7",
		"ip link set docker0 up", "ip link set veth1 up", "ip link set veth2 up", "ip link set pa up", "ip link set pb up", "ip link set wg up",
		"ip addr add 172.17.0.254/16 broadcast 172.17.255.255 dev docker0",
		"ip addr add 203.0.113.1 peer 203.0.113.9/32 dev pa",
		"ip addr add 198.51.100.7/24 scope link dev wg label wg:one",
		"ip -6 addr add 2001:db8::1/64 dev docker0 nodad",
		"ip -6 addr add 2001:db8:1::1 peer 2001:db8:1::2/128 dev pa nodad",
		"ip route add default via 172.17.0.9 metric 100",
		"ip route add 192.0.2.0/24 nexthop via 172.17.0.7 weight 1 nexthop dev wg weight 2",
		"ip route add 198.18.0.0/15 via inet6 2001:db8::2 dev docker0 src 172.17.0.254",
		"ip route add blackhole 240.0.0.0/8", "ip route add unreachable 241.0.0.0/8", "ip route add prohibit 242.0.0.0/8",
		"ip route add throw 243.0.0.0/8 table 77", "ip route add 10.9.0.0/16 dev wg table 1000",
		"ip nexthop add id 5 via 172.17.0.8 dev docker0", "ip route add 10.77.0.0/16 nhid 5",
		"ip -6 route add default via 2001:db8::2 metric 7", "ip -6 route add blackhole 2001:db8:dead::/48",
		"ip -6 route add 2001:db8:77::/64 nexthop via 2001:db8::3 nexthop via 2001:db8::4",
		"ip rule add fwmark 0x1/0xff table 77 priority 100", "ip rule add fwmark 0x5 table 1000 priority 101",
		"ip rule add not from 10.0.0.0/8 to 192.0.2.7 iif veth1 lookup 1000 priority 200",
		"ip rule add priority 300 blackhole", "ip rule add priority 310 goto 32766", "ip rule add priority 320 nop",
		"ip rule add priority 330 unreachable", "ip rule add l3mdev priority 1000",
		"ip -6 rule add from fd01::/64 prohibit priority 400",
		"tc qdisc add dev veth1 clsact", "tc qdisc add dev pa ingress", "tc qdisc add dev wg root pfifo",
	} {
		must(t, n.Run(strings.Fields(command)...))
	}
	for _, backend := range []string{"iptables-nft", "ip6tables-nft", "iptables-legacy"} {
		_, err := n.Pipe("*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n", backend+"-restore")
		must(t, err)
	}
	eventually(t, "the end of duplicate address detection", func() bool {
		text, err := n.Output("ip", "addr")
		return err == nil && !strings.Contains(string(text), "tentative")
	})
	return n, containers
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotEqualsLocal: a shell's answers make the document that this process makes on the same node, as root and as an
// ordinary user. Packets that count may pass meanwhile, so it may take a few readings.
func TestSnapshotEqualsLocal(t *testing.T) {
	n, containers := node(t)
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	self := copyOfSelf(t)
	all := shells(t)
	all["applets"] = shell{argv: []string{"busybox", "ash", "-s"}, path: applets(t)}
	for name, s := range all {
		s.netns = n
		t.Run(name, func(t *testing.T) {
			same(t, func() document { return localDocument(t, n, self, nil) }, func() document { return documentOf(t, s) }, containers)
		})
		t.Run(name+" as nobody", func(t *testing.T) {
			s.as = nobody
			same(t, func() document { return localDocument(t, n, self, nobody) }, func() document { return documentOf(t, s) }, nil)
		})
	}
}

func same(t *testing.T, local, probe func() document, containers []uint64) {
	t.Helper()
	var diff string
	for range 5 {
		l, p := local(), probe()
		if len(containers) > 0 && !l.hasLinksTo(containers) {
			t.Fatal("the containers are not in the document: nothing would be compared")
		}
		if diff = cmp.Diff(l.comparable(t, containers), p.comparable(t, containers)); diff == "" {
			return
		}
	}
	t.Errorf("(-local +probe):\n%s", diff)
}

// document is a snapshot.
type document struct{ *snapshot.Document }

func documentOf(t testing.TB, h host.Host) document {
	t.Helper()
	doc, _, err := collect.Run(t.Context(), h, registry.All(), collect.Options{Tool: "test"})
	must(t, err)
	return document{doc}
}

// localEnv makes this binary print the document of host.Local instead of running tests.
const localEnv = "PROBE_TEST_LOCAL"

func printLocal() int {
	doc, _, err := collect.Run(context.Background(), host.Local(host.LocalOptions{}), registry.All(), collect.Options{Tool: "test"})
	if err == nil {
		err = snapshot.Encode(os.Stdout, doc)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// localDocument is what host.Local reads in the namespace as that user.
func localDocument(t testing.TB, n *lab.Netns, self string, as *syscall.Credential) document {
	t.Helper()
	cmd := n.Command(self)
	cmd.Dir, cmd.Env = "/", []string{localEnv + "=1", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	must(t, n.Start(cmd))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	doc, err := snapshot.Decode(&out)
	must(t, err)
	return document{doc}
}

// copyOfSelf is this test's binary where everybody may run it.
func copyOfSelf(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	dir, err := os.MkdirTemp("", "probe")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	file := filepath.Join(dir, "local")
	must(t, os.WriteFile(file, text, 0o755))
	return file
}

// hasLinksTo says whether the document knows the links that lead to all the namespaces.
func (d document) hasLinksTo(namespaces []uint64) bool {
	found := 0
	list, _ := d.Topology.Namespaces.Get()
	for _, n := range list {
		if slices.Contains(namespaces, n.ID) && len(n.Links) == 1 && len(n.Addresses) > 0 {
			found++
		}
	}
	return found == len(namespaces)
}

// comparable is the document without what differs from reading to reading, and without the namespaces of other tests, which
// come and go.
func (d document) comparable(t testing.TB, namespaces []uint64) map[string]string {
	t.Helper()
	doc := *d.Document
	out := map[string]string{}
	for _, c := range doc.Collectors {
		c.Missing = slices.DeleteFunc(slices.Clone(c.Missing), func(m snapshot.Missing) bool {
			return strings.Contains(m.What, "network namespace") || strings.Contains(m.Why, host.NoNetlink)
		})
		if c.Name != "nftables" && c.Name != "conntrack" { // what only netlink tells
			out["account of "+c.Name] = fmt.Sprintf("%+v", c)
		}
	}
	doc.Taken, doc.Collectors = time.Time{}, nil
	doc.NFTables, doc.Conntrack = snapshot.NFTables{}, snapshot.Conntrack{}
	doc.Kernel.UptimeSeconds = snapshot.Absent[float64]()
	if list, ok := doc.Topology.Namespaces.Get(); ok {
		doc.Topology.Namespaces = snapshot.Known(slices.DeleteFunc(slices.Clone(list), func(n snapshot.Namespace) bool {
			return !slices.Contains(namespaces, n.ID)
		}))
	}
	doc.Topology.NamespacesIncomplete = digits.ReplaceAllString(doc.Topology.NamespacesIncomplete, "N")
	var b bytes.Buffer
	must(t, snapshot.Encode(&b, &doc))
	text := counters.ReplaceAllString(b.String(), `"packets": N, "bytes": N`)
	out["document"] = processes.ReplaceAllString(text, "N processes in other") // which come and go
	return out
}

var (
	digits    = regexp.MustCompile("[0-9]+")
	processes = regexp.MustCompile("[0-9]+ processes in other")
	counters  = regexp.MustCompile(`"packets": [0-9]+, "bytes": [0-9]+`)
)
