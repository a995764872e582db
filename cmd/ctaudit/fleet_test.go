package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/report"
)

// recordings are nodes that were read once, by the beginning of the names of the hosts that are like them.
type recordings map[string][]byte

func openRecordings(tb testing.TB) recordings {
	tb.Helper()
	r, err := readRecordings("testdata/fleet")
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func readRecordings(dir string) (recordings, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: no recording: %w", dir, err)
	}
	r := recordings{}
	for _, f := range files {
		if r[strings.TrimSuffix(filepath.Base(f), ".txtar")], err = os.ReadFile(f); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// reach plays a fleet: docker-17 is like the recording docker, down-3 refuses connections, broken-1 is answered with garbage, slow-2
// waits for the end of its time.
func (r recordings) reach(sshhost.Options) (reach, error) {
	return reach{
		host: func(t fleet.Target) host.Host { return played{r, t.Name} },
		ping: func(ctx context.Context, t fleet.Target, req host.Request) (*sshhost.Ping, error) {
			if _, err := (played{r, t.Name}).Fetch(ctx, req); err != nil {
				return nil, err
			}
			p := &sshhost.Ping{User: "root", Root: true, Kernel: "Linux 6.1.0", Machine: "x86_64", Server: "SSH-2.0-OpenSSH_9.2"}
			if strings.HasPrefix(t.Name, "bare") {
				p.User, p.Root, p.Lacks = "audit", false, []string{"nft"}
			}
			return p, nil
		},
		close: func() error { return nil },
	}, nil
}

type played struct {
	recordings
	name string
}

func (p played) Fetch(ctx context.Context, req host.Request) (*host.Evidence, error) {
	shape, _, _ := strings.Cut(p.name, "-")
	fail := func(stage sshhost.Stage, err error, hint string) error {
		return &sshhost.Error{Target: p.name, Stage: stage, Err: err, Hint: hint}
	}
	switch shape {
	case "down":
		return nil, fail(sshhost.StageDial, errors.New("connection refused"), "is sshd running there?")
	case "changed":
		return nil, fail(sshhost.StageHostKey, errors.New("the key differs from the one in known_hosts"), "")
	case "broken":
		panic("index out of range")
	case "slow":
		<-ctx.Done()
		return nil, fail(sshhost.StageRead, ctx.Err(), "")
	case "paced":
		shape = "bare"
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	rec, err := host.OpenRecording(bytes.NewReader(p.recordings[shape]))
	if err != nil {
		return nil, fail(sshhost.StageRead, err, "")
	}
	return rec.Fetch(ctx, req)
}

// runPlayed is the program with a fleet from the recordings in $RECORDINGS.
func runPlayed(ctx context.Context, args, environ []string, s streams) error {
	env := environment(environ)
	r, err := readRecordings(env["RECORDINGS"])
	if err != nil {
		return err
	}
	return (&app{streams: s, env: env, reach: r.reach}).run(ctx, args)
}

// run runs a command with hosts from the recordings, in this process.
func (r recordings) run(tb testing.TB, args ...string) (stdout, stderr string, code int) {
	tb.Helper()
	var out, errs bytes.Buffer
	a := &app{streams: streams{strings.NewReader(""), &out, &errs}, env: map[string]string{}, reach: r.reach}
	code = exitCode(tb.Context(), a.run(tb.Context(), args), &errs)
	return out.String(), errs.String(), code
}

func inventoryOf(tb testing.TB, names ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "hosts.ini")
	if err := os.WriteFile(path, []byte("[all]\n"+strings.Join(names, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func named(shape string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%05d", shape, i)
	}
	return out
}

// BenchmarkFleet is everything of a fleet's audit but SSH: evidence, facts, policies, journal, report.
func BenchmarkFleet(b *testing.B) {
	r := openRecordings(b)
	var names []string
	for i := range b.N {
		names = append(names, fmt.Sprintf("%s-%06d", []string{"docker", "dualstack", "bare"}[i%3], i))
	}
	i := inventoryOf(b, names...)
	dir := b.TempDir()
	b.ResetTimer()
	if _, stderr, code := r.run(b, "fleet", "-q", "-i", i, "-o", "json="+filepath.Join(dir, "r.json")); code != exitFindings {
		b.Fatal(stderr)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hosts/s")
}

// mixed are hosts of every kind of outcome but the slow one.
func mixed(n int) []string {
	kinds := []string{"docker", "dualstack", "bare", "docker", "down", "dualstack", "changed", "bare"}
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%03d", kinds[i%len(kinds)], i)
	}
	return out
}

// TestFleetOutcomes: each host ends as it is, whatever becomes of the others, and nothing is left running.
func TestFleetOutcomes(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, dir := openRecordings(t), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	i := inventoryOf(t, append(mixed(16), "broken-1", "local ansible_connection=local")...)
	out, stderr, code := r.run(t, "fleet", "-i", i, "-o", "json="+file("j"), "-o", "sarif="+file("s"), "-o", "junit="+file("x"), "--snapshots", file("kept"))
	if code != exitFindings || !strings.Contains(stderr, "exit 1: ") || !strings.Contains(stderr, "audit incomplete: ") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	var rep report.Report
	readJSON(t, file("j"), &rep)
	want := map[string]string{
		"docker-000": "complete   ", "bare-002": "complete   ", "down-004": "error dial connection refused is sshd running there?",
		"changed-006": "error host key the key differs from the one in known_hosts ",
		"broken-1":    "error  internal error: index out of range ",
	}
	for _, h := range rep.Hosts {
		got := fmt.Sprintf("%s %s %s %s", h.Status, h.Stage, h.Error, h.Hint)
		if w, ok := want[h.Name]; ok && got != w {
			t.Errorf("%s: %q, want %q", h.Name, got, w)
		}
	}
	if len(rep.Hosts) != 18 || rep.Summary.Errors != 5 || !slices.IsSortedFunc(rep.Hosts, func(a, b report.Host) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%d hosts, %d errors", len(rep.Hosts), rep.Summary.Errors)
	}
	for _, words := range []string{"18 hosts", "Not audited", "2 of 18 hosts: down-004, down-012", "dial: connection refused", "coverage: 13 of 18 hosts audited"} {
		if !strings.Contains(out, words) {
			t.Errorf("no %q in\n%s", words, out)
		}
	}
	kept, err := filepath.Glob(file("kept/*"))
	if err != nil || len(kept) != 13 {
		t.Errorf("snapshots: %v %v", kept, err)
	}
	if info, err := os.Stat(file("kept/docker-000.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("snapshot: %v", err)
	}
}

// TestSlowHosts: hosts that never answer end with their time, and say how far they came.
func TestSlowHosts(t *testing.T) {
	out, stderr, code := openRecordings(t).run(t, "fleet", "-i", inventoryOf(t, "slow-1", "slow-2"), "--timeout", "1s")
	if code != exitIncomplete || !strings.Contains(out, "read: no end after 1s") || !strings.Contains(out, "2 of 2 hosts: slow-1, slow-2") {
		t.Errorf("exit %d: %s%s", code, stderr, out)
	}
}

func readJSON(tb testing.TB, path string, v any) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

var times = regexp.MustCompile(`"taken": "[^"]*"|timestamp="[^"]*"| time="[^"]*"`)

func timeless(tb testing.TB, path string) string {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return times.ReplaceAllString(string(b), "")
}

// TestShardsEqualSingle: parts 0 to 7, merged, are the single run, in every format; from journals, and from their reports.
func TestShardsEqualSingle(t *testing.T) {
	r, dir := openRecordings(t), t.TempDir()
	i := inventoryOf(t, mixed(40)...)
	outputs := func(name string) []string {
		var args []string
		for _, f := range []string{"json", "sarif", "junit", "text"} {
			args = append(args, "-o", f+"="+filepath.Join(dir, name+"."+f))
		}
		return args
	}
	if _, stderr, code := r.run(t, append([]string{"fleet", "-q", "-i", i}, outputs("single")...)...); code != exitFindings {
		t.Fatal(stderr)
	}
	journals, reports := []string{"merge", "-q"}, []string{"merge", "-q"}
	for n := range 8 {
		j, rep := filepath.Join(dir, fmt.Sprintf("%d.journal", n)), filepath.Join(dir, fmt.Sprintf("%d.json", n))
		r.run(t, "fleet", "-q", "-i", i, "--shard", fmt.Sprintf("%d/8", n), "--journal", j, "-o", "json="+rep)
		journals, reports = append(journals, j), append(reports, rep)
	}
	for name, args := range map[string][]string{"journals": journals, "reports": reports} {
		_, stderr, code := r.run(t, append(args, outputs(name)...)...)
		if code != exitFindings {
			t.Fatalf("%s: exit %d: %s", name, code, stderr)
		}
		for _, f := range []string{"json", "sarif", "junit", "text"} {
			if got, want := timeless(t, filepath.Join(dir, name+"."+f)), timeless(t, filepath.Join(dir, "single."+f)); got != want {
				t.Errorf("%s differ from the single run in %s:\n%s", name, f, cmp.Diff(want, got))
			}
		}
	}
	out, _, code := r.run(t, append(journals[:8], "-f", "text", "--exit-zero")...) // without the last part
	if code != 0 || !strings.Contains(out, "none of the merged parts has this host") {
		t.Errorf("a part is missing: exit %d\n%s", code, out)
	}
	_, stderr, code := r.run(t, reports[:8]...)
	if code != exitUsage || !strings.Contains(stderr, "of parts of an inventory, and part 6/8 is missing\nhint: ") {
		t.Errorf("a part's report is missing: exit %d: %s", code, stderr)
	}
	if _, stderr, code := r.run(t, append(reports[:8], journals[2])...); code != exitFindings {
		t.Errorf("a journal knows who is missing: exit %d: %s", code, stderr)
	}
}

// playedProgram is this test's program under the name that makes it ctaudit with recorded hosts.
func playedProgram(tb testing.TB) func(args ...string) *exec.Cmd {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	link := filepath.Join(tb.TempDir(), "ctaudit-played")
	if err := os.Symlink(self, link); err != nil {
		tb.Fatal(err)
	}
	dir, err := filepath.Abs("testdata/fleet")
	if err != nil {
		tb.Fatal(err)
	}
	return func(args ...string) *exec.Cmd {
		cmd := exec.Command(link, args...)
		cmd.Env = append(os.Environ(), "RECORDINGS="+dir)
		return cmd
	}
}

var kills = flag.Int("fleet.kills", 10, "how often TestKilled kills a run")

// TestKilled kills runs at random moments, most of them more than once, and goes on: every host is audited exactly once, and the report is
// that of a run that nobody disturbed.
func TestKilled(t *testing.T) {
	program, dir := playedProgram(t), t.TempDir()
	i := inventoryOf(t, append(named("paced", 20), "down-1", "docker-1")...)
	args := func(name string) []string {
		j := filepath.Join(dir, name)
		return []string{"fleet", "-q", "-i", i, "--forks", "3", "--resume", "--journal", j + ".journal", "-o", "json=" + j + ".json"}
	}
	begun := time.Now()
	if out, err := program(args("calm")...).CombinedOutput(); exitOf(err) != exitFindings {
		t.Fatalf("%v: %s", err, out)
	}
	took := time.Since(begun)
	want := timeless(t, filepath.Join(dir, "calm.json"))
	for killed, run := 0, 0; killed < *kills; run++ {
		name := fmt.Sprint("run", run)
		for done := false; !done; {
			cmd := program(args(name)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(rand.N(took*5/4), func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			switch code := exitOf(err); code {
			case exitFindings:
				done = true
			case -1:
				killed++
			default:
				t.Fatalf("exit %d", code)
			}
		}
		if got := timeless(t, filepath.Join(dir, name+".json")); got != want {
			t.Fatalf("after a kill the report differs:\n%s", cmp.Diff(want, got))
		}
		onceEach(t, filepath.Join(dir, name+".journal"), 22)
	}
}

// onceEach requires that a journal has one entry of each host.
func onceEach(t *testing.T, path string, hosts int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n != hosts+1 {
		t.Errorf("%d lines, want a header and %d hosts", n, hosts)
	}
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if got := len(j.Hosts()); got != hosts || len(j.Damaged()) > 0 {
		t.Errorf("%d hosts, damage %v", got, j.Damaged())
	}
}

// exitOf is the exit code of a program, -1 when a signal ended it.
func exitOf(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// TestInterrupted: ctrl-C ends a run with a report of what there is, and says how to go on.
func TestInterrupted(t *testing.T) {
	program, dir := playedProgram(t), t.TempDir()
	path := filepath.Join(dir, "j")
	cmd := program("fleet", "-i", inventoryOf(t, "docker-1", "slow-1", "slow-2"), "--journal", path, "-o", "json="+filepath.Join(dir, "r.json"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if text, _ := os.ReadFile(path); bytes.Count(text, []byte("\n")) >= 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("docker-1 never ended")
		}
	}
	_ = cmd.Process.Signal(os.Interrupt)
	if code := exitOf(cmd.Wait()); code != exitInterrupt {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	want := "exit 130: interrupted by interrupt: 1 of 3 hosts audited\nhint: go on with: ctaudit fleet --resume --journal " + path
	if !strings.Contains(stderr.String(), want) {
		t.Errorf("stderr: %s", stderr.String())
	}
	var rep report.Report
	readJSON(t, filepath.Join(dir, "r.json"), &rep)
	if rep.Summary.Errors != 2 || !rep.Exit.Incomplete || rep.Hosts[1].Error != "the run ended before this host was audited" {
		t.Errorf("report: %+v", rep.Summary)
	}
	onceEach(t, path, 1)
}

// TestJournalOnFullDisk: a run whose journal has no more room says so, reports what it has, and can be gone on with.
func TestJournalOnFullDisk(t *testing.T) {
	labtest.Require(t, "root")
	program, dir := playedProgram(t), t.TempDir()
	i := inventoryOf(t, named("docker", 30)...)
	inner := program("fleet", "-i", i, "--journal", dir+"/small/j", "-o", "json="+dir+"/r.json", "--forks", "2")
	if err := os.Mkdir(dir+"/small", 0o700); err != nil {
		t.Fatal(err)
	}
	script := `mount -t tmpfs -o size=200k tmpfs "$0/small" && "$@"; code=$?; cp "$0/small/j" "$0/kept"; exit $code`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, dir}, inner.Args...)...)
	cmd.Env = inner.Env
	out, err := cmd.CombinedOutput()
	for _, words := range []string{"ctaudit: journal " + dir + "/small/j: no space left on device\nhint: what was noted before is kept", "exit 1: "} {
		if !strings.Contains(string(out), words) {
			t.Errorf("no %q in %v: %s", words, err, out)
		}
	}
	if exitOf(err) != exitFindings {
		t.Errorf("exit %d", exitOf(err))
	}
	var rep report.Report
	readJSON(t, dir+"/r.json", &rep)
	good := rep.Summary.Hosts - rep.Summary.Errors
	if rep.Summary.Hosts != 30 || good < 3 || good > 20 {
		t.Errorf("report: %+v", rep.Summary)
	}
	onceEach(t, dir+"/kept", good)
	if out, err := program("fleet", "-q", "-i", i, "--journal", dir+"/kept", "--resume").CombinedOutput(); exitOf(err) != exitFindings {
		t.Errorf("going on: %v: %s", err, out)
	}
	onceEach(t, dir+"/kept", 30)
}

// TestInventoryAnchors: a finding of a host is shown at the host's line of an inventory that lies in a repository.
func TestInventoryAnchors(t *testing.T) {
	repo := t.TempDir()
	path := filepath.Join(repo, "inventories", "hosts.ini")
	for _, dir := range []string{".git", "inventories"} {
		if err := os.Mkdir(filepath.Join(repo, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte("[web]\n\ndocker-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, stderr, _ := openRecordings(t).run(t, "fleet", "-q", "-i", path, "-f", "sarif")
	want := regexp.MustCompile(`"uri": "inventories/hosts.ini"\s*},\s*"region": \{\s*"startLine": 3\b`)
	if !want.MatchString(out) {
		t.Errorf("%s%s", stderr, out[:min(len(out), 3000)])
	}
}

func TestSnapshotName(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"web-1", "a/b", "a%2Fb", "..", ".", "-rf", ".hidden", "ü", "a b", "\x00", "A", strings.Repeat("x", 400), strings.Repeat("x", 401), strings.Repeat("/", 300)} {
		got := snapshotName(name)
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q share %s", name, other, got)
		}
		seen[got] = name
		if len(got) > 200 || strings.ContainsAny(got, "/ \x00") || got[0] == '.' || got[0] == '-' {
			t.Errorf("%q: %s", name, got)
		}
	}
	if got := snapshotName("web-1.example.org"); got != "web-1.example.org.json" {
		t.Error(got)
	}
}

var fleetHostCount = flag.Int("fleet.hosts", 1000, "how many hosts BenchmarkFleetProcess audits")

// BenchmarkFleetProcess is a whole run, with a journal and all formats, in a process of its own: its memory and time. The hosts are
// recordings, which the process holds and parses; SSH is not part of it.
func BenchmarkFleetProcess(b *testing.B) {
	program, dir := playedProgram(b), b.TempDir()
	names := make([]string, *fleetHostCount)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%06d", []string{"docker", "dualstack", "bare", "docker", "docker", "down"}[i%6], i)
	}
	i := inventoryOf(b, names...)
	for b.Loop() {
		cmd := program("fleet", "-q", "-i", i, "--journal", dir+"/j", "-o", "json="+dir+"/r.json", "-o", "sarif="+dir+"/r.sarif", "-o", "junit="+dir+"/r.xml")
		begun := time.Now()
		if out, err := cmd.CombinedOutput(); exitOf(err) != exitFindings {
			b.Fatalf("%v: %s", err, out)
		}
		usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		b.ReportMetric(float64(usage.Maxrss)/1024, "MiB-resident")
		b.ReportMetric(float64(len(names))/time.Since(begun).Seconds(), "hosts/s")
		b.ReportMetric(float64(cpu.Microseconds())/1000/float64(len(names)), "cpu-ms/host")
		if err := os.Remove(dir + "/j"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFleetReport makes the reports of a journal of so many hosts, in a process of its own: what BenchmarkFleetProcess does when
// the last host has ended.
func BenchmarkFleetReport(b *testing.B) {
	program, dir := playedProgram(b), b.TempDir()
	if out, err := program("fleet", "-q", "-i", inventoryOf(b, "docker-1", "dualstack-1", "bare-1", "down-1"), "--journal", dir+"/few").CombinedOutput(); exitOf(err) != exitFindings {
		b.Fatalf("%v: %s", err, out)
	}
	multiply(b, dir+"/few", dir+"/many", *fleetHostCount)
	b.ResetTimer()
	for b.Loop() {
		cmd := program("merge", "-q", dir+"/many", "-o", "json="+dir+"/r.json", "-o", "sarif="+dir+"/r.sarif", "-o", "junit="+dir+"/r.xml")
		if out, err := cmd.CombinedOutput(); exitOf(err) != exitFindings {
			b.Fatalf("%v: %s", err, out)
		}
		usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		b.ReportMetric(float64(usage.Maxrss)/1024, "MiB-resident")
		b.ReportMetric(float64(cpu.Microseconds())/1000/float64(*fleetHostCount), "cpu-ms/host")
	}
}

// multiply writes a journal of n hosts that are like those of another.
func multiply(b *testing.B, from, to string, n int) {
	few, err := journal.Open(from)
	if err != nil {
		b.Fatal(err)
	}
	defer few.Close()
	h := few.Header()
	h.Hosts = nil
	var all []journal.Entry
	for e, err := range few.Entries() {
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, e)
	}
	for i := range n {
		h.Hosts = append(h.Hosts, fmt.Sprintf("host-%06d", i))
	}
	many, err := journal.Create(to, h)
	if err != nil {
		b.Fatal(err)
	}
	defer many.Close()
	var wg sync.WaitGroup // a hundred share an fsync; this process stays small, or the one under measurement would begin with its size
	for i, name := range h.Hosts {
		e := all[i%len(all)]
		e.Report = bytes.ReplaceAll(e.Report, []byte(`"name":"`+e.Host+`"`), []byte(`"name":"`+name+`"`))
		e.Host = name
		wg.Go(func() {
			if err := many.Append(e); err != nil {
				b.Error(err)
			}
		})
		if i%100 == 99 {
			wg.Wait()
		}
	}
	wg.Wait()
}
