package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// TestFleetOverSSH: real nodes behind real servers, each of another shape, and some out of reach. The fleet's report has each as it is,
// and as scan finds it on the node itself.
func TestFleetOverSSH(t *testing.T) {
	labtest.Require(t, "root", "sshd")
	bin := ownProgram(t)
	snat := "*nat\n-A POSTROUTING -s 10.251.0.0/24 -o eth0 -j MASQUERADE\nCOMMIT\n"
	nodes := map[string]*testNode{"exposed": newTestNode(t), "protected": newTestNode(t)}
	known, inventory := "", []string{}
	for _, name := range []string{"exposed", "protected"} {
		n, rules := nodes[name], snat
		if name == "protected" {
			rules += "*mangle\n-A PREROUTING -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
		}
		n.must(n.router.Load(netfilter.Legacy, netfilter.IP, rules))
		s := sshtest.StartSSHD(t, sshtest.Options{Start: n.router.Start, Profile: "PATH='" + bin + "':$PATH"})
		known += s.KnownHost()
		inventory = append(inventory, fmt.Sprintf("%s ansible_host=127.0.0.1 ansible_port=%d ansible_ssh_private_key_file=%s", name, s.Port, s.Key.Path))
	}
	stranger := sshtest.StartSSHD(t, sshtest.Options{})
	inventory = append(inventory, fmt.Sprintf("stranger ansible_host=127.0.0.1 ansible_port=%d", stranger.Port),
		fmt.Sprintf("gone ansible_host=127.0.0.1 ansible_port=%d", sshtest.FreePort(t)))
	i, config := inventoryOf(t, inventory...), sshtest.Config(t, stranger.Key.Path, known)

	o := ctaudit(t, "fleet", "-i", i, "--ssh-config", config, "-f", "json")
	var rep report.Report
	nodes["exposed"].decode(o, &rep)
	if o.code != exitFindings || len(rep.Hosts) != 4 {
		t.Fatalf("exit %d: %s", o.code, o.stderr)
	}
	for _, h := range rep.Hosts {
		switch n := nodes[h.Name]; {
		case n != nil:
			sc := ctaudit(t, "scan", "--netns", n.router.Path(), "--host-name", h.Name, "-f", "json")
			var want report.Report
			n.decode(sc, &want)
			if diff := cmp.Diff(verdicts(want.Hosts[0]), verdicts(h)); diff != "" {
				t.Errorf("%s is another over SSH (-scan +fleet):\n%s", h.Name, diff)
			}
		case h.Name == "stranger" && (h.Status != report.HostError || h.Stage != "host key"):
			t.Errorf("stranger: %s %s %s", h.Status, h.Stage, h.Error)
		case h.Name == "gone" && (h.Status != report.HostError || h.Stage != "dial"):
			t.Errorf("gone: %s %s %s", h.Status, h.Stage, h.Error)
		}
	}
	if got := []string{verdicts(rep.Hosts[0])["CT-RST-001 ipv4 eth0"], verdicts(rep.Hosts[2])["CT-RST-001 ipv4 eth0"]}; !slices.Equal(got, []string{"fail", "pass"}) {
		t.Errorf("exposed and protected: %v", got)
	}
}

// verdicts are a host's outcomes by control and subject.
func verdicts(h report.Host) map[string]string {
	out := map[string]string{}
	for _, r := range h.Results {
		out[r.Control+" "+r.Subject] = string(r.Outcome)
	}
	return out
}

// ownProgram is a folder with this test's program as ctaudit: a node that has it.
func ownProgram(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "ctaudit")); err != nil {
		t.Fatal(err)
	}
	return dir
}
