package inventory

import (
	"strconv"
)

// kind is what a value is.
type kind int

const (
	kindText  kind = iota
	kindNull       // takes back what a weaker place says
	kindVault      // encrypted
	kindOther      // a list or a mapping
)

// value is a variable's value with its place.
type value struct {
	text string
	kind kind
	file string
	line int
}

// vars are the variables that say how a host is reached, by name; nil is none.
type vars map[string]value

func (v *vars) set(key string, x value) {
	if *v == nil {
		*v = vars{}
	}
	(*v)[key] = x
}

// merge lays stronger ones over v.
func (v vars) merge(stronger vars) {
	for k, x := range stronger {
		v[k] = x
	}
}

// known are Ansible's variables that say how a host is reached. All others are passed over.
var known = map[string]bool{
	"ansible_host": true, "ansible_ssh_host": true, "ansible_port": true, "ansible_ssh_port": true,
	"ansible_user": true, "ansible_ssh_user": true, "ansible_private_key_file": true, "ansible_ssh_private_key_file": true,
	"ansible_connection": true, "ansible_shell_type": true, "ansible_ssh_pkcs11_provider": true,
	"ansible_ssh_args": true, "ansible_ssh_common_args": true, "ansible_ssh_extra_args": true,
	"ansible_ssh_executable": true, "ansible_timeout": true, "ansible_ssh_timeout": true,
	"ansible_host_key_checking": true, "ansible_ssh_host_key_checking": true,
	"ansible_become": true, "ansible_become_method": true, "ansible_become_user": true, "ansible_become_exe": true,
	"ansible_become_flags": true, "ansible_sudo_user": true, "ansible_su_user": true, "ansible_doas_user": true,
	"ansible_password": true, "ansible_ssh_pass": true, "ansible_ssh_password": true, "ansible_become_pass": true,
	"ansible_become_password": true, "ansible_sudo_pass": true, "ansible_su_pass": true, "ansible_doas_pass": true,
}

const priorityKey = "ansible_group_priority"

// setGroup sets a group's variable.
func (l *loader) setGroup(g *group, key string, v value) {
	switch {
	case g == nil:
	case key == priorityKey:
		n, err := strconv.Atoi(v.text)
		if err != nil || v.kind != kindText {
			l.fail(v.line, "", "%s %q of group %s: want a number", key, v.text, g.name)
			return
		}
		g.priority = n
	case known[key]:
		g.vars.set(key, v)
	}
}

// setHost sets a host's variable, or the group's that has the same name: Ansible looks there first.
func (l *loader) setHost(h *host, key string, v value) {
	if g := l.inv.groups[h.name]; g != nil {
		l.setGroup(g, key, v)
	} else if known[key] {
		h.vars.set(key, v)
	}
}

// effective are the host's variables from everywhere, in Ansible's order: the groups of the inventory from all downwards, then
// group_vars/all, group_vars of the other groups, the host's own, host_vars.
func (inv *Inventory) effective(h *host) vars {
	out := vars{}
	groups := inv.groupsOf(h)
	out.merge(inv.all.vars)
	for _, g := range groups {
		out.merge(g.vars)
	}
	for _, f := range inv.folders {
		out.merge(f.groups["all"])
	}
	for _, f := range inv.folders {
		for _, g := range groups {
			if g != inv.all {
				out.merge(f.groups[g.name])
			}
		}
	}
	out.merge(h.vars)
	for _, f := range inv.folders {
		out.merge(f.hosts[h.name])
	}
	return out
}
