package inventory

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// jsonReader reads a document of JSON token by token, because kubectl's is large and most of it is not asked for.
type jsonReader struct {
	*loader
	text  []byte
	dec   *jsontext.Decoder
	at    int // offset up to which lines are counted
	lines int
}

func (l *loader) newJSON(text []byte) *jsonReader {
	return &jsonReader{loader: l, text: text, dec: jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))}
}

// line is where the reader stands, 1-based.
func (r *jsonReader) line() int {
	to := int(r.dec.InputOffset())
	for to < len(r.text) && strings.IndexByte(" \t\r\n,:", r.text[to]) >= 0 { // the next value stands behind these
		to++
	}
	if to > r.at {
		r.lines += bytes.Count(r.text[r.at:to], []byte("\n"))
		r.at = to
	}
	return r.lines + 1
}

// syntax reports what keeps the document from being read.
func (r *jsonReader) syntax(err error) {
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		line := 1 + bytes.Count(r.text[:min(int(s.ByteOffset), len(r.text))], []byte("\n"))
		r.fail(line, "", "JSON: %v", s.Err)
		return
	}
	r.fail(r.line(), "", "JSON: %v", err)
}

// object calls entry for every name of an object, which has to read the value. What is no object is skipped: false.
func (r *jsonReader) object(entry func(name string) error) (bool, error) {
	if r.dec.PeekKind() != '{' {
		return false, r.dec.SkipValue()
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return false, err
	}
	for r.dec.PeekKind() == '"' {
		name, err := r.dec.ReadToken()
		if err != nil {
			return false, err
		}
		if err := entry(name.String()); err != nil {
			return false, err
		}
	}
	_, err := r.dec.ReadToken()
	return true, err
}

// array calls item for every value of an array, which has to read it. What is no array is skipped: false.
func (r *jsonReader) array(item func() error) (bool, error) {
	if r.dec.PeekKind() != '[' {
		return false, r.dec.SkipValue()
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return false, err
	}
	for k := r.dec.PeekKind(); k != ']'; k = r.dec.PeekKind() {
		if k == 0 { // the token says why
			_, err := r.dec.ReadToken()
			return false, err
		}
		if err := item(); err != nil {
			return false, err
		}
	}
	_, err := r.dec.ReadToken()
	return true, err
}

// string reads one; other values are skipped and empty.
func (r *jsonReader) string() (string, error) {
	if r.dec.PeekKind() != '"' {
		return "", r.dec.SkipValue()
	}
	t, err := r.dec.ReadToken()
	if err != nil {
		return "", err
	}
	return t.String(), nil
}

// outline is what tells the forms of JSON apart.
type outline struct {
	kind   string // of a Kubernetes object
	meta   bool   // _meta of a dynamic inventory
	listed bool   // a group that is a list, or has its hosts as one: a dynamic inventory
	mapped bool   // a group that has its hosts, vars or children as a mapping: Ansible's YAML
}

// parseJSON reads kubectl's nodes, the output of a dynamic inventory, or Ansible's YAML as JSON.
func (l *loader) parseJSON(text []byte) {
	var o outline
	r := l.newJSON(text)
	_, err := r.object(func(name string) error { return r.outline(&o, name) })
	if err == nil && len(bytes.TrimSpace(text[r.dec.InputOffset():])) > 0 {
		err = errors.New("something behind the document")
	}
	switch {
	case err != nil:
		r.syntax(err)
	case o.kind == "List" || o.kind == "NodeList" || o.kind == "Node":
		l.parseNodes(text, o.kind)
	case o.kind != "":
		r.fail(1, "kubectl get nodes -o json | ctaudit inventory list -i -", "a %q of Kubernetes: want its nodes", o.kind)
	case o.mapped && !o.meta && !o.listed && len(text) > maxYAML:
		l.fail(0, "", "larger than %d MiB: this is no inventory", maxYAML>>20)
	case o.mapped && !o.meta && !o.listed:
		l.parseYAML(text)
	default:
		l.newJSON(text).dynamic()
	}
}

func (r *jsonReader) outline(o *outline, name string) error {
	switch {
	case name == "kind" && r.dec.PeekKind() == '"':
		var err error
		o.kind, err = r.string()
		return err
	case name == "version" && r.dec.PeekKind() != '{':
		o.mapped = true // the native form
		return r.dec.SkipValue()
	case name == "_meta":
		o.meta = true
		return r.dec.SkipValue()
	case r.dec.PeekKind() == '[':
		o.listed = true
		return r.dec.SkipValue()
	}
	_, err := r.object(func(part string) error {
		list, mapping := r.dec.PeekKind() == '[', r.dec.PeekKind() == '{'
		o.listed = o.listed || list && (part == "hosts" || part == "children")
		o.mapped = o.mapped || mapping && (part == "hosts" || part == "children")
		return r.dec.SkipValue()
	})
	return err
}

// dynamic reads what an inventory script or ansible-inventory prints for --list
// (lib/ansible/plugins/inventory/script.py, 2.14). The variables of hosts come last there, whatever the order of the text is.
func (r *jsonReader) dynamic() {
	hostvars := map[string]vars{}
	var named []*host
	_, err := r.object(func(name string) error {
		if name != "_meta" {
			hosts, err := r.dynamicGroup(name)
			named = append(named, hosts...)
			return err
		}
		_, err := r.object(func(part string) error {
			if part != "hostvars" {
				return r.dec.SkipValue()
			}
			_, err := r.object(func(host string) error {
				v, err := r.variables()
				hostvars[host] = v
				return err
			})
			return err
		})
		return err
	})
	if err != nil {
		r.syntax(err)
		return
	}
	for _, h := range named {
		for key, v := range hostvars[h.name] {
			r.setHost(h, key, v)
		}
	}
}

// dynamicGroup reads {"hosts": [], "vars": {}, "children": []}, or [hosts], or {vars} of a host that is called like its group.
// It gives the hosts.
func (r *jsonReader) dynamicGroup(name string) ([]*host, error) {
	g := r.group(name, r.line())
	if g == nil {
		return nil, r.dec.SkipValue()
	}
	d := &dynamicGroup{jsonReader: r, group: g}
	if r.dec.PeekKind() == '[' {
		err := d.readHosts()
		return d.hosts, err
	}
	ok, err := r.object(d.part)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		r.fail(r.line(), "", "group %q: want an object or a list", name)
	case !d.parts:
		d.addHost(name)
		for key, v := range d.bare {
			r.setGroup(g, key, v)
		}
	}
	return d.hosts, nil
}

// dynamicGroup is a group that is being read.
type dynamicGroup struct {
	*jsonReader
	group *group
	hosts []*host
	parts bool // it has hosts, children or vars
	bare  vars // what else it has
}

func (d *dynamicGroup) addHost(name string) {
	if h := d.jsonReader.addHost(name, 0, d.group, d.line()); h != nil {
		d.hosts = append(d.hosts, h)
	}
}

func (d *dynamicGroup) readHosts() error {
	ok, err := d.names("hosts of group "+d.group.name, d.addHost)
	if !ok && err == nil {
		d.fail(d.line(), "", "hosts of group %q: want a list", d.group.name)
	}
	return err
}

func (d *dynamicGroup) part(name string) error {
	d.parts = d.parts || name == "hosts" || name == "children" || name == "vars"
	switch name {
	case "hosts":
		return d.readHosts()
	case "children":
		_, err := d.names("children of group "+d.group.name, func(child string) {
			if c := d.jsonReader.group(child, d.line()); c != nil {
				d.link(d.group, c, d.line())
			}
		})
		return err
	case "vars":
		set, err := d.variables()
		for key, v := range set {
			d.setGroup(d.group, key, v)
		}
		return err
	}
	v, err := d.value()
	d.bare.set(name, v)
	return err
}

// names reads a list of names; false for something else.
func (r *jsonReader) names(what string, each func(string)) (bool, error) {
	return r.array(func() error {
		if r.dec.PeekKind() != '"' {
			r.fail(r.line(), "", "%s: want names", what)
			return r.dec.SkipValue()
		}
		name, err := r.string()
		if err == nil {
			each(name)
		}
		return err
	})
}

// variables reads those of an object that say how a host is reached.
func (r *jsonReader) variables() (vars, error) {
	var out vars
	_, err := r.object(func(key string) error {
		if !known[key] && key != priorityKey {
			return r.dec.SkipValue()
		}
		v, err := r.value()
		out.set(key, v)
		return err
	})
	return out, err
}

// value reads a scalar, or what Ansible writes for an encrypted or an unsafe one.
func (r *jsonReader) value() (value, error) {
	v := value{file: r.file, line: r.line()}
	switch r.dec.PeekKind() {
	case '{':
		v.kind = kindOther
		_, err := r.object(func(key string) error {
			switch key {
			case "__ansible_vault":
				v.kind = kindVault
			case "__ansible_unsafe":
				v.kind = kindText
				text, err := r.string()
				v.text = text
				return err
			}
			return r.dec.SkipValue()
		})
		return v, err
	case '[':
		v.kind = kindOther
		return v, r.dec.SkipValue()
	}
	t, err := r.dec.ReadToken()
	if err != nil {
		return v, err
	}
	switch t.Kind() {
	case 'n':
		v.kind = kindNull
	case 't':
		v.text = "True"
	case 'f':
		v.text = "False"
	case '0':
		v.text = number(t.String())
	default:
		v.text = t.String()
	}
	return v, nil
}

// number is one as Python prints it, whole numbers at least.
func number(s string) string {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && !strings.ContainsAny(s, ".eE") {
		return strconv.FormatInt(n, 10)
	}
	return s
}
