package sysctl

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

const procSys = "/proc/sys/"

// liveKey is one key, or a family of keys, below /proc/sys, with slashes. A "*" that is a whole part stands for an interface
// or for any name; elsewhere it ends a prefix.
type liveKey struct {
	pattern string
	need    host.Need
	// always are keys of the family that every reader of a snapshot asks for: they stand in it even where they are not there.
	always []string
}

func live(pattern string, always ...string) liveKey {
	k := liveKey{pattern: pattern, need: file(procSys + pattern), always: always}
	if strings.Contains(pattern, "*") {
		k.need = glob(procSys + pattern)
	}
	return k
}

// liveKeys are the keys that are read, and whose assignments in files are kept. The dead names, which Linux 4.9 removed (commit
// adf0516845bc), are among them so that a node says by itself that it has none.
var liveKeys = sync.OnceValue(func() []liveKey {
	return []liveKey{
		live("net/netfilter/nf_conntrack_*", names("net/netfilter/nf_conntrack_",
			"acct", "buckets", "checksum", "count", "log_invalid", "max", "tcp_be_liberal", "tcp_ignore_invalid_rst", "tcp_loose",
			"tcp_max_retrans", "tcp_no_window_check", "tcp_timeout_close_wait", "tcp_timeout_established", "tcp_timeout_unacknowledged", "timestamp")...),
		live("net/netfilter/nf_log_all_netns"),
		live("net/nf_conntrack_max"),
		live("net/ipv4/netfilter/ip_conntrack_*", names("net/ipv4/netfilter/ip_conntrack_", "max", "tcp_be_liberal")...),
		live("net/ipv4/ip_forward"),
		live("net/ipv4/ip_local_port_range"),
		live("net/ipv4/fwmark_reflect"),
		live("net/ipv6/fwmark_reflect"),
		live("net/ipv4/tcp_keepalive_time"),
		live("net/ipv4/conf/*/forwarding", names("net/ipv4/conf/", "all/forwarding", "default/forwarding")...),
		live("net/ipv6/conf/*/forwarding", names("net/ipv6/conf/", "all/forwarding", "default/forwarding")...),
		live("net/ipv4/conf/*/rp_filter", names("net/ipv4/conf/", "all/rp_filter", "default/rp_filter")...),
		live("net/ipv4/conf/*/route_localnet", names("net/ipv4/conf/", "all/route_localnet", "default/route_localnet")...),
		live("net/bridge/bridge-nf-call-*", names("net/bridge/bridge-nf-call-", "iptables", "ip6tables", "arptables")...),
		live("net/ipv4/vs/*", names("net/ipv4/vs/", "conntrack", "conn_reuse_mode", "expire_nodest_conn", "snat_reroute")...),
	}
})

func names(prefix string, rest ...string) []string {
	out := make([]string, len(rest))
	for i, r := range rest {
		out[i] = prefix + r
	}
	return out
}

// live reads every key. A key that the kernel does not have is absent, be it because it never had it or because the module that
// makes it is not loaded.
func (r *reader) live() map[string]snapshot.Value[string] {
	out := make(map[string]snapshot.Value[string], 128)
	for _, k := range liveKeys() {
		if isGlob(k.need) {
			r.liveFamily(k, out)
			continue
		}
		name := dotted(k.pattern)
		v, missing := collect.Parse(r.ev.Answer(k.need), name, parseValue)
		out[name] = v
		r.missing = append(r.missing, missing...)
	}
	return out
}

func (r *reader) liveFamily(k liveKey, out map[string]snapshot.Value[string]) {
	a := r.ev.Answer(k.need)
	for _, p := range slices.Sorted(maps.Keys(a.Files)) {
		key := dotted(strings.TrimPrefix(p, procSys))
		text, err := parseValue(a.Files[p])
		if err != nil {
			out[key] = snapshot.Unreadable[string](err.Error(), "")
			r.miss(key, err.Error(), "")
			continue
		}
		out[key] = snapshot.Known(text)
	}
	for p, why := range a.Failed {
		if key, ok := strings.CutPrefix(p, procSys); ok {
			out[dotted(key)] = snapshot.Unreadable[string](why, rootHint(a))
		}
	}
	why, hint := collect.Trouble(a)
	if why != "" {
		r.miss(dotted(k.pattern), why, hint)
	}
	for _, p := range k.always {
		key := dotted(p)
		switch _, there := out[key]; {
		case there:
		case why != "" && (len(a.Failed) == 0 || failedAbove(a, procSys+p)):
			out[key] = snapshot.Unreadable[string](why, hint)
		default:
			out[key] = snapshot.Absent[string]()
		}
	}
}

// failedAbove reports whether a folder that leads to the key could not be listed.
func failedAbove(a *host.Answer, name string) bool {
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if a.Failed[dir] != "" {
			return true
		}
	}
	return false
}

func rootHint(a *host.Answer) string {
	if a.Denied {
		return "run as root"
	}
	return ""
}

// dotted writes a path below /proc/sys as sysctl.d(5) does: slashes become dots, and dots, which only names of interfaces
// hold, become slashes.
func dotted(p string) string { return swapSeparators(p) }

func swapSeparators(s string) string {
	if strings.IndexByte(s, '.') < 0 && utf8.ValidString(s) {
		return strings.ReplaceAll(s, "/", ".")
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, s)
}

// maxValue bounds a value: the kernel reads and writes at most a page of one.
const maxValue = 4096

// parseValue reads the value of a key: everything up to the final newline. Tabs stand between the numbers of a range.
func parseValue(b []byte) (string, error) {
	s := strings.TrimSuffix(string(b[:min(len(b), maxValue+1)]), "\n")
	if len(s) > maxValue {
		return "", fmt.Errorf("longer than %d bytes", maxValue)
	}
	if !plainText(s) {
		return "", errors.New("not one line of text")
	}
	return s, nil
}

func plainText(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) < 0
}
