package inventory

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// matcher evaluates limits as Ansible's inventory manager does (lib/ansible/inventory/manager.py, 2.14).
type matcher struct{ inv *Inventory }

// subset gives the hosts of a limit.
func (m *matcher) subset(limit string) (map[*host]bool, error) {
	var patterns []string
	for _, p := range splitPatterns(limit) {
		if !strings.HasPrefix(p, "@") {
			patterns = append(patterns, p)
			continue
		}
		lines, err := retryFile(p[1:])
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, lines...)
	}
	return m.evaluate(patterns)
}

// retryFile reads a file of patterns, one a line.
func retryFile(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, plain(err))
	}
	var lines []string
	for line := range strings.SplitSeq(string(text), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines, nil
}

// colonPatterns finds the parts of a list that colons separate; those inside brackets separate nothing.
var colonPatterns = regexp.MustCompile(`(?:[^\s:\[\]]|\[[^\]]*\])+`)

// splitPatterns splits at commas where there are any, and at colons otherwise, but no host name, port, address or range.
func splitPatterns(limit string) []string {
	var parts []string
	if strings.Contains(limit, ",") {
		parts = strings.Split(limit, ",")
	} else if _, _, ok := addresses.split(limit); ok {
		parts = []string{limit}
	} else {
		parts = colonPatterns.FindAllString(limit, -1)
	}
	var out []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// evaluate takes unions first, then intersections, then exclusions. Without a union everything is the start.
func (m *matcher) evaluate(patterns []string) (map[*host]bool, error) {
	var unions, rest, exclusions []string
	for _, p := range patterns {
		switch {
		case p == "":
		case p[0] == '!':
			exclusions = append(exclusions, p)
		case p[0] == '&':
			rest = append(rest, p)
		default:
			unions = append(unions, p)
		}
	}
	if len(unions) == 0 {
		unions = []string{"all"}
	}
	hosts := map[*host]bool{}
	for _, p := range slices.Concat(unions, rest, exclusions) {
		if err := m.apply(hosts, p); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

func (m *matcher) apply(hosts map[*host]bool, pattern string) error {
	if h, ok := m.inv.hosts[pattern]; ok {
		hosts[h] = true
		return nil
	}
	matched, err := m.match(strings.TrimLeft(pattern[:1], "&!") + pattern[1:])
	if err != nil {
		return err
	}
	set := map[*host]bool{}
	for _, h := range matched {
		set[h] = true
	}
	for h := range hosts {
		if pattern[0] == '!' && set[h] || pattern[0] == '&' && !set[h] {
			delete(hosts, h)
		}
	}
	if pattern[0] != '!' && pattern[0] != '&' {
		for h := range set {
			hosts[h] = true
		}
	}
	return nil
}

// match gives the hosts of one pattern: a group's, or the hosts of that name, and what a subscript leaves of them.
func (m *matcher) match(pattern string) ([]*host, error) {
	if pattern == "" {
		return nil, errors.New("an empty pattern")
	}
	name, sub, err := m.subscript(pattern)
	if err != nil {
		return nil, err
	}
	matches, err := compile(name)
	if err != nil {
		return nil, err
	}
	var hosts []*host
	groups := false
	for _, g := range m.inv.grouped {
		if matches.MatchString(g.name) {
			groups = true
			hosts = append(hosts, g.allHosts()...)
		}
	}
	if !groups || name[0] == '~' || strings.ContainsAny(name, ".?*[") {
		for _, h := range m.inv.order {
			if matches.MatchString(h.name) {
				hosts = append(hosts, h)
			}
		}
	}
	if len(hosts) == 0 && slices.Contains(localhosts(), name) {
		hosts = m.localhost()
	}
	if len(hosts) == 0 && !groups && name != "all" {
		m.inv.warn("", 0, "limit: pattern %q matches no host and no group", name)
	}
	return sub.of(hosts, pattern)
}

// localhosts are the names that Ansible has for this machine: each means the one that the inventory has.
func localhosts() []string { return []string{"127.0.0.1", "localhost", "::1"} }

func (m *matcher) localhost() []*host {
	for _, h := range m.inv.order {
		if slices.Contains(localhosts(), h.name) {
			return []*host{h}
		}
	}
	return nil
}

// subscripted is a pattern with [n], [from:to], [from:] or the older [from-to] behind it.
var subscripted = regexp.MustCompile(`^(.+)\[(?:(-?[0-9]+)|([0-9]+)([:-])([0-9]*))\]$`)

type subscript struct {
	given    bool
	from, to int // to: -1 the last one, 0 none but from
}

func (m *matcher) subscript(pattern string) (name string, sub subscript, err error) {
	found := subscripted.FindStringSubmatch(pattern)
	if pattern[0] == '~' || found == nil {
		return pattern, subscript{}, nil
	}
	from, err1 := strconv.Atoi(found[2] + found[3])
	to, err2 := 0, error(nil)
	switch {
	case found[4] != "" && found[5] == "":
		to = -1
	case found[4] != "":
		to, err2 = strconv.Atoi(found[5])
	}
	if err := errors.Join(err1, err2); err != nil {
		return "", subscript{}, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return found[1], subscript{true, from, to}, nil
}

// of takes a part of the hosts, both ends included, as Python's slices do: a part beyond the end is empty, one host beyond it
// an error.
func (s subscript) of(hosts []*host, pattern string) ([]*host, error) {
	if !s.given || len(hosts) == 0 {
		return hosts, nil
	}
	if s.to == 0 {
		at := s.from
		if at < 0 {
			at += len(hosts)
		}
		if at < 0 || at >= len(hosts) {
			return nil, fmt.Errorf("pattern %q: there are %d hosts", pattern, len(hosts))
		}
		return hosts[at : at+1], nil
	}
	end := s.to + 1
	if s.to == -1 || end > len(hosts) {
		end = len(hosts)
	}
	if s.from >= end {
		return nil, nil
	}
	return hosts[s.from:end], nil
}

// compile makes a pattern (~regex, or a glob) one of Go's, which like Python's match() begins at the beginning.
func compile(pattern string) (*regexp.Regexp, error) {
	if text, ok := strings.CutPrefix(pattern, "~"); ok {
		re, err := regexp.Compile(`^(?:` + text + `)`)
		if err != nil {
			return nil, &Error{
				Text: fmt.Sprintf("pattern %q: %v", pattern, err),
				Hint: "Go's regular expressions have no look-around and no back-references",
			}
		}
		return re, nil
	}
	re, err := regexp.Compile(glob(pattern))
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return re, nil
}

// glob translates a shell pattern as Python's fnmatch does: * ? [abc] [a-z] [!a-z], and a bracket that nothing closes is itself.
func glob(pattern string) string {
	var out strings.Builder
	out.WriteString(`(?s)^`)
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; c {
		case '*':
			out.WriteString(`.*`)
		case '?':
			out.WriteByte('.')
		case '[':
			class, end := globClass(runes, i+1)
			out.WriteString(class)
			i = end
		default:
			out.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return out.String() + `$`
}

// globClass translates what stands from at to the closing bracket, and says where that is.
func globClass(runes []rune, at int) (class string, end int) {
	end = at
	negated := end < len(runes) && runes[end] == '!'
	if negated {
		end++
	}
	first := end
	if end < len(runes) && runes[end] == ']' {
		end++
	}
	for end < len(runes) && runes[end] != ']' {
		end++
	}
	if end >= len(runes) {
		return `\[`, at - 1
	}
	return classOf(runes[first:end], negated), end
}

func classOf(set []rune, negated bool) string {
	var in strings.Builder
	for i := 0; i < len(set); i++ {
		switch {
		case i+2 < len(set) && set[i+1] == '-' && set[i] <= set[i+2]:
			fmt.Fprintf(&in, `\x{%x}-\x{%x}`, set[i], set[i+2])
			i += 2
		case i+2 < len(set) && set[i+1] == '-': // an empty range
			i += 2
		default:
			fmt.Fprintf(&in, `\x{%x}`, set[i])
		}
	}
	switch {
	case in.Len() == 0 && negated:
		return `.`
	case in.Len() == 0:
		return `[^\x{0}-\x{10ffff}]`
	case negated:
		return `[^` + in.String() + `]`
	}
	return `[` + in.String() + `]`
}
