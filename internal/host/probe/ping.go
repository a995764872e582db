package probe

import (
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

// Sudoers is the line for /etc/sudoers.d that lets user run the probe as become (empty: root) without a password. Be plain
// about what it grants: the probe's command is "sh -s", a shell that runs whatever it is sent, so whoever holds the user's key
// can do everything on that node that become can. Sudo cannot tell the probe's script from another. Where that is too much,
// install ctaudit on the node and allow that command alone.
func Sudoers(user, become string) string {
	if become == "" {
		become = "root"
	}
	return sudoersName(user) + " ALL=(" + sudoersName(become) + ") NOPASSWD: /bin/sh -s, /usr/bin/sh -s"
}

// sudoersName escapes what sudoers(5) would read as anything but a part of a name.
func sudoersName(name string) string {
	var b strings.Builder
	for _, c := range name {
		if strings.ContainsRune(`@!=:,()\ "#%+`, c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Tools are the programs that the script needs on the node for req, each once: first those without which there is no answer, then
// those without which something stays unknown. "a|b" are alternatives, of which one is enough.
func Tools(req host.Request) []string {
	all := []string{"sh", "head", "env", "grep", "tail", "date", "uname", "timeout", "gzip"}
	for _, it := range NewPlan(req).items {
		switch {
		case it.text != "":
			all = append(all, it.text.argv()[0])
		case it.need.Kind == host.Command:
			all = append(all, it.need.Args[0])
		case it.need.Kind == host.Namespaces:
			all = append(all, "ls", "xargs", "nsenter", "ip")
		}
	}
	slices.Sort(all[9:])
	var each []string
	for _, t := range all {
		if !slices.Contains(each, t) {
			each = append(each, t)
		}
	}
	return each
}
