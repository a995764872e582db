package host

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Hidden is in the Err of every answer about a file that the mounts of this process hide, so that nobody knows whether the
// kernel has it.
const Hidden = "hidden from this process"

// orMasked takes back an absent or empty answer that proves nothing. Where something else is mounted over a folder of
// /proc or /sys, as container runtimes and sandboxes do, no file is there, and an empty one or /dev/null stands in for those that
// are masked one by one: that is no word of the kernel's.
func orMasked(name string, a *Answer) *Answer {
	why := ""
	switch {
	case strings.HasPrefix(name, "/proc/"):
		why = masked(name, "/proc", unix.PROC_SUPER_MAGIC)
	case strings.HasPrefix(name, "/sys/"):
		why = masked(name, "/sys", unix.SYSFS_MAGIC)
	}
	if why == "" || !a.Absent && len(a.Data) > 0 {
		return a
	}
	return &Answer{Err: Hidden + ": " + why}
}

// masked says what hides a file that is not there or is empty; empty when the file system around it is the kernel's own.
// The file itself is looked at first, then the nearest folder that exists.
func masked(name, root string, magic int64) string {
	for at := path.Clean(name); ; at = path.Dir(at) {
		var st unix.Statfs_t
		err := unix.Statfs(threadPath(at), &st)
		switch {
		case err == nil && int64(st.Type) == magic && at == "/proc":
			return onlyProcesses()
		case err == nil && int64(st.Type) == magic:
			return ""
		case err == nil && at == root:
			return root + " is not mounted"
		case err == nil:
			return "something else is mounted over " + at
		case at == root || !isAny(err, unix.ENOENT, unix.ENOTDIR):
			return at + ": " + cause(err)
		}
	}
}

// onlyProcesses tells a /proc that was mounted with subset=pid, which shows nothing but processes
// (Documentation/filesystems/proc.rst, "Mount options").
func onlyProcesses() string {
	if err := unix.Access("/proc/version", unix.F_OK); err != nil {
		return "this /proc shows only processes"
	}
	return ""
}
