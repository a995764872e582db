package host

import (
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"syscall"
)

// The caps of needs that state none, in bytes.
const (
	defaultLimit     = 64 << 20
	defaultFileLimit = 1 << 20
)

// Cap is the need's limit in bytes, or the default of its kind.
func (n Need) Cap() int64 {
	switch {
	case n.Limit > 0:
		return n.Limit
	case n.Kind == File:
		return defaultFileLimit
	}
	return defaultLimit
}

// failed turns an error into an answer: not there, not allowed, or neither.
//
// ESRCH is what /proc/PID files say once the process is gone; EPROTONOSUPPORT, EAFNOSUPPORT and EOPNOTSUPP are the
// kernel's words for a protocol or a request that it was built without.
func failed(err error) *Answer {
	switch {
	case isAny(err, syscall.ENOENT, syscall.ENOTDIR, syscall.ESRCH, syscall.EPROTONOSUPPORT, syscall.EAFNOSUPPORT, syscall.EOPNOTSUPP):
		return &Answer{Absent: true}
	case isAny(err, syscall.EPERM, syscall.EACCES):
		return &Answer{Err: cause(err), Denied: true}
	}
	return &Answer{Err: cause(err)}
}

func isAny(err error, errnos ...syscall.Errno) bool {
	for _, e := range errnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// cause is the error's text without the operation and the path, which the need already names.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

// sumUp sets Err, and Denied where it applies, from the files in Failed.
func (a *Answer) sumUp(denied bool) {
	if len(a.Failed) == 0 {
		return
	}
	paths := make([]string, 0, len(a.Failed))
	for p := range a.Failed {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	a.Err = paths[0] + ": " + a.Failed[paths[0]]
	if more := len(paths) - 1; more > 0 {
		a.Err += fmt.Sprintf(" (and %d more)", more)
	}
	a.Denied = denied
}

// lastLine is the last line of a program's error output that says something.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return strings.TrimSpace(s)
}

// saysDenied recognises how nft, iptables and their kin complain about a missing privilege.
func saysDenied(stderr string) bool {
	for _, s := range []string{"Permission denied", "Operation not permitted", "you must be root"} {
		if strings.Contains(stderr, s) {
			return true
		}
	}
	return false
}
