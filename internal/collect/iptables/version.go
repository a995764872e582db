package iptables

import (
	"regexp"
	"strings"
	"sync"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// tools lists the iptables programs that answered to -V.
func tools(ev *host.Evidence) []snapshot.IPTablesTool {
	var out []snapshot.IPTablesTool
	for _, n := range versionNeeds() {
		a := ev.Answer(n)
		if a.Absent || a.Err != "" {
			continue
		}
		if version, mode, ok := parseVersion(a.Data); ok {
			out = append(out, snapshot.IPTablesTool{Path: n.Args[0], Mode: mode, Version: version})
		}
	}
	return out
}

var versionLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^ip6?tables(?:-\w+)? v([0-9][0-9A-Za-z.+~-]*)(?: \((legacy|nf_tables)\))?\s*$`)
})

// parseVersion reads "iptables v1.8.9 (nf_tables)". Versions before 1.8.0 name no mode: there was only one.
func parseVersion(b []byte) (version, mode string, ok bool) {
	line, _, _ := strings.Cut(string(b[:min(len(b), 200)]), "\n")
	m := versionLine().FindStringSubmatch(line)
	if m == nil {
		return "", "", false
	}
	if m[2] == "" {
		m[2] = "legacy"
	}
	return m[1], m[2], true
}
