package conntrack

import (
	"context"
	"encoding/binary"
	"flag"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

var update = flag.Bool("update", false, "write the netlink dump of this kernel into testdata")

// TestLiveNamespace holds the collector against the kernel and conntrack(8): packets that are INVALID by their flags go through a
// fresh namespace, and every reader must count exactly those.
func TestLiveNamespace(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "conntrack")
	ns := labtest.NewNetns(t)
	if _, err := ns.Pipe("table ip t { chain in { type filter hook input priority 0; ct state invalid drop; }; }", "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	const first, more = 7, 5
	sendInvalid(t, ns, first)
	ev := fetch(t, ns, 10*time.Millisecond)
	if c, missing := collected(ev); len(missing) != 0 || c.Second == nil || c.Interval < 0.01 || c.Interval > 30 {
		t.Fatalf("missing %v, second %v, interval %v", missing, c.Second, c.Interval)
	}
	sendInvalid(t, ns, more)
	again := fetch(t, ns, 0)
	for key, a := range ev.Answers {
		if a.Second != nil {
			a.Second = again.Answers[key]
		}
	}
	c, missing := collected(ev)
	if len(missing) != 0 || c.First.Source != sourceNetlink {
		t.Fatalf("missing %v, source %q", missing, c.First.Source)
	}
	if a, b := c.First.Stats.Or(nil)["invalid"], c.Second.Stats.Or(nil)["invalid"]; a != 2*first || b != 2*(first+more) {
		t.Errorf("invalid: %d then %d, for %d segments that meet conntrack twice and %d more", a, b, first, more)
	}
	compareTool(t, ns, *c.Second)
	compareProc(t, ev, c.First)
	if *update {
		if err := os.WriteFile("testdata/stats-6.18.netlink", ev.Answer(sampled(host.Netlink, host.DumpCTStats)).Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func fetch(t *testing.T, ns *lab.Netns, sample time.Duration) *host.Evidence {
	t.Helper()
	ev, err := host.Local(host.LocalOptions{Namespace: ns.Path()}).Fetch(context.Background(), host.Request{Needs: New().Needs(), Sample: sample})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

var toolCounter = regexp.MustCompile(`([a-z_]+)=(\d+)`)

// compareTool requires what conntrack -S prints, summed over CPUs.
func compareTool(t *testing.T, ns *lab.Netns, got snapshot.Counters) {
	t.Helper()
	out, err := ns.Output("conntrack", "-S")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{}
	for _, m := range toolCounter.FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if m[1] == "error" {
			m[1] = "icmp_error"
		}
		want[m[1]] += n
	}
	delete(want, "cpu")
	if len(want) < 8 {
		t.Fatalf("conntrack -S prints %q", out)
	}
	stats := got.Stats.Or(nil)
	for name, n := range want {
		if v, there := stats[name]; !there || v != n {
			t.Errorf("%s = %d (there %v), conntrack -S says %d", name, v, there, n)
		}
	}
}

// compareProc requires that /proc says the same as netlink for every counter that both have.
func compareProc(t *testing.T, ev *host.Evidence, got snapshot.Counters) {
	t.Helper()
	proc, err := parseStat(ev.Answer(sampled(host.File, pathStat)).Data)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range sum(proc) {
		if n, there := got.Stats.Or(nil)[name]; !there || n != v {
			t.Errorf("%s: netlink %d (there %v), /proc %d", name, n, there, v)
		}
	}
}

func sendInvalid(t *testing.T, ns *lab.Netns, n int) {
	t.Helper()
	if err := ns.Do(func() error { return writeInvalid(n) }); err != nil {
		t.Fatal(err)
	}
}

// writeInvalid sends n segments with SYN and FIN, which no TCP sends, over the loopback of the thread's namespace. Each meets
// conntrack twice, on its way out and, having got no entry there, on its way in (measured on Linux 6.18).
func writeInvalid(n int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	packet := make([]byte, 40)
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_TCP
	copy(packet[12:], []byte{127, 0, 0, 1, 127, 0, 0, 1})
	binary.BigEndian.PutUint16(packet[20:], 4000)
	binary.BigEndian.PutUint16(packet[22:], 4001)
	packet[32], packet[33] = 0x50, 0x03 // no options; SYN and FIN
	for range n {
		if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return err
		}
	}
	return nil
}

// TestFreshNamespace has no rule that needs conntrack: the table is there, empty, and nothing is missing.
func TestFreshNamespace(t *testing.T) {
	labtest.Require(t, "root", "netns")
	ns := labtest.NewNetns(t)
	c, missing := collected(fetch(t, ns, 0))
	if len(missing) != 0 {
		t.Errorf("missing: %v", missing)
	}
	if n, ok := c.Count.Get(); !ok || n != 0 {
		t.Errorf("count = %v", c.Count)
	}
	if n, ok := c.First.Stats.Get(); !ok || n["invalid"] != 0 || c.Max.Or(0) == 0 || c.Buckets.Or(0) == 0 {
		t.Errorf("statistics %v, max %v, buckets %v", c.First.Stats, c.Max, c.Buckets)
	}
	if tcp := c.First.TCP.Or(nil); tcp["Tcp.OutSegs"] != 0 || len(tcp) < 100 {
		t.Errorf("the TCP counters are another namespace's: %v", tcp)
	}
}
