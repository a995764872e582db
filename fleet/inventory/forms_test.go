package inventory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
)

func load(t *testing.T, text string) (*Inventory, []fleet.Target) {
	t.Helper()
	inv, err := Load([]string{"-"}, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	targets, err := inv.Select("")
	if err != nil {
		t.Fatal(err)
	}
	return inv, targets
}

func TestNativeForm(t *testing.T) {
	inv, targets := load(t, `# of ours
version: 1
defaults: {user: audit, port: 2022, become: {method: doas, user: op}, jump: "root@bastion:22,second", timeout: 30s}
groups:
  web:
    profile: edge
    labels: {tier: front, zone: a}
    hosts:
      - web[01:02].example
      - {name: odd, address: 192.0.2.7, user: root, port: 2222, labels: {rack: 7, zone: b}}
  all-of-them:
    labels: {zone: c}
    hosts: [odd, "other:23"]
`)
	common := sshhost.Target{
		User: "audit", Port: 2022, Options: []string{"ProxyJump=root@bastion:22,second"}, Timeout: 30 * time.Second,
		Become: sshhost.Become{Method: "doas", User: "op"},
	}
	host := func(name, address, user string, port, line int, groups []string, labels map[string]string) fleet.Target {
		h := common
		h.Name, h.Address, h.User, h.Port = name, address, user, port
		return fleet.Target{Target: h, Groups: groups, Labels: labels, File: "-", Line: line}
	}
	front := map[string]string{"profile": "edge", "tier": "front", "zone": "a"}
	want := []fleet.Target{
		host("web01.example", "", "audit", 2022, 9, []string{"web"}, front),
		host("web02.example", "", "audit", 2022, 9, []string{"web"}, front),
		host("odd", "192.0.2.7", "root", 2222, 10, []string{"all-of-them", "web"},
			map[string]string{"profile": "edge", "tier": "front", "zone": "b", "rack": "7"}),
		host("other", "", "audit", 23, 13, []string{"all-of-them"}, map[string]string{"zone": "c"}),
	}
	if diff := cmp.Diff(want, targets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w := inv.Warnings(); len(w) != 0 {
		t.Error(w)
	}
	for text, want := range map[string]sshhost.Become{
		"true": {Method: "sudo"}, "false": {}, "su": {Method: "su"}, "{user: op}": {Method: "sudo", User: "op"}, "": {},
	} {
		_, targets := load(t, "version: 1\ndefaults: {become: "+text+"}\ngroups: {g: {hosts: [a]}}\n")
		if targets[0].Become != want {
			t.Errorf("become: %s is %+v", text, targets[0].Become)
		}
	}
	if _, targets := load(t, `{"version": 1, "groups": {"g": {"hosts": ["a", "b"]}}}`); len(targets) != 2 {
		t.Errorf("as JSON: %v", targets)
	}
}

func TestPlainList(t *testing.T) {
	inv, targets := load(t, `# who, where
root@web1.example:2222
web2
[2001:db8::1]:2022
audit@[2001:db8::2]   # bracketed
[2001:db8::3]
2001:db8::4
; as in INI
op@10.0.0.[1:2]:22
web2
`)
	var got []string
	for _, h := range targets {
		got = append(got, fmt.Sprintf("%s %s %d line %d", h.Name, h.User, h.Port, h.Line))
	}
	want := []string{
		"web1.example root 2222 line 2", "web2  0 line 3", "2001:db8::1  2022 line 4", "2001:db8::2 audit 0 line 5", "2001:db8::3  0 line 6",
		"2001:db8::4  0 line 7", "10.0.0.1 op 22 line 9", "10.0.0.2 op 22 line 9",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w := inv.Warnings(); len(w) != 1 || w[0] != (Warning{"-", 10, "web2 is listed twice"}) {
		t.Error(w)
	}
}

func TestKubernetesNodes(t *testing.T) {
	node := func(name, extra string) string {
		return `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "` + name + `", "labels": {"role": "` + name + `"}},
"spec": {"podCIDR": "10.244.0.0/24"}, "status": {"conditions": [{"type": "Ready", "status": "False"}], "addresses": [` + extra + `]}}`
	}
	list := "{\"apiVersion\": \"v1\", \"items\": [\n" + node("worker-1", `{"type": "Hostname", "address": "worker-1"}, {"type": "ExternalIP", "address": "203.0.113.1"},
{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "InternalIP", "address": "fd00::1"}`) + ",\n" + node("edge", `{"type": "ExternalIP", "address": "203.0.113.2"}`) + ",\n" +
		node("bare", "") + "], \"kind\": \"List\", \"metadata\": {}}\n"
	_, targets := load(t, list)
	var got []string
	for _, h := range targets {
		got = append(got, fmt.Sprintf("%s %q %d %s", h.Name, h.Address, h.Line, h.Labels["role"]))
	}
	if want := []string{`worker-1 "10.0.0.1" 2 worker-1`, `edge "203.0.113.2" 5 edge`, `bare "" 7 bare`}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if _, targets := load(t, node("one", "")); len(targets) != 1 || targets[0].Name != "one" {
		t.Errorf("a single node: %v", targets)
	}
}

func TestDynamicInventory(t *testing.T) {
	_, targets := load(t, `{
  "_meta": {"hostvars": {"a": {"ansible_host": "10.0.0.1", "ansible_port": 2201, "facts": {"deep": [1, {"x": null}]}}, "nobody": {"ansible_port": 1}}},
  "web": {"hosts": ["a", "b"], "vars": {"ansible_user": {"__ansible_unsafe": "web"}, "ansible_become": true}},
  "list": ["b", "c"],
  "alone": {"ansible_user": "self"},
  "top": {"children": ["web", "fresh"]}
}`)
	var got []string
	for _, h := range targets {
		got = append(got, fmt.Sprintf("%s %s %s %d %s %v", h.Name, h.Address, h.User, h.Port, h.Become.Method, h.Groups))
	}
	slices.Sort(got)
	want := []string{"a 10.0.0.1 web 2201 sudo [top web]", "alone  self 0  [alone]", "b  web 0 sudo [list top web]", "c   0  [list]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string][]string{
		"a ansible_host=10.0.0.1\nb ansible_host=10.0.0.1\nc ansible_host=10.0.0.1 ansible_port=23\n": {
			"-:2: b has the address of a (10.0.0.1): one node would count twice",
		},
		"a ansible_host=web.example\nb ansible_host=WEB.example. ansible_port=22\nc ansible_host=2001:db8::1\nd ansible_host=2001:db8:0::1\n": {
			"-:2: b has the address of a (WEB.example.): one node would count twice", "-:4: d has the address of c (2001:db8:0::1): one node would count twice",
		},
		"a ansible_connection=local\nb ansible_connection=local\n": {"-:2: b has the address of a (this machine): one node would count twice"},
		"[g]\na:22\n[h]\na:23\n":                                   {"-:4: a: port 23 is passed over, as in Ansible: the host was declared before (-:2)"},
		"[g]\na\ng\n":                                              {"-:3: g is the name of a host and of a group"},
		"a ansible_host_key_checking=False\n": {
			"-:1: ansible_host_key_checking is passed over: host keys are always checked (--host-key-policy accept-new notes those of new hosts)",
		},
		"a ansible_become=1 ansible_become_flags=-H\n": {"-:1: ansible_become_flags is passed over"},
		"all:\n  hosts:\n    a: {ansible_port: 1}\n    a: {ansible_port: 2}\n  host:\n    b:\nweb: c\n": {
			`-:4: "a" is there twice in one mapping: the last one counts`, `-:5: "host" in group all is passed over: a group has hosts, vars and children`,
			"-:7: group web is passed over: it is text and no mapping",
		},
		"version: 1\ngroups:\n  g:\n    hosts: [{name: a, port: 22}]\n  h:\n    hosts:\n      - {name: a, port: 23}\n": {
			`-:7: a: "23" was "22" before (line 4): the later one counts`,
		},
	} {
		inv, _ := load(t, text)
		var got []string
		for _, w := range inv.Warnings() {
			got = append(got, w.String())
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", text, diff)
		}
	}
}

func TestLimitsThatLeaveNothing(t *testing.T) {
	for limit, want := range map[string]string{
		"nosuch":     `limit "nosuch": no host of the inventory is left`,
		"a:!a":       `limit "a:!a": no host of the inventory is left`,
		"g[7]":       `limit "g[7]": pattern "g[7]": there are 2 hosts`,
		"~(?=a)":     `limit "~(?=a)": pattern "~(?=a)": error parsing regexp: invalid or unsupported Perl syntax: ` + "`(?=`",
		"@not-there": `limit "@not-there": read not-there: no such file or directory`,
		"a,!":        `limit "a,!": an empty pattern`,
	} {
		inv, _ := load(t, "[g]\na\nb\n")
		if _, err := inv.Select(limit); err == nil || err.Error() != want {
			t.Errorf("%s: %v", limit, err)
		}
	}
	inv, _ := load(t, "[g]\na\nb\n")
	if hosts, err := inv.Select("a:nosuch"); err != nil || len(hosts) != 1 {
		t.Errorf("%v %v", hosts, err)
	}
	if w := inv.Warnings(); len(w) != 1 || w[0].Text != `limit: pattern "nosuch" matches no host and no group` {
		t.Errorf("%v", w)
	}
}

// Ten thousand hosts with groups and variables are read at once, not in minutes.
func TestLargeInventories(t *testing.T) {
	var ini, list strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&ini, "[g%d]\nh%d ansible_host=10.%d.%d.1 ansible_user=u\n", i%100, i, i/256, i%256)
		fmt.Fprintf(&list, "root@10.%d.%d.1:22\n", i/256, i%256)
	}
	for _, text := range []string{ini.String(), list.String(), "all:\n  hosts:\n    h[00001:10000]: {ansible_user: u}\n"} {
		start := time.Now()
		inv, targets := load(t, text)
		if len(targets) != 10000 {
			t.Errorf("%d hosts", len(targets))
		}
		if _, err := inv.Select("h*:!*7*:&all"); err != nil && strings.HasPrefix(text, "[") {
			t.Error(err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	}
}

// What nobody writes by hand ends with a mistake, and soon.
func TestBoundsOfGroups(t *testing.T) {
	var chain, wide strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&chain, "[g%d:children]\ng%d\n", i, i+1)
	}
	chain.WriteString("[g3000]\na\n")
	for i := range maxGroups + 10 {
		fmt.Fprintf(&wide, "[g%d]\n", i)
	}
	for want, text := range map[string]string{"groups": chain.String(), "more than 65536 groups": wide.String()} {
		start := time.Now()
		_, err := Load([]string{"-"}, strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %.200v", want, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %v", want, took)
		}
	}
}

// Groups that share children at every level make a graph that doubles at each of them.
func TestGraphsAreBounded(t *testing.T) {
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "[a%d:children]\na%d\nb%d\n[b%d:children]\na%d\nb%d\n", i, i+1, i+1, i, i+1, i+1)
	}
	text.WriteString("[a40]\nh\n[b40]\nh\n")
	inv, _ := load(t, text.String())
	if _, err := inv.Graph(""); err == nil || !strings.Contains(err.Error(), "the graph has more than 16 MiB") {
		t.Errorf("%v", err)
	}
}
