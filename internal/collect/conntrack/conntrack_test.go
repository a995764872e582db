package conntrack

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func TestParseStatByName(t *testing.T) {
	for name, want := range map[string][]map[string]uint64{
		"stat-4.19": {
			{
				"searched": 0xc1, "found": 0, "new": 10, "invalid": 30, "ignore": 0xb03af, "delete": 3, "delete_list": 4, "insert": 5, "insert_failed": 2,
				"drop": 1, "early_drop": 0, "icmp_error": 7, "expect_new": 8, "expect_create": 9, "expect_delete": 10, "search_restart": 11,
			},
			{
				"searched": 0, "found": 0, "new": 0, "invalid": 255, "ignore": 1, "delete": 0, "delete_list": 0, "insert": 0, "insert_failed": 0xffffffff,
				"drop": 0, "early_drop": 0, "icmp_error": 0, "expect_new": 0, "expect_create": 0, "expect_delete": 0, "search_restart": 0,
			},
		},
		"stat-5.10": {{
			"clash_resolve": 2, "found": 1, "invalid": 3524, "insert": 0, "insert_failed": 0, "drop": 0, "early_drop": 0, "icmp_error": 0,
			"expect_new": 0, "expect_create": 0, "expect_delete": 0, "search_restart": 0,
		}},
		"stat-2.6.32": {{
			"searched": 1, "found": 1, "new": 1, "invalid": 1, "ignore": 1, "delete": 1, "delete_list": 1, "insert": 1, "insert_failed": 1, "drop": 1,
			"early_drop": 1, "icmp_error": 1, "expect_new": 1, "expect_create": 1, "expect_delete": 1,
		}},
	} {
		got, err := parseStat(fixture(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCollectNetlinkFirst(t *testing.T) {
	ev := evidence(map[string]*host.Answer{
		pathCount: data("3\n"), pathMax: data("65536\n"), pathBuckets: data("65536\n"),
		pathStat: {Data: fixture(t, "stat-6.18")}, pathSNMP: {Data: fixture(t, "snmp-6.18")}, pathNetstat: {Data: fixture(t, "netstat-6.18")},
		host.DumpCTStats: {Data: dump(
			map[uint16]uint32{2: 1, 4: 100, 8: 0, 9: 2, 10: 3, 11: 4, 12: 5, 13: 6, 14: 7, 15: 8, 77: 9},
			map[uint16]uint32{2: 1, 4: 0xfffffff0},
		)},
	})
	c, missing := collected(ev)
	if len(missing) != 0 {
		t.Errorf("missing: %v", missing)
	}
	want := map[string]uint64{
		"found": 2, "invalid": 100 + 0xfffffff0, "insert": 0, "insert_failed": 2, "drop": 3, "early_drop": 4, "icmp_error": 5, "search_restart": 6,
		"clash_resolve": 7, "chaintoolong": 8, "ctattr_stats_cpu_77": 9, "expect_new": 10, "expect_create": 11, "expect_delete": 12,
	}
	if diff := cmp.Diff(want, c.First.Stats.Or(nil)); diff != "" {
		t.Errorf("statistics (-want +got):\n%s", diff)
	}
	if c.First.Source != "netlink" || len(c.First.PerCPU) != 2 || c.Second != nil || c.Interval != 0 {
		t.Errorf("source %q, %d CPUs, second %v, interval %v", c.First.Source, len(c.First.PerCPU), c.Second, c.Interval)
	}
	if c.Count.Or(0) != 3 || c.Max.Or(0) != 65536 || c.Buckets.Or(0) != 65536 || c.First.Entries.Or(0) != 3 {
		t.Errorf("count %v, max %v, buckets %v", c.Count, c.Max, c.Buckets)
	}
	tcp := c.First.TCP.Or(nil)
	for _, name := range []string{"Tcp.OutRsts", "Tcp.EstabResets", "Tcp.InErrs", "TcpExt.TCPAbortOnData", "TcpExt.TCPChallengeACK"} {
		if _, there := tcp[name]; !there {
			t.Errorf("no %s", name)
		}
	}
	if _, there := tcp["Tcp.MaxConn"]; there {
		t.Error("MaxConn is -1 and no count")
	}
}

func TestCollectTwice(t *testing.T) {
	stat := data(string(fixture(t, "stat-5.10")))
	stat.Second = data(strings.ReplaceAll(string(stat.Data), "00000dc4", "00000dd0"))
	count := data("12\n")
	count.Second = data("13\n")
	denied := &host.Answer{Err: "operation not permitted", Denied: true}
	denied.Second = denied
	ev := evidence(map[string]*host.Answer{
		pathStat: stat, pathCount: count, pathMax: data("262144\n"),
		pathSNMP: data("Tcp: OutRsts\nTcp: 5\n"), pathNetstat: data("TcpExt: A\nTcpExt: 1\n"),
		host.DumpCTStats: denied,
	})
	ev.Answers[sampled(host.File, pathSNMP).Key()].Second = data("Tcp: OutRsts\nTcp: 9\n")
	ev.Interval = 1500 * time.Millisecond
	c, missing := collected(ev)
	want := []snapshot.Missing{
		{What: "second TCP counters (/proc/net/netstat)", Why: "not read a second time"},
	}
	if diff := cmp.Diff(want, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if c.Second == nil || c.Interval != 1.5 || c.First.Source != "proc" || c.Second.Source != "proc" {
		t.Fatalf("%+v", c)
	}
	if got := c.Second.Stats.Or(nil)["invalid"] - c.First.Stats.Or(nil)["invalid"]; got != 12 {
		t.Errorf("invalid rose by %d, want 12", got)
	}
	if c.First.Entries.Or(0) != 12 || c.Second.Entries.Or(0) != 13 || !c.Second.TCP.IsUnreadable() || !c.Buckets.IsAbsent() {
		t.Errorf("%+v", c)
	}
}

func TestAbsentAndUnreadable(t *testing.T) {
	c, missing := collected(evidence(map[string]*host.Answer{pathSNMP: data("Tcp: A\nTcp: 1\n"), pathNetstat: data("TcpExt: B\nTcpExt: 2\n")}))
	if len(missing) != 0 || !c.Count.IsAbsent() || !c.First.Stats.IsAbsent() || !c.Max.IsAbsent() {
		t.Errorf("a kernel without conntrack: missing %v, %+v", missing, c)
	}
	if diff := cmp.Diff(map[string]uint64{"Tcp.A": 1, "TcpExt.B": 2}, c.First.TCP.Or(nil)); diff != "" {
		t.Errorf("TCP (-want +got):\n%s", diff)
	}
	c, missing = collected(&host.Evidence{Answers: map[string]*host.Answer{}})
	if len(missing) != 6 || !c.Count.IsUnreadable() || !c.First.Stats.IsUnreadable() || !c.First.TCP.IsUnreadable() {
		t.Errorf("nothing collected: missing %v, %+v", missing, c)
	}
	c, missing = collected(evidence(map[string]*host.Answer{
		host.DumpCTStats: {Data: []byte("garbage")}, pathStat: {Data: fixture(t, "stat-6.18")}, pathMax: data("many\n"),
		pathSNMP: data("Tcp: A\nTcp: 1\n"), pathNetstat: {Data: []byte("TcpExt: B\n"), Truncated: true},
	}))
	if c.First.Source != "proc" || len(missing) != 3 || !c.Max.IsUnreadable() || !c.First.TCP.IsUnreadable() {
		t.Errorf("malformed: missing %v, %+v", missing, c)
	}
}

func TestParsersRefuse(t *testing.T) {
	long := strings.Repeat("00000000 ", 1<<20)
	for name, err := range map[string]error{
		"stat empty":           second(parseStat(nil)),
		"stat header only":     second(parseStat([]byte("entries found\n"))),
		"stat other header":    second(parseStat([]byte("found\n0\n"))),
		"stat short line":      second(parseStat([]byte("entries found\n0\n"))),
		"stat decimal overrun": second(parseStat([]byte("entries found\n0 100000000\n"))),
		"stat long":            second(parseStat([]byte("entries found\n" + long))),
		"stat wide":            second(parseStat([]byte(strings.Repeat("entries ", 2000)))),
		"stat NUL":             second(parseStat([]byte("entries fo\x00und\n0 0\n"))),
		"pairs none":           parsePairs([]byte("Udp: A\nUdp: 1\n"), "Tcp", map[string]uint64{}),
		"pairs names only":     parsePairs([]byte("Tcp: A\n"), "Tcp", map[string]uint64{}),
		"pairs uneven":         parsePairs([]byte("Tcp: A B\nTcp: 1\n"), "Tcp", map[string]uint64{}),
		"pairs words":          parsePairs([]byte("Tcp: A\nTcp: x\n"), "Tcp", map[string]uint64{}),
		"pairs long":           parsePairs([]byte("Tcp: "+long+"\nTcp: 1\n"), "Tcp", map[string]uint64{}),
		"pairs escape":         parsePairs([]byte("Tcp: \x1b[31m\nTcp: 1\n"), "Tcp", map[string]uint64{}),
		"dump empty":           second(parseDump(nil)),
		"dump short":           second(parseDump(make([]byte, 8))),
		"dump length 0":        second(parseDump(make([]byte, 32))),
		"dump too long":        second(parseDump(message(statsReply, 4000)[:40])),
		"dump error message":   second(parseDump(message(unix.NLMSG_ERROR, 0))),
		"dump other message":   second(parseDump(message(0x0a00, 0))),
		"dump no counters":     second(parseDump(message(statsReply, 0))),
		"dump CPU twice":       second(parseDump(append(dump(map[uint16]uint32{4: 1}), dump(map[uint16]uint32{4: 1})...))),
		"number words":         second(parseNumber([]byte("many\n"))),
		"number long":          second(parseNumber([]byte(long))),
		"number negative":      second(parseNumber([]byte("-1\n"))),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzStat(f *testing.F) {
	seeds(f, "testdata/stat-*")
	f.Fuzz(func(t *testing.T, b []byte) {
		perCPU, err := parseStat(b)
		if (err == nil) != (len(perCPU) > 0) {
			t.Errorf("%d CPUs, error %v", len(perCPU), err)
		}
	})
}

func FuzzPairs(f *testing.F) {
	seeds(f, "testdata/*-6.18")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, group := range []string{"Tcp", "TcpExt"} {
			counters := map[string]uint64{}
			err := parsePairs(b, group, counters)
			for name := range counters {
				if !strings.HasPrefix(name, group+".") {
					t.Errorf("%q, error %v", name, err)
				}
			}
		}
	})
}

func FuzzDump(f *testing.F) {
	seeds(f, "testdata/*.netlink")
	f.Add(dump(map[uint16]uint32{4: 100, 15: 8}, map[uint16]uint32{4: 1}))
	f.Add(message(unix.NLMSG_DONE, 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		perCPU, err := parseDump(b)
		if (err == nil) != (len(perCPU) > 0) {
			t.Errorf("%d CPUs, error %v", len(perCPU), err)
		}
	})
}

func seeds(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// dump writes statistics as the kernel does, one message for each CPU.
func dump(cpus ...map[uint16]uint32) []byte {
	var out []byte
	for cpu, counters := range cpus {
		var attrs []byte
		for attr := range uint16(128) {
			if v, ok := counters[attr]; ok {
				attrs = binary.NativeEndian.AppendUint16(attrs, 8)
				attrs = binary.NativeEndian.AppendUint16(attrs, attr)
				attrs = binary.BigEndian.AppendUint32(attrs, v)
			}
		}
		m := message(statsReply, len(attrs))
		binary.BigEndian.PutUint16(m[headerLen+2:], uint16(cpu))
		copy(m[headerLen+nfgenmsgLen:], attrs)
		out = append(out, m...)
	}
	return out
}

// message is a netlink message with nfgenmsg and room for attributes.
func message(typ uint16, attrs int) []byte {
	m := make([]byte, headerLen+nfgenmsgLen+attrs)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], typ)
	return m
}

func collected(ev *host.Evidence) (snapshot.Conntrack, []snapshot.Missing) {
	var doc snapshot.Document
	missing := New().Collect(ev, &doc)
	return doc.Conntrack, missing
}

// evidence is a node that has these answers, by path or dump, and nothing else.
func evidence(answers map[string]*host.Answer) *host.Evidence {
	ev := &host.Evidence{Answers: map[string]*host.Answer{}}
	for _, n := range New().Needs() {
		a := answers[n.Args[0]]
		if a == nil {
			a = &host.Answer{Absent: true}
		}
		ev.Answers[n.Key()] = a
	}
	return ev
}

func data(s string) *host.Answer { return &host.Answer{Data: []byte(s)} }

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func second[T any](_ T, err error) error { return err }
