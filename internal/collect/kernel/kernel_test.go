package kernel

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// node is a node as its distribution presents it; releases and version texts are those that the distributions' kernels print.
type node struct {
	osRelease, release, version, signature string
	vendor, upstream                       string
}

func nodes() map[string]node {
	const deb10 = "#1 SMP Debian 5.10.209-2 (2024-01-31)"
	return map[string]node{
		"debian 11":               {"debian-11", "5.10.0-28-amd64", deb10, "", "debian", "5.10.209"},
		"debian 12 cloud":         {"debian-12", "6.1.0-18-cloud-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)", "", "debian", "6.1.76"},
		"debian 13":               {"debian-12", "6.12.43+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.43-1 (2025-08-27)", "", "debian", "6.12.43"},
		"debian 12 self built":    {"debian-12", "6.18.44-fc-v657", "#1 SMP PREEMPT_DYNAMIC @0", "", "other", ""},
		"debian 12 vanilla":       {"debian-12", "6.6.8", "#2 SMP PREEMPT_DYNAMIC Fri Dec 29 10:00:00 UTC 2023", "", "mainline", "6.6.8"},
		"debian without uname -v": {"debian-11", "5.10.0-28-amd64", "", "", "debian", ""},
		"ubuntu 22.04": {
			"ubuntu-22.04", "5.15.0-91-generic", "#101-Ubuntu SMP Tue Nov 14 13:30:08 UTC 2023", "Ubuntu 5.15.0-91.101-generic 5.15.131", "ubuntu", "5.15.131",
		},
		"ubuntu 24.04 aws": {
			"ubuntu-24.04", "6.8.0-1009-aws", "#9-Ubuntu SMP Fri May 17 14:39:23 UTC 2024", "Ubuntu 6.8.0-1009.9-aws 6.8.1", "ubuntu", "6.8.1",
		},
		"ubuntu 22.04 hwe": {
			"ubuntu-22.04", "6.5.0-18-generic", "#18~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Wed Feb  7 11:40:03 UTC 2", "", "ubuntu", "",
		},
		"ubuntu, unpatched build": {"ubuntu-22.04", "6.5.3-060503-generic", "#202309130834 SMP PREEMPT_DYNAMIC Wed Sep 13", "", "mainline", "6.5.3"},
		"ubuntu image on debian":  {"ubuntu-22.04", "5.10.0-28-amd64", deb10, "", "debian", "5.10.209"},
		"ubuntu image on rhel":    {"ubuntu-22.04", "4.18.0-513.5.1.el8_9.x86_64", "#1 SMP Fri Sep 29 05:21:10 EDT 2023", "", "el8", ""},
		"rhel 8":                  {"rhel-8", "4.18.0-513.5.1.el8_9.x86_64", "#1 SMP Fri Sep 29 05:21:10 EDT 2023", "", "el8", ""},
		"centos stream 8":         {"rhel-8", "4.18.0-552.el8.x86_64", "#1 SMP Sun Apr 7 19:39:51 UTC 2024", "", "el8", ""},
		"rhel 9":                  {"rhel-9", "5.14.0-362.8.1.el9_3.x86_64", "#1 SMP PREEMPT_DYNAMIC Tue Oct 3 11:12:36 EDT 2023", "", "el9", ""},
		"rhel 10":                 {"rhel-9", "6.12.0-55.9.1.el10_0.x86_64", "#1 SMP PREEMPT_DYNAMIC Fri Apr 25 00:00:00 EDT 2025", "", "el10", ""},
		"oracle uek on 8":         {"rhel-8", "5.15.0-101.103.2.1.el8uek.x86_64", "#2 SMP Mon May 1 20:11:30 PDT 2023", "", "other", ""},
		"elrepo kernel-ml on 8":   {"rhel-8", "6.6.8-1.el8.elrepo.x86_64", "#1 SMP PREEMPT_DYNAMIC Thu Dec 21 16:02:08 EST 2023", "", "mainline", "6.6.8"},
		"sles 15 sp5":             {"sles-15", "5.14.21-150500.55.39-default", "#1 SMP PREEMPT_DYNAMIC Tue Dec 5 10:06:35 UTC 2023 (2e4092e)", "", "sle", ""},
		"sles 12":                 {"sles-15", "4.12.14-122.136-default", "#1 SMP Fri Sep 23 10:51:06 UTC 2022 (1f2f0c3)", "", "sle", ""},
		"amazon linux 2":          {"amazon-2", "4.14.336-257.562.amzn2.x86_64", "#1 SMP Sat Feb 24 09:50:35 UTC 2024", "", "amzn", "4.14.336"},
		"amazon linux 2, 5.10":    {"amazon-2", "5.10.209-198.812.amzn2.x86_64", "#1 SMP Tue Jan 30 20:59:52 UTC 2024", "", "amzn", "5.10.209"},
		"alpine 3.19":             {"alpine-3.19", "6.6.16-0-lts", "#1-Alpine SMP PREEMPT_DYNAMIC Mon, 05 Feb 2024 20:44:26 +0000", "", "alpine", "6.6.16"},
		"alpine 3.19 virt":        {"alpine-3.19", "6.6.16-0-virt", "#1-Alpine SMP PREEMPT_DYNAMIC", "", "alpine", "6.6.16"},
		"openwrt":                 {"openwrt-23.05", "5.15.137", "#0 SMP Tue Nov 14 13:38:11 2023", "", "openwrt", "5.15.137"},
		"google cos":              {"", "6.1.58+", "#1 SMP PREEMPT_DYNAMIC Mon Jan 29 15:19:25 UTC 2024", "", "other", ""},
		"fedora":                  {"", "6.6.9-200.fc39.x86_64", "#1 SMP PREEMPT_DYNAMIC", "", "other", ""},
		"wsl":                     {"ubuntu-22.04", "5.15.133.1-microsoft-standard-WSL2", "#1 SMP Thu Oct 5 21:02:42 UTC 2023", "", "other", ""},
		"el7":                     {"", "3.10.0-1160.el7.x86_64", "#1 SMP", "", "other", ""},
		"release candidate":       {"", "6.9-rc3", "#1 SMP", "", "mainline", "6.9.0"},
		"nothing readable":        {"", "", "", "", "other", ""},
	}
}

func TestVendorAndUpstream(t *testing.T) {
	for name, n := range nodes() {
		t.Run(name, func(t *testing.T) {
			osRelease := map[string]string{}
			if n.osRelease != "" {
				var err error
				if osRelease, err = parseOSRelease(fixture(t, "os-release/"+n.osRelease)); err != nil {
					t.Fatal(err)
				}
			}
			if got := vendor(n.release, n.version, osRelease); got != n.vendor {
				t.Errorf("vendor = %q, want %q", got, n.vendor)
			}
			got := upstream(n.vendor, n.release, n.version, n.signature)
			if got.Or("") != n.upstream || (n.upstream == "") != got.IsAbsent() {
				t.Errorf("upstream = %q (absent %v), want %q", got.Or(""), got.IsAbsent(), n.upstream)
			}
		})
	}
}

func TestCollectThisMachinesFixtures(t *testing.T) {
	ev := evidence(map[string]string{
		pathRelease: "6.18.44-fc-v657\n", pathVersion: "#1 SMP PREEMPT_DYNAMIC @0\n",
		pathOSRelease: string(fixture(t, "os-release/debian-12")), pathConfig: string(fixture(t, "config-6.18.44.gz")),
		pathCPUs: "0-1\n", pathMemory: string(fixture(t, "meminfo")), pathUptime: string(fixture(t, "uptime")),
	})
	var doc snapshot.Document
	if missing := New().Collect(ev, &doc); len(missing) != 0 {
		t.Errorf("missing: %v", missing)
	}
	k := doc.Kernel
	if k.Release.Or("") != "6.18.44-fc-v657" || k.Vendor != "other" || k.OSRelease["VERSION_CODENAME"] != "bookworm" {
		t.Errorf("release %v, vendor %q, os-release %v", k.Release, k.Vendor, k.OSRelease)
	}
	if k.CPUs.Or(0) != 2 || k.MemoryKiB.Or(0) != 24684092 || k.UptimeSeconds.Or(0) <= 0 {
		t.Errorf("CPUs %v, memory %v, uptime %v", k.CPUs, k.MemoryKiB, k.UptimeSeconds)
	}
	if !k.Modules.IsAbsent() {
		t.Errorf("modules = %v, want absent: this kernel has no modules", k.Modules)
	}
	c := k.Config.Or(nil)
	if c["CONFIG_NF_CONNTRACK"] != "y" || c["CONFIG_IP_VS"] != "n" || c["CONFIG_MODULES"] != "n" {
		t.Errorf("configuration: %v", c)
	}
	for _, name := range []string{"nf_conntrack", "nf_tables", "ip_tables", "iptable_filter", "nft_ct", "br_netfilter", "xt_conntrack"} {
		if !contains(k.Builtin.Or(nil), name) {
			t.Errorf("%s is not among the built-in modules %v", name, k.Builtin.Or(nil))
		}
	}
	for _, name := range []string{"nft_queue", "nf_flow_table", "ip_vs", "nfnetlink_hook"} {
		if contains(k.Builtin.Or(nil), name) {
			t.Errorf("%s is not set in this configuration", name)
		}
	}
}

func TestCollectModularKernel(t *testing.T) {
	ev := evidence(map[string]string{
		pathRelease: "5.10.0-28-amd64\n", pathVersion: "#1 SMP Debian 5.10.209-2 (2024-01-31)\n",
		pathOSVendor: string(fixture(t, "os-release/debian-11")), pathModules: string(fixture(t, "modules")),
		pathCPUs: "0-3,8\n", pathMemory: "MemTotal:        2030420 kB\n", pathUptime: "55.10 100.00\n",
	})
	config := fixture(t, "config-5.10.0-28-amd64")
	ev.Answers[glob(globConfig).Key()] = &host.Answer{Files: map[string][]byte{
		"/boot/config-5.10.0-27-amd64": []byte("CONFIG_NF_CONNTRACK=y\n"), "/boot/config-5.10.0-28-amd64": config,
	}}
	ev.Answers[glob(globBuiltin).Key()] = &host.Answer{Files: map[string][]byte{
		"/lib/modules/5.10.0-27-amd64/modules.builtin": []byte("kernel/net/netfilter/xt_wrong.ko\n"),
		"/lib/modules/5.10.0-28-amd64/modules.builtin": fixture(t, "modules.builtin"),
	}}
	var doc snapshot.Document
	if missing := New().Collect(ev, &doc); len(missing) != 0 {
		t.Errorf("missing: %v", missing)
	}
	want := map[string]string{
		"CONFIG_MODULES": "y", "CONFIG_NETFILTER": "y", "CONFIG_NETFILTER_ADVANCED": "y", "CONFIG_BRIDGE_NETFILTER": "m",
		"CONFIG_NF_CONNTRACK": "m", "CONFIG_NF_CONNTRACK_MARK": "y", "CONFIG_NF_CONNTRACK_PROCFS": "n", "CONFIG_NF_TABLES": "m",
		"CONFIG_NFT_CT": "m", "CONFIG_IP_VS": "m", "CONFIG_IP_VS_TAB_BITS": "12", "CONFIG_IP_NF_IPTABLES": "m", "CONFIG_IP6_NF_IPTABLES": "m",
	}
	if diff := cmp.Diff(want, doc.Kernel.Config.Or(nil)); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	builtin := []string{"br_netfilter", "nf_conntrack", "nf_defrag_ipv4", "nfnetlink", "x_tables"}
	if diff := cmp.Diff(builtin, doc.Kernel.Builtin.Or(nil)); diff != "" {
		t.Errorf("built-in (-want +got):\n%s", diff)
	}
	modules := []string{
		"br_netfilter", "libcrc32c", "nf_conntrack", "nf_conntrack_netlink", "nf_nat", "nfnetlink", "vboxguest", "xt_MASQUERADE", "xt_conntrack",
	}
	if diff := cmp.Diff(modules, doc.Kernel.Modules.Or(nil)); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
	if doc.Kernel.CPUs.Or(0) != 5 || doc.Kernel.OSRelease["ID"] != "debian" || doc.Kernel.Upstream.Or("") != "5.10.209" {
		t.Errorf("CPUs %v, os-release %v, upstream %v", doc.Kernel.CPUs, doc.Kernel.OSRelease, doc.Kernel.Upstream)
	}
}

func TestCollectNothing(t *testing.T) {
	var doc snapshot.Document
	missing := New().Collect(&host.Evidence{Answers: map[string]*host.Answer{}}, &doc)
	k := doc.Kernel
	if !k.Release.IsUnreadable() || !k.Modules.IsUnreadable() || !k.Config.IsUnreadable() || !k.Builtin.IsUnreadable() || !k.CPUs.IsUnreadable() {
		t.Errorf("what was never collected must be unreadable: %+v", k)
	}
	if len(missing) < 8 {
		t.Errorf("missing: %v", missing)
	}
}

func TestCollectWithoutProc(t *testing.T) {
	var doc snapshot.Document
	missing := New().Collect(evidence(nil), &doc)
	if !doc.Kernel.Release.IsUnreadable() || !doc.Kernel.MemoryKiB.IsUnreadable() || !doc.Kernel.Builtin.IsUnreadable() {
		t.Errorf("a node without /proc: %+v", doc.Kernel)
	}
	if !doc.Kernel.Config.IsAbsent() {
		t.Errorf("configuration = %v, want absent", doc.Kernel.Config)
	}
	for _, m := range missing {
		if m.What == "" || m.Why == "" || m.Hint == "" {
			t.Errorf("incomplete: %+v", m)
		}
	}
}

// TestDeniedAndCut proves that neither a refusal nor a half file passes for knowledge.
func TestDeniedAndCut(t *testing.T) {
	ev := evidence(map[string]string{pathRelease: "5.10.0-28-amd64\n"})
	ev.Answers[file(pathModules).Key()] = &host.Answer{Err: "permission denied", Denied: true}
	ev.Answers[file(pathMemory).Key()] = &host.Answer{Data: []byte("MemTotal: 1 kB\n"), Truncated: true}
	ev.Answers[glob(globBuiltin).Key()] = &host.Answer{
		Files: map[string][]byte{"/lib/modules/5.10.0-28-amd64/modules.builtin": fixture(t, "modules.builtin")}, Truncated: true,
	}
	var doc snapshot.Document
	New().Collect(ev, &doc)
	if why, hint := doc.Kernel.Modules.Why(); why != "permission denied" || hint != "run as root" {
		t.Errorf("modules: %q, %q", why, hint)
	}
	if !doc.Kernel.MemoryKiB.IsUnreadable() || !doc.Kernel.Builtin.IsUnreadable() {
		t.Errorf("memory %v, built-in %v: want unreadable", doc.Kernel.MemoryKiB, doc.Kernel.Builtin)
	}
}

func TestGzipBombIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	line := []byte(strings.Repeat("CONFIG_NF_X=y\n", 1<<12))
	for range 1 << 10 { // 59 MB unpacked
		if _, err := z.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := parseConfigGzip(bomb.Bytes()); err == nil {
		t.Error("a configuration of 59 MB was taken")
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestOSReleaseQuoting(t *testing.T) {
	got, err := parseOSRelease([]byte("# comment\nA=plain\nB=\"two words\"\nC='it\\s'\nD=\"q\\\"\\$\"\nbad line\n=x\n9Z=no\nE=\n\nA=last\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "last", "B": "two words", "C": `it\s`, "D": `q"$`, "E": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParsersRefuse(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	for name, err := range map[string]error{
		"line empty":          second(parseLine(nil)),
		"line long":           second(parseLine([]byte(long))),
		"line NUL":            second(parseLine([]byte("6.1\x00"))),
		"line two":            second(parseLine([]byte("6.1\n6.2\n"))),
		"line escape":         second(parseLine([]byte("6.1\x1b[31m\n"))),
		"os-release long":     second(parseOSRelease([]byte("A=" + long))),
		"os-release NUL":      second(parseOSRelease([]byte("A=\x00\n"))),
		"modules no size":     second(parseModules([]byte("nf_conntrack\n"))),
		"modules bad size":    second(parseModules([]byte("nf_conntrack big 0 - Live 0x0\n"))),
		"modules long":        second(parseModules([]byte(long))),
		"builtin no module":   second(parseBuiltin([]byte("kernel/x.o\n"))),
		"builtin long":        second(parseBuiltin([]byte(long))),
		"config empty":        second(parseConfig(nil)),
		"config of no kind":   second(parseConfig([]byte("<html>\n"))),
		"config escape":       second(parseConfig([]byte("CONFIG_NF_X=\x1b[2J\n"))),
		"config long":         second(parseConfig([]byte("CONFIG_NF_X=" + long))),
		"gzip no gzip":        second(parseConfigGzip([]byte("CONFIG_NF_X=y\n"))),
		"CPUs empty":          second(parseCPUList([]byte("\n"))),
		"CPUs reversed":       second(parseCPUList([]byte("3-1\n"))),
		"CPUs huge":           second(parseCPUList([]byte("0-65535,0-65535\n"))),
		"CPUs words":          second(parseCPUList([]byte("all\n"))),
		"memory none":         second(parseMemTotal([]byte("MemFree: 1 kB\n"))),
		"memory other unit":   second(parseMemTotal([]byte("MemTotal: 1 MB\n"))),
		"memory words":        second(parseMemTotal([]byte("MemTotal: much kB\n"))),
		"uptime not a number": second(parseUptime([]byte("NaN 1\n"))),
		"uptime negative":     second(parseUptime([]byte("-1 1\n"))),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzKernelFiles(f *testing.F) {
	entries, err := filepath.Glob("testdata/*")
	if err != nil {
		f.Fatal(err)
	}
	more, err := filepath.Glob("testdata/os-release/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range append(entries, more...) {
		if b, err := os.ReadFile(p); err == nil {
			f.Add(b[:min(len(b), 64<<10)])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ev := evidence(map[string]string{})
		for _, n := range New().Needs() {
			a := &host.Answer{Data: b}
			if n.Kind == host.Glob {
				a = &host.Answer{Files: map[string][]byte{strings.Replace(n.Args[0], "*", "6.1.0", 1): b}}
			}
			ev.Answers[n.Key()] = a
		}
		ev.Answers[file(pathRelease).Key()] = &host.Answer{Data: []byte("6.1.0\n")}
		var doc snapshot.Document
		for _, m := range New().Collect(ev, &doc) {
			if m.What == "" || m.Why == "" {
				t.Errorf("incomplete: %+v", m)
			}
		}
		if mods, ok := doc.Kernel.Modules.Get(); ok && mods == nil {
			t.Error("a known list must not be nil")
		}
		_, _ = parseConfig(b)
		_, _ = parseCPUList(b)
	})
}

func evidence(files map[string]string) *host.Evidence {
	ev := &host.Evidence{Answers: map[string]*host.Answer{}}
	for _, n := range New().Needs() {
		ev.Answers[n.Key()] = &host.Answer{Absent: true}
	}
	for p, text := range files {
		ev.Answers[file(p).Key()] = &host.Answer{Data: []byte(text)}
	}
	return ev
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func second[T any](_ T, err error) error { return err }
