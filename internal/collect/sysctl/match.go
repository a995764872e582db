package sysctl

import (
	"path"
	"strings"
	"sync"
)

// deadNames are families of keys that no kernel since 4.9 has but that files still assign to.
func deadNames() []string { return []string{"net/ipv4/ip_conntrack_*"} }

// concern decides which assignments are kept: those to the keys that are read, and to the dead names.
type concern [][]string

var concerns = sync.OnceValue(func() concern {
	var c concern
	for _, k := range liveKeys() {
		c = append(c, strings.Split(k.pattern, "/"))
	}
	for _, p := range deadNames() {
		c = append(c, strings.Split(p, "/"))
	}
	return c
})

// has reports whether key, a path below /proc/sys that may hold shell patterns, can name a key that concerns us. Patterns
// are compared part by part, because a "*" of glob(3) never crosses a slash.
func (c concern) has(key string) bool {
	parts := strings.Split(key, "/")
	for _, ours := range c {
		if len(ours) == len(parts) && allOverlap(ours, parts) {
			return true
		}
	}
	return false
}

func allOverlap(ours, theirs []string) bool {
	for i := range ours {
		if !overlap(ours[i], theirs[i]) {
			return false
		}
	}
	return true
}

// overlap reports whether a part of one of our patterns ("*", "prefix*" or a plain name) and a part of theirs (any shell
// pattern) have a name in common; where both are patterns it may say yes too often, which keeps a line too many.
func overlap(ours, theirs string) bool {
	prefix, family := strings.CutSuffix(ours, "*")
	switch {
	case !family && !hasPattern(theirs):
		return ours == theirs
	case !family:
		return shellMatch(theirs, ours)
	case !hasPattern(theirs):
		return strings.HasPrefix(theirs, prefix)
	}
	literal := theirs[:strings.IndexAny(theirs, patternChars)]
	return strings.HasPrefix(literal, prefix) || strings.HasPrefix(prefix, literal)
}

const patternChars = `*?[\`

// hasPattern is systemd's string_is_glob with the backslash added: it only ever widens what is kept.
func hasPattern(s string) bool { return strings.ContainsAny(s, patternChars) }

// shellMatch is glob(3) for one part or path; a broken pattern matches only itself, as in glob(3).
func shellMatch(pattern, name string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), name)
	return ok || err != nil && pattern == name
}
