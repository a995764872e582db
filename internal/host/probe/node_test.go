package probe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

func fetch(t testing.TB, h host.Host, req host.Request) *host.Evidence {
	t.Helper()
	ev, err := h.Fetch(t.Context(), req)
	must(t, err)
	return ev
}

// stateOf is what reading must leave as it is.
func stateOf(t *testing.T, n *lab.Netns) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, argv := range [][]string{
		{"nft", "-a", "list", "ruleset"},
		{"ip", "addr"},
		{"ip", "route", "show", "table", "all"},
		{"ip", "netns", "list-id"},
		{"cat", "/proc/modules", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"},
		{"sh", "-c", "grep -rs . /proc/sys/net /proc/sys/kernel/modprobe | grep -v -e nf_conntrack_count -e random || true"},
	} {
		text, err := n.Output(argv...)
		if err != nil && argv[0] != "cat" {
			t.Fatal(err)
		}
		out[strings.Join(argv, " ")] = string(text)
	}
	return out
}

// TestChangesNothing: tables, modules and settings are equal before and after, no process stays behind, and the script needs no
// place to write to: every mount is read-only.
func TestChangesNothing(t *testing.T) {
	n, _ := node(t)
	const readOnly = `
mount --make-rprivate /
awk '{print $5}' /proc/self/mountinfo | sort -r | while read -r m; do mount -o remount,ro,bind "$m" 2>/dev/null || true; done
if touch "$1/probe" 2>/dev/null; then echo "the file system is still writable" >&2; exit 99; fi
shift
exec "$@"
`
	for name, s := range shells(t) {
		t.Run(name, func(t *testing.T) {
			before := stateOf(t, n)
			s.netns, s.argv = n, append([]string{"unshare", "-m", "sh", "-ec", readOnly, "sh", t.TempDir()}, s.argv...)
			ev := fetch(t, s, host.Request{Needs: everything()})
			if diff := cmp.Diff(before, stateOf(t, n)); diff != "" {
				t.Errorf("the probe changed the node:\n%s", diff)
			}
			if a := ev.Answer(host.Need{Kind: host.Netlink, Args: []string{host.DumpLinks}}); a.Err != "" {
				t.Error(a.Err)
			}
			if left := processesIn(t, n); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

// processesIn are the command lines of those in the namespace.
func processesIn(t *testing.T, n *lab.Netns) []string {
	t.Helper()
	inode, err := n.Inode()
	must(t, err)
	var out []string
	all, err := filepath.Glob("/proc/[0-9]*/ns/net")
	must(t, err)
	for _, p := range all {
		if link, err := os.Readlink(p); err == nil && link == fmt.Sprintf("net:[%d]", inode) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(p)), "cmdline"))
			out = append(out, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return out
}

// TestNobodyListens: once the other end is gone, nothing of the script goes on for long.
func TestNobodyListens(t *testing.T) {
	n := labtest.NewNetns(t)
	need := host.Need{Kind: host.Command, Args: []string{"yes", "for ever"}, Limit: 1 << 40}
	for name, s := range shells(t) {
		t.Run(name, func(t *testing.T) {
			cmd := n.Command(s.argv...)
			cmd.Stdin = bytes.NewReader(probe.Script(host.Request{Needs: []host.Need{need}}, newNonce()))
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, n.Start(cmd))
			_, err = io.ReadFull(out, make([]byte, 4096))
			must(t, err)
			must(t, out.Close())
			_ = cmd.Wait()
			eventually(t, "the end of all processes", func() bool { return len(processesIn(t, n)) == 0 })
		})
	}
}

// TestSampled: sampled needs are read twice, as far apart as was asked for by the node's own clock; the others once.
func TestSampled(t *testing.T) {
	n := labtest.NewNetns(t)
	twice := host.Need{Kind: host.File, Args: []string{"/proc/uptime"}, Sampled: true}
	links := host.Need{Kind: host.Netlink, Args: []string{host.DumpLinks}, Sampled: true}
	counters := host.Need{Kind: host.Netlink, Args: []string{host.DumpCTStats}, Sampled: true}
	single := host.Need{Kind: host.File, Args: []string{"/proc/version"}}
	req := host.Request{Needs: []host.Need{single, twice, counters, links}, Sample: 300 * time.Millisecond}
	for name, s := range shells(t) {
		t.Run(name, func(t *testing.T) {
			s.netns = n
			ev := fetch(t, s, req)
			a := ev.Answer(twice)
			if a.Second == nil || bytes.Equal(a.Data, a.Second.Data) || ev.Answer(single).Second != nil {
				t.Fatalf("have %+v", a)
			}
			if l := ev.Answer(links); l.Err != "" || l.Second == nil || !bytes.Equal(l.Data, l.Second.Data) {
				t.Errorf("links: %+v", l)
			}
			if c := ev.Answer(counters); c.Err != host.NoNetlink || c.Second == nil || c.Second.Err != host.NoNetlink {
				t.Errorf("counters: %+v", c)
			}
			var first, second float64
			fmt.Sscan(string(a.Data), &first)
			fmt.Sscan(string(a.Second.Data), &second)
			real := time.Duration((second - first) * float64(time.Second))
			if real < 290*time.Millisecond || ev.Interval < 290*time.Millisecond || (ev.Interval-real).Abs() > real/2 {
				t.Errorf("%s between the readings, %s by their contents", ev.Interval, real)
			}
		})
	}
}

// TestHidden: what mounts hide is no absence, in host.Local's words.
func TestHidden(t *testing.T) {
	labtest.Require(t, "root", "netns")
	n := labtest.NewNetns(t)
	self := copyOfSelf(t)
	for name, mounts := range map[string]string{
		"nothing": ":", "sysctls": "mount -t tmpfs none /proc/sys", "a file": "mount --bind /dev/null /proc/modules 2>/dev/null || mount --bind /dev/null /proc/cmdline",
		"sysfs": "mount -t tmpfs none /sys", "only processes": "mount -t proc -o subset=pid proc /proc",
		"stacked": "mount -t tmpfs none /proc/sys; mount --bind /proc /proc; umount /proc",
	} {
		t.Run(name, func(t *testing.T) {
			enter := []string{"unshare", "-m", "sh", "-ec", "mount --make-rprivate /; " + mounts + "\nexec \"$@\"", "sh"}
			s := shell{netns: n, argv: append(slices.Clone(enter), "dash", "-s")}
			req := host.Request{Needs: slices.DeleteFunc(everything(), func(n host.Need) bool { return n.Kind != host.File && n.Kind != host.Glob })}
			want, have := localAnswers(t, n, append(enter, self), nil, req), fetch(t, s, req).Answers
			for _, need := range req.Needs {
				w, h := want[need.Key()], have[need.Key()]
				if name == "only processes" && strings.HasPrefix(need.Args[0], "/proc/net/") && strings.HasPrefix(h.Err, host.Hidden) {
					continue // such a /proc lacks the link that a shell goes by; the kernel's file can still be reached
				}
				if w.Absent != h.Absent || w.Err != h.Err || w.Denied != h.Denied || len(w.Files) != len(h.Files) {
					t.Errorf("%s: local %v %q, probe %v %q", need.Key(), w.Absent, w.Err, h.Absent, h.Err)
				}
			}
		})
	}
}

// localAnswers is what host.Local reads when started by argv, which may change its mounts first.
func localAnswers(t *testing.T, n *lab.Netns, argv []string, as *syscall.Credential, req host.Request) map[string]*host.Answer {
	t.Helper()
	needs, err := json.Marshal(req.Needs)
	must(t, err)
	cmd := n.Command(argv...)
	cmd.Stdin, cmd.SysProcAttr = bytes.NewReader(needs), &syscall.SysProcAttr{Credential: as}
	cmd.Dir, cmd.Env = "/", []string{localEnv + "=answers", "PATH=" + os.Getenv("PATH")}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	must(t, n.Start(cmd))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	h, err := host.OpenRecording(&out)
	must(t, err)
	return fetch(t, h, req).Answers
}

// printAnswers records what host.Local answers to the needs on stdin.
func printAnswers() int {
	var req host.Request
	err := json.NewDecoder(os.Stdin).Decode(&req.Needs)
	if err == nil {
		var ev *host.Evidence
		if ev, err = host.Local(host.LocalOptions{}).Fetch(context.Background(), req); err == nil {
			err = host.Record(os.Stdout, ev)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestGlobs: the shell's patterns find what path.Match's do, also where names begin with a dot, links dangle, folders cannot be
// listed or stand in the place of files.
func TestGlobs(t *testing.T) {
	dir, err := os.MkdirTemp("", "globs")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	for _, name := range []string{
		"a.conf", ".hidden.conf", ".conf", "b.conf.d/x.conf", "d/1/f", "d/2/f", "d/.3/f", "d/file", "sp ace.conf", "qu'ote\".conf", "*.conf", "[x].conf", "-n.conf",
		"nl/new\nline", "closed/x.conf", "names/y.conf", "l/deep/er/f", "b\\slash.conf",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	must(t, os.Mkdir(filepath.Join(dir, "folder.conf"), 0o755))
	must(t, os.Symlink("/nothing/there", filepath.Join(dir, "dangling.conf")))
	must(t, os.Symlink("a.conf", filepath.Join(dir, "link.conf")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.conf"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "secret.conf"), nil, 0o600))
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0o300))
	must(t, os.Chmod(filepath.Join(dir, "names"), 0o644))
	var needs []host.Need
	for _, pattern := range []string{
		"*.conf", "?.conf", "[a-c].conf", "[^a]*.conf", "d/*/f", "*/f", "*/*/f", "*/*/*/f", "closed/*.conf", "names/*", "nothing/*.conf", "a.conf/*", ".*.conf", "*", "d/[12]/f", "*.none", "l/*/er/*", "nl/*",
	} {
		needs = append(needs, host.Need{Kind: host.Glob, Args: []string{dir + "/" + pattern}})
	}
	n, self := labtest.NewNetns(t), copyOfSelf(t)
	for user, as := range map[string]*syscall.Credential{"root": nil, "nobody": {Uid: 65534, Gid: 65534}} {
		want := localAnswers(t, n, []string{self}, as, host.Request{Needs: needs})
		for name, s := range shells(t) {
			s.netns, s.as = n, as
			t.Run(name+" as "+user, func(t *testing.T) { compareGlobs(t, needs, want, s) })
		}
	}
}

func compareGlobs(t *testing.T, needs []host.Need, want map[string]*host.Answer, probe host.Host) {
	t.Helper()
	have := fetch(t, probe, host.Request{Needs: needs})
	for _, need := range needs {
		w, h := *want[need.Key()], *have.Answer(need)
		w.Files = maps.Clone(w.Files)
		if strings.HasSuffix(need.Args[0], "/nl/*") { // the name with a line break is said not to be readable
			for path := range w.Files {
				if strings.Contains(path, "\n") {
					delete(w.Files, path)
					if h.Failed[path] == "" {
						t.Errorf("%s: %q is not reported", need.Key(), path)
					}
					w.Err, w.Failed, w.Absent = h.Err, h.Failed, h.Absent
				}
			}
		}
		if diff := cmp.Diff(w, h); diff != "" {
			t.Errorf("%s (-local +probe):\n%s", need.Key(), diff)
		}
	}
}

// TestEmbedded: a node with busybox and nothing else, without a named user, says what it lacks.
func TestEmbedded(t *testing.T) {
	labtest.Require(t, "root", "netns")
	n := labtest.NewNetns(t)
	root := t.TempDir()
	for _, dir := range []string{"bin", "proc", "sys", "dev", "etc/sysctl.d"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(root, "etc/sysctl.d/x.conf"), []byte("net.x = 1\n"), 0o644))
	labtest.Require(t, "busybox")
	list, err := exec.Command("busybox", "--list").Output()
	must(t, err)
	must(t, exec.Command("cp", "/bin/busybox", filepath.Join(root, "bin/busybox")).Run())
	for name := range strings.Lines(string(list)) {
		_ = os.Symlink("busybox", filepath.Join(root, "bin", strings.TrimSpace(name)))
	}
	enter := `mount --make-rprivate /; for d in proc sys dev; do mount --rbind /$d "$1/$d"; done; exec chroot "$1" /bin/sh -s`
	s := shell{netns: n, argv: []string{"unshare", "-m", "sh", "-ec", enter, "sh", root}, path: "/usr/sbin:/usr/bin:/sbin:/bin"}
	ev := fetch(t, s, host.Request{Needs: everything()})
	if a := ev.Answer(host.Need{Kind: host.Glob, Args: []string{"/etc/sysctl.d/*.conf"}}); string(a.Files["/etc/sysctl.d/x.conf"]) != "net.x = 1\n" {
		t.Errorf("files: %+v", a)
	}
	if a := ev.Answer(host.Need{Kind: host.File, Args: []string{"/proc/sys/net/ipv4/tcp_keepalive_time"}}); len(a.Data) < 3 {
		t.Errorf("parameter: %+v", a)
	}
	for _, dump := range []string{host.DumpLinks, host.DumpAddresses, host.DumpRoutes, host.DumpRules, host.DumpQdiscs} {
		if a := ev.Answer(host.Need{Kind: host.Netlink, Args: []string{dump}}); a.Err == "" || a.Absent || len(a.Data) > 0 {
			t.Errorf("%s: want an error, have %+v", dump, a)
		} else if want := "busybox's"; dump != host.DumpQdiscs && !strings.Contains(a.Err, want) {
			t.Errorf("%s: %s", dump, a.Err)
		}
	}
	if a := ev.Answer(host.Need{Kind: host.Command, Args: []string{"iptables", "-V"}}); !a.Absent {
		t.Errorf("iptables: %+v", a)
	}
}

// TestBecome: the line for sudoers is one that sudo itself accepts.
func TestBecome(t *testing.T) {
	for _, user := range []string{"audit", "audit-1", "DOMAIN\\user name", "a@b", "#0", "%wheel"} {
		line := probe.Sudoers(user, "")
		if strings.Count(line, "\n") > 0 || !strings.HasSuffix(line, " ALL=(root) NOPASSWD: /bin/sh -s, /usr/bin/sh -s") {
			t.Errorf("have %q", line)
		}
		if visudo, err := exec.LookPath("visudo"); err == nil {
			cmd := exec.Command(visudo, "-c", "-f", "-")
			cmd.Stdin = strings.NewReader(line + "\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", line, err, out)
			}
		}
	}
}

// TestStandIns: needs that stand in for netlink are read here, each by the condition behind the comma.
func TestStandIns(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	n := labtest.NewNetns(t)
	_, err := n.Pipe("table ip own { chain c { tcp dport 7 drop; }; }", "nft", "-f", "-")
	must(t, err)
	command := func(only string, argv ...string) host.Need {
		return host.Need{Kind: host.Command, Args: argv, Only: host.WithoutNetlink + only}
	}
	ruleset := command(",module:nf_tables", "nft", "-j", "list", "ruleset")
	plain, held := command("", "echo", "plain"), command(",/nothing/there", "echo", "held")
	strange := command(",module:no_such_module", "echo", "strange")
	for name, s := range shells(t) {
		t.Run(name, func(t *testing.T) {
			s.netns = n
			ev := fetch(t, s, host.Request{Needs: []host.Need{held, ruleset, plain, strange}})
			if a := ev.Answer(ruleset); a.Err != "" || !bytes.Contains(a.Data, []byte(`"own"`)) {
				t.Errorf("ruleset: %+v", a)
			}
			if a := ev.Answer(plain); string(a.Data) != "plain\n" {
				t.Errorf("plain: %+v", a)
			}
			if a := ev.Answer(held); !a.Absent {
				t.Errorf("held back: %+v", a)
			}
			if a := ev.Answer(strange); len(a.Data) > 0 && !frozen() {
				t.Errorf("strange module: %+v", a)
			}
		})
	}
}

// frozen says that this kernel loads no module, so that anything may be asked.
func frozen() bool {
	_, err := os.Stat("/proc/modules")
	return err != nil
}

// TestChangingDump: what ip says was interrupted is read again, and not taken for whole where it never ends well.
func TestChangingDump(t *testing.T) {
	labtest.Require(t, "root", "netns", "ip")
	n := labtest.NewNetns(t)
	real, err := exec.LookPath("ip")
	must(t, err)
	need := host.Need{Kind: host.Netlink, Args: []string{host.DumpLinks}}
	for interrupted, want := range map[int]string{0: "", 2: "", 9: "changed while reading"} {
		dir := t.TempDir()
		fake := fmt.Sprintf(`#!/bin/sh
case $* in *-V*) exit 0 ;; esac
echo >>%[1]s/calls
[ "$(wc -l <%[1]s/calls)" -gt %[2]d ] || echo "Dump was interrupted and may be inconsistent." >&2
exec %[3]s "$@"
`, dir, interrupted, real)
		must(t, os.WriteFile(filepath.Join(dir, "ip"), []byte(fake), 0o755))
		for name, s := range shells(t) {
			_ = os.Remove(filepath.Join(dir, "calls"))
			s.netns, s.path = n, dir+":"+os.Getenv("PATH")
			if a := fetch(t, s, host.Request{Needs: []host.Need{need}}).Answer(need); a.Err != want || (want == "") != (len(a.Data) > 0) {
				t.Errorf("%s, %d times: have %q", name, interrupted, a.Err)
			}
		}
	}
}

func TestTools(t *testing.T) {
	tools := probe.Tools(host.Request{Needs: everything()})
	for _, want := range []string{"sh", "head", "ip", "tc", "nsenter", "iptables-nft-save|iptables-save"} {
		if !slices.Contains(tools, want) {
			t.Errorf("%s is not among %v", want, tools)
		}
	}
	if few := probe.Tools(host.Request{Needs: everything()[:1]}); slices.Contains(few, "ip") {
		t.Errorf("one file takes %v", few)
	}
}

// TestCrowdedNamespace: any user can fill a namespace of their own with links and addresses. That costs what is known about it, no more.
func TestCrowdedNamespace(t *testing.T) {
	labtest.Require(t, "root", "netns", "ip")
	n, crowd := labtest.NewNetns(t), labtest.NewNetns(t)
	var batch strings.Builder
	for link := range 40 {
		fmt.Fprintf(&batch, "link add crowd%d type ifb\n", link)
		for i := range 220 {
			fmt.Fprintf(&batch, "addr add 10.0.%d.%d/32 dev crowd%d\n", link, i, link)
		}
	}
	_, err := crowd.Pipe(batch.String(), "ip", "-b", "-")
	must(t, err)
	sleeper := crowd.Command("sleep", "600")
	must(t, crowd.Start(sleeper))
	t.Cleanup(func() {
		sleeper.Process.Kill()
		sleeper.Wait()
	})
	inode, err := crowd.Inode()
	must(t, err)
	need := host.Need{Kind: host.Namespaces, Args: []string{"/proc/sys/net/netfilter/nf_conntrack_count"}}
	list, err := host.ReadNamespaces(fetch(t, shell{netns: n, argv: []string{"dash", "-s"}}, host.Request{Needs: []host.Need{need}}).Answer(need))
	must(t, err)
	i := slices.IndexFunc(list, func(ns host.NamespaceEvidence) bool { return ns.Inode == inode })
	if i < 0 || list[i].Links.Err != "ip: cut at the size limit" || string(list[i].Files[need.Args[0]].Data) != "0\n" {
		if i < 0 {
			t.Fatalf("the namespace is not among %d", len(list))
		}
		t.Errorf("%s, %d bytes; %+v", list[i].Links.Err, len(list[i].Links.Data), list[i].Files)
	}
}
