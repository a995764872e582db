package collect

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// Parse reads one answer with a pure parser. An absent answer is an absent value; one that could not be read, was cut, or does
// not parse is Unreadable, with one Missing that says so of what.
func Parse[T any](a *host.Answer, what string, parse func([]byte) (T, error)) (snapshot.Value[T], []snapshot.Missing) {
	if why, hint := Trouble(a); why != "" {
		return snapshot.Unreadable[T](why, hint), []snapshot.Missing{{What: what, Why: why, Hint: hint}}
	}
	if a.Absent {
		return snapshot.Absent[T](), nil
	}
	v, err := parse(a.Data)
	if err != nil {
		return snapshot.Unreadable[T](err.Error(), ""), []snapshot.Missing{{What: what, Why: err.Error()}}
	}
	return snapshot.Known(v), nil
}

// Trouble says why an answer cannot be used whole, and what would help; why is empty when it can.
func Trouble(a *host.Answer) (why, hint string) {
	switch {
	case a.Err != "" && a.Denied:
		return a.Err, "run as root"
	case strings.Contains(a.Err, host.Hidden):
		return a.Err, "mount /proc and /sys whole, or run outside the container or sandbox"
	case a.Err != "":
		return a.Err, ""
	case a.Truncated:
		return "cut at the size limit", ""
	}
	return "", ""
}
