package inventory

import (
	"fmt"
	"slices"

	"github.com/agnivade/levenshtein"
	"gopkg.in/yaml.v3"
)

// jumpKey and timeoutKey are variables of the native form that Ansible has not.
const (
	jumpKey    = "ctaudit jump"
	timeoutKey = "ctaudit timeout"
)

// native reads ctaudit's own form:
//
//	version: 1
//	defaults: {user: audit, port: 22, become: true, jump: bastion, timeout: 30s}
//	groups:
//	  web:
//	    profile: edge
//	    labels: {tier: front}
//	    hosts:
//	      - web[01:20].example
//	      - {name: odd, address: 192.0.2.7, user: root, port: 2222, labels: {rack: r7}}
type native struct{ *loader }

func (l *loader) parseNative(top []pair) {
	n := native{l}
	n.each("an inventory", top, map[string]func(*yaml.Node){
		"version": func(v *yaml.Node) {
			if v.Value != "1" {
				n.fail(v.Line, "", "version %q: this ctaudit reads version 1", v.Value)
			}
		},
		"defaults": func(v *yaml.Node) { n.defaults(v) },
		"groups":   func(v *yaml.Node) { n.groups(v) },
	})
}

// each calls what belongs to every key, with aliases followed. Unknown keys are mistakes.
func (n native) each(what string, pairs []pair, keys map[string]func(*yaml.Node)) {
	for _, p := range pairs {
		read, ok := keys[p.key.Value]
		if !ok {
			n.fail(p.key.Line, "", "unknown key %q in %s%s", p.key.Value, what, nearest(p.key.Value, keys))
			continue
		}
		if v := n.follow(p.value, 0); v != nil {
			read(v)
		}
	}
}

// nearest suggests the key that a misspelt one may mean, and lists them all when none is near.
func nearest(word string, keys map[string]func(*yaml.Node)) string {
	var names []string
	for k := range keys {
		names = append(names, k)
	}
	slices.Sort(names)
	best, at := 3, ""
	for _, k := range names {
		if d := levenshtein.ComputeDistance(word, k); d < best {
			best, at = d, k
		}
	}
	if at == "" {
		return fmt.Sprintf(": want one of %q", names)
	}
	return fmt.Sprintf("; did you mean %q?", at)
}

// mapping gives the entries of a mapping, and says what is none.
func (n native) mapping(what string, v *yaml.Node) ([]pair, bool) {
	switch {
	case v.Kind == yaml.MappingNode:
		return n.pairs(v, 1), true
	case v.ShortTag() == "!!null":
		return nil, true
	}
	n.fail(v.Line, "", "%s: want a mapping, got %s", what, kindOf(v))
	return nil, false
}

func (n native) defaults(v *yaml.Node) {
	pairs, _ := n.mapping("defaults", v)
	all := n.inv.all
	set := func(key string) func(*yaml.Node) {
		return func(v *yaml.Node) { all.vars.set(key, n.scalar(v, 1)) }
	}
	n.each("defaults", pairs, map[string]func(*yaml.Node){
		"user": set("ansible_user"), "port": set("ansible_port"), "jump": set(jumpKey), "timeout": set(timeoutKey),
		"become": func(v *yaml.Node) { n.become(v) },
	})
}

// become is true, a method, or {method, user}.
func (n native) become(v *yaml.Node) {
	all := n.inv.all
	switch {
	case v.Kind == yaml.MappingNode:
		all.vars.set("ansible_become", value{text: "true", file: n.file, line: v.Line})
		n.each("become", n.pairs(v, 1), map[string]func(*yaml.Node){
			"method": func(v *yaml.Node) { all.vars.set("ansible_become_method", n.scalar(v, 1)) },
			"user":   func(v *yaml.Node) { all.vars.set("ansible_become_user", n.scalar(v, 1)) },
		})
	case v.ShortTag() == "!!bool" || v.ShortTag() == "!!null":
		all.vars.set("ansible_become", n.scalar(v, 1))
	default:
		all.vars.set("ansible_become", value{text: "true", file: n.file, line: v.Line})
		all.vars.set("ansible_become_method", n.scalar(v, 1))
	}
}

func (n native) groups(v *yaml.Node) {
	pairs, _ := n.mapping("groups", v)
	for _, p := range pairs {
		name, ok := n.name("group", p.key)
		body := n.follow(p.value, 1)
		if !ok || body == nil {
			continue
		}
		parts, ok := n.mapping("group "+name, body)
		if g := n.group(name, p.key.Line); ok && g != nil {
			n.oneGroup(g, parts)
		}
	}
}

func (n native) oneGroup(g *group, parts []pair) {
	labels := map[string]string{}
	var hosts *yaml.Node
	n.each("group "+g.name, parts, map[string]func(*yaml.Node){
		"labels":  func(v *yaml.Node) { n.labels(labels, v) },
		"profile": func(v *yaml.Node) { n.label(labels, "profile", v) },
		"hosts":   func(v *yaml.Node) { hosts = v },
	})
	switch {
	case hosts == nil || hosts.ShortTag() == "!!null":
	case hosts.Kind != yaml.SequenceNode:
		n.fail(hosts.Line, "write - NAME", "hosts of group %s: want a list, got %s", g.name, kindOf(hosts))
	default:
		for _, item := range hosts.Content {
			if item = n.follow(item, 1); item != nil {
				n.host(g, item, labels)
			}
		}
	}
}

func (n native) labels(into map[string]string, v *yaml.Node) {
	pairs, _ := n.mapping("labels", v)
	for _, p := range pairs {
		n.label(into, p.key.Value, p.value)
	}
}

func (n native) label(into map[string]string, key string, v *yaml.Node) {
	switch s := n.scalar(v, 1); {
	case s.kind != kindText:
		n.fail(v.Line, "", "label %q: want text", key)
	case !printable(key) || !printable(s.text):
		n.fail(v.Line, "", "label %q: control characters", key)
	default:
		into[key] = s.text
	}
}

// host reads a pattern, or a mapping with a name.
func (n native) host(g *group, item *yaml.Node, labels map[string]string) {
	pattern, line := item.Value, item.Line
	own, set := map[string]string{}, vars{}
	if item.Kind == yaml.MappingNode {
		pattern = ""
		as := func(key string) func(*yaml.Node) {
			return func(v *yaml.Node) { set.set(key, n.scalar(v, 1)) }
		}
		n.each("a host", n.pairs(item, 1), map[string]func(*yaml.Node){
			"name": func(v *yaml.Node) { pattern = v.Value }, "address": as("ansible_host"), "user": as("ansible_user"),
			"port": as("ansible_port"), "labels": func(v *yaml.Node) { n.labels(own, v) },
		})
		if pattern == "" {
			n.fail(line, "", "a host without a name")
			return
		}
	} else if item.Kind != yaml.ScalarNode || item.ShortTag() != "!!str" {
		n.fail(line, "put a name into quotes", "a host of group %s is %s: want a name or a mapping", g.name, kindOf(item))
		return
	}
	names, port, err := expand(pattern)
	if err != nil {
		n.fail(line, "", "%v", err)
		return
	}
	if _, addressed := set["ansible_host"]; addressed && len(names) > 1 {
		n.fail(line, "", "%d hosts of one address", len(names))
		return
	}
	for _, name := range names {
		n.declare(g, name, port, line, set, labels, own)
	}
}

// declare adds a host to a group. What a host says of itself is stronger than its groups' labels.
func (n native) declare(g *group, name string, port, line int, set vars, labels, own map[string]string) {
	h := n.addHost(name, port, g, line)
	if h == nil {
		return
	}
	for key, v := range set {
		if old, ok := h.vars[key]; ok && old.text != v.text && old.kind == kindText {
			n.warn(line, "%s: %q was %q before (line %d): the later one counts", name, v.text, old.text, old.line)
		}
		h.vars.set(key, v)
	}
	merged := map[string]string{}
	for _, from := range []map[string]string{labels, h.labels, own} {
		for k, v := range from {
			merged[k] = v
		}
	}
	if len(merged) > 0 {
		h.labels = merged
	}
}
