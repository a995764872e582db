package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// trace is what an audit has to leave as it was.
type trace struct {
	Files     map[string]string
	Processes []string
	Kernel    map[string]string
}

func (n *wholeNode) trace() trace { return trace{n.files(), n.processes(), n.state()} }

// settled is the trace once nobody runs who did not run before.
func (n *wholeNode) settled(before trace) trace {
	n.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if slices.Equal(n.processes(), before.Processes) {
			break
		}
	}
	return n.trace()
}

// changed is what differs between two traces. A folder in which a collector lay for a moment has new times, whatever is done.
func changed(before, after trace, folder string) string {
	if folder != "" {
		before.Files, after.Files = untimed(before.Files, folder), untimed(after.Files, folder)
	}
	return cmp.Diff(before, after)
}

func untimed(files map[string]string, path string) map[string]string {
	files = maps.Clone(files)
	files[path] = fileTimes.ReplaceAllString(files[path], "")
	return files
}

// visit is something that happens to a node.
type visit struct {
	name string
	do   func() error
	like string // the login whose lines in the log it may cause
	push string // the folder of a collector
}

// TestAuditLeavesNothing: whichever way a node is audited, every file, every process, the kernel's tables and settings, and who
// was there (wtmp, btmp, lastlog, utmp, shells' histories) are what they were, and the log has the lines of one login, at most.
func TestAuditLeavesNothing(t *testing.T) {
	t.Parallel()
	n := newWholeNode(t)
	n.ownCtaudit()
	before, login := n.quiet(), map[string]map[string]int{}
	n.log.take()
	for _, v := range []visit{
		{name: "login", do: n.ssh("root", "true")},
		{name: "login of op", do: n.ssh("op", "true")},
		{name: "sudo", do: n.ssh("op", "sudo -n sh -s")},
		{name: "probe", do: n.audit(1, "root", "--reader", "probe"), like: "login"},
		{name: "probe by sudo", do: n.audit(1, "op", "--reader", "probe", "--become", "sudo"), like: "sudo"},
		{name: "probe through the system's ssh", do: n.audit(1, "root", "--reader", "probe", "--system-ssh"), like: "login"},
		{name: "probe as nobody special", do: n.audit(3, "op", "--reader", "probe"), like: "login of op"},
		{name: "push", do: n.audit(1, "root", "--push"), like: "login", push: "/run"},
		{name: "push by sudo", do: n.audit(1, "op", "--push", "--become", "sudo"), like: "sudo", push: "/run"},
		{name: "push as nobody special", do: n.audit(3, "op", "--push"), like: "login of op", push: "/dev/shm"},
		{name: "own ctaudit", do: n.audit(1, "root"), like: "login"},
		{name: "own ctaudit by sudo", do: n.audit(1, "op", "--become", "sudo"), like: "sudo"},
		{name: "ping", do: n.ping("root"), like: "login"},
		{name: "ping by sudo", do: n.ping("op", "--become", "sudo"), like: "sudo"},
	} {
		if err := v.do(); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		after := n.settled(before)
		if diff := changed(before, after, v.push); diff != "" {
			t.Errorf("%s changed the node:\n%s", v.name, diff)
		}
		before = after
		login[v.name] = n.log.take()
		if more := oftener(login[v.name], login[v.like]); v.like != "" && more != "" {
			t.Errorf("%s is logged otherwise than the %s:\n%s", v.name, v.like, more)
		}
		if len(login[v.name]) < 3 {
			t.Errorf("%s: the log has %v", v.name, login[v.name])
		}
	}
}

// oftener are the lines that one log has oftener than another.
func oftener(have, allowed map[string]int) string {
	text := ""
	for line, n := range have {
		if n > allowed[line] {
			text += line + "\n"
		}
	}
	return text
}

// interruption is how an audit ends before its time.
type interruption struct {
	name, host string
	args       []string
	during     string // the process on the node that shows how far it is
	end        func(n *wholeNode, controller *os.Process)
	code       int
	push       string
}

// TestInterruptedAuditLeavesNothing: when an audit is given up, killed, or cut off in the middle, what it started on the node ends
// by itself, and what it sent there is gone.
func TestInterruptedAuditLeavesNothing(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "tc")
	n := newWholeNode(t)
	// The collector takes seconds to arrive.
	n.must(n.server.Run("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "8mbit", "burst", "32kb", "latency", "200ms"))
	n.must(n.ssh("root", "true")())
	n.must(n.ssh("op", "sudo -n sh -s")())
	before, login := n.quiet(), n.log.take()
	kill := func(_ *wholeNode, p *os.Process) { _ = p.Kill() }
	ctrlC := func(_ *wholeNode, p *os.Process) { _ = p.Signal(os.Interrupt) }
	probe, push := []string{"--reader", "probe", "--sample", "1s"}, []string{"--push"}
	sudo := []string{"--become", "sudo"}
	for _, i := range []interruption{
		{name: "probe, killed", host: "root", args: probe, during: "(gzip)", end: kill, code: -1},
		{name: "probe, ctrl-C", host: "root", args: probe, during: "(gzip)", end: ctrlC, code: exitInterrupt},
		{name: "probe by sudo, killed", host: "op", args: append(probe, sudo...), during: "(gzip)", end: kill, code: -1},
		{name: "push, killed", host: "root", args: push, during: "(cat)", end: kill, code: -1, push: "/run"},
		{name: "push, ctrl-C", host: "root", args: push, during: "(cat)", end: ctrlC, code: exitInterrupt, push: "/run"},
		{name: "push by sudo, killed", host: "op", args: append(push, sudo...), during: "(cat)", end: kill, code: -1, push: "/run"},
		{name: "push, cut off", host: "root", args: push, during: "(cat)", end: cutOff, code: -1, push: "/run"},
		{name: "push as nobody special, cut off", host: "op", args: push, during: "(cat)", end: cutOff, code: -1, push: "/dev/shm"},
	} {
		n.interrupt(i)
		after := n.settled(before)
		if diff := changed(before, after, i.push); diff != "" {
			t.Errorf("%s: something stays:\n%s", i.name, diff)
		}
		before = after
		if more := oftener(n.log.take(), login); more != "" {
			t.Errorf("%s is logged otherwise than a login:\n%s", i.name, more)
		}
	}
}

// interrupt starts an audit and ends it in the middle.
func (n *wholeNode) interrupt(i interruption) {
	n.t.Helper()
	cmd, errs := n.ctaudit(i.host, append([]string{"fleet"}, i.args...)...)
	n.must(n.server.Start(cmd))
	n.soon(i.during, func() bool { return n.runs(i.during) })
	i.end(n, cmd.Process)
	if code := exitOf(cmd.Wait()); code != i.code {
		n.t.Errorf("%s: exit code %d, want %d: %s", i.name, code, i.code, errs)
	}
}

// runs says whether such a process is there.
func (n *wholeNode) runs(name string) bool {
	return slices.ContainsFunc(n.processes(), func(p string) bool { return strings.Contains(p, name) })
}

// soon waits for what does not last.
func (n *wholeNode) soon(what string, ok func() bool) {
	n.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("no %s in 20 s", what)
		}
	}
}

// cutOff kills the controller when no packet of its reaches the node any more. The node, which knows nothing of it, goes on waiting, but
// what it has got has no name. Then the network comes back.
func cutOff(n *wholeNode, controller *os.Process) {
	before := n.files()
	n.must(n.server.Load(netfilter.NFTables, "", "table inet cut { chain out { type filter hook output priority 0; policy drop; }; }"))
	_ = controller.Kill()
	for path := range n.files() {
		if strings.Contains(path, "ctaudit") {
			n.t.Errorf("cut off, %s stays", path)
		}
	}
	if diff := cmp.Diff(before, n.files()); diff != "" || !n.runs("(cat)") {
		n.t.Errorf("the node notices that it was cut off: %v %s", n.processes(), diff)
	}
	n.must(n.server.Run("nft", "delete", "table", "inet", "cut"))
}

// TestTracesAreSeen: what the test before looks for is found when it is there.
func TestTracesAreSeen(t *testing.T) {
	t.Parallel()
	n := newWholeNode(t)
	before := n.quiet()
	for command, path := range map[string]string{
		"echo >/etc/new":                                 "/etc/new",
		"rm /etc/issue":                                  "/etc/issue",
		"chmod 600 /etc/hosts":                           "/etc/hosts",
		"touch -d @0 /var/log/dpkg.log":                  "/var/log/dpkg.log",
		"touch -d @0 /run/x; rm /run/x":                  "/run",
		"mkdir -p /var/lib/x/y":                          "/var/lib/x/y",
		"ln -s x /usr/local/bin/y":                       "/usr/local/bin/y",
		"setsid -f sleep 600 </dev/null >/dev/null 2>&1": "",
	} {
		if err := n.ssh("root", command)(); err != nil {
			t.Fatal(err)
		}
		after := n.trace()
		if before.Files[path] == after.Files[path] && (path != "" || slices.Equal(before.Processes, after.Processes)) {
			t.Errorf("%s goes unnoticed", command)
		}
	}
	if _, err := n.server.Output("ssh", "-F", n.config, "-tt", "root@"+wholeAddress, "true"); err != nil {
		t.Fatal(err)
	}
	after := n.trace()
	for _, path := range []string{"/var/log/wtmp", "/var/log/lastlog", "/run/utmp"} {
		if before.Files[path] == after.Files[path] {
			t.Errorf("a login with a terminal is not in %s", path)
		}
	}
}
