package lab_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

const accepting = "*filter\n:INPUT ACCEPT [0:0]\n"

// legacyRules are the rules of the namespace's iptables-legacy tables.
func legacyRules(t *testing.T, n *lab.Netns, save string) (rules []string) {
	t.Helper()
	out, err := n.Output(save)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "-A ") {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	return rules
}

// children lists the processes that this one has started and not waited for, by how their command line begins.
func children(t *testing.T, command string) (pids []int) {
	t.Helper()
	out, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range out {
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		_, behind, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(behind)
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) && strings.HasPrefix(string(line), command) {
			pid, _ := strconv.Atoi(e.Name())
			pids = append(pids, pid)
		}
	}
	return pids
}

// When Load returns, the document's rules are in the kernel and those before it are not.
func TestRestorerLoadsDocumentsOneByOne(t *testing.T) {
	labtest.Require(t, "iptables-legacy")
	for family, tool := range map[netfilter.Family]string{netfilter.IP: "iptables-legacy", netfilter.IP6: "ip6tables-legacy"} {
		n := labtest.NewNetns(t)
		r := n.Restorer(family)
		for port := range 20 {
			want := fmt.Sprintf("-A INPUT -p tcp -m tcp --dport %d -j DROP", port+1)
			if err := r.Load(accepting + want + "\nCOMMIT\n"); err != nil {
				t.Fatal(err)
			}
			if got := legacyRules(t, n, tool+"-save"); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %q after %q", tool, got, want)
			}
		}
		if pids := children(t, tool+"-restore"); len(pids) != 1 {
			t.Errorf("%s: processes %v, want one", tool, pids)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if pids := children(t, tool+"-restore"); len(pids) != 0 {
			t.Errorf("%s: processes %v are left", tool, pids)
		}
	}
}

// A refused document is named by its own line, whatever was loaded before it, and the next one is loaded.
func TestRestorerGoesOnBehindARefusedDocument(t *testing.T) {
	labtest.Require(t, "iptables-legacy")
	n := labtest.NewNetns(t)
	r := n.Restorer(netfilter.IP)
	defer r.Close()
	good := accepting + "-A INPUT -s 192.0.2.1/32 -j DROP\nCOMMIT\n"
	refused := map[string]string{
		"no such chain":     accepting + "-A OUTPUT -j DROP\n-A NOWHERE -j DROP\nCOMMIT\n",
		"no such match":     accepting + "-A OUTPUT -j DROP\n-A INPUT -m nonsense -j DROP\nCOMMIT\n",
		"refused by kernel": "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j MASQUERADE\nCOMMIT\n",
		"no COMMIT":         accepting + "-A INPUT -j DROP\n",
		"the mark, early":   accepting + "-A INPUT -j DROP\n# the document ends here\n-A NOWHERE -j DROP\nCOMMIT\n",
	}
	for name, document := range refused {
		if err := r.Load(good); err != nil {
			t.Fatal(err)
		}
		want := n.Load(netfilter.Legacy, netfilter.IP, document)
		err := r.Load(document)
		if err == nil || want == nil || lastLine(err) != lastLine(want) {
			t.Errorf("%s: %v, want as alone: %v", name, err, want)
		}
		if err := r.Load(good); err != nil {
			t.Errorf("behind %s: %v", name, err)
		}
		if got := legacyRules(t, n, "iptables-legacy-save"); len(got) != 1 || got[0] != "-A INPUT -s 192.0.2.1/32 -j DROP" {
			t.Errorf("behind %s: rules %q", name, got)
		}
	}
}

func lastLine(err error) string {
	text := err.Error()
	return text[max(0, strings.LastIndex(text, ": iptables")):]
}

// A process that was killed is missed by the next document alone, and is replaced.
func TestRestorerReplacesAKilledProcess(t *testing.T) {
	labtest.Require(t, "iptables-legacy")
	n := labtest.NewNetns(t)
	r := n.Restorer(netfilter.IP)
	defer r.Close()
	for range 3 {
		if err := r.Load(accepting + "-A INPUT -j DROP\nCOMMIT\n"); err != nil {
			t.Fatal(err)
		}
		for _, pid := range children(t, "iptables-legacy-restore") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}
}

// A document's echo is longer than the pipes on either side hold.
func TestRestorerTakesLongDocuments(t *testing.T) {
	labtest.Require(t, "iptables-legacy")
	n := labtest.NewNetns(t)
	r := n.Restorer(netfilter.IP)
	defer r.Close()
	const rules = 3000
	many := strings.Repeat("-A INPUT -s 192.0.2.1/32 -p tcp -m tcp --dport 80 -j DROP\n", rules)
	if err := r.Load(accepting + many + "COMMIT\n"); err != nil {
		t.Fatal(err)
	}
	if got := len(legacyRules(t, n, "iptables-legacy-save")); got != rules {
		t.Errorf("%d rules, want %d", got, rules)
	}
}
