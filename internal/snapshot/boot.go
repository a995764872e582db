package snapshot

import (
	"path"
	"strings"
)

// kernelCmdline is where the assignments come from that the kernel makes itself, before any file is read.
const kernelCmdline = "/proc/cmdline"

// AtBoot says which assignment decides a key at the next boot: the key's own, else the last pattern that covers it, unless a
// "-key" line excludes it from patterns (sysctl.d(5)); else the kernel's command line. Absent: nothing sets the key, and it
// keeps the kernel's default.
func (s *Sysctl) AtBoot(key string) Value[Assignment] {
	list, ok := s.Persisted.Get()
	if !ok {
		if s.Persisted.IsAbsent() {
			return Absent[Assignment]()
		}
		return Unreadable[Assignment](s.Persisted.Why())
	}
	var kernel, own, pattern *Assignment
	excluded := false
	for i := range list {
		a := &list[i]
		switch {
		case a.Overridden:
		case a.Key == key && a.File == kernelCmdline:
			kernel = a
		case a.Key == key && a.Exclude:
			excluded = true
		case a.Key == key:
			own = a
		case !a.Exclude && coversKey(a.Key, key):
			pattern = a
		}
	}
	if excluded {
		pattern = nil
	}
	for _, a := range [...]*Assignment{own, pattern, kernel} {
		if a != nil {
			return Known(*a)
		}
	}
	return Absent[Assignment]()
}

// coversKey reports whether a pattern, dotted as in [Assignment], covers a key. A "*" stays within one part of the key.
func coversKey(pattern, key string) bool {
	if !strings.ContainsAny(pattern, "*?[") {
		return false
	}
	slashes := strings.NewReplacer(".", "/", "/", ".")
	ok, err := path.Match(strings.ReplaceAll(slashes.Replace(pattern), "[!", "[^"), slashes.Replace(key))
	return ok && err == nil
}
