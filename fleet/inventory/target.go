package inventory

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/internal/host/sshhost"
)

// resolve turns every host's variables into its target, and keeps per host what stands against it.
func (inv *Inventory) resolve() {
	for _, h := range inv.order {
		r := resolver{inv: inv, host: h, vars: inv.effective(h)}
		r.target()
	}
	inv.warnTwins()
}

// resolver makes the target of one host.
type resolver struct {
	inv  *Inventory
	host *host
	vars vars
}

func (r *resolver) fail(v value, hint, format string, args ...any) {
	r.host.problems = append(r.host.problems, &Error{v.file, v.line, fmt.Sprintf(format, args...), hint})
}

func (r *resolver) warn(v value, format string, args ...any) {
	r.inv.warn(v.file, v.line, format, args...)
}

func (r *resolver) target() {
	h := r.host
	h.target = fleet.Target{
		Target: sshhost.Target{Name: h.name},
		Labels: h.labels,
		File:   h.file,
		Line:   h.line,
	}
	for _, g := range r.inv.groupsOf(h) {
		if g != r.inv.all && g != r.inv.loose {
			h.target.Groups = append(h.target.Groups, g.name)
		}
	}
	slices.Sort(h.target.Groups)
	r.connection()
	r.secrets()
	r.login()
	r.become()
	r.sshArguments()
	r.native()
	r.passedOver()
}

// text is the value of the strongest of some variables, empty when none is set: the later name wins, as in Ansible. A value that
// is no text, or that a template or a vault hides, stands against the host.
func (r *resolver) text(names ...string) (string, value) {
	var found value
	name := ""
	for _, n := range names {
		if v, ok := r.vars[n]; ok && v.kind != kindNull {
			found, name = v, n
		}
	}
	switch {
	case name == "":
	case found.kind == kindVault:
		r.fail(found, "write it in the clear: it is no secret", "%s is encrypted by ansible-vault, which ctaudit does not open", name)
		return "", found
	case found.kind == kindOther:
		r.fail(found, "", "%s is a list or a mapping: want text", name)
		return "", found
	case template(found.text):
		r.fail(found, "write the value itself (ansible-inventory --list does not resolve templates either; "+
			"ansible HOST -m debug -a var="+name+" prints the value)", "%s is a template", name)
		return "", found
	case !printable(found.text):
		r.fail(found, "", "%s %q: control characters", name, found.text)
		return "", found
	}
	return found.text, found
}

func template(s string) bool { return strings.Contains(s, "{{") || strings.Contains(s, "{%") }

// short is a collection's name without the collection in front.
func short(name string) string {
	name = strings.TrimPrefix(name, "ansible.builtin.")
	return strings.TrimPrefix(name, "community.general.")
}

func (r *resolver) connection() {
	kind, v := r.text("ansible_connection")
	switch short(kind) {
	case "", "ssh", "smart", "paramiko", "paramiko_ssh":
	case "local":
		r.host.target.Local = true
	default:
		r.fail(v, "leave it out: --limit '!"+r.host.name+"'", "%s: ansible_connection %q: only ssh and local are audited", r.host.name, kind)
	}
	if shell, v := r.text("ansible_shell_type"); shell == "powershell" || shell == "cmd" {
		r.fail(v, "leave it out: --limit '!"+r.host.name+"'", "%s: ansible_shell_type %q: only Linux is audited", r.host.name, shell)
	}
}

// secrets refuses passwords, without showing them.
func (r *resolver) secrets() {
	for _, name := range []string{
		"ansible_password", "ansible_ssh_pass", "ansible_ssh_password",
		"ansible_become_pass", "ansible_become_password", "ansible_sudo_pass", "ansible_su_pass", "ansible_doas_pass",
	} {
		v, ok := r.vars[name]
		if !ok || v.kind == kindNull || v.kind == kindText && v.text == "" {
			continue
		}
		hint := "log in with a key, a certificate or the agent"
		if !strings.Contains(name, "ssh") && name != "ansible_password" {
			hint = "let the user become root without a password: ctaudit fleet --dry-run prints the sudoers line"
		}
		r.fail(v, hint, "%s: passwords are not used, and do not belong into an inventory", name)
	}
}

func (r *resolver) login() {
	t := &r.host.target
	address, at := r.text("ansible_host", "ansible_ssh_host")
	user, as := r.text("ansible_user", "ansible_ssh_user")
	named := address
	if named == "" {
		named, at = t.Name, value{file: r.host.file, line: r.host.line}
	}
	if login, rest, ok := cutLast(named, "@"); ok { // as ssh takes it
		address = rest
		if user == "" {
			user, as = login, at
		}
	}
	if strings.HasPrefix(named, "-") || strings.ContainsAny(address, " \t") || strings.HasPrefix(address, "-") {
		r.fail(at, "", "%s: address %q cannot be one", t.Name, named)
	}
	if strings.HasPrefix(user, "-") {
		r.fail(as, "", "%s: user %q cannot be one", t.Name, user)
	}
	if bracketedIP(address) { // ssh takes it so, too
		address = strings.Trim(address, "[]")
	}
	t.Address, t.User = address, user
	if port, v := r.text("ansible_port", "ansible_ssh_port"); port != "" {
		n, err := parsePort(port)
		if err != nil {
			r.fail(v, "", "%s: %v", t.Name, err)
		}
		t.Port = n
	}
	if key, _ := r.text("ansible_private_key_file", "ansible_ssh_private_key_file"); key != "" {
		t.KeyFiles = []string{home(key)}
	}
	if seconds, v := r.text("ansible_timeout", "ansible_ssh_timeout"); seconds != "" {
		n, err := strconv.Atoi(seconds)
		if err != nil || n < 1 || n > 86400 {
			r.fail(v, "", "%s: timeout %q: want seconds", t.Name, seconds)
		}
		t.Timeout = time.Duration(n) * time.Second
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

// home resolves ~/ as Ansible does.
func home(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	dir, err := os.UserHomeDir()
	if !ok || err != nil {
		return path
	}
	return filepath.Join(dir, rest)
}

// boolean reads a switch as Ansible does.
func boolean(s string) (on, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "y", "yes", "on", "1", "true", "t", "1.0":
		return true, true
	case "n", "no", "off", "0", "false", "f", "0.0", "":
		return false, true
	}
	return false, false
}

func (r *resolver) become() {
	text, v := r.text("ansible_become")
	on, ok := boolean(text)
	if !ok {
		r.fail(v, "", "%s: ansible_become %q: want true or false", r.host.name, text)
	}
	if !on {
		return
	}
	method, v := r.text("ansible_become_method")
	switch method = short(method); method {
	case "":
		method = "sudo"
	case "sudo", "doas", "su":
	default:
		r.fail(v, "use sudo, doas or su", "%s: ansible_become_method %q is not supported", r.host.name, method)
		return
	}
	user, v := r.text("ansible_become_user", "ansible_"+method+"_user")
	if strings.HasPrefix(user, "-") || strings.ContainsAny(user, " \t") {
		r.fail(v, "", "%s: user %q cannot be one", r.host.name, user)
	}
	r.host.target.Become = sshhost.Become{Method: method, User: user}
	for _, name := range []string{"ansible_become_exe", "ansible_become_flags"} {
		if s, v := r.text(name); s != "" {
			r.warn(v, "%s is passed over", name)
		}
	}
}

// native takes over what only the native form has.
func (r *resolver) native() {
	if s := r.vars[jumpKey]; s.text != "" {
		if r.jump(s); s.kind == kindText {
			r.host.target.Options = append(r.host.target.Options, "ProxyJump="+s.text)
		}
	}
	if s := r.vars[timeoutKey]; s.text != "" {
		d, err := time.ParseDuration(s.text)
		if err != nil || d <= 0 || d > 24*time.Hour {
			r.fail(s, "write it as 30s or 2m", "timeout %q: want a duration up to 24h", s.text)
		}
		r.host.target.Timeout = d
	}
}

func (r *resolver) jump(v value) {
	if template(v.text) || !printable(v.text) || strings.HasPrefix(v.text, "-") || strings.ContainsAny(v.text, " \t") {
		r.fail(v, "write it as ssh -J does: user@host:port,user@host:port", "jump %q cannot be one", v.text)
	}
}

// passedOver warns about what changes how Ansible reaches the host and does not count here.
func (r *resolver) passedOver() {
	for _, name := range []string{"ansible_host_key_checking", "ansible_ssh_host_key_checking"} {
		if s, v := r.text(name); s != "" {
			if on, ok := boolean(s); !on && ok {
				r.warn(v, "%s is passed over: "+keysAreChecked, name)
			}
		}
	}
	if s, v := r.text("ansible_ssh_executable"); s != "" && filepath.Base(s) != "ssh" {
		r.warn(v, "ansible_ssh_executable is passed over")
	}
}

// warnTwins names the hosts that have one address: most often one node under two names, which would count twice.
func (inv *Inventory) warnTwins() {
	first := map[string]*host{}
	for _, h := range inv.order {
		if len(h.problems) > 0 {
			continue
		}
		address, key := placeOf(&h.target)
		if other, ok := first[key]; ok {
			inv.warn(h.file, h.line, "%s has the address of %s (%s): one node would count twice", h.name, other.name, address)
			continue
		}
		first[key] = h
	}
}

// placeOf is where a target is, for people, and in a form that is the same for the same place: without a port it is ssh's own, unless
// the user's configuration knows better.
func placeOf(t *fleet.Target) (address, key string) {
	const sshPort = 22
	if t.Local {
		return "this machine", ""
	}
	address = cmp.Or(t.Address, t.Name)
	canonical := strings.ToLower(strings.TrimSuffix(address, "."))
	if ip, err := netip.ParseAddr(canonical); err == nil {
		canonical = ip.String()
	}
	return address, fmt.Sprintf("%s\x00%d\x00%q", canonical, cmp.Or(t.Port, sshPort), t.Options)
}
