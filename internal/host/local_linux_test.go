package host_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

func dump(name string) host.Need { return host.Need{Kind: host.Netlink, Args: []string{name}} }

func command(argv ...string) host.Need { return host.Need{Kind: host.Command, Args: argv} }

func fetchOne(t *testing.T, h host.Host, n host.Need) *host.Answer {
	t.Helper()
	ev, err := h.Fetch(t.Context(), host.Request{Needs: []host.Need{n}})
	if err != nil {
		t.Fatal(err)
	}
	return ev.Answer(n)
}

// Every thread is back in its own namespace after reading another, and no descriptor stays open.
func TestLocalLeavesNothing(t *testing.T) {
	ns := labtest.NewNetns(t)
	h := host.Local(host.LocalOptions{Namespace: ns.Path()})
	needs := []host.Need{
		dump(host.DumpLinks), dump(host.DumpNFTables), dump(host.DumpNFRules), command("true"), command("ctaudit-none"),
		{Kind: host.Namespaces, Args: []string{"/proc/net/dev"}},
		{Kind: host.Glob, Args: []string{"/proc/sys/net/*/conf/*/rp_filter"}},
	}
	fetchAll := func() {
		if _, err := h.Fetch(t.Context(), host.Request{Needs: needs}); err != nil {
			t.Fatal(err)
		}
	}
	fetchAll() // the runtime opens its poller once
	before := descriptors(t)
	for range 20 {
		fetchAll()
	}
	if after := descriptors(t); after != before {
		t.Errorf("open descriptors:\n%s\nbefore:\n%s", after, before)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	for _, task := range threads {
		if have, err := os.Readlink(task); err == nil && have != own {
			t.Errorf("%s is in %s", task, have)
		}
	}
}

// descriptors lists what the open descriptors lead to, those of the runtime and of this listing included.
func descriptors(t *testing.T) string {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			list = append(list, filepath.Base(l)+" "+to)
		}
	}
	return strings.Join(list, "\n")
}

// Reading creates no table, neither of nf_tables nor a legacy one, and no rule.
func TestLocalCreatesNoTable(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy")
	ns := labtest.NewNetns(t)
	state := func() string {
		var all string
		for _, argv := range [][]string{
			{"cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"},
			{"nft", "list", "ruleset"},
			{"sh", "-c", "grep -r . /proc/sys/net/netfilter /proc/sys/net/ipv4/conf"},
		} {
			out, err := ns.Output(argv...)
			if err != nil {
				t.Fatal(err)
			}
			all += string(out)
		}
		return all
	}
	before := state()
	h := host.Local(host.LocalOptions{Namespace: ns.Path()})
	var needs []host.Need
	for _, d := range []string{host.DumpNFTables, host.DumpNFChains, host.DumpNFRules, host.DumpNFSets, host.DumpNFElements, host.DumpNFObjects, host.DumpNFFlowtables, host.DumpNFGen, host.DumpNFHooks, host.DumpCTStats, host.DumpLinks} {
		needs = append(needs, dump(d))
	}
	legacy, nft := command("iptables-legacy-save", "-c"), command("iptables-nft-save", "-c")
	legacy.Only, nft.Only = "/proc/net/ip_tables_names", "module:nft_compat"
	ev, err := h.Fetch(t.Context(), host.Request{Needs: append(needs, legacy, nft)})
	if err != nil {
		t.Fatal(err)
	}
	if a := ev.Answer(legacy); !a.Absent {
		t.Errorf("legacy rules of a namespace without tables: %+v", a)
	}
	if a := ev.Answer(nft); a.Err != "" {
		t.Errorf("iptables-nft-save: %+v", a)
	}
	if after := state(); after != before {
		t.Errorf("the namespace changed:\n%s\nbefore:\n%s", after, before)
	}
}

func TestLocalNamesANamespace(t *testing.T) {
	ns := labtest.NewNetns(t)
	if err := ns.Run("ip", "link", "add", "ctaudit7", "type", "veth", "peer", "name", "ctaudit8"); err != nil {
		t.Fatal(err)
	}
	cmd := ns.Command("sleep", "60")
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	need := host.Need{Kind: host.File, Args: []string{"/proc/net/dev"}}
	for name, inside := range map[string]bool{"": false, ns.Path(): true, strconv.Itoa(cmd.Process.Pid): true, "/proc/self/ns/net": false} {
		a := fetchOne(t, host.Local(host.LocalOptions{Namespace: name}), need)
		if a.Err != "" || strings.Contains(string(a.Data), "ctaudit7") != inside {
			t.Errorf("%q: inside %v, have %s %s", name, inside, a.Data, a.Err)
		}
	}
	for name, want := range map[string]string{
		"ctaudit-none":      "open network namespace ctaudit-none: no such file or directory",
		"/etc/passwd":       "open network namespace /etc/passwd: invalid argument",
		"../../etc/passwd":  "open network namespace ../../etc/passwd: no such file or directory",
		"4000000000":        "open network namespace 4000000000: no such file or directory",
		"/proc/self/ns/pid": "network namespace /proc/self/ns/pid: enter: invalid argument",
	} {
		ev, err := host.Local(host.LocalOptions{Namespace: name}).Fetch(t.Context(), host.Request{Needs: []host.Need{need}})
		have := fmt.Sprint(err)
		if err == nil {
			have = ev.Answer(need).Err
		}
		if have != want {
			t.Errorf("%q: want %q, have %q", name, want, have)
		}
	}
	sysfs := host.Need{Kind: host.File, Args: []string{"/sys/class/net/lo/mtu"}}
	if a := fetchOne(t, host.Local(host.LocalOptions{Namespace: ns.Path()}), sysfs); a.Err == "" {
		t.Error("sysfs of this mount was taken for the other namespace's")
	}
}

// An interrupted Fetch ends its commands, the children of children included, and returns at once.
func TestLocalEndsCommands(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	pids := filepath.Join(t.TempDir(), "pids")
	began := time.Now()
	_, err := host.Local(host.LocalOptions{}).Fetch(ctx, host.Request{Needs: []host.Need{
		command("sh", "-c", "sleep 61 & echo $! > "+pids+"; sleep 62"),
	}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
		t.Errorf("ended after %s with %v", time.Since(began), err)
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Second); unix.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
			break // a zombie that its new parent has not buried yet
		}
		if time.Now().After(end) {
			t.Fatalf("process %d still runs", pid)
		}
	}
}

func TestLocalRefusesToBlock(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	h := host.Local(host.LocalOptions{})
	for _, name := range []string{fifo, "/dev/zero", "/dev/tty"} {
		if a := fetchOne(t, h, host.Need{Kind: host.File, Args: []string{name}}); a.Err == "" && !a.Absent || len(a.Data) > 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
	// More on stderr than a pipe holds, and a program that reads its input.
	a := fetchOne(t, h, command("sh", "-c", "seq 1 300000 >&2; cat; echo done"))
	if string(a.Data) != "done\n" || a.Err != "" || !strings.HasSuffix(a.Stderr, "300000\n") || len(a.Stderr) > 8<<10 {
		t.Errorf("have %q, %q, %d bytes of stderr", a.Data, a.Err, len(a.Stderr))
	}
}

// An ordinary user is told what he may not see, and is not told that it is absent. The test runs itself as that user.
func TestLocalWithoutPrivilege(t *testing.T) {
	if secret := os.Getenv("CTAUDIT_TEST_SECRET"); secret != "" {
		unprivileged(t, secret)
		return
	}
	ns := labtest.NewNetns(t) // requires root
	cmd := ns.Command("sleep", "60")
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret, self := filepath.Join(dir, "secret"), filepath.Join(dir, "self")
	binary, err := os.ReadFile("/proc/self/exe")
	if err := errors.Join(err, os.WriteFile(self, binary, 0o755), os.Mkdir(secret, 0o700)); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^TestLocalWithoutPrivilege$", "-test.v")
	child.Dir, child.Env = "/", append(os.Environ(), "CTAUDIT_TEST_SECRET="+secret)
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestLocalWithoutPrivilege") {
		t.Fatalf("%v: %s", err, out)
	}
}

func unprivileged(t *testing.T, secret string) {
	onlySecret := command("true")
	onlySecret.Only = secret + "/x"
	save := command("iptables-legacy-save")
	h := host.Local(host.LocalOptions{})
	for _, n := range []host.Need{
		dump(host.DumpNFRules), dump(host.DumpNFElements), dump(host.DumpCTStats), onlySecret,
		{Kind: host.File, Args: []string{secret + "/x"}},
		{Kind: host.Glob, Args: []string{secret + "/*"}},
		{Kind: host.Namespaces, Args: []string{"/proc/net/dev"}},
		command("sh", "-c", "cat "+secret+"/x"),
	} {
		if a := fetchOne(t, h, n); !a.Denied || a.Err == "" || a.Absent || a.Second != nil {
			t.Errorf("%s: want it denied, have %+v", n.Key(), a)
		}
	}
	if a := fetchOne(t, h, dump(host.DumpLinks)); a.Err != "" || len(a.Data) == 0 {
		t.Errorf("links are for everyone: %+v", a)
	}
	if a := fetchOne(t, h, save); a.Denied && a.Err == "" {
		t.Errorf("%s: %+v", save.Key(), a)
	}
	if _, err := host.Local(host.LocalOptions{Namespace: "1"}).Fetch(t.Context(), host.Request{}); !errors.Is(err, unix.EACCES) {
		t.Errorf("another's namespace: %v", err)
	}
}

// Sampled needs are read twice, the others once, and the interval is the time that really passed.
func TestLocalSamples(t *testing.T) {
	sampled := host.Need{Kind: host.File, Args: []string{"/proc/uptime"}, Sampled: true}
	once := host.Need{Kind: host.File, Args: []string{"/proc/version"}}
	ev, err := host.Local(host.LocalOptions{}).Fetch(t.Context(), host.Request{Needs: []host.Need{once, sampled}, Sample: 150 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if ev.Interval < 150*time.Millisecond {
		t.Errorf("interval %s", ev.Interval)
	}
	if a := ev.Answer(once); a.Second != nil || a.Err != "" {
		t.Errorf("%+v", a)
	}
	a := ev.Answer(sampled)
	if a.Second == nil || string(a.Second.Data) == string(a.Data) || a.Second.Second != nil {
		t.Fatalf("%+v", a)
	}
	var first, second float64
	fmt.Sscan(string(a.Data), &first)
	fmt.Sscan(string(a.Second.Data), &second)
	// The kernel states hundredths of a second.
	if passed := second - first; passed < 0.13 || passed > 2*ev.Interval.Seconds() {
		t.Errorf("readings are %v s apart, the interval is %s", passed, ev.Interval)
	}
}

// Answers over the limit end between two messages; a set that was cut says so, by name.
func TestLocalCutsDumps(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	ns := labtest.NewNetns(t)
	var in strings.Builder
	in.WriteString("table ip t { chain c { }; set first { type ipv4_addr; }; set second { type ipv4_addr; elements = { 203.0.113.7 }; }; }\n")
	for i := range 2000 {
		fmt.Fprintf(&in, "add element ip t first { 10.0.%d.%d }\nadd rule ip t c ip saddr 10.0.%d.%d\n", i>>8, i&255, i>>8, i&255)
	}
	if _, err := ns.Pipe(in.String(), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	h := host.Local(host.LocalOptions{Namespace: ns.Path()})
	whole := fetchOne(t, h, dump(host.DumpNFRules))
	for _, limit := range []int64{1, 1000, 40_000, int64(len(whole.Data)) - 1, int64(len(whole.Data))} {
		n := dump(host.DumpNFRules)
		n.Limit = limit
		a := fetchOne(t, h, n)
		if int64(len(a.Data)) > limit || a.Err != "" || a.Truncated != (limit < int64(len(whole.Data))) {
			t.Errorf("limit %d of %d: %d bytes, %s, truncated %v", limit, len(whole.Data), len(a.Data), a.Err, a.Truncated)
		}
		if count := len(types(t, a.Data)); limit > 1000 && int64(len(a.Data)) < limit-300 {
			t.Errorf("limit %d: %d bytes, %d messages", limit, len(a.Data), count)
		}
	}
	n := dump(host.DumpNFElements)
	if a := fetchOne(t, h, n); a.Truncated || strings.Contains(fmt.Sprint(types(t, a.Data)), " 4]") {
		t.Errorf("truncated %v: %v", a.Truncated, types(t, a.Data))
	}
	n.Limit = 20_000
	a := fetchOne(t, h, n)
	if kinds := types(t, a.Data); !a.Truncated || a.Err != "" || fmt.Sprint(kinds) != "[2572 4 2572 2572]" {
		t.Errorf("truncated %v: %v", a.Truncated, kinds)
	}
	overrun := a.Data[binary.NativeEndian.Uint32(a.Data):][:16+4+8+12]
	if body := string(overrun[16:]); !strings.HasPrefix(body, "\x02") || !strings.Contains(body, "t\x00") || !strings.Contains(body, "first\x00") {
		t.Errorf("the mark of the cut names no set: %q", body)
	}
}

// types lists the types of the messages.
func types(t *testing.T, b []byte) []uint16 {
	t.Helper()
	var list []uint16
	for len(b) > 0 {
		size := (int(binary.NativeEndian.Uint32(b)) + 3) &^ 3
		if size < 16 || size > len(b) {
			t.Fatalf("message of %d bytes in %d", size, len(b))
		}
		list = append(list, binary.NativeEndian.Uint16(b[4:]))
		b = b[size:]
	}
	return list
}

// While rulesets are replaced all the time, an answer is one of them or says that it changed: never a mixture.
func TestLocalReadsOneGeneration(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	ns := labtest.NewNetns(t)
	load := func(rules int) error {
		var in strings.Builder
		in.WriteString("table ip t\nflush table ip t\ntable ip t { chain a { }; chain b { }; }\n")
		for range rules {
			in.WriteString("add rule ip t a counter\nadd rule ip t b counter\n")
		}
		_, err := ns.Pipe(in.String(), "nft", "-f", "-")
		return err
	}
	if err := load(300); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(time.Duration(n%40) * time.Millisecond):
			}
			if err := load(300 + n%7*100); err != nil {
				done <- err
				return
			}
		}
	}()
	h := host.Local(host.LocalOptions{Namespace: ns.Path()})
	needs := []host.Need{dump(host.DumpNFTables), dump(host.DumpNFChains), dump(host.DumpNFRules), dump(host.DumpNFSets), dump(host.DumpNFGen)}
	whole, changed := 0, 0
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		ev, err := h.Fetch(t.Context(), host.Request{Needs: needs})
		if err != nil {
			t.Fatal(err)
		}
		a := ev.Answer(dump(host.DumpNFRules))
		if a.Err == "changed while reading" {
			changed++
			continue
		}
		whole++
		n := len(types(t, a.Data))
		if a.Err != "" || n%200 != 0 || n < 600 {
			t.Fatalf("%d rules, %q", n, a.Err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if whole == 0 {
		t.Error("no reading succeeded")
	}
	t.Logf("%d readings whole, %d changed meanwhile", whole, changed)
}
