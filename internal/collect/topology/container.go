package topology

import (
	"regexp"
	"strings"
)

// container is what a process's cgroup says about who runs it.
type container struct {
	cgroup  string // the path that told, or the process's own
	id      string // 12 hex digits, or an LXC container's name
	runtime string
}

// The ways runtimes name a container's cgroup; a path's last match counts, for containers run containers.
//
//	docker       /docker/ID                                    cgroupfs driver
//	             docker-ID.scope                               systemd driver, also below kubepods
//	containerd   cri-containerd-ID.scope                       systemd driver
//	             kubepods-....slice:cri-containerd:ID          runc without the systemd driver under a slice name
//	CRI-O        crio-ID.scope, crio-ID                        either driver
//	podman       libpod-ID.scope, libpod-ID                    either driver
//	LXC          lxc/NAME, lxc.payload/NAME, lxc.payload.NAME
//	unknown      /kubepods/.../podUID/ID                       cgroupfs driver: any CRI runtime
var containerPath = regexp.MustCompile(
	`(?:^|/)(?:` +
		`(?:[^/]*:)?(docker|cri-containerd|crio|libpod|nerdctl)[-:]([0-9a-f]{64})(?:\.scope)?` +
		`|(docker)/([0-9a-f]{64})` +
		`|(kubepods)(?:/[^/]+)?/pod[^/]+/([0-9a-f]{64})` +
		`|(lxc)(?:/|\.payload[./])([^/]+)` +
		`)(?:/|$)`)

// parseCGroup reads /proc/PID/cgroup: lines "hierarchy:controllers:path", in version 2 the one line "0::path".
// Source: cgroups(7), and kernel/cgroup/cgroup.c, proc_cgroup_show(), Linux 6.18.
func parseCGroup(file string) container {
	var own container
	for line := range strings.Lines(file) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		c := containerOf(fields[2])
		if c.id != "" {
			return c
		}
		if own.cgroup == "" || fields[0] == "0" && c.cgroup != "/" {
			own = c
		}
	}
	return own
}

// containerOf finds the innermost container in a cgroup path.
func containerOf(path string) container {
	c := container{cgroup: path}
	for rest := path; ; {
		m := containerPath.FindStringSubmatchIndex(rest)
		if m == nil {
			return c
		}
		for g := 2; g+3 < len(m); g += 4 { // pairs of groups: how it is named, then its id
			if m[g] >= 0 {
				c.runtime, c.id = runtimeOf(rest[m[g]:m[g+1]]), rest[m[g+2]:m[g+3]]
				rest = rest[m[g+3]:]
				break
			}
		}
		if c.runtime != "lxc" {
			c.id = c.id[:12]
		}
	}
}

// runtimeOf names the runtime behind a cgroup name; "" when several may use that name.
func runtimeOf(name string) string {
	switch name {
	case "cri-containerd", "nerdctl":
		return "containerd"
	case "libpod":
		return "podman"
	case "kubepods":
		return ""
	}
	return name
}
