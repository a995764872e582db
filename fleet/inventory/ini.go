package inventory

import (
	"bytes"
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	section   = regexp.MustCompile(`^\[([^:\]\s]+)(?::([\pL\pN_]+))?\]\s*(?:#.*)?$`)
	groupName = regexp.MustCompile(`^([^:\]\s]+)\s*(?:#.*)?$`)
)

// ini reads Ansible's INI (lib/ansible/plugins/inventory/ini.py, 2.14), and plain lists, which are an INI without sections and
// variables whose lines may also be user@host:port.
type ini struct {
	*loader
	plain   bool
	group   *group
	state   string // of the section: hosts, vars or children
	line    int
	pending map[string]*promise // groups that are named before they are declared
}

// promise is a group whose declaration has to come.
type promise struct {
	line    int
	state   string // vars or children: what named it
	parents []*group
}

func (l *loader) parseINI(text []byte) {
	text = newlines(text)
	p := &ini{loader: l, plain: plainList(text), group: l.inv.loose, state: "hosts", pending: map[string]*promise{}}
	for line := range bytes.Lines(text) {
		p.line++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == ';' {
			continue
		}
		if !utf8.Valid(line) {
			p.fail(p.line, "", "not UTF-8")
			continue
		}
		p.readLine(string(line))
	}
	p.unkept()
}

// newlines makes every end of a line that Python knows one that Go knows.
func newlines(text []byte) []byte {
	if !bytes.ContainsAny(text, "\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029") {
		return text
	}
	return []byte(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\x1c", "\n", "\x1d", "\n", "\x1e", "\n",
		"\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(text)))
}

// plainList reports whether no line is a section and none has more than a host.
func plainList(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == ';' {
			continue
		}
		words, err := split(string(line), true)
		if err != nil || len(words) != 1 || section.Match(line) && !bracketedIP(words[0]) {
			return false
		}
	}
	return true
}

func bracketedIP(s string) bool {
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return err == nil && ip.Is6() && s[0] == '[' && s[len(s)-1] == ']'
}

func (p *ini) readLine(line string) {
	switch m := section.FindStringSubmatch(line); {
	case p.plain:
		p.hosts(line)
	case m != nil:
		p.section(m[1], cmp.Or(m[2], "hosts"))
	case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
		p.fail(p.line, "a section is [group], [group:vars] or [group:children], without spaces", "section %q cannot be read", line)
	case p.group == nil: // the section was refused
	case p.state == "hosts":
		p.hosts(line)
	case p.state == "vars":
		p.variable(line)
	case p.state == "children":
		p.child(line)
	}
}

func (p *ini) section(name, state string) {
	p.group, p.state = nil, state
	if state != "hosts" && state != "vars" && state != "children" {
		p.fail(p.line, "a section is [group], [group:vars] or [group:children]", "section [%s:%s]: unknown kind %q", name, state, state)
		return
	}
	if _, known := p.inv.groups[name]; !known && state == "vars" && p.pending[name] == nil {
		p.pending[name] = &promise{line: p.line, state: state}
	}
	p.group = p.loader.group(name, p.line)
	if kept := p.pending[name]; kept != nil && state != "vars" && p.group != nil {
		for _, parent := range kept.parents {
			p.link(parent, p.group, kept.line)
		}
		delete(p.pending, name)
	}
}

// unkept reports the groups that were named and never declared.
func (p *ini) unkept() {
	for name, kept := range sortedByLine(p.pending) {
		if kept.state == "vars" {
			p.fail(kept.line, "declare it: ["+name+"]", "section [%s:vars]: no group %q", name, name)
			continue
		}
		p.fail(kept.line, "declare it: ["+name+"]", "section [%s:children]: no group %q", kept.parents[0].name, name)
	}
}

func sortedByLine(pending map[string]*promise) func(yield func(string, *promise) bool) {
	names := make([]string, 0, len(pending))
	for n := range pending {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(pending[a].line, pending[b].line) })
	return func(yield func(string, *promise) bool) {
		for _, n := range names {
			if !yield(n, pending[n]) {
				return
			}
		}
	}
}

func (p *ini) child(line string) {
	m := groupName.FindStringSubmatch(line)
	if m == nil {
		p.fail(p.line, "", "want the name of a group, got %q", line)
		return
	}
	if g, ok := p.inv.groups[m[1]]; ok && p.pending[m[1]] == nil {
		p.link(p.group, g, p.line)
		return
	}
	kept := p.pending[m[1]]
	if kept == nil {
		kept = &promise{line: p.line, state: "children"}
		p.pending[m[1]] = kept
	}
	kept.parents = append(kept.parents, p.group)
}

func (p *ini) variable(line string) {
	key, text, ok := strings.Cut(line, "=")
	if !ok {
		p.fail(p.line, "", "want key=value, got %q", line)
		return
	}
	p.setGroup(p.group, strings.TrimSpace(key), p.value(text))
}

func (p *ini) value(text string) value {
	v := literal(strings.TrimSpace(text))
	v.file, v.line = p.file, p.line
	return v
}

func (p *ini) hosts(line string) {
	words, err := split(line, true)
	switch {
	case err != nil:
		p.fail(p.line, "", "host %q: %v", line, err)
		return
	case len(words) == 0:
		return
	case p.plain:
		p.listed(p.line, words[0])
		return
	}
	names, port, err := expand(words[0])
	if err == nil && port == 0 && strings.HasSuffix(words[0], ":") {
		p.fail(p.line, "a colon stands before a port", "host %q ends with a colon", words[0])
		return
	}
	if err != nil {
		p.fail(p.line, "", "%v", err)
		return
	}
	p.declare(names, port, words[1:])
}

func (p *ini) declare(names []string, port int, assignments []string) {
	set := map[string]value{}
	for _, a := range assignments {
		key, text, ok := strings.Cut(a, "=")
		if !ok {
			p.fail(p.line, "quote values that have spaces", "want key=value behind a host, got %q", a)
			return
		}
		set[key] = p.value(text)
	}
	for _, name := range names {
		h := p.addHost(name, port, p.group, p.line)
		if h == nil {
			return
		}
		for key, v := range set {
			p.setHost(h, key, v)
		}
	}
}

// addHost declares a host in a group. Like Ansible it takes the port behind the name from the first declaration only.
func (l *loader) addHost(name string, port int, g *group, line int) *host {
	_, known := l.inv.hosts[name]
	h := l.host(name, line)
	if h == nil {
		return nil
	}
	p := value{text: itoa(port), file: l.file, line: line}
	switch {
	case port != 0 && !known:
		h.vars.set("ansible_port", p)
	case port != 0 && h.vars["ansible_port"].text != p.text:
		l.warn(line, "%s: port %d is passed over, as in Ansible: the host was declared before (%s)", name, port, h.where())
	}
	g.add(h)
	return h
}

// listed reads a line of a plain list: host, host:port, user@host:port, with IPv6 addresses in brackets where a port follows.
func (l *loader) listed(line int, word string) {
	user, rest, named := strings.Cut(word, "@")
	if !named {
		user, rest = "", word
	}
	if strings.HasPrefix(rest, "[") && bracketedIP(rest) {
		rest = strings.Trim(rest, "[]")
	}
	names, port, err := expand(rest)
	switch {
	case err != nil:
		l.fail(line, "", "%v", err)
		return
	case named && user == "":
		l.fail(line, "a line is user@host:port", "host %q: no user before the @", word)
		return
	case port == 0 && strings.HasSuffix(rest, ":"), strings.Contains(rest, "@"):
		l.fail(line, "a line is user@host:port", "host %q cannot be read", word)
		return
	}
	for _, name := range names {
		l.listedHost(name, user, port, line)
	}
}

func (l *loader) listedHost(name, user string, port, line int) {
	if old, known := l.inv.hosts[name]; known {
		if old.vars["ansible_port"].text != itoa(port) || old.vars["ansible_user"].text != user {
			l.fail(line, "give each a name: web1 ansible_host="+name+" ansible_port=2201",
				"host %s is there already (%s), with another port or user", name, old.where())
			return
		}
		l.warn(line, "%s is listed twice", name)
	}
	h := l.addHost(name, port, l.inv.loose, line)
	if h != nil && user != "" {
		h.vars.set("ansible_user", value{text: user, file: l.file, line: line})
	}
}
