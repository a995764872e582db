package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// A node that hides things: each test holds the report of a run that could not see everything against that of one that could.
// What the one finds, the other must find or leave undecided, with what is missing and what would help.

// program is this test's own executable under the name by which TestMain runs the program: no build, and readable for all.
func program(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctaudit-program")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "ctaudit")
	if os.Link(self, bin) != nil {
		text, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(bin, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}

// confined runs a shell line in the router's namespace, in a mount namespace of its own that setup has changed. $ctaudit is the
// program.
func (n *testNode) confined(setup, line string) outcome {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	script := "mount --make-rprivate /\n" + setup + "\n" + line
	prepared := n.router.Command("unshare", "-m", "sh", "-ec", script)
	cmd := exec.CommandContext(ctx, prepared.Path, prepared.Args[1:]...)
	cmd.ExtraFiles = prepared.ExtraFiles
	cmd.Dir = "/"
	cmd.Env = append(prepared.Env, "ctaudit="+program(n.t), "HOME=/nonexistent")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	n.must(n.router.Start(cmd))
	_ = cmd.Wait()
	if ctx.Err() != nil {
		n.t.Fatalf("no end: %s", errs.String())
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

const scanJSON = "exec $ctaudit scan --host-name router -f json"

func (n *testNode) confinedScan(setup, line string) (outcome, report.Report) {
	n.t.Helper()
	o := n.confined(setup, line)
	var r report.Report
	n.decode(o, &r)
	return o, r
}

// withhold requires that a report which lacks evidence claims nothing that the whole truth contradicts.
func withhold(t *testing.T, truth, r report.Report) {
	t.Helper()
	said := map[string]map[report.Outcome]bool{}
	for _, res := range r.Hosts[0].Results {
		if said[res.Control] == nil {
			said[res.Control] = map[report.Outcome]bool{}
		}
		said[res.Control][res.Outcome] = true
		if res.Outcome == report.Unknown && res.Message == "" {
			t.Errorf("%s is unknown without a reason", res.Control)
		}
	}
	for id, res := range failed(truth) {
		if !said[id][report.Fail] && !said[id][report.Unknown] {
			t.Errorf("%s fails (%s), but with evidence missing it is %v", id, res.Message, said[id])
		}
	}
}

// lacking requires exit code 3, unless findings were sure enough for 1, and that something missing mentions what, with a hint.
func lacking(t *testing.T, o outcome, r report.Report, what string) {
	t.Helper()
	if !r.Exit.Incomplete || o.code != exitIncomplete && o.code != exitFindings {
		t.Errorf("exit %d, %+v: want an incomplete audit", o.code, r.Exit)
	}
	found := false
	for _, m := range r.Hosts[0].Missing {
		found = found || strings.Contains(m.What+": "+m.Why, what)
		if m.Hint == "" {
			t.Errorf("%s: %s: no hint", m.What, m.Why)
		}
	}
	if !found {
		t.Errorf("nothing missing mentions %q: %+v", what, r.Hosts[0].Missing)
	}
}

// exposedNode has an INVALID drop below an accept: CT-DROP-010 and CT-RST-001 fail for whoever sees everything.
func exposedNode(t *testing.T, backend netfilter.Backend) (*testNode, report.Report) {
	t.Helper()
	labtest.Require(t, "ip")
	n := newTestNode(t)
	n.load(backend, scenarios[2])
	_, truth := n.scan()
	for _, id := range []string{"CT-DROP-010", "CT-RST-001", "CT-RST-002"} {
		if failed(truth)[id].Control == "" {
			t.Fatalf("%s does not fail on the whole node", id)
		}
	}
	return n, truth
}

func TestHiddenFromUs(t *testing.T) {
	const nobody = "exec setpriv --reuid 65534 --regid 65534 --clear-groups "
	const everything = "+net_admin,+net_raw,+sys_admin,+sys_ptrace,+dac_read_search"
	for name, tt := range map[string]struct {
		backend     netfilter.Backend
		setup, line string
		missing     string // empty: nothing is
	}{
		"nobody":                {netfilter.Legacy, "", nobody + strings.TrimPrefix(scanJSON, "exec "), "not permitted"},
		"nobody on native":      {netfilter.NFTables, "", nobody + strings.TrimPrefix(scanJSON, "exec "), "nf_tables rules"},
		"net_admin alone":       {netfilter.Legacy, "", nobody + "--inh-caps +net_admin --ambient-caps +net_admin " + strings.TrimPrefix(scanJSON, "exec "), "ip_tables_names"},
		"every capability":      {netfilter.Legacy, "", nobody + "--inh-caps " + everything + " --ambient-caps " + everything + " " + strings.TrimPrefix(scanJSON, "exec "), ""},
		"hidepid":               {netfilter.NFTables, "mount -t proc -o hidepid=2 proc /proc", nobody + strings.TrimPrefix(scanJSON, "exec "), "hidepid"},
		"no tools, legacy":      {netfilter.Legacy, "mount -t tmpfs none /usr/sbin", scanJSON, "no iptables-legacy-save on this node"},
		"no tools, nft":         {netfilter.IPTablesNFT, "mount -t tmpfs none /usr/sbin", scanJSON, ""},
		"no tools, native":      {netfilter.NFTables, "mount -t tmpfs none /usr/sbin", scanJSON, ""},
		"iptables-nft only":     {netfilter.Legacy, "mkdir $$.d; cp -P /usr/sbin/*nft* $$.d; mount --bind $$.d /usr/sbin; rm -f /tmp/nothing", scanJSON, "no iptables-legacy-save on this node"},
		"empty PATH":            {netfilter.Legacy, "", "PATH= exec $ctaudit scan --host-name router -f json", ""},
		"no conntrack sysctls":  {netfilter.IPTablesNFT, "mount -t tmpfs none /proc/sys/net/netfilter", scanJSON, "mounted over /proc/sys/net/netfilter"},
		"no net sysctls":        {netfilter.IPTablesNFT, "mount -t tmpfs none /proc/sys/net", scanJSON, "mounted over /proc/sys/net"},
		"no sysctls":            {netfilter.IPTablesNFT, "mount -t tmpfs none /proc/sys", scanJSON, "mounted over /proc/sys"},
		"processes only":        {netfilter.IPTablesNFT, "mount -t proc -o subset=pid proc /proc", scanJSON, "this /proc shows only processes"},
		"no proc":               {netfilter.Legacy, "mount -t tmpfs none /proc", scanJSON, "/proc is not mounted"},
		"no sys":                {netfilter.Legacy, "mount -t tmpfs none /sys", scanJSON, "/sys is not mounted"},
		"forwarding masked":     {netfilter.Legacy, "mount --bind /dev/null /proc/sys/net/ipv4/ip_forward", scanJSON, "ip_forward"},
		"no os-release":         {netfilter.IPTablesNFT, "mount -t tmpfs none /etc", scanJSON, ""},
		"no module lists":       {netfilter.IPTablesNFT, "mount -t tmpfs none /sys; mount --bind /dev/null /proc/kallsyms", scanJSON, ""},
		"sysctls for root only": {netfilter.NFTables, "mount -t tmpfs -o mode=700 none /proc/sys/net", nobody + strings.TrimPrefix(scanJSON, "exec "), "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, truth := exposedNode(t, tt.backend)
			if strings.Contains(tt.setup, "$$.d") {
				tt.setup = strings.ReplaceAll(tt.setup, "mkdir $$.d; ", "")
				tt.setup = strings.ReplaceAll(tt.setup, "$$.d", t.TempDir())
			}
			o, r := n.confinedScan(tt.setup, tt.line)
			withhold(t, truth, r)
			switch {
			case tt.missing != "":
				lacking(t, o, r, tt.missing)
			case failed(r)["CT-RST-001"].Control == "":
				t.Errorf("exit %d: CT-RST-001 does not fail, though all can be seen: %+v", o.code, r.Hosts[0].Missing)
			}
		})
	}
}

// TestForeignHome: sudo -u may keep a HOME that the user cannot look into; no configuration can be meant for him there.
func TestForeignHome(t *testing.T) {
	labtest.Require(t, "root")
	home := t.TempDir()
	config := filepath.Join(home, ".config", "ctaudit")
	for _, err := range []error{os.MkdirAll(config, 0o755), os.WriteFile(filepath.Join(config, "config.yaml"), []byte("fail-on: none\n"), 0o600), os.Chmod(home, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func() outcome {
		cmd := exec.Command(program(t), "checks")
		cmd.Dir, cmd.Env = "/", []string{"HOME=" + home}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run()
		return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	}
	if o := run(); o.code != 0 || !strings.Contains(o.stderr, "configuration passed over") {
		t.Errorf("a home out of sight: exit %d: %s", o.code, o.stderr)
	}
	for dir := home; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if o := run(); o.code != exitUsage || !strings.Contains(o.stderr, "config.yaml: permission denied") {
		t.Errorf("a configuration that may not be read: exit %d: %s", o.code, o.stderr)
	}
}

func jsonOf(t *testing.T, path string) report.Report {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return r
}
