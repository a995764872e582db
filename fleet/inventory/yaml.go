package inventory

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"sort"
	"strconv"

	"gopkg.in/yaml.v3"
)

// parseYAML reads Ansible's YAML (lib/ansible/plugins/inventory/yaml.py, 2.14) or the native form.
func (l *loader) parseYAML(text []byte) {
	root := l.document(text)
	if root == nil {
		return
	}
	if root.Kind != yaml.MappingNode {
		l.fail(root.Line, "begin with a group (all:), or with version: 1", "want a mapping, got %s", kindOf(root))
		return
	}
	top := l.pairs(root, 0)
	switch {
	case has(top, "version"):
		l.parseNative(top)
	case has(top, "plugin"):
		l.fail(root.Line, listHint, "this configures an inventory plugin of Ansible")
	case has(top, "apiVersion") && has(top, "kind"):
		l.fail(root.Line, "kubectl get nodes -o json | ctaudit inventory list -i -", "an object of Kubernetes: nodes are read as JSON")
	default:
		for _, p := range top {
			l.yamlGroup(p.key, p.value, 0)
		}
	}
}

// document parses one YAML document; nil when it cannot be read or says nothing.
func (l *loader) document(text []byte) *yaml.Node {
	l.nodes = 0
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		l.syntax(text, err)
		return nil
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		l.fail(more.Line, "one inventory is one document", "a second YAML document")
		return nil
	case !errors.Is(err, io.EOF):
		l.syntax(text, err)
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

func (l *loader) syntax(text []byte, err error) {
	m := yamlLine.FindStringSubmatch(err.Error())
	line, why := 0, err.Error()
	if m != nil {
		line, _ = strconv.Atoi(m[1])
		why = why[len(m[0]):]
	}
	if found := firstBad(text, why); found > 0 {
		line = found
	}
	l.fail(line, "", "YAML: %s", why)
}

// maxSearched is the largest text in which the line of a mistake is looked for.
const maxSearched = 1 << 20

// firstBad is the line at which a text becomes wrong in that way. The parser itself names the beginning of the mapping around it.
func firstBad(text []byte, why string) int {
	if len(text) > maxSearched {
		return 0
	}
	var ends []int
	for line := range bytes.Lines(text) {
		before := 0
		if len(ends) > 0 {
			before = ends[len(ends)-1]
		}
		ends = append(ends, before+len(line))
	}
	at := sort.Search(len(ends), func(i int) bool {
		dec := yaml.NewDecoder(bytes.NewReader(text[:ends[i]]))
		var err error
		for err == nil {
			err = dec.Decode(&yaml.Node{})
		}
		return yamlLine.ReplaceAllString(err.Error(), "") == why
	})
	if at == len(ends) {
		return 0
	}
	return at + 1
}

// pair is an entry of a mapping.
type pair struct {
	key   *yaml.Node
	value *yaml.Node
}

func has(pairs []pair, key string) bool {
	for _, p := range pairs {
		if p.key.Value == key {
			return true
		}
	}
	return false
}

// pairs are a mapping's entries: aliases followed, merge keys (<<) merged below the rest, of several values for a key the last
// one. It counts what it visits, so that aliases of aliases end.
func (l *loader) pairs(n *yaml.Node, depth int) []pair {
	if n = l.follow(n, depth); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var out []pair
	at := map[string]int{}
	put := func(p pair, merged bool) {
		i, twice := at[p.key.Value]
		switch {
		case !twice:
			at[p.key.Value] = len(out)
			out = append(out, p)
		case merged: // what is there is stronger
		default:
			out[i].value = p.value
			l.warn(p.key.Line, "%q is there twice in one mapping: the last one counts", p.key.Value)
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := l.follow(n.Content[i], depth)
		if key == nil || key.ShortTag() == "!!merge" {
			continue
		}
		put(pair{key, n.Content[i+1]}, false)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() != "!!merge" {
			continue
		}
		for _, p := range l.mergedPairs(n.Content[i+1], depth) {
			put(p, true)
		}
	}
	return out
}

// mergedPairs are what a merge key brings: of one mapping, or of a list of them, the first of which is the strongest.
func (l *loader) mergedPairs(n *yaml.Node, depth int) []pair {
	n = l.follow(n, depth)
	if n == nil || n.Kind != yaml.SequenceNode {
		return l.pairs(n, depth+1)
	}
	var out []pair
	for _, item := range n.Content {
		out = append(out, l.pairs(item, depth+1)...)
	}
	return out
}

// follow resolves an alias; nil means that the document is refused, which was said.
func (l *loader) follow(n *yaml.Node, depth int) *yaml.Node {
	if n == nil {
		return nil
	}
	l.nodes++
	switch {
	case l.nodes == maxNodes:
		l.fail(n.Line, "", "aliases that expand to more than %d values", maxNodes)
		return nil
	case l.nodes > maxNodes:
		return nil
	case depth > maxDepth:
		l.fail(n.Line, "", "nested deeper than %d levels", maxDepth)
		l.nodes = maxNodes // no more of it
		return nil
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "text"
}

// name is a key that names something; numbers and the like have to be quoted, as for Ansible.
func (l *loader) name(what string, key *yaml.Node) (string, bool) {
	if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" && key.ShortTag() != "!!timestamp" {
		l.fail(key.Line, "put it into quotes", "the name of a %s is %s: want text", what, kindOf(key))
		return "", false
	}
	return key.Value, true
}

// yamlGroup reads a group and all below it.
func (l *loader) yamlGroup(key, body *yaml.Node, depth int) *group {
	name, ok := l.name("group", key)
	body = l.follow(body, depth)
	if !ok || body == nil {
		return nil
	}
	if body.Kind != yaml.MappingNode && body.ShortTag() != "!!null" {
		l.warn(key.Line, "group %s is passed over: it is %s and no mapping", name, kindOf(body))
		return l.inv.groups[name]
	}
	g := l.group(name, key.Line)
	if g == nil {
		return nil
	}
	for _, p := range l.pairs(body, depth) {
		l.yamlSection(g, p, depth+1)
	}
	return g
}

func (l *loader) yamlSection(g *group, p pair, depth int) {
	section := p.key.Value
	body := l.follow(p.value, depth)
	if body == nil || body.ShortTag() == "!!null" {
		return
	}
	switch {
	case section != "hosts" && section != "vars" && section != "children":
		l.warn(p.key.Line, "%q in group %s is passed over: a group has hosts, vars and children", section, g.name)
		return
	case body.ShortTag() == "!!str": // one name without anything
		nothing := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
		body = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: body.Line, Content: []*yaml.Node{body, nothing}}
	case body.Kind != yaml.MappingNode:
		l.fail(body.Line, "write NAME: instead of - NAME", "%s of group %s: want a mapping, got %s", section, g.name, kindOf(body))
		return
	}
	for _, entry := range l.pairs(body, depth) {
		switch section {
		case "vars":
			l.setGroup(g, entry.key.Value, l.scalar(entry.value, depth+1))
		case "children":
			if child := l.yamlGroup(entry.key, entry.value, depth+1); child != nil {
				l.link(g, child, entry.key.Line)
			}
		case "hosts":
			l.yamlHost(g, entry, depth+1)
		}
	}
}

func (l *loader) yamlHost(g *group, entry pair, depth int) {
	pattern, ok := l.name("host", entry.key)
	if !ok {
		return
	}
	names, port, err := expand(pattern)
	if err != nil {
		l.fail(entry.key.Line, "", "%v", err)
		return
	}
	body := l.follow(entry.value, depth)
	if body == nil {
		return
	}
	if body.Kind != yaml.MappingNode && body.ShortTag() != "!!null" {
		l.fail(body.Line, "", "variables of host %q: want a mapping, got %s", pattern, kindOf(body))
		return
	}
	set := l.variables(body, depth)
	for _, name := range names {
		h := l.addHost(name, port, g, entry.key.Line)
		if h == nil {
			return
		}
		for key, v := range set {
			l.setHost(h, key, v)
		}
	}
}

// variables are the known ones of a mapping.
func (l *loader) variables(body *yaml.Node, depth int) vars {
	out := vars{}
	for _, p := range l.pairs(body, depth) {
		if known[p.key.Value] || p.key.Value == priorityKey {
			out[p.key.Value] = l.scalar(p.value, depth+1)
		}
	}
	return out
}

// scalar is a value as Python would print it.
func (l *loader) scalar(n *yaml.Node, depth int) value {
	n = l.follow(n, depth)
	if n == nil {
		return value{kind: kindNull}
	}
	v := value{text: n.Value, file: l.file, line: n.Line}
	switch tag := n.ShortTag(); {
	case tag == "!vault" || tag == "!vault-encrypted":
		v.text, v.kind = "", kindVault
	case n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Kind == yaml.MappingNode:
		v.text = "{{ }}" // a template without the quotes that it needs
	case n.Kind != yaml.ScalarNode:
		v.kind = kindOther
	case tag == "!!null":
		v.kind = kindNull
	case tag == "!!bool":
		v.text = "False"
		if on, _ := boolean(n.Value); on {
			v.text = "True"
		}
	case tag == "!!int":
		var number int64
		if n.Decode(&number) == nil {
			v.text = strconv.FormatInt(number, 10)
		}
	}
	return v
}
