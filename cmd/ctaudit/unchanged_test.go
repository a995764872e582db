package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// state is what an audit must leave as it is: tables of every backend, modules, sysctls.
func (n *testNode) state() map[string]string {
	n.t.Helper()
	out := map[string]string{}
	for _, argv := range [][]string{{"nft", "-a", "list", "ruleset"}, {"ip", "-d", "addr"}, {"ip", "route", "show", "table", "all"}} {
		text, err := n.router.Output(argv...)
		n.must(err)
		out[strings.Join(argv, " ")] = string(text)
	}
	n.must(n.router.Do(func() error {
		for _, file := range []string{"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names", "/proc/modules"} {
			text, err := os.ReadFile(file)
			if err != nil && !os.IsNotExist(err) {
				return err
			}
			out[file] = string(text)
		}
		return filepath.WalkDir("/proc/sys/net", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "nf_conntrack_count") {
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil { // some are for writing only
				out[path] = string(text)
			}
			return nil
		})
	}))
	return out
}

// TestScanChangesNothing: tables, modules and sysctls are equal before and after, also where a backend has no table yet, and
// an audit needs no writable file system.
func TestScanChangesNothing(t *testing.T) {
	for _, backend := range []netfilter.Backend{"", netfilter.Legacy, netfilter.IPTablesNFT, netfilter.NFTables} {
		t.Run("rules "+string(backend), func(t *testing.T) {
			n := newTestNode(t)
			if backend != "" {
				n.load(backend, scenarios[1])
			}
			n.eventually("the end of duplicate address detection", func() bool {
				text, err := n.router.Output("ip", "addr")
				return err == nil && !strings.Contains(string(text), "tentative")
			})
			before := n.state()
			n.scanReadOnly()
			if diff := cmp.Diff(before, n.state()); diff != "" {
				t.Errorf("the audit changed the node:\n%s", diff)
			}
			if len(before) < 200 {
				t.Errorf("only %d things were compared", len(before))
			}
		})
	}
}

// scanReadOnly runs the binary where nothing can be written: every mount is read-only, /proc too.
func (n *testNode) scanReadOnly() {
	n.t.Helper()
	const script = `
mount --make-rprivate /
awk '{print $5}' /proc/self/mountinfo | sort -r | while read -r m; do mount -o remount,ro,bind "$m" 2>/dev/null || true; done
if touch "$2/probe" 2>/dev/null; then echo "the file system is still writable" >&2; exit 99; fi
exec "$1" scan localhost --exit-zero
`
	cmd := n.router.Command("unshare", "-m", "sh", "-ec", script, "sh", binary(n.t), n.t.TempDir())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	n.must(n.router.Start(cmd))
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "passed") {
		n.t.Fatalf("scan on a read-only system: %v\n%s\n%s", err, out.String(), errs.String())
	}
}

// TestSnapshotElsewhere: a snapshot, and a recording, judged by an ordinary user give the findings of the node itself. Other
// tests' namespaces come and go between two readings of the same machine, so the comparison is tried a few times.
func TestSnapshotElsewhere(t *testing.T) {
	n := newTestNode(t)
	n.load(netfilter.IPTablesNFT, scenarios[2])
	var diff string
	for range 5 {
		if diff = n.elsewhere(); diff == "" {
			return
		}
	}
	t.Error(diff)
}

// elsewhere returns how the findings of a snapshot and of a recording differ from those of the node.
func (n *testNode) elsewhere() string {
	n.t.Helper()
	dir := n.t.TempDir()
	snap, rec := filepath.Join(dir, "node.json"), filepath.Join(dir, "node.txtar")
	if o := ctaudit(n.t, "collect", "--netns", n.router.Path(), "--host-name", "router", "-O", snap, "--record", rec); o.code != 0 {
		n.t.Fatalf("collect: exit %d: %s", o.code, o.stderr)
	}
	o, _ := n.scan()
	here := n.findings(o)
	return cmp.Diff(here, n.findings(n.asNobody(snap))) + cmp.Diff(here, n.findings(n.asNobody(rec)))
}

// findings are the results of the only host, as they stand in the document.
func (n *testNode) findings(o outcome) string {
	n.t.Helper()
	var r struct {
		Hosts []struct{ Results json.RawMessage }
	}
	n.decode(o, &r)
	return string(r.Hosts[0].Results)
}

// asNobody runs the binary as an ordinary user, outside the node's namespace.
func (n *testNode) asNobody(file string) outcome {
	n.t.Helper()
	bin := filepath.Join(n.t.TempDir(), "ctaudit")
	text, err := os.ReadFile(binary(n.t))
	n.must(err)
	n.must(os.WriteFile(bin, text, 0o755))
	for dir := filepath.Dir(bin); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		n.must(os.Chmod(dir, 0o755))
	}
	input, err := os.Open(file)
	n.must(err)
	defer input.Close()
	cmd := n.server.Command(bin, "scan", "--snapshot", "-", "--host-name", "router", "-f", "json")
	cmd.Dir, cmd.Stdin, cmd.Env = "/", input, []string{"PATH=/usr/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	n.must(n.server.Start(cmd))
	_ = cmd.Wait()
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}
