// Package hosttest is the conformance suite of host.Host: every implementation reads the same node and must give the same
// answers, so that collectors need not know which one they have.
package hosttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// Node is a prepared node: a network namespace with rules of every backend, and a folder with files.
type Node struct {
	Netns *lab.Netns
	Dir   string
	Inner *lab.Netns // another namespace, with one end of a veth whose other end is in Netns
}

// Factory makes the implementation that reads the node. needs is everything that the suite will ask for.
type Factory func(t *testing.T, node *Node, needs []host.Need) host.Host

// check is one need and what must come of it.
type check struct {
	name string
	need host.Need
	want func(t *testing.T, a *host.Answer)
}

// Run runs the suite.
func Run(t *testing.T, newHost Factory) {
	t.Helper()
	run(t, newHost, (*Node).checks)
}

// RunWithoutNetlink runs it for a host that speaks no netlink: dumps that have no counterpart in text are host.NoNetlink there.
func RunWithoutNetlink(t *testing.T, newHost Factory) {
	t.Helper()
	run(t, newHost, func(n *Node) []check {
		checks := n.checks()
		for i, c := range checks {
			if c.need.Kind == host.Netlink && !strings.HasPrefix(c.need.Args[0], "rtnl/") && !strings.HasPrefix(c.name, "unknown") {
				checks[i].want = fails(host.NoNetlink)
			}
		}
		return checks
	})
}

func run(t *testing.T, newHost Factory, checksOf func(*Node) []check) {
	labtest.Require(t, "root", "netns", "nft", "iptables-legacy", "ip")
	node := newNode(t)
	checks := checksOf(node)
	var needs []host.Need
	for _, c := range checks {
		needs = append(needs, c.need)
	}
	h := newHost(t, node, needs)
	ev, err := h.Fetch(t.Context(), host.Request{Needs: needs})
	if err != nil {
		t.Fatal(err)
	}
	if name, err := os.Hostname(); err != nil || ev.Host != name {
		t.Errorf("host is %q, want %q (%v)", ev.Host, name, err)
	}
	if d := time.Since(ev.Taken); d < 0 || d > time.Hour || ev.Taken.Location() != time.UTC {
		t.Errorf("taken at %s", ev.Taken)
	}
	if len(ev.Answers) != len(needs) {
		t.Errorf("%d answers to %d needs", len(ev.Answers), len(needs))
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.want(t, ev.Answer(c.need)) })
	}
	t.Run("sinks", func(t *testing.T) { sinks(t, h, needs, ev) })
	t.Run("ended context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Fetch(ctx, host.Request{Needs: needs}); !errors.Is(err, context.Canceled) {
			t.Errorf("want the context's error, have %v", err)
		}
	})
}

const nftRules = `
table inet t {
	set small { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 } }
	set empty { type inet_service; }
	chain in { type filter hook input priority 0; ct state invalid drop; tcp dport { 22, 80 } accept; }
}
`

const legacyRules = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"

func newNode(t *testing.T) *Node {
	n := &Node{Netns: labtest.NewNetns(t), Inner: labtest.NewNetns(t), Dir: t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pipe := func(in string, argv ...string) { _, err := n.Netns.Pipe(in, argv...); must(err) }
	pipe(nftRules, "nft", "-f", "-")
	pipe(legacyRules, "iptables-legacy-restore")
	must(n.Netns.Run("ip", "link", "add", "outer0", "type", "veth", "peer", "name", "inner0", "netns", fmt.Sprint(n.sleeper(t))))
	must(n.Inner.Run("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1"))
	for name, text := range map[string]string{
		"plain": "one\ntwo\n", "open": "no newline", "empty": "", "binary": "\x00\x1b[31m\xff", "marker": "-- x --\n",
		"conf.d/b.conf": "b\n", "conf.d/a.conf": "a\n", "conf.d/c.txt": "c\n",
	} {
		must(os.MkdirAll(filepath.Dir(filepath.Join(n.Dir, name)), 0o755))
		must(os.WriteFile(filepath.Join(n.Dir, name), []byte(text), 0o644))
	}
	must(os.Symlink("/dev/null", filepath.Join(n.Dir, "conf.d/masked.conf")))
	must(os.Mkdir(filepath.Join(n.Dir, "conf.d/folder.conf"), 0o755))
	return n
}

// sleeper is a process that lives in the inner namespace.
func (n *Node) sleeper(t *testing.T) int {
	cmd := n.Inner.Command("sleep", "600")
	if err := n.Inner.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

func (n *Node) checks() []check {
	return append(append(append(n.fileChecks(), n.commandChecks()...), n.netlinkChecks()...), n.namespaceCheck(), check{
		"unknown kind",
		host.Need{Kind: "smell", Args: []string{"x"}},
		func(t *testing.T, a *host.Answer) {
			if a.Err == "" || a.Absent {
				t.Errorf("want an error, have %+v", a)
			}
		},
	})
}

func (n *Node) file(name string) host.Need {
	return host.Need{Kind: host.File, Args: []string{filepath.Join(n.Dir, name)}}
}

func (n *Node) fileChecks() []check {
	cut := n.file("open")
	cut.Limit = 2
	// The same file under another name, since the limit is no part of the key.
	cut.Args[0] = n.Dir + "/./open"
	return []check{
		{"file", n.file("plain"), text("one\ntwo\n")},
		{"file without newline", n.file("open"), text("no newline")},
		{"file that is empty", n.file("empty"), text("")},
		{"file of bytes", n.file("binary"), text("\x00\x1b[31m\xff")},
		{"file like a section", n.file("marker"), text("-- x --\n")},
		{"file that is absent", n.file("nothing"), absent},
		{"file in a file", n.file("plain/x"), absent},
		{"file that is a folder", n.file("conf.d"), fails("not a regular file")},
		{"file over the limit", cut, func(t *testing.T, a *host.Answer) {
			if string(a.Data) != "no" || !a.Truncated || a.Err != "" {
				t.Errorf("want 2 bytes, truncated, have %+v", a)
			}
		}},
		{"file of the namespace", host.Need{Kind: host.File, Args: []string{"/proc/net/dev"}}, contains("outer0:")},
		{"parameter of the namespace", host.Need{Kind: host.File, Args: []string{"/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"}}, text("0\n")},
		{"glob", host.Need{Kind: host.Glob, Args: []string{n.Dir + "/conf.d/*.conf"}}, func(t *testing.T, a *host.Answer) {
			want := map[string]string{"a.conf": "a\n", "b.conf": "b\n", "masked.conf": ""}
			if len(a.Files) != len(want) || a.Err != "" || a.Absent {
				t.Errorf("want %v, have %+v", want, a)
			}
			for name, text := range want {
				if b, ok := a.Files[filepath.Join(n.Dir, "conf.d", name)]; !ok || string(b) != text {
					t.Errorf("%s is %q, %v", name, b, ok)
				}
			}
		}},
		{"glob of nothing", host.Need{Kind: host.Glob, Args: []string{n.Dir + "/*/*.none"}}, absent},
		{"glob in the namespace", host.Need{Kind: host.Glob, Args: []string{"/proc/sys/net/ipv4/conf/outer*/rp_filter"}}, func(t *testing.T, a *host.Answer) {
			if _, ok := a.Files["/proc/sys/net/ipv4/conf/outer0/rp_filter"]; !ok || len(a.Files) != 1 {
				t.Errorf("have %v", a.Files)
			}
		}},
		{"bad pattern", host.Need{Kind: host.Glob, Args: []string{"/etc/[a"}}, fails("bad pattern")},
	}
}

func (n *Node) commandChecks() []check {
	command := func(only string, argv ...string) host.Need {
		return host.Need{Kind: host.Command, Args: argv, Only: only}
	}
	cut := command("", "seq", "1", "1000000")
	cut.Limit = 10
	return []check{
		{"command", command("/proc/net/ip_tables_names", "iptables-legacy-save", "-c"), contains("--ctstate INVALID -j DROP")},
		{"command with an absent condition", command("/proc/net/nothing", "seq", "1"), absent},
		{"command with an empty condition", command(filepath.Join(n.Dir, "empty"), "seq", "2"), absent},
		{"command that is absent", command("", "ctaudit-no-such-program"), absent},
		{"command of two names", command("", "ctaudit-no-such-program|echo", "second"), text("second\n")},
		{"command of two absent names", command("", "ctaudit-no-such-program|ctaudit-nor-this", "x"), absent},
		{"command that fails", command("", "ls", "/nonexistent-ctaudit"), func(t *testing.T, a *host.Answer) {
			if a.Exit != 2 || !strings.Contains(a.Stderr, "No such file") || !strings.HasPrefix(a.Err, "exit status 2: ") || !strings.Contains(a.Err, "No such file") || a.Absent {
				t.Errorf("have %+v", a)
			}
		}},
		{"command without a shell", command("", "echo", "$HOME;*"), text("$HOME;*\n")},
		{"command with a clean environment", command("", "env"), func(t *testing.T, a *host.Answer) {
			for line := range strings.Lines(string(a.Data)) {
				if name, _, _ := strings.Cut(line, "="); name != "PATH" && name != "LC_ALL" && name != "XTABLES_LOCKFILE" {
					t.Errorf("the environment has %s", line)
				}
			}
			contains("LC_ALL=C\n")(t, a)
		}},
		{"command over the limit", cut, func(t *testing.T, a *host.Answer) {
			if string(a.Data) != "1\n2\n3\n4\n5\n" || !a.Truncated || a.Err != "" {
				t.Errorf("have %+v", a)
			}
		}},
	}
}

func (n *Node) netlinkChecks() []check {
	dump := func(name string) host.Need { return host.Need{Kind: host.Netlink, Args: []string{name}} }
	return []check{
		{"links", dump(host.DumpLinks), messages(16, "outer0\x00")},
		{"addresses", dump(host.DumpAddresses), messages(20, "lo\x00")},
		{"routes", dump(host.DumpRoutes), messages(24, "")},
		{"rules", dump(host.DumpRules), messages(32, "")},
		{"queueing", dump(host.DumpQdiscs), messages(36, "noqueue\x00")},
		{"tables", dump(host.DumpNFTables), messages(10<<8, "t\x00")},
		{"chains", dump(host.DumpNFChains), messages(10<<8|3, "in\x00")},
		{"rules of nf_tables", dump(host.DumpNFRules), messages(10<<8|6, "lookup\x00")},
		{"sets", dump(host.DumpNFSets), messages(10<<8|9, "small\x00")},
		{"elements", dump(host.DumpNFElements), messages(10<<8|12, "small\x00", "empty\x00", "__set", "\xc0\x00\x02\x01", "\xc0\x00\x02\x02", "\x00\x16\x00\x00")},
		{"objects", dump(host.DumpNFObjects), text("")},
		{"flowtables", dump(host.DumpNFFlowtables), text("")},
		{"generation", dump(host.DumpNFGen), messages(10<<8|15, "")},
		{"hooks", dump(host.DumpNFHooks), func(t *testing.T, a *host.Answer) {
			if a.Err != "" || a.Absent == (len(a.Data) > 0) {
				t.Errorf("want messages or absence, have %+v", a)
			}
		}},
		{"connection tracking", dump(host.DumpCTStats), messages(1<<8|4, "")},
		{"unknown dump", dump("nft/everything"), fails("no such dump: nft/everything")},
	}
}

const liberal = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"

func (n *Node) namespaceCheck() check {
	need := host.Need{Kind: host.Namespaces, Args: []string{liberal, "/proc/net/dev", "/proc/net/nothing"}}
	return check{"namespaces", need, func(t *testing.T, a *host.Answer) {
		list, err := host.ReadNamespaces(a)
		if err != nil {
			t.Fatal(err)
		}
		own, _ := n.Netns.Inode()
		inner, _ := n.Inner.Inode()
		for _, ns := range list {
			switch ns.Inode {
			case own:
				t.Error("the node's own namespace is among the others")
			case inner:
				checkInner(t, ns)
				return
			}
		}
		t.Errorf("namespace %d is not among %d", inner, len(list))
	}}
}

func checkInner(t *testing.T, ns host.NamespaceEvidence) {
	if ns.Processes != 1 || len(ns.PIDs) != 1 || ns.Command != "sleep" || ns.CGroup == "" || ns.Err != "" {
		t.Errorf("process: %+v", ns)
	}
	if ns.NetnsID == nil {
		t.Error("the veth's other end has no namespace id")
	}
	text("1\n")(t, ns.Files[liberal])
	contains("inner0:")(t, ns.Files["/proc/net/dev"])
	absent(t, ns.Files["/proc/net/nothing"])
	messages(16, "inner0\x00")(t, ns.Links)
	messages(20, "lo\x00")(t, ns.Addresses)
}

func text(want string) func(*testing.T, *host.Answer) {
	return func(t *testing.T, a *host.Answer) {
		if a.Err != "" || a.Absent || a.Truncated || a.Data == nil || string(a.Data) != want {
			t.Errorf("want %q, have %+v", want, a)
		}
	}
}

func contains(want string) func(*testing.T, *host.Answer) {
	return func(t *testing.T, a *host.Answer) {
		if a.Err != "" || a.Absent || a.Truncated || !bytes.Contains(a.Data, []byte(want)) {
			t.Errorf("want %q in it, have %+v", want, a)
		}
	}
}

func absent(t *testing.T, a *host.Answer) {
	if !a.Absent || a.Err != "" || len(a.Data) > 0 || len(a.Files) > 0 {
		t.Errorf("want absent, have %+v", a)
	}
}

func fails(why string) func(*testing.T, *host.Answer) {
	return func(t *testing.T, a *host.Answer) {
		if a.Err != why || a.Absent || a.Denied {
			t.Errorf("want the error %q, have %+v", why, a)
		}
	}
}
