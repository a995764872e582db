package sshhost

import (
	"strings"
)

// classes says which hosts the configuration treats alike: those that match the same Host lines, provided that nothing in
// the blocks that apply to them depends on the name itself (HostName, tokens). What ssh -G says of one of them then holds
// for all of them, but for the name. A Match line forbids it for every host, since its conditions can be anything; "all" is
// none, alone or as distributions write it, behind "final" or "canonical".
type classes struct {
	never  bool
	again  bool // the files are read a second time, for the name in lower case
	blocks []block
}

// block is one Host line and what follows it. A file's beginning is a block that everybody matches.
type block struct {
	patterns []string // nil: always
	own      bool     // something in it depends on the host's name
}

// scanConfig reads the files that ssh read. One that cannot be read, or that has a line whose meaning is not sure, forbids
// sharing.
func scanConfig(files []string, read func(string) ([]byte, error)) *classes {
	c := &classes{}
	for _, name := range files {
		text, err := read(name)
		if err != nil {
			return &classes{never: true}
		}
		c.blocks = append(c.blocks, block{})
		for line := range strings.Lines(string(text)) {
			if !c.line(strings.TrimSpace(line)) {
				return &classes{never: true}
			}
		}
	}
	return c
}

// line takes one line, and reports whether sharing is still allowed.
func (c *classes) line(line string) bool {
	if line == "" || line[0] == '#' {
		return true
	}
	key, value := keyword(line)
	switch key {
	case "match":
		condition := strings.Fields(strings.ToLower(value))
		if len(condition) == 0 || len(condition) > 2 || condition[len(condition)-1] != "all" {
			return false
		}
		c.again = c.again || len(condition) == 2
		c.blocks = append(c.blocks, block{})
		return len(condition) == 1 || condition[0] == "final" || condition[0] == "canonical"
	case "include":
		return !strings.ContainsAny(value, "%$")
	case "host":
		if strings.ContainsAny(value, "\"'\\#,=") {
			return false
		}
		c.blocks = append(c.blocks, block{patterns: strings.Fields(value)})
		return true
	}
	if dependsOnName(key, value) {
		c.blocks[len(c.blocks)-1].own = true
	}
	return true
}

// keyword splits "Keyword value", "Keyword=value" and "Keyword = value".
func keyword(line string) (key, value string) {
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return strings.ToLower(line), ""
	}
	value = strings.TrimLeft(line[end:], " \t")
	value = strings.TrimLeft(strings.TrimPrefix(value, "="), " \t")
	return strings.ToLower(line[:end]), value
}

func dependsOnName(key, value string) bool {
	switch key {
	case "hostname", "canonicalizehostname":
		return true
	case "controlpath", "proxycommand", "localcommand", "remotecommand":
		return false // printed as they were written
	}
	return strings.Contains(value, "%")
}

// of names the class of a host; ok is false where the host must be asked for by itself.
func (c *classes) of(h hop) (class string, ok bool) {
	if c.never || c.again && strings.ToLower(h.name) != h.name {
		return "", false
	}
	for _, o := range h.options {
		if key, value := keyword(o); dependsOnName(key, value) || key == "include" || key == "match" || key == "host" {
			return "", false
		}
	}
	if strings.Contains(h.jump, "%") {
		return "", false
	}
	bits := make([]byte, len(c.blocks))
	for i, b := range c.blocks {
		bits[i] = '0'
		if b.patterns == nil || matchHost(b.patterns, h.name) {
			if b.own {
				return "", false
			}
			bits[i] = '1'
		}
	}
	return string(bits), true
}

// matchHost is the Host line's rule: one pattern must match, and none of those with a "!" may.
func matchHost(patterns []string, name string) bool {
	found := false
	for _, p := range patterns {
		p, not := strings.CutPrefix(p, "!")
		if matchPattern(p, name) {
			if not {
				return false
			}
			found = true
		}
	}
	return found
}

// matchPattern knows * and ? alone, as ssh does (match.c).
func matchPattern(pattern, s string) bool {
	star, mark, p, i := -1, 0, 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
