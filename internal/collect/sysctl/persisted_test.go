package sysctl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// TestPersisted runs each node of testdata: a txtar of its files, with what the collector must make of them in "want".
func TestPersisted(t *testing.T) {
	nodes, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(nodes) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, name := range nodes {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			files, want := node(t, name)
			s, missing := collected(evidence(files))
			if len(missing) != 0 {
				t.Errorf("missing: %v", missing)
			}
			if diff := cmp.Diff(want, describe(s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func node(t testing.TB, name string) (files map[string]string, want string) {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for _, f := range archive.Files {
		if f.Name == "want" {
			want = string(f.Data)
			continue
		}
		text := string(f.Data)
		if f.Name == pathInit || f.Name == pathCmdline {
			text = strings.TrimSpace(text) + "\n"
		}
		files[f.Name] = text
	}
	return files, want
}

// describe writes what was found, one a line, the assignments with the marks - ignore, ! exclude, u unread, x overridden.
func describe(s snapshot.Sysctl) string {
	var b strings.Builder
	for _, a := range s.Persisted.Or(nil) {
		marks := ""
		for _, m := range []struct {
			set  bool
			mark string
		}{{a.Ignore, "-"}, {a.Exclude, "!"}, {a.Unread, "u"}, {a.Overridden, "x"}} {
			if m.set {
				marks += m.mark
			}
		}
		fmt.Fprintf(&b, "%s=%q %s:%d %s\n", a.Key, a.Value, a.File, a.Line, marks)
	}
	for _, m := range s.ModulesLoad.Or(nil) {
		fmt.Fprintf(&b, "load %s %s\n", m.Module, m.File)
	}
	for _, o := range s.ModuleOptions.Or(nil) {
		fmt.Fprintf(&b, "option %s %s %s:%d\n", o.Module, o.Option, o.File, o.Line)
	}
	for _, m := range s.Mentions.Or(nil) {
		fmt.Fprintf(&b, "mention %s:%d %s\n", m.File, m.Line, m.Text)
	}
	return strings.ReplaceAll(b.String(), " \n", "\n")
}

func TestLineEnds(t *testing.T) {
	type numbered struct {
		Number int
		Line   string
	}
	var got []numbered
	confLines([]byte("a=1\r\nb=2\n\n# no\n;no\n  c = 3\t\x00d=4\rlast"), func(n int, line string) {
		got = append(got, numbered{n, line})
	})
	want := []numbered{{1, "a=1"}, {2, "b=2"}, {6, "c = 3"}, {7, "d=4"}, {8, "last"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHugeLineEndsTheFile(t *testing.T) {
	huge := "net.ipv4.ip_forward=1\n" + strings.Repeat("x", 10<<20) + "\nnet.ipv4.ip_forward=0\n"
	start := time.Now()
	s, missing := collected(evidence(map[string]string{"/etc/sysctl.d/10-a.conf": huge}))
	list := s.Persisted.Or(nil)
	if len(missing) != 0 || len(list) != 1 || list[0].Value != "1" {
		t.Errorf("missing %v, list %v", missing, list)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestHostileFiles(t *testing.T) {
	text := "net.ipv4.ip_forward = \x1b[31m1\xff\n" + strings.Repeat("net.ipv4.ip_forward=0\x00", 1000) + "=\n==\n-\n-=\n...=1\n"
	s, _ := collected(evidence(map[string]string{"/etc/sysctl.d/a.conf": text, "/etc/rc.local": "\x1b]0;nf_conntrack_tcp_be_liberal=1" + strings.Repeat("é", 1000)}))
	list := s.Persisted.Or(nil)
	if len(list) != 1001 || list[0].Value != "\uFFFD[31m1\uFFFD" {
		t.Errorf("%d assignments, the first %+v", len(list), list[0])
	}
	m := s.Mentions.Or(nil)
	if len(m) != 1 || len(m[0].Text) > maxText || strings.ContainsRune(m[0].Text, '\x1b') {
		t.Errorf("mentions: %+v", m)
	}
}

func TestTooManyAssignments(t *testing.T) {
	var b strings.Builder
	for i := range maxAssignments + 5 {
		fmt.Fprintf(&b, "net.ipv4.conf.eth%d.rp_filter=0\n", i)
	}
	s, missing := collected(evidence(map[string]string{"/etc/sysctl.d/a.conf": b.String()}))
	if !s.Persisted.IsUnreadable() || len(missing) != 1 {
		t.Errorf("%v, missing %v", s.Persisted.IsUnreadable(), missing)
	}
}

// TestPartlyUnreadable proves that a folder that could not be read whole leaves nothing certain.
func TestPartlyUnreadable(t *testing.T) {
	files := map[string]string{"/etc/sysctl.d/10-a.conf": "net.ipv4.ip_forward=1\n"}
	for name, dir := range map[string]string{"sysctl": "/run/sysctl.d", "modules": "/run/modules-load.d", "options": "/run/modprobe.d"} {
		ev := evidence(files)
		ev.Answers[glob(dir+"/*.conf").Key()] = &host.Answer{Err: "permission denied", Denied: true}
		s, missing := collected(ev)
		want := []snapshot.Missing{{What: dir, Why: "permission denied", Hint: "run as root"}}
		if diff := cmp.Diff(want, missing); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		got := []bool{s.Persisted.IsUnreadable(), s.ModulesLoad.IsUnreadable(), s.ModuleOptions.IsUnreadable()}
		if diff := cmp.Diff([]bool{name == "sysctl", name == "modules", name == "options"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestUnknownReader proves that an /etc/sysctl.conf of which nobody can say whether it is applied makes the whole unknown, but only
// if it sets anything of ours.
func TestUnknownReader(t *testing.T) {
	for text, unreadable := range map[string]bool{"net.ipv4.ip_forward=1\n": true, "kernel.pid_max=9\n": false} {
		ev := evidence(map[string]string{pathConf: text})
		ev.Answers[file(pathInit).Key()] = &host.Answer{Absent: true}
		s, _ := collected(ev)
		if s.Persisted.IsUnreadable() != unreadable {
			t.Errorf("%q: %+v", text, s.Persisted)
		}
	}
}

func TestAtBoot(t *testing.T) {
	s, _ := collected(evidence(map[string]string{
		pathCmdline: `quiet sysctl.net.ipv4.ip_forward=1 sysctl.net.ipv4.conf.lo.rp_filter=2 "sysctl.net.ipv4.ip_local_port_range=1024 2048" -- sysctl.net.ipv4.fwmark_reflect=1`,
		"/etc/sysctl.d/10.conf": strings.Join([]string{
			"net.ipv4.conf.*.rp_filter=0", "net.ipv4.conf.eth0/1.rp_filter=1", "-net.ipv4.conf.eth1.rp_filter", "-net.ipv4.conf.lo.rp_filter",
			"net.ipv4.conf.[!a]*.route_localnet=1",
		}, "\n"),
	}))
	for key, want := range map[string]string{
		"net.ipv4.ip_forward":                 "1",
		"net.ipv4.ip_local_port_range":        "1024 2048",
		"net.ipv4.fwmark_reflect":             "none",
		"net.ipv4.conf.all.rp_filter":         "0",
		"net.ipv4.conf.eth0/1.rp_filter":      "1",
		"net.ipv4.conf.eth1.rp_filter":        "none",
		"net.ipv4.conf.lo.rp_filter":          "2",
		"net.ipv4.conf.all.route_localnet":    "none",
		"net.ipv4.conf.br-1.route_localnet":   "1",
		"net.netfilter.nf_conntrack_checksum": "none",
	} {
		got := "none"
		if a, ok := s.AtBoot(key).Get(); ok {
			got = a.Value
		}
		if got != want {
			t.Errorf("%s at boot is %s, want %s", key, got, want)
		}
	}
	none := snapshot.Sysctl{Persisted: snapshot.Unreadable[[]snapshot.Assignment]("denied", "")}
	if !none.AtBoot("net.ipv4.ip_forward").IsUnreadable() {
		t.Error("unreadable files must not read as a default")
	}
}

func FuzzSysctlFiles(f *testing.F) {
	nodes, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range nodes {
		files, _ := node(f, name)
		for _, text := range files {
			f.Add([]byte(text), "systemd")
		}
	}
	for _, name := range []string{pathConf, pathModules, pathCmdline} {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b, "init")
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, comm string) {
		ev := evidence(map[string]string{pathInit: comm})
		for _, n := range New().Needs() {
			switch {
			case n.Kind == host.Glob:
				name := strings.ReplaceAll(n.Args[0], "*", "x")
				ev.Answers[n.Key()] = &host.Answer{Files: map[string][]byte{name: b}}
			case n.Args[0] != pathInit:
				ev.Answers[n.Key()] = &host.Answer{Data: b}
			}
		}
		s, missing := collected(ev)
		for _, m := range missing {
			if m.What == "" || m.Why == "" {
				t.Errorf("incomplete: %+v", m)
			}
		}
		for _, a := range s.Persisted.Or(nil) {
			if !plainText(a.Key) || !plainText(a.Value) || a.Line < 1 {
				t.Errorf("not fit for the document: %+v", a)
			}
		}
		again, _ := collected(ev)
		if diff := cmp.Diff(describe(s), describe(again), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("two readings of the same files differ:\n%s", diff)
		}
	})
}
