package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/served"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// chaos is a fleet in which everything is wrong that can be, served within this process.
type chaos struct {
	t        *testing.T
	dir      string
	login    sshtest.Key
	hostKey  ssh.Signer
	known    strings.Builder // known_hosts
	agents   int
	over     chan struct{} // closed behind the run: hung nodes end
	sent     atomic.Int64  // bytes of floods that somebody took
	patience time.Duration // with nodes that hang
	kinds    map[string]fault
	truth    map[string]map[string]string // verdicts of audited nodes, by answer

	ownExposed, ownProtected, exposed, protected, noProc, otherSystem, oldKernel, hostileName, hostileRules *sshtest.Answer
}

// stub is a server whose login runs the handler.
func (c *chaos) stub(h sshtest.Handler, user string) (port int, vars string) {
	s := sshtest.Serve(c.t, h)
	s.User = user
	c.known.WriteString(sshtest.KnownHost(s.Addr(), s.HostKey))
	return s.Port, s.Key.Path
}

// hang does nothing until the run is over, or the connection is.
func (c *chaos) hang(out io.Writer) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.over:
			return
		case <-tick.C:
		}
		if ch, ok := out.(ssh.Channel); ok {
			if _, err := ch.SendRequest("keepalive@openssh.com", false, nil); err != nil {
				return
			}
		}
	}
}

// through is a real node: this machine, whose login shell is another.
func (c *chaos) through(shell ...string) sshtest.Handler {
	return func(command string, in io.Reader, out, errs io.Writer) uint32 {
		if shell[0] == "unshare" {
			command = "mount -o remount,ro,bind / && " + command
		}
		cmd := exec.Command(shell[0], append(shell[1:], "-c", command)...)
		script, err := io.ReadAll(in)
		if err != nil {
			return 2
		}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(script), out, errs
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			return uint32(exit.ExitCode())
		} else if err != nil {
			return 255
		}
		return 0
	}
}

// record runs the probe once on a node, prepared by a line of shell.
func (c *chaos) record(n *testNode, setup string) *sshtest.Answer {
	c.t.Helper()
	script := probe.Script(host.Request{Needs: collect.NeedsOf(registry.All())}, strings.Repeat("c0", 16))
	out, err := n.router.Pipe(string(script), "unshare", "-m", "sh", "-ec", "mount --make-rprivate /\n"+setup+"\nexec sh -s")
	n.must(err)
	a, err := sshtest.ParseAnswer(out)
	n.must(err)
	return a
}

// own asks a ctaudit on the node.
func (c *chaos) own(n *testNode) *sshtest.Answer {
	c.t.Helper()
	ask, err := served.Request(host.Request{Needs: collect.NeedsOf(registry.All())}, strings.Repeat("c0", 16))
	n.must(err)
	out, err := n.router.Pipe(string(ask), ownProgram(c.t)+"/ctaudit", "evidence")
	n.must(err)
	a, err := sshtest.ParseAnswer(out)
	n.must(err)
	return a
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	dir := t.TempDir()
	c := &chaos{
		t: t, dir: dir, hostKey: newSigner(), login: sshtest.NewKey(t, dir+"/login"), over: make(chan struct{}),
		kinds: map[string]fault{}, truth: map[string]map[string]string{},
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	if err := os.Mkdir(dir+"/tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	c.prepare()
	return c
}

// prepare takes the answers of the nodes, and what scan finds on them.
func (c *chaos) prepare() {
	nodes := map[string]*testNode{"exposed": newTestNode(c.t), "protected": newTestNode(c.t)}
	snat := "*nat\n-A POSTROUTING -s 10.251.0.0/24 -o eth0 -j MASQUERADE\nCOMMIT\n"
	exposed, protected := nodes["exposed"], nodes["protected"]
	exposed.must(exposed.router.Load(netfilter.Legacy, netfilter.IP, snat))
	exposed.must(protected.router.Load(netfilter.Legacy, netfilter.IP, snat+"*mangle\n-A PREROUTING -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"))
	for name, n := range nodes {
		_, r := n.scan()
		c.truth[name] = verdicts(r.Hosts[0])
	}
	o := ctaudit(c.t, "scan", "-f", "json")
	var here report.Report
	exposed.decode(o, &here)
	c.truth["here"] = verdicts(here.Hosts[0])
	c.ownExposed, c.ownProtected = c.own(exposed), c.own(protected)
	c.exposed, c.protected = c.record(exposed, ""), c.record(protected, "")
	c.noProc = c.record(exposed, "mount -t tmpfs none /proc; mount -t tmpfs none /sys")
	c.otherSystem = c.record(exposed, "mkdir "+c.dir+`/bin; printf '#!/bin/sh\n[ "$1" = -n ] && echo bsd || echo FreeBSD\n' >`+c.dir+"/bin/uname; chmod 755 "+c.dir+"/bin/uname; export PATH="+c.dir+"/bin:$PATH; mount -t tmpfs none /proc; mount -t tmpfs none /sys; mount -t tmpfs none /usr/sbin")
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	exposed.must(err)
	c.oldKernel = c.record(exposed, "mount -t tmpfs none /proc/sys/net/netfilter").Replace(string(release), "2.6.32-old\n")
	name, err := os.Hostname()
	exposed.must(err)
	c.hostileName = c.exposed.Replace(" "+name+"\x00", " "+escapes+strings.Repeat("n", 4000)+"\x00")
	c.hostileRules = c.exposed.Replace("-j MASQUERADE", `-m comment --comment "`+escapes+strings.Repeat("r", 4000)+`" -j MASQUERADE`)
}

// inventory starts a server for each kind of node and names its hosts, in an order of no kind.
func (c *chaos) inventory(of []fault) (names []string) {
	var lines []string
	for _, f := range of {
		c.kinds[f.name] = f
		port, vars := f.serve(c)
		for i := range f.hosts {
			name := fmt.Sprintf("%s_%d", f.name, i)
			names = append(names, name)
			lines = append(lines, fmt.Sprintf("%s ansible_host=127.0.0.1 ansible_port=%d ansible_ssh_private_key_file=%s", name, port, vars))
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	writeFile(c, "hosts.ini", strings.Join(lines, "\n")+"\n")
	c.t.Cleanup(func() { close(c.over) }) // before the servers, which wait for their sessions
	return names
}

// args begin a run over the inventory.
func (c *chaos) args() []string {
	known := writeFile(c, "known_hosts", c.known.String())
	config := "Host *\nUser root\nUserKnownHostsFile " + known + "\nGlobalKnownHostsFile none\nIdentityAgent none\nIdentityFile none\n"
	return []string{"fleet", "-i", c.dir + "/hosts.ini", "--ssh-config", writeFile(c, "config", config)}
}

func (c *chaos) kind(host string) fault {
	return c.kinds[host[:strings.LastIndexByte(host, '_')]]
}

// reach goes over SSH like any run, but has less patience with nodes that hang: what is good may take its time on a busy machine.
func (c *chaos) reach(o sshhost.Options) (reach, error) {
	ways := map[hung]reach{}
	for _, h := range []hung{ends, beforeLogin, afterLogin} {
		own := o
		switch h {
		case beforeLogin:
			own.Login = c.patience
		case afterLogin:
			own.Read = c.patience
		}
		var err error
		if ways[h], err = overSSH(own); err != nil {
			return reach{}, err
		}
	}
	return reach{
		host: func(t fleet.Target) host.Host { return ways[c.kind(t.Name).hung].host(t) },
		close: func() error {
			return errors.Join(ways[ends].close(), ways[beforeLogin].close(), ways[afterLogin].close())
		},
	}, nil
}

func (c *chaos) run(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	a := &app{streams: streams{strings.NewReader(""), &out, &errs}, env: map[string]string{}, reach: c.reach}
	code = exitCode(ctx, a.run(ctx, args), &errs)
	return out.String(), errs.String(), code
}

// TestChaos: of 500 hosts with every fault there is each comes out as it is, in the time that the faults cost, and nothing stays.
func TestChaos(t *testing.T) {
	labtest.Require(t, "root", "netns", "ssh")
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	files, heap := descriptors(t), heapInUse()
	t.Run("500 hosts", chaosRun)
	if n := descriptors(t); n > files {
		t.Errorf("%d descriptors, %d before", n, files)
	}
	if n := heapInUse(); n > heap+32<<20 {
		t.Errorf("%d bytes on the heap, %d before", n, heap)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// forksOfChaos are fewer than the hosts that hang: a slot each, and a timeout each.
const forksOfChaos = 64

func chaosRun(t *testing.T) {
	c := newChaos(t)
	names := c.inventory(faults())
	dir, args := c.dir, c.args()

	begun := time.Now()
	out, stderr, code := c.run(t.Context(), append(args, "--limit", "own-exposed_0")...)
	calm := time.Since(begun)
	if code != exitFindings {
		t.Fatalf("one host: exit %d: %s%s", code, out, stderr)
	}
	c.patience = max(2*time.Second, 20*calm)

	begun = time.Now()
	args = append(args, "--forks", fmt.Sprint(forksOfChaos), "-v", "--journal", dir+"/journal")
	for _, f := range []string{"text", "json", "sarif", "junit"} {
		args = append(args, "-o", f+"="+dir+"/"+f[:1]+f[1:])
	}
	out, stderr, code = c.run(t.Context(), args...)
	took := time.Since(begun)
	t.Logf("%d hosts in %s, one in %s; %d MiB of floods taken", len(names), took, calm, c.sent.Load()>>20)
	if code != exitFindings {
		t.Errorf("exit %d: %s", code, stderr)
	}
	c.check(names, dir, out, stderr)
	hangs := 0
	for _, f := range c.kinds {
		if f.hung != ends {
			hangs += f.hosts
		}
	}
	if most := time.Duration(hangs/forksOfChaos+2)*c.patience + time.Duration(len(names))*calm/2; took > most {
		t.Errorf("took %s, want %s at most", took, most)
	}
	if left, err := os.ReadDir(dir + "/tmp"); err != nil || len(left) > 0 {
		t.Errorf("temporary files: %v %v", left, err)
	}
}

func (c *chaos) check(names []string, dir, stdout, stderr string) {
	t := c.t
	for format, path := range map[string]string{"t": "text", "j": "json", "s": "sarif", "x": "junit"} {
		text, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		harmless(t, format, string(text))
	}
	harmless(t, "stdout", stdout)
	harmless(t, "stderr", stderr)
	text, err := os.ReadFile(dir + "/journal")
	if err != nil {
		t.Fatal(err)
	}
	harmless(t, "journal", string(text))
	onceEach(t, dir+"/journal", len(names))
	c.checkHosts(names)
}

// checkHosts holds every host of the report to its fault.
func (c *chaos) checkHosts(names []string) {
	t := c.t
	var rep report.Report
	readJSON(t, c.dir+"/json", &rep)
	if len(rep.Hosts) != len(names) || rep.Summary.Hosts != len(names) {
		t.Errorf("%d hosts, %d in the summary, want %d", len(rep.Hosts), rep.Summary.Hosts, len(names))
	}
	wrong := map[string]int{}
	for i := range rep.Hosts {
		h := &rep.Hosts[i]
		f := c.kind(h.Name)
		if strings.HasSuffix(h.Name, "_0") {
			t.Logf("%-24s %s %q: %q (hint %q)", f.name, h.Status, h.Stage, h.Error, h.Hint)
		}
		if why := c.differs(h, f); why != "" {
			if wrong[f.name]++; wrong[f.name] == 1 {
				t.Errorf("%s: %s\n%s %q: %q (hint %q)", h.Name, why, h.Status, h.Stage, h.Error, h.Hint)
			}
		}
	}
	if len(wrong) > 0 {
		t.Errorf("hosts that are not as they should be: %v", wrong)
	}
}

// differs says in what a host is not as its fault has it.
func (c *chaos) differs(h *report.Host, f fault) string {
	if f.answer != "" {
		return c.misjudged(h, f)
	}
	switch {
	case h.Status != report.HostError || h.Stage != f.stage:
		return "want an error of stage " + f.stage
	case !regexp.MustCompile(f.words).MatchString(h.Error):
		return "want " + f.words
	case f.hint != (h.Hint != ""):
		return fmt.Sprintf("a hint: want %v", f.hint)
	case len(h.Results) > 0 || len(h.Answers) > 0:
		return "results of a host that was not audited"
	case len(h.Error) > 500 || strings.ContainsAny(h.Error+h.Hint, "\n\r\x1b"):
		return "the error is no short line"
	}
	return ""
}

func (c *chaos) misjudged(h *report.Host, f fault) string {
	if h.Status == report.HostError {
		return "want an audit"
	}
	got := verdicts(*h)
	switch f.answer {
	case "any":
		return ""
	case "unknown":
		for what, o := range got {
			if o == string(report.Pass) || o == string(report.Fail) {
				return what + " is " + o + " on a node of which nothing is known"
			}
		}
		return ""
	}
	if diff := cmp.Diff(c.truth[f.answer], got); diff != "" && strings.HasPrefix(f.name, "own") {
		return "(-scan +fleet):\n" + diff
	}
	return contradiction(c.truth[f.answer], got)
}

// contradiction is what the probe, which cannot read everything, claims against the truth; "": nothing.
func contradiction(truth, got map[string]string) string {
	decided := 0
	for what, o := range got {
		if o == string(report.Pass) || o == string(report.Fail) {
			decided++
			if truth[what] != o {
				return fmt.Sprintf("%s is %s, and scan says %q", what, o, truth[what])
			}
		}
	}
	for what, o := range truth {
		if o == string(report.Fail) && got[what] != o && got[what] != string(report.Unknown) {
			return fmt.Sprintf("%s is %q, and scan says %s", what, got[what], o)
		}
	}
	if decided < 5 {
		return fmt.Sprintf("only %d results are decided", decided)
	}
	return ""
}
