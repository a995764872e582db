package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// The programs that write most of the world's rules, run for real in a namespace of their own: what they set up is what is
// audited.

// daemon starts a program in the namespace and ends it, by its id, with the test.
func (n *testNode) daemon(ns *lab.Netns, env []string, argv ...string) {
	n.t.Helper()
	cmd := ns.Command(argv...)
	cmd.Env = append(os.Environ(), env...)
	log, err := os.Create(filepath.Join(n.t.TempDir(), "log"))
	n.must(err)
	cmd.Stdout, cmd.Stderr = log, log
	n.must(ns.Start(cmd))
	n.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		if n.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			n.t.Logf("%s:\n%s", argv[0], text[max(0, len(text)-2000):])
		}
	})
}

// eventually waits for a condition that a daemon brings about.
func (n *testNode) eventually(what string, ok func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	n.t.Fatalf("%s did not happen within 30 s", what)
}

// docker is an engine in the router's namespace with its data in a folder of its own.
type docker struct {
	n      *testNode
	socket string
}

func newDocker(n *testNode) docker {
	n.t.Helper()
	labtest.Require(n.t, "docker")
	dir, err := os.MkdirTemp("", "ctaudit-docker")
	n.must(err)
	n.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := docker{n, filepath.Join(dir, "s")}
	n.daemon(n.router, nil, "dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "-p", dir+"/pid",
		"-H", "unix://"+d.socket, "--storage-driver", "vfs", "--bip", "172.29.0.1/24")
	n.eventually("dockerd's start", func() bool { return d.run("version") == nil })
	return d
}

func (d docker) run(args ...string) error {
	cmd := exec.Command("docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+d.socket)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// container starts one container of a busybox image that is made here: no registry is asked.
func (d docker) container(args ...string) {
	d.n.t.Helper()
	root := d.n.t.TempDir()
	d.n.must(os.Mkdir(filepath.Join(root, "bin"), 0o755))
	busybox, err := os.ReadFile("/usr/bin/busybox")
	d.n.must(err)
	d.n.must(os.WriteFile(filepath.Join(root, "bin", "busybox"), busybox, 0o755))
	tar := filepath.Join(d.n.t.TempDir(), "image.tar")
	d.n.must(exec.Command("tar", "-C", root, "-cf", tar, ".").Run())
	d.n.must(d.run("import", tar, "ctaudit-test:1"))
	d.n.must(d.run(append(append([]string{"run", "-d", "--name", "c1"}, args...), "ctaudit-test:1", "/bin/busybox", "sleep", "600")...))
	d.n.t.Cleanup(func() { _ = d.run("rm", "-f", "c1") })
}

// TestDocker is the article that the project starts from: exposed, and each of its two workarounds in turn.
func TestDocker(t *testing.T) {
	n := newTestNode(t)
	d := newDocker(n)
	d.container("--sysctl", "net.netfilter.nf_conntrack_tcp_be_liberal=0")
	o, r := n.scan()
	if bad := failed(r); o.code != exitFindings || bad["CT-RST-001"].Control == "" {
		t.Errorf("plain Docker: exit %d, failed %v; want CT-RST-001\n%s", o.code, bad, o.stderr)
	}

	n.sysctl(n.router, "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", "1")
	if _, r := n.scan(); failed(r)["CT-RST-001"].Control != "" {
		t.Errorf("be_liberal=1 on the node does not cure: %v", failed(r)["CT-RST-001"])
	}
	n.sysctl(n.router, "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", "0")

	n.must(n.router.Run("iptables", "-I", "INPUT", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"))
	_, r = n.scan()
	a := answer(t, r, "A", netfilter.IP)
	if failed(r)["CT-RST-001"].Control != "" || a.Reset != "no" || !strings.Contains(a.DecidedBy.Text, "INVALID") {
		t.Errorf("the INPUT drop does not cure: %+v", a)
	}
}

func TestDockerLiberalInContainer(t *testing.T) {
	n := newTestNode(t)
	d := newDocker(n)
	d.container("--sysctl", "net.netfilter.nf_conntrack_tcp_be_liberal=1")
	o, r := n.scan()
	bad := failed(r)
	if o.code != exitFindings || bad["CT-RST-001"].Control == "" || bad["CT-LIB-033"].Control == "" {
		t.Errorf("exit %d, failed %v; want CT-RST-001 and CT-LIB-033\n%s", o.code, bad, o.stderr)
	}
}

// TestFirewalld: firewalld drops INVALID in INPUT and FORWARD, for both families.
func TestFirewalld(t *testing.T) {
	n := newTestNode(t)
	labtest.Require(t, "firewalld")
	n.must(n.router.Masquerade("eth0"))
	dir := t.TempDir()
	bus := filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "bus.conf")
	n.must(os.WriteFile(conf, []byte(strings.ReplaceAll(busConfig, "SOCKET", bus)), 0o600))
	n.daemon(n.router, nil, "dbus-daemon", "--config-file="+conf, "--nofork")
	n.eventually("the bus", func() bool { _, err := os.Stat(bus); return err == nil })
	n.daemon(n.router, []string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + bus}, "firewalld", "--nofork", "--nopid",
		"--system-config", dir, "--log-file", filepath.Join(dir, "firewalld.log"))
	n.eventually("firewalld's ruleset", func() bool {
		out, err := n.router.Output("nft", "list", "tables")
		return err == nil && strings.Contains(string(out), "firewalld")
	})
	n.eventually("firewalld's INVALID drop", func() bool {
		out, _ := n.router.Output("nft", "list", "table", "inet", "firewalld")
		return strings.Count(string(out), "ct state invalid drop") >= 2
	})
	_, r := n.scan()
	for _, fam := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
		if a := answer(t, r, "A", fam); a.Reset != "no" || !strings.Contains(a.DecidedBy.Text, "ct state invalid drop") {
			t.Errorf("question A, %s: %s by %+v", fam, a.Reset, a.DecidedBy)
		}
	}
	if v := n.questionB(); v != "no" {
		t.Errorf("question B: reset %q, want no", v)
	}
}

// busConfig is a system bus that anybody may use, on a socket of the test's own.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="signal"/>
    <allow receive_type="method_return"/><allow receive_type="error"/>
  </policy>
</busconfig>
`

// TestUFW: ufw drops INVALID in INPUT only. Its own default for routed traffic is a DROP policy, which takes INVALID
// packets too; a node of containers runs with ACCEPT there, and then nothing does.
func TestUFW(t *testing.T) {
	for forward, reset := range map[string]string{"DROP": "no", "ACCEPT": "yes"} {
		t.Run("forward "+forward, func(t *testing.T) {
			n := newTestNode(t)
			labtest.Require(t, "ufw")
			n.must(n.router.Masquerade("eth0"))
			n.must(n.router.Run("unshare", "-m", "sh", "-ec", ufwScript, "ufw", t.TempDir(), forward))
			_, r := n.scan()
			for _, fam := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
				if a := answer(t, r, "A", fam); a.Reset != "no" || !strings.Contains(a.DecidedBy.Text, "INVALID") {
					t.Errorf("question A, %s: %s by %+v", fam, a.Reset, a.DecidedBy)
				}
			}
			if v := n.questionB(); v != reset {
				t.Errorf("question B: reset %q, want %q", v, reset)
			}
		})
	}
}

// ufwScript turns ufw on with a copy of its configuration in front of the machine's own, seen by this script alone.
const ufwScript = `
mount --make-rprivate /
cp -a /etc/ufw/. "$1"/
sed "s/^DEFAULT_FORWARD_POLICY=.*/DEFAULT_FORWARD_POLICY=\"$2\"/" /etc/default/ufw > "$1"/default
mount --bind "$1" /etc/ufw
mount --bind "$1"/default /etc/default/ufw
ufw --force enable
`

// questionB asks about a backend's reply from the uplink to the container, Service or not.
func (n *testNode) questionB() string {
	n.t.Helper()
	o := ctaudit(n.t, "trace", "--netns", n.router.Path(), "--question", "B", "--family", "ipv4", "--out", "c0", "-f", "json")
	var a struct{ Reset string }
	n.decode(o, &a)
	return a.Reset
}
