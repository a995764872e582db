package sysctl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// TestLiveNamespace reads a namespace's own keys through host, changes one there, and reads again.
func TestLiveNamespace(t *testing.T) {
	labtest.Require(t, "root", "netns", "ip")
	ns := labtest.NewNetns(t)
	if err := ns.Run("ip", "link", "add", "eth0.100", "type", "veth", "peer", "name", "peer0"); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"net.netfilter.nf_conntrack_tcp_be_liberal": "1", "net.ipv4.conf.eth0/100.rp_filter": "2"} {
		if err := ns.Sysctl(key, value); err != nil {
			t.Fatal(err)
		}
	}
	s := readNamespace(t, ns)
	for key, want := range map[string]string{
		"net.netfilter.nf_conntrack_tcp_be_liberal": "1", "net.netfilter.nf_conntrack_tcp_loose": "1", "net.ipv4.conf.eth0/100.rp_filter": "2",
		"net.ipv4.ip_local_port_range": "32768\t60999", "net.ipv6.conf.all.forwarding": "0", "net.ipv4.conf.lo.route_localnet": "0",
	} {
		if got, ok := s.Live[key].Get(); !ok || got != want {
			t.Errorf("%s = %v, want %q", key, s.Live[key], want)
		}
	}
	if v := s.Live["net.ipv4.netfilter.ip_conntrack_tcp_be_liberal"]; !v.IsAbsent() {
		t.Errorf("the dead name is %v, want absent", v)
	}
}

func readNamespace(t *testing.T, ns *lab.Netns) snapshot.Sysctl {
	t.Helper()
	ev, err := host.Local(host.LocalOptions{Namespace: ns.Path()}).Fetch(context.Background(), host.Request{Needs: New().Needs()})
	if err != nil {
		t.Fatal(err)
	}
	s, missing := collected(ev)
	for _, m := range missing {
		t.Errorf("missing: %+v", m)
	}
	return s
}

// applier is a program that applies sysctl.d, and the name of the first process of the nodes that use it at boot.
type applier struct {
	init string
	argv []string
}

// TestAgainstTheAppliers writes random files, lets systemd-sysctl and sysctl --system apply them in a fresh namespace, and requires
// that each key then has the value that the collector foretold: the assignment's, or the one that it had before.
func TestAgainstTheAppliers(t *testing.T) {
	labtest.Require(t, "root", "netns", "ip")
	for name, a := range map[string]applier{
		"systemd": {"systemd", []string{firstOf(t, "/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl")}},
		"procps":  {"init", []string{firstOf(t, "/usr/sbin/sysctl", "/sbin/sysctl"), "--system"}},
	} {
		t.Run(name, func(t *testing.T) {
			rounds := 15
			if testing.Short() {
				rounds = 5
			}
			for seed := range rounds {
				againstApplier(t, a, uint64(seed))
			}
		})
	}
}

func againstApplier(t *testing.T, a applier, seed uint64) {
	t.Helper()
	ns, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Run("ip", "link", "add", "eth0.1", "type", "veth", "peer", "name", "peer0"); err != nil {
		t.Fatal(err)
	}
	files := randomFiles(rand.New(rand.NewPCG(seed, 1)))
	before := readNamespace(t, ns).Live
	out := apply(t, ns, a.argv, files)
	after := readNamespace(t, ns).Live
	files[pathInit] = a.init + "\n"
	foretold, missing := collected(evidence(files))
	if len(missing) != 0 {
		t.Fatalf("missing: %v", missing)
	}
	for _, key := range testKeys() {
		want := before[key].Or("")
		if v, ok := foretold.AtBoot(key).Get(); ok {
			want = v.Value
		}
		if got := after[key].Or(""); got != want {
			t.Errorf("seed %d: %s is %s, foretold %s, before %s\n%s\n%s", seed, key, got, want, before[key].Or(""), show(files), out)
		}
	}
}

// testKeys are keys that change nothing but themselves when they are written.
func testKeys() []string {
	return []string{
		"net.netfilter.nf_conntrack_tcp_be_liberal", "net.netfilter.nf_conntrack_tcp_loose", "net.netfilter.nf_conntrack_checksum",
		"net.ipv4.conf.eth0/1.rp_filter", "net.ipv4.conf.lo.rp_filter", "net.ipv4.conf.lo.route_localnet", "net.ipv4.conf.eth0/1.route_localnet",
		"net.ipv4.fwmark_reflect", "net.ipv6.fwmark_reflect",
	}
}

// randomFiles writes a few files with a few lines each: keys in both notations, patterns, exclusions, repeated values, comments, and
// lines that are none.
func randomFiles(r *rand.Rand) map[string]string {
	dirs := []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"}
	files := map[string]string{}
	for range 1 + r.IntN(6) {
		name := fmt.Sprintf("%s/%d0.conf", dirs[r.IntN(len(dirs))], 1+r.IntN(3))
		files[name] = randomLines(r)
	}
	switch r.IntN(3) {
	case 0:
		files[pathConf] = randomLines(r)
	case 1:
		files[pathConf] = randomLines(r)
		files["/etc/sysctl.d/99-sysctl.conf"] = files[pathConf]
	}
	return files
}

func randomLines(r *rand.Rand) string {
	// No pattern covers "default": writing that changes, in the kernel, every interface that has no value of its own yet
	// (devinet_copy_dflt_conf in net/ipv4/devinet.c).
	patterns := []string{"net.ipv4.conf.[!d]*.rp_filter", "net.ipv4.conf.[el]*.route_localnet", "net.ipv4.conf.l?.rp_filter", "net/netfilter/nf_conntrack_tcp_[bl]*"}
	var b strings.Builder
	for range r.IntN(6) {
		key := testKeys()[r.IntN(len(testKeys()))]
		switch r.IntN(5) {
		case 0:
			key = patterns[r.IntN(len(patterns))]
		case 1:
			key = swapSeparators(key)
		}
		value := r.IntN(2)
		switch r.IntN(12) {
		case 0:
			fmt.Fprintf(&b, "-%s\n", key)
		case 1:
			fmt.Fprintf(&b, "  -%s\t= %d \n", key, value)
		case 2:
			fmt.Fprintf(&b, "# %s = %d\n", key, value)
		case 3:
			fmt.Fprintf(&b, "%s %d\n\n;x\n", key, value)
		default:
			fmt.Fprintf(&b, "%s = %d\n", key, value)
		}
	}
	return b.String()
}

// apply runs the program in the namespace, with folders of its own in place of the machine's: the mounts are in a mount namespace
// that ends with the program.
func apply(t *testing.T, ns *lab.Netns, argv []string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, there := files[pathConf]; !there {
		files = cloneWith(files, pathConf, "")
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const script = `set -e
mount --bind "$0/etc/sysctl.d" /etc/sysctl.d
mount --bind "$0/etc/sysctl.conf" /etc/sysctl.conf
mount --bind "$0/run" /run
mount --bind "$0/usr/local/lib" /usr/local/lib
mount --bind "$0/usr/lib/sysctl.d" /usr/lib/sysctl.d
exec "$@"`
	args := append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", script, root}, argv...)
	cmd := ns.Command(args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	// Lines that are no assignment make the programs exit with a failure after they have applied the others.
	if err := cmd.Wait(); err != nil && strings.Contains(out.String(), "mount:") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return out.String()
}

func cloneWith(files map[string]string, name, text string) map[string]string {
	out := map[string]string{name: text}
	for n, s := range files {
		out[n] = s
	}
	return out
}

func show(files map[string]string) string {
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "-- %s --\n%s", n, files[n])
	}
	return b.String()
}

// firstOf finds a program that no PATH has; without it there is nothing to compare with.
func firstOf(t *testing.T, names ...string) string {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err == nil {
			return n
		}
	}
	if strings.Contains(os.Getenv("CTAUDIT_REQUIRE"), "all") {
		t.Fatalf("none of %v is installed, and CTAUDIT_REQUIRE asks for everything", names)
	}
	t.Skipf("needs one of %v", names)
	return ""
}
