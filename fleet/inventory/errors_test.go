package inventory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mistakes loads a text and selects every host; what came of both are lines "line: text".
func mistakes(t *testing.T, text string) []string {
	t.Helper()
	inv, err := Load([]string{"-"}, strings.NewReader(text))
	if err == nil {
		_, err = inv.Select("")
	}
	var out []string
	for _, e := range Errors(err) {
		var at *Error
		if !errors.As(e, &at) {
			out = append(out, "0: "+e.Error())
			continue
		}
		if at.File != "-" {
			t.Errorf("%v is in file %q", at, at.File)
		}
		out = append(out, fmt.Sprintf("%d: %s", at.Line, at.Text))
	}
	return out
}

func TestMistakesHaveTheirLines(t *testing.T) {
	deep := "{}"
	for i := range 40 {
		deep = fmt.Sprintf("{g%d: {children: %s}}", i, deep)
	}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"ini, all at once": {
			"[a b]\n[web\nx y=1 z\nq 'open\n[web:wars]\nh\n[none:vars]\nx=1\n[web2:children]\nnowhere\n[w:vars]\nnovalue\n[w]\n",
			[]string{
				"1: section \"[a b]\" cannot be read", "2: host range \"[web\": no closing bracket", "3: want key=value behind a host, got \"z\"",
				"4: host \"q 'open\": no closing quotation", "5: section [web:wars]: unknown kind \"wars\"", "12: want key=value, got \"novalue\"",
				"7: section [none:vars]: no group \"none\"", "10: section [web2:children]: no group \"nowhere\"",
			},
		},
		"ini loops": {"[a:children]\nb\n[b:children]\na\n[c:children]\nc\nall\n", []string{
			`4: group "a" below "b" makes a loop`,
			`6: group "c" is its own child`,
			`7: group "c" has all as its child: all is above every group`,
		}},
		"ini colon":     {"h x=1\nweb:\n", []string{`2: host "web:" ends with a colon`}},
		"ini not utf-8": {"# \xff\nh x=1\nh\xff\n", []string{"3: not UTF-8"}},
		"ranges": {"h x=1\na[5:1]\nb[1:x]\nc[01:100]\nd[0:999999999]\ne[1:1000][1:1000]\nf[1:2:0]\ng[1]\nh[z:a]\n", []string{
			`2: host range "a[5:1]": it begins behind its end`,
			`3: host range "b[1:x]": want two numbers or two letters`,
			`4: host range "c[01:100]": 01 and 100: padded numbers are of one length`,
			`5: host range "d[0:999999999]": more than 131072 hosts`,
			`6: host range "e[1:1000][1:1000]": more than 131072 hosts`,
			`7: host range "f[1:2:0]": step "0": want a number from 1`,
			`8: host range "g[1]": want begin:end or begin:end:step`,
			`9: host range "h[z:a]": it begins behind its end`,
		}},
		"ports": {"a:70000\nb:0\n[g]\n", []string{
			`1: port "70000": want 1 to 65535`,
			`2: port "0": want 1 to 65535`,
		}},
		"ports in variables": {"c ansible_port=http\n[g]\nd ansible_port=-1\n", []string{`1: c: port "http": want 1 to 65535`, `3: d: port "-1": want 1 to 65535`}},
		"yaml syntax": {"all:\n  hosts:\n    a:\n   b:\n", []string{
			`4: YAML: did not find expected key`,
		}},
		"yaml structure": {"all:\n  hosts: [a]\n  children:\n    web:\n      hosts:\n        w1: text\n        10:\n        \"x[3:1]\":\n", []string{
			`2: hosts of group all: want a mapping, got a list`,
			`6: variables of host "w1": want a mapping, got text`,
			`7: the name of a host is a number: want text`,
			`8: host range "x[3:1]": it begins behind its end`,
		}},
		"yaml list": {"- a\n- b\n", []string{"1: want a mapping, got a list"}},
		"yaml two documents": {"all:\n---\nall:\n", []string{
			`2: a second YAML document`,
		}},
		"yaml loop": {"a:\n  children:\n    b:\n      children:\n        a:\n", []string{
			`3: group "b" below "a" makes a loop`,
		}},
		"yaml all below": {"a:\n  children:\n    all:\n", []string{
			`3: group "a" has all as its child: all is above every group`,
		}},
		"yaml plugin":        {"plugin: aws_ec2\n", []string{"1: this configures an inventory plugin of Ansible"}},
		"yaml of kubernetes": {"apiVersion: v1\nkind: List\n", []string{"1: an object of Kubernetes: nodes are read as JSON"}},
		"yaml nested":        {"all: {children: " + deep + "}\n", []string{"1: nested deeper than 64 levels"}},
		"group priority":     {"web:\n  vars:\n    ansible_group_priority: high\n", []string{`3: ansible_group_priority "high" of group web: want a number`}},
		"control in a host": {"all:\n  hosts:\n    ok:\n    \"a\\abc\":\n", []string{
			`4: host "a\abc": control characters in a name`,
		}},
		"control in a group":    {"all:\n\"a\\u202eb\":\n", []string{`2: group "a\u202eb": control characters in a name`}},
		"control in an address": {"all:\n  hosts:\n    a: {ansible_host: \"b\\nc\"}\n", []string{`3: ansible_host "b\nc": control characters`}},
		"an option as address": {"a ansible_host=-oProxyCommand=x\nb ansible_user=-l\n", []string{
			`1: a: address "-oProxyCommand=x" cannot be one`,
			`2: b: user "-l" cannot be one`,
		}},
		"connections": {"a ansible_connection=docker\nb ansible_connection=winrm\nc ansible_connection=ansible.builtin.ssh\nd ansible_shell_type=powershell\n", []string{
			`1: a: ansible_connection "docker": only ssh and local are audited`,
			`2: b: ansible_connection "winrm": only ssh and local are audited`,
			`4: d: ansible_shell_type "powershell": only Linux is audited`,
		}},
		"become": {"a ansible_become=yes ansible_become_method=runas\nb ansible_become=perhaps\nc ansible_become_method=runas\n", []string{
			`1: a: ansible_become_method "runas" is not supported`,
			`2: b: ansible_become "perhaps": want true or false`,
		}},
		"template":            {"a x=1\nb ansible_host=\"{{ address }}\"\n", []string{"2: ansible_host is a template"}},
		"template, unquoted":  {"all:\n  hosts:\n    a: {ansible_host: {{ x }} }\n", []string{"3: ansible_host is a template"}},
		"kubernetes, labels":  {"{\"kind\": \"Node\", \"metadata\": {\"name\": \"a\", \"labels\": {\"l\": \"\\u001b[31m\"}}}", []string{`1: node a: label "l": control characters`}},
		"template of a group": {"[g]\na\nb\n[g:vars]\nansible_user={{ user }}\n", []string{"5: ansible_user is a template"}},
		"list value":          {"all:\n  vars:\n    ansible_user: [a]\n  hosts: {h: }\n", []string{"3: ansible_user is a list or a mapping: want text"}},
		"ssh arguments": {"a ansible_ssh_common_args='-F x'\nb ansible_ssh_extra_args='-W a:1'\nc ansible_ssh_common_args='-o'\nd ansible_ssh_common_args='-o x'\ne ansible_ssh_args=host\nf ansible_ssh_common_args='-p 0'\ng ansible_ssh_common_args=\"-o 'x\"\n", []string{
			`1: ansible_ssh_common_args: -F is one file for all hosts`,
			`2: ansible_ssh_extra_args: the flag -W of ssh is not supported`,
			`3: ansible_ssh_common_args: nothing behind -o`,
			`4: "x" is no option of ssh`,
			`5: ansible_ssh_args: "host" is no flag of ssh`,
			`6: f: port "0": want 1 to 65535`,
			`7: ansible_ssh_common_args: no closing quotation`,
		}},
		"a script": {"#!/bin/sh\n", []string{"1: this is a script: ctaudit runs none"}},
		"a vault":  {"$ANSIBLE_VAULT;1.1;AES256\n61\n", []string{"1: encrypted by ansible-vault"}},
		"NUL":      {"a\nb\x00\n", []string{"2: a NUL byte: this is no inventory"}},
		"nothing":  {"", []string{"0: the inventory has no hosts"}},
		"list: one host twice": {"root@127.0.0.1:2201\n127.0.0.1:2202\n", []string{
			`2: host 127.0.0.1 is there already (-:1), with another port or user`,
		}},
		"list: user": {"@h\na@b@c\nh:\n", []string{
			`1: host "@h": no user before the @`,
			`2: host "a@b@c" cannot be read`,
			`3: host "h:" cannot be read`,
		}},
		"json syntax": {"{\"all\":\n {\"hosts\": [1,}\n", []string{
			`2: JSON: invalid character ',' at start of value`,
		}},
		"json behind": {"{\"all\": {\"hosts\": [\"a\"]}}\nx", []string{"2: JSON: something behind the document"}},
		"json names": {"{\"g\": {\"hosts\": [\"a\",\n 7]}, \"h\": {\"hosts\": {}, \"children\": []},\n\"i\": 3}", []string{
			`2: hosts of group g: want names`,
			`2: hosts of group "h": want a list`,
			`3: group "i": want an object or a list`,
		}},
		"json control":        {"{\"g\": {\"hosts\": [\"a\",\n \"b\\u0007\"]}}", []string{`2: host "b\a": control characters in a name`}},
		"kubernetes, no node": {"{\"kind\": \"List\", \"items\": [\n{\"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"}}]}", []string{"2: a \"Pod\" of Kubernetes among the nodes"}},
		"kubernetes, other":   {"{\"kind\": \"PodList\", \"items\": []}", []string{`1: a "PodList" of Kubernetes: want its nodes`}},
		"native keys": {"version: 1\ndefault: {user: a}\ndefaults:\n  usr: a\ngroups:\n  web:\n    label: {}\n    hosts:\n      - {nmae: x, adress: y}\n      - 7\n", []string{
			`2: unknown key "default" in an inventory; did you mean "defaults"?`,
			`4: unknown key "usr" in defaults; did you mean "user"?`,
			`7: unknown key "label" in group web; did you mean "labels"?`,
			`9: unknown key "nmae" in a host; did you mean "name"?`,
			`9: unknown key "adress" in a host; did you mean "address"?`,
			`9: a host without a name`,
			`10: a host of group web is a number: want a name or a mapping`,
		}},
		"native version": {"version: 2\n", []string{`1: version "2": this ctaudit reads version 1`}},
		"native values": {"version: 1\ndefaults: {timeout: soon, jump: -x, become: runas, port: 99999}\ngroups:\n  web:\n    hosts: [a]\n", []string{
			`2: a: port "99999": want 1 to 65535`,
			`2: a: ansible_become_method "runas" is not supported`,
			`2: jump "-x" cannot be one`,
			`2: timeout "soon": want a duration up to 24h`,
		}},
		"native addresses": {"version: 1\ngroups:\n  web:\n    hosts:\n      - {name: 'a[1:2]', address: x}\n", []string{"5: 2 hosts of one address"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := mistakes(t, c.text)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Every variable that holds a secret is refused with its line, and its value is nowhere.
func TestSecretsAreRefused(t *testing.T) {
	for _, name := range []string{
		"ansible_password", "ansible_ssh_pass", "ansible_ssh_password", "ansible_become_pass", "ansible_become_password", "ansible_sudo_pass",
		"ansible_su_pass", "ansible_doas_pass",
	} {
		for form, text := range map[string]string{
			"ini":   "a x=1\nb %s=geheim\n",
			"group": "[g]\na\n[g:vars]\n%s=geheim\n",
			"yaml":  "all:\n  hosts:\n    a:\n      %s: geheim\n",
			"vault": "all:\n  hosts:\n    a:\n      %s: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        geheim\n",
			"json":  "{\"_meta\": {\"hostvars\": {\"a\": {\n\"%s\": {\"__ansible_vault\": \"geheim\"}}}},\n\"all\": {\"hosts\": [\"a\"]}}",
		} {
			text = fmt.Sprintf(text, name)
			line := 1 + strings.Count(text[:strings.Index(text, name)], "\n")
			got := mistakes(t, text)
			want := []string{fmt.Sprintf("%d: %s: passwords are not used, and do not belong into an inventory", line, name)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s: %s", form, name, diff)
			}
		}
	}
}

func TestEncryptedConnectionVariablesAreRefused(t *testing.T) {
	for _, name := range []string{
		"ansible_host", "ansible_user", "ansible_port", "ansible_ssh_private_key_file", "ansible_ssh_common_args", "ansible_become",
	} {
		got := mistakes(t, "all:\n  hosts:\n    a:\n      "+name+": !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        61\n")
		if want := []string{"4: " + name + " is encrypted by ansible-vault, which ctaudit does not open"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := mistakes(t, "all:\n  hosts:\n    a:\n      db_password: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        61\n"); got != nil {
		t.Errorf("a variable that is not ours: %q", got)
	}
}

// A mistake stands against the hosts that have it, not against a run without them.
func TestMistakesOfOthersDoNotCount(t *testing.T) {
	inv, err := Load([]string{"-"}, strings.NewReader("[linux]\na\n[windows]\nw1\nw2\n[windows:vars]\nansible_connection=winrm\nansible_password=geheim\n"))
	if err != nil {
		t.Fatal(err)
	}
	if targets, err := inv.Select("linux"); err != nil || len(targets) != 1 {
		t.Errorf("%v %v", targets, err)
	}
	if _, err := inv.Select("w1"); len(Errors(err)) != 2 {
		t.Errorf("%v", err)
	}
}

func TestAliasesEnd(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("x0: &x0 {hosts: {a: , b: , c: , d: , e: , f: , g: , h: }}\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "x%d: &x%d {children: {", i, i)
		for c := range 9 {
			fmt.Fprintf(&bomb, "y%d_%d: *x%d, ", i, c, i-1)
		}
		bomb.WriteString("}}\n")
	}
	got := mistakes(t, bomb.String())
	if len(got) != 1 || !strings.Contains(got[0], "aliases that expand to more than") {
		t.Errorf("%.300q", got)
	}
	if got := mistakes(t, "all: &a\n  children:\n    b: *a\n"); len(got) == 0 {
		t.Error("an alias of what it is in went unnoticed")
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"hosts.toml":               "[web.hosts]\na = {}\n",
		"ok/hosts":                 "a x=1\n",
		"ok/group_vars/all.yml":    "- list\n",
		"ok/host_vars/a/b.yml":     "ansible_user: [\n",
		"vault/hosts":              "a x=1\n",
		"vault/group_vars/all.yml": "$ANSIBLE_VAULT;1.1;AES256\n61\n",
		"prio/hosts":               "[g]\na\n",
		"prio/group_vars/g.yml":    "ansible_group_priority: 3\nansible_user: u\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for source, want := range map[string][]string{
		"none":       {"none: read inventory: no such file or directory"},
		"hosts.toml": {"hosts.toml: TOML inventories are not read"},
		"/dev/zero":  {"/dev/zero:1: a NUL byte: this is no inventory"},
		"ok/hosts":   {"ok/group_vars/all.yml:1: want a mapping of variables, got a list", "ok/host_vars/a/b.yml:1: YAML: did not find expected node content"},
	} {
		_, err := Load([]string{source}, nil)
		var got []string
		for _, e := range Errors(err) {
			got = append(got, e.Error())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", source, diff)
		}
	}
	for source, want := range map[string]string{
		"vault/hosts": "vault/group_vars/all.yml:1: encrypted as a whole: variables in it that say how a host is reached are not known",
		"prio":        "prio/group_vars/g.yml:1: ansible_group_priority is passed over, as in Ansible: it counts in the inventory itself only",
	} {
		inv, err := Load([]string{source}, nil)
		if err != nil || len(inv.Warnings()) != 1 || inv.Warnings()[0].String() != want {
			t.Errorf("%s: %v %v", source, err, inv.Warnings())
		}
	}
	if _, err := Load(nil, nil); err == nil {
		t.Error("no inventory at all went unnoticed")
	}
	if _, err := Load([]string{"-", "-"}, strings.NewReader("a\n")); err == nil {
		t.Error("standard input was read twice")
	}
}
