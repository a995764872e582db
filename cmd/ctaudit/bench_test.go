package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables/xtablestest"
)

// Whole-process runs: from exec to exit, of the static binary. docs/performance.md keeps the figures.

// binary is the program under measurement: $CTAUDIT_BIN, or one built here.
func binary(tb testing.TB) string {
	tb.Helper()
	if bin := os.Getenv("CTAUDIT_BIN"); bin != "" {
		return bin
	}
	bin := filepath.Join(tb.TempDir(), "ctaudit")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// process runs a program to its end and returns its wall time and largest resident size in MiB.
func process(tb testing.TB, ns *lab.Netns, argv ...string) (time.Duration, float64) {
	tb.Helper()
	cmd := ns.Command(argv...)
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &errs
	start := time.Now()
	if err := ns.Start(cmd); err != nil {
		tb.Fatal(err)
	}
	err := cmd.Wait()
	wall := time.Since(start)
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != exitFindings {
		tb.Fatalf("%v: %v: %s", argv, err, errs.String())
	}
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return wall, float64(usage.Maxrss) / 1024
}

// measure runs the program b.N times and reports the mean wall time and the largest resident size.
func measure(b *testing.B, ns *lab.Netns, argv ...string) time.Duration {
	b.Helper()
	var (
		total time.Duration
		most  float64
	)
	for b.Loop() {
		wall, rss := process(b, ns, argv...)
		total += wall
		most = max(most, rss)
	}
	mean := total / time.Duration(b.N)
	b.ReportMetric(float64(mean.Microseconds())/1000, "ms/run")
	b.ReportMetric(most, "MiB-resident")
	return mean
}

func benchNode(b *testing.B) *lab.Netns {
	b.Helper()
	labtest.Require(b, "root", "netns", "nft", "iptables", "iptables-legacy")
	ns := labtest.NewNetns(b)
	for _, argv := range [][]string{
		{"ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire0"},
		{"ip", "addr", "add", "198.51.100.1/24", "dev", "eth0"},
		{"ip", "link", "set", "wire0", "up"},
		{"ip", "link", "set", "eth0", "up"},
		{"ip", "route", "add", "default", "dev", "eth0"},
		{"ip", "link", "add", "docker0", "type", "bridge"},
		{"ip", "addr", "add", "172.17.0.1/16", "dev", "docker0"},
		{"ip", "link", "set", "docker0", "up"},
	} {
		if err := ns.Run(argv...); err != nil {
			b.Fatal(err)
		}
	}
	return ns
}

// BenchmarkScanDocker: an ordinary Docker ruleset, in iptables-nft as Debian's Docker writes it.
func BenchmarkScanDocker(b *testing.B) {
	bin, ns := binary(b), benchNode(b)
	text, err := os.ReadFile("testdata/docker.save")
	if err != nil {
		b.Fatal(err)
	}
	if err := ns.Load(netfilter.IPTablesNFT, netfilter.IP, string(text)); err != nil {
		b.Fatal(err)
	}
	measure(b, ns, bin, "scan", "localhost")
}

// BenchmarkScanKubeProxy: kube-proxy's shape, against what iptables-save -c alone takes on the same node.
func BenchmarkScanKubeProxy(b *testing.B) {
	for _, services := range []int{100, 1000, 10000} {
		for _, backend := range []netfilter.Backend{netfilter.Legacy, netfilter.IPTablesNFT} {
			b.Run(fmt.Sprintf("%s/%d", backend, services), func(b *testing.B) {
				bin, ns := binary(b), benchNode(b)
				if err := ns.Load(backend, netfilter.IP, xtablestest.KubeProxySave(services)); err != nil {
					b.Fatal(err)
				}
				save := map[netfilter.Backend]string{netfilter.Legacy: "iptables-legacy-save", netfilter.IPTablesNFT: "iptables-nft-save"}[backend]
				best := time.Hour
				for range 3 {
					wall, _ := process(b, ns, save, "-c")
					best = min(best, wall)
				}
				mean := measure(b, ns, bin, "scan", "localhost", "-q")
				b.ReportMetric(float64(best.Microseconds())/1000, "ms/save")
				b.ReportMetric(float64(mean)/float64(best), "times-save")
			})
		}
	}
}

// BenchmarkScanNFTables: 100,000 native rules, against nft -j list ruleset on the same node.
func BenchmarkScanNFTables(b *testing.B) {
	bin, ns := binary(b), benchNode(b)
	var script bytes.Buffer
	script.WriteString("table inet t {\n chain in { type filter hook input priority 0; policy accept;\n")
	for i := range 100_000 {
		fmt.Fprintf(&script, "  ip saddr 10.%d.%d.%d tcp dport %d accept\n", i>>16&255, i>>8&255, i&255, 1+i%60000)
	}
	script.WriteString(" }\n}\n")
	if err := ns.Load(netfilter.NFTables, "", script.String()); err != nil {
		b.Fatal(err)
	}
	list, rss := process(b, ns, "nft", "-j", "list", "ruleset")
	measure(b, ns, bin, "collect", "-O", "/dev/null")
	b.ReportMetric(float64(list.Milliseconds()), "ms/nft-j")
	b.ReportMetric(rss, "MiB-nft-j")
}

// TestBinaryIsSmall: the release binary, static and stripped, is at most 40 MB.
func TestBinaryIsSmall(t *testing.T) {
	info, err := os.Stat(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	const limit = 40_000_000
	if info.Size() > limit {
		t.Errorf("the binary is %d bytes, more than %d", info.Size(), limit)
	}
	t.Logf("%d bytes", info.Size())
}
