package probe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

// maxMounts bounds the lines about mounts that the script prints.
const maxMounts = 16 << 20

// mount is a line of /proc/self/mountinfo (Documentation/filesystems/proc.rst, 3.5): id, parent, device, root, mount point,
// options, optional fields, "-", type, source, options.
type mount struct {
	id, parent  int
	root, point string
	kind        string
	// onlyProcesses: a /proc mounted with subset=pid.
	onlyProcesses bool
}

// mounts are those that matter here.
type mounts struct {
	top  map[string]mount  // the last on /proc and on /sys
	on   map[place]mount   // by what they are mounted on
	nsfs map[string]string // roots of mounted namespaces, "net:[4026532456]", by path
}

// place is a path in a mount.
type place struct {
	parent int
	point  string
}

// maxStack bounds how many mounts on one path are followed.
const maxStack = 64

func parseMounts(b []byte) mounts {
	all := mounts{top: map[string]mount{}, on: map[place]mount{}, nsfs: map[string]string{}}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		m := mount{root: f[3], point: unescape(f[4])}
		if opts := f[len(f)-1]; strings.Contains(opts, "subset=pid") {
			m.onlyProcesses = slices.Contains(strings.Split(opts, ","), "subset=pid")
		}
		var err1, err2 error
		m.id, err1 = strconv.Atoi(f[0])
		m.parent, err2 = strconv.Atoi(f[1])
		for i := 6; i+1 < len(f); i++ {
			if f[i] == "-" {
				m.kind = f[i+1]
				break
			}
		}
		if err1 == nil && err2 == nil && m.kind != "" {
			all.add(m)
		}
	}
	return all
}

func (all *mounts) add(m mount) {
	if m.point == "/proc" || m.point == "/sys" {
		all.top[m.point] = m
	}
	if strings.HasPrefix(m.point, "/proc") || strings.HasPrefix(m.point, "/sys") { // nobody asks about others
		all.on[place{m.parent, m.point}] = m
	}
	if m.kind == "nsfs" {
		all.nsfs[m.point] = m.root
	}
}

// unescape undoes \040 and its like.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// covering is the mount that a path below root leads into: the last one on root, and from there those mounted on the way.
func (all *mounts) covering(root, name string) (m mount, ok bool) {
	m, ok = all.top[root]
	for end := len(root); ok && end <= len(name); end++ {
		if end < len(name) && name[end] != '/' {
			continue
		}
		for range maxStack {
			next, more := all.on[place{m.id, name[:end]}]
			if !more {
				break
			}
			m = next
		}
	}
	return m, ok
}

// orMasked takes back an absent or empty answer about /proc or /sys that proves nothing, because something else is mounted
// there; see host.Hidden.
func (all *mounts) orMasked(name string, a host.Answer) host.Answer {
	if !a.Absent && (len(a.Data) > 0 || a.Err != "" || a.Files != nil) {
		return a
	}
	why := ""
	switch {
	case strings.HasPrefix(name, "/proc/"):
		why = all.masked("/proc", name, "proc")
	case strings.HasPrefix(name, "/sys/"):
		why = all.masked("/sys", name, "sysfs")
	}
	if why == "" {
		return a
	}
	return host.Answer{Err: host.Hidden + ": " + why}
}

// masked says what hides a path; empty when the file system around it is the kernel's own.
func (all *mounts) masked(root, name, kind string) string {
	m, ok := all.covering(root, strings.TrimSuffix(name, "/"))
	switch {
	case !ok, m.point == root && m.kind != kind:
		return root + " is not mounted"
	case m.kind == kind && m.onlyProcesses:
		return "this /proc shows only processes"
	case m.kind == kind:
		return ""
	}
	return fmt.Sprintf("something else is mounted over %s", m.point)
}
