package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// remote is a node of a test fleet: an OpenSSH server that lives in the node's namespace, and how to get there.
type remote struct {
	node   *testNode
	server *sshtest.Server
	vars   map[string]string // of the inventory, beside address, port and key
	known  string            // its line of known_hosts
}

// testFleet is nodes of every kind, by their inventory names.
type testFleet struct {
	t      *testing.T
	nodes  map[string]*remote
	config string // lines of the ssh configuration
}

// add starts a node with a ruleset of node_test.go's.
func (f *testFleet) add(name string, backend netfilter.Backend, rules scenario, o sshtest.Options) *remote {
	f.t.Helper()
	n := newTestNode(f.t)
	n.load(backend, rules)
	o.Start = n.router.Start
	r := &remote{node: n, server: sshtest.StartSSHD(f.t, o), vars: map[string]string{}}
	r.known = r.server.KnownHost()
	f.nodes[name] = r
	return r
}

// inventory writes one in Ansible's YAML, and an ssh configuration for it.
func (f *testFleet) inventory() (hosts, config string) {
	f.t.Helper()
	text, known := "all:\n  hosts:\n", ""
	for _, name := range slices.Sorted(maps.Keys(f.nodes)) {
		r := f.nodes[name]
		vars := map[string]string{
			"ansible_host": "127.0.0.1", "ansible_port": fmt.Sprint(r.server.Port), "ansible_ssh_private_key_file": r.server.Key.Path,
		}
		maps.Copy(vars, r.vars)
		text += "    " + name + ":\n"
		for _, key := range slices.Sorted(maps.Keys(vars)) {
			text += "      " + key + ": '" + vars[key] + "'\n"
		}
		known += r.known
	}
	hosts = filepath.Join(f.t.TempDir(), "hosts.yaml")
	if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return hosts, sshtest.Config(f.t, "none", known, f.config)
}

// settle waits until no node's addresses change any more.
func (f *testFleet) settle() {
	f.t.Helper()
	for name, r := range f.nodes {
		if n := r.node; n != nil {
			n.eventually("the end of duplicate address detection on "+name, func() bool {
				text, err := n.router.Output("ip", "addr")
				return err == nil && !strings.Contains(string(text), "tentative")
			})
		}
	}
}

// audit runs fleet and returns each host's part of the report.
func (f *testFleet) audit(args ...string) (outcome, map[string]report.Host) {
	f.t.Helper()
	f.settle()
	hosts, config := f.inventory()
	o := ctaudit(f.t, append([]string{"fleet", "-i", hosts, "--ssh-config", config, "-f", "json"}, args...)...)
	var r report.Report
	f.nodes["exposed"].node.decode(o, &r)
	byName := map[string]report.Host{}
	for _, h := range r.Hosts {
		byName[h.Name] = h
	}
	return o, byName
}

func scenarioNamed(t *testing.T, name string) scenario {
	t.Helper()
	i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
	if i < 0 {
		t.Fatalf("no scenario %q", name)
	}
	return scenarios[i]
}

// signed makes a certificate with OpenSSH's own tool.
func signed(t *testing.T, ca, public string, args ...string) {
	t.Helper()
	argv := append([]string{"-q", "-s", ca, "-I", "test"}, append(args, public)...)
	if out, err := exec.Command("ssh-keygen", argv...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %v: %v: %s", argv, err, out)
	}
}

// newTestFleet starts nodes that differ in what they are and in how one gets there.
func newTestFleet(t *testing.T) *testFleet {
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy", "sshd", "doas", "ip")
	f := &testFleet{t: t, nodes: map[string]*remote{}}
	exposed, protected := scenarioNamed(t, "exposed"), scenarioNamed(t, "input drop")
	f.add("exposed", netfilter.NFTables, exposed, sshtest.Options{})
	f.add("protected", netfilter.IPTablesNFT, protected, sshtest.Options{Shell: "/bin/bash", Profile: "echo Welcome; printf '\\033[31mno entry\\033[0m\\n'"})
	f.add("legacy", netfilter.Legacy, protected, sshtest.Options{})

	ordinary := f.add("ordinary", netfilter.NFTables, protected, sshtest.Options{Users: map[string]string{"audit": "/bin/sh"}})
	ordinary.vars["ansible_user"] = "audit"

	become := f.add("become", netfilter.Legacy, exposed, sshtest.Options{
		Users: map[string]string{"audit": "/bin/sh"}, Etc: map[string]string{"doas.conf": "permit nopass audit as root cmd sh\n"},
	})
	become.vars["ansible_user"], become.vars["ansible_become"], become.vars["ansible_become_method"] = "audit", "true", "doas"

	denied := f.add("denied", netfilter.Legacy, exposed, sshtest.Options{Users: map[string]string{"audit": "/bin/sh"}, Etc: map[string]string{"doas.conf": "\n"}})
	maps.Copy(denied.vars, become.vars)

	behind := f.add("behind", netfilter.IPTablesNFT, exposed, sshtest.Options{})
	jump := sshtest.StartSSHD(t, sshtest.Options{})
	behind.known += jump.KnownHost()
	f.config = fmt.Sprintf("Host jump\nHostName 127.0.0.1\nPort %d\nIdentityFile %s", jump.Port, jump.Key.Path)
	behind.vars["ansible_ssh_common_args"] = "-J jump"

	f.add("certified", netfilter.NFTables, protected, sshtest.Options{})
	f.certify("certified")

	changed := f.add("changed", netfilter.NFTables, protected, sshtest.Options{})
	changed.known = sshtest.KnownHost(changed.server.Addr(), jump.HostKey)

	refused := f.add("refused", netfilter.NFTables, protected, sshtest.Options{})
	refused.vars["ansible_ssh_private_key_file"] = jump.Key.Path

	f.nodes["down"] = &remote{server: &sshtest.Server{Port: sshtest.FreePort(t), Key: jump.Key}, vars: map[string]string{}}
	return f
}

// certify replaces keys by certificates: the server shows one of its authority's, and takes logins with one.
func (f *testFleet) certify(name string) {
	f.t.Helper()
	dir := f.t.TempDir()
	ca, user := sshtest.NewKey(f.t, filepath.Join(dir, "ca")), sshtest.NewKey(f.t, filepath.Join(dir, "user"))
	signed(f.t, ca.Path, user.Path+".pub", "-n", "root")
	r := f.nodes[name]
	hostKey := sshtest.NewKey(f.t, filepath.Join(dir, "host"))
	signed(f.t, ca.Path, hostKey.Path+".pub", "-h", "-n", "127.0.0.1")
	conf := fmt.Sprintf("HostKey %s\nHostCertificate %s-cert.pub\nTrustedUserCAKeys %s.pub\n", hostKey.Path, hostKey.Path, ca.Path)
	r.server = sshtest.StartSSHD(f.t, sshtest.Options{Config: conf, Start: r.node.router.Start})
	r.known = "@cert-authority [127.0.0.1]:" + fmt.Sprint(r.server.Port) + " " + sshtest.Public(ca.Signer) + "\n"
	r.vars["ansible_ssh_private_key_file"] = user.Path
}

// TestFleetOfRealNodes audits every kind of node over OpenSSH: each is told rightly, as scan inside its namespace tells it.
func TestFleetOfRealNodes(t *testing.T) {
	f := newTestFleet(t)
	o, hosts := f.audit()
	if o.code != 1 {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	for name, stage := range map[string]string{"down": "dial", "changed": "host key", "refused": "login", "denied": "become"} {
		h := hosts[name]
		if h.Status != report.HostError || h.Stage != stage || len(h.Results) > 0 || h.Error == "" {
			t.Errorf("%s: %s, %q: %s; want an error of stage %q", name, h.Status, h.Stage, h.Error, stage)
		}
	}
	for name, want := range map[string]report.Outcome{
		"exposed": report.Fail, "become": report.Fail, "behind": report.Fail, "protected": report.Pass, "legacy": report.Pass,
		"certified": report.Pass, "ordinary": report.Unknown,
	} {
		h := hosts[name]
		for _, control := range []string{"CT-RST-001", "CT-RST-002"} {
			if have := outcomeOf(h.Results, control); have != want {
				t.Errorf("%s: %s is %q, want %q; %s %s missing %v", name, control, have, want, h.Status, h.Error, h.Missing)
			}
		}
		if name != "ordinary" {
			f.sameAsScan(name, h)
		}
	}
}

// TestFleetSaysWhatWasRead: a login can end in a container, or in a network namespace beside the node's. What is found there is found
// there, and every format says so.
func TestFleetSaysWhatWasRead(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "sshd", "ip")
	f := &testFleet{t: t, nodes: map[string]*remote{}}
	exposed := f.add("exposed", netfilter.NFTables, scenarioNamed(t, "exposed"), sshtest.Options{})
	pod := sshtest.StartSSHD(t, sshtest.Options{Start: func(cmd *exec.Cmd) error {
		cmd.Args = append([]string{"unshare", "--pid", "--fork", "--mount-proc", "--"}, cmd.Args...) // which begin with unshare, too
		return exposed.node.client.Start(cmd)
	}})
	f.nodes["pod"] = &remote{server: pod, vars: map[string]string{}, known: pod.KnownHost()}
	dir := t.TempDir()
	o, hosts := f.audit("--reader", "probe", "-o", "text="+dir+"/text", "-o", "sarif="+dir+"/sarif", "-o", "junit="+dir+"/junit")
	if o.code != exitFindings || !strings.Contains(o.stderr, "warning: not the whole node was read of 2 hosts: exposed, pod\n") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
	for name, want := range map[string]string{"exposed": "another network namespace was read than that of the node's first process", "pod": "a container was read, whose first process is "} {
		if !strings.HasPrefix(hosts[name].Scope, want) {
			t.Errorf("%s: %q; %s %s", name, hosts[name].Scope, hosts[name].Status, hosts[name].Error)
		}
		for _, format := range []string{"text", "sarif", "junit"} {
			text, err := os.ReadFile(filepath.Join(dir, format))
			if err != nil {
				t.Fatal(err)
			}
			if plain := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "&#39;", "'")), " "); !strings.Contains(plain, want[:len(want)-1]) {
				t.Errorf("%s says nothing of %s:\n%s", format, name, plain)
			}
		}
	}
	if !slices.ContainsFunc(hosts["pod"].Results, func(r report.Result) bool {
		return r.Control == "CT-META-080" && r.Outcome == report.Unknown && r.Subject == "sysctl: the node around this container"
	}) {
		t.Errorf("the node around the container counts as read: %+v", hosts["pod"].Missing)
	}
	if _, here := exposed.node.scan(); here.Hosts[0].Scope != "" {
		t.Errorf("the namespace that was asked for: %q", here.Hosts[0].Scope)
	}
}

// sameAsScan holds a host's results against those of a scan inside its namespace.
func (f *testFleet) sameAsScan(name string, h report.Host) {
	f.t.Helper()
	n := f.nodes[name].node
	_, here := n.scan("--host-name", name)
	if diff := cmp.Diff(findingsOf(here.Hosts[0]), findingsOf(h)); diff != "" {
		f.t.Errorf("%s: over SSH (+) and inside (-) differ:\n%s", name, diff)
	}
}

var numbers = regexp.MustCompile(`[0-9]+`)

// findingsOf is what a host's results say, without the values that change while one looks, and without other tests' network
// namespaces: these come and go, and one that ends while it is read is reported.
func findingsOf(h report.Host) map[string]string {
	out := map[string]string{}
	for _, r := range h.Results {
		if r.Control == "CT-META-080" && (r.Outcome == report.Pass || strings.Contains(r.Subject, "network namespace")) {
			continue
		}
		text := string(r.Outcome) + " " + string(r.Severity) + ": " + r.Message
		for _, e := range r.Evidence {
			if e.Kind != "counter" {
				text += "\n" + e.Kind + " " + e.Name + " " + e.Value
			}
		}
		if r.Control == "CT-LIB-033" {
			if strings.Contains(text, "changed while reading") {
				text = "pass high: No container of N sets be_liberal for itself alone."
			}
			text = numbers.ReplaceAllString(text, "N")
		}
		out[r.Control+" "+r.Subject] = text
	}
	for _, a := range h.Answers {
		key := strings.Join([]string{"answer", a.Question, string(a.Family), a.Interface}, " ")
		out[key] = fmt.Sprint(a.State, a.Verdict, a.Reset, a.Sentence, a.DecidedBy)
	}
	return out
}

// TestFleetChangesNothing: after an audit by each reader the node's tables, settings, links, files and processes are what they
// were.
func TestFleetChangesNothing(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "sshd", "ip", "tc")
	f := &testFleet{t: t, nodes: map[string]*remote{}}
	n := f.add("exposed", netfilter.NFTables, scenarioNamed(t, "exposed"), sshtest.Options{}).node
	f.settle()
	for _, reader := range []string{"probe", "push"} {
		before, files := n.state(), leftovers(t)
		o, hosts := f.audit("--reader", reader, "--limit", "exposed")
		if o.code != 1 || outcomeOf(hosts["exposed"].Results, "CT-RST-001") != report.Fail {
			t.Fatalf("%s: exit %d: %s", reader, o.code, o.stderr)
		}
		if diff := cmp.Diff(before, n.state()); diff != "" {
			t.Errorf("%s changed the node:\n%s", reader, diff)
		}
		if diff := cmp.Diff(files, leftovers(t)); diff != "" {
			t.Errorf("%s left files:\n%s", reader, diff)
		}
	}
}

// leftovers lists what a collector that was sent could leave, where it is put.
func leftovers(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{"/run", "/dev/shm", "/tmp", "/var/tmp", "/root"} {
		names, err := filepath.Glob(filepath.Join(dir, "*ctaudit*"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, names...)
	}
	return out
}

// TestReadersGiveTheSameSnapshot: the script, the collector that is sent, the node's own ctaudit, and a scan inside make one
// document of a node, whatever programs its rules.
func TestReadersGiveTheSameSnapshot(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy", "sshd", "ip", "tc")
	f := &testFleet{t: t, nodes: map[string]*remote{}}
	bin := filepath.Dir(binary(t))
	own := sshtest.Options{Config: "SetEnv PATH=" + bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for i, backend := range []netfilter.Backend{netfilter.NFTables, netfilter.IPTablesNFT, netfilter.Legacy} {
		f.add([]string{"exposed", "xtables", "legacy"}[i], backend, scenarios[2+i], own)
	}
	f.settle()
	for name, r := range f.nodes {
		want := comparable(t, r.node.collected(), r.node)
		if len(want["rules"]) < 100 {
			t.Errorf("%s: only %d bytes of rules are compared", name, len(want["rules"]))
		}
		for _, reader := range []string{"probe", "push", "auto"} {
			dir := t.TempDir()
			if o, hosts := f.audit("--reader", reader, "--limit", name, "--snapshots", dir); len(hosts) != 1 || hosts[name].Status == report.HostError {
				t.Fatalf("%s, %s: exit %d: %s", name, reader, o.code, o.stderr)
			}
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(files) != 1 {
				t.Fatalf("%v, %v", files, err)
			}
			doc := readSnapshot(t, files[0])
			if byCollector := strings.Contains(doc.Tool, "collector"); byCollector {
				t.Errorf("%s, %s: the document is said to be made by %s", name, reader, doc.Tool)
			}
			if diff := cmp.Diff(want, comparable(t, doc, r.node)); diff != "" {
				t.Errorf("%s: %s (+) and a scan inside (-) differ:\n%s", name, reader, diff)
			}
		}
	}
}

func readSnapshot(t *testing.T, path string) *snapshot.Document {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := snapshot.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// collected is the snapshot that this program makes in the namespace.
func (n *testNode) collected() *snapshot.Document {
	n.t.Helper()
	path := filepath.Join(n.t.TempDir(), "node.json")
	if o := ctaudit(n.t, "collect", "--netns", n.router.Path(), "-O", path); o.code != 0 {
		n.t.Fatalf("collect: exit %d: %s", o.code, o.stderr)
	}
	return readSnapshot(n.t, path)
}

var changing = regexp.MustCompile(`"(packets|bytes)": [0-9]+`)

// comparable is a document in parts, without what differs from one reading to the next: times, counters, other tests' namespaces,
// and the names that the test gave. The rules are the merged ones; which reader brought them is not compared.
func comparable(t *testing.T, doc *snapshot.Document, n *testNode) map[string]string {
	t.Helper()
	inside, err := n.client.Inode()
	n.must(err)
	rules, err := json.Marshal(doc.Ruleset())
	n.must(err)
	d := *doc
	d.Host, d.Tool, d.Taken, d.Collectors = "", "", time.Time{}, nil
	d.Kernel.UptimeSeconds = snapshot.Absent[float64]()
	d.IPTables.Tables, d.NFTables.Tables = nil, nil
	d.NFTables.Generation, d.NFTables.HookOrder = snapshot.Absent[uint32](), snapshot.Absent[[]snapshot.HookEntry]()
	d.Conntrack = snapshot.Conntrack{}
	if list, ok := d.Topology.Namespaces.Get(); ok {
		d.Topology.Namespaces = snapshot.Known(slices.DeleteFunc(slices.Clone(list), func(ns snapshot.Namespace) bool { return ns.ID != inside }))
	}
	var b bytes.Buffer
	n.must(snapshot.Encode(&b, &d))
	return map[string]string{
		"rules":    changing.ReplaceAllString(string(rules), `"$1":0`),
		"document": changing.ReplaceAllString(b.String(), `"$1":0`),
	}
}
