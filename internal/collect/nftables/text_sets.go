package nftables

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// typed makes a set of the JSON. Its types stay nil when one of them has no size of its own ("integer", which nft writes
// for typeof): the first rule that looks something up in it says what they are.
//
// nft 1.0.6 leaves the flag dynamic out; a set that a rule adds to is dynamic all the same (walker.dynset).
func (r *textReader) typed(o *textObject, isMap bool) *setInfo {
	p := r.parser
	flags, _ := stringList(o.Flags)
	s := &setInfo{set: &nf.Set{Name: p.shared.text([]byte(o.Name))}, interval: slices.Contains(flags, "interval"), declared: true}
	s.set.Dynamic = slices.Contains(flags, "dynamic")
	s.types = p.typesNamed(o.Type)
	for i, t := range s.types {
		s.keyLen += align4(t.size)
		if len(s.types) == 1 {
			s.keyLen = t.size
		}
		if s.interval && t.order == hostEndian {
			s.types[i].order = networkOrder
		}
		s.set.Types = append(s.set.Types, t.name)
	}
	if isMap {
		r.mapTypes(s, o.Map)
	}
	return s
}

// mapTypes reads what a map maps to: "verdict", types, or the kind of its objects.
func (r *textReader) mapTypes(s *setInfo, v jsontext.Value) {
	names, _ := stringList(v)
	if len(names) == 1 && names[0] == "verdict" {
		s.set.Map, s.set.Verdicts = true, true
		return
	}
	if s.objects = len(names) == 1 && isObjectKind(names[0]); s.objects {
		return
	}
	s.set.Map = true
	for _, t := range r.parser.typesNamed(v) {
		s.data += align4(t.size)
		s.dataType = t
		s.set.DataTypes = append(s.set.DataTypes, t.name)
	}
	if len(s.set.DataTypes) == 1 {
		s.data = s.dataType.size
	}
}

func isObjectKind(name string) bool {
	for n := range uint32(32) {
		if n > 0 && objectKind(n) == name {
			return true
		}
	}
	return false
}

// typesNamed finds types by their names; nil when one is not known or has no size of its own. nft writes a map's
// concatenated data as one string: "ipv4_addr . inet_service".
func (p *parser) typesNamed(v jsontext.Value) []dataType {
	names, err := stringList(v)
	if err != nil {
		return nil
	}
	if len(names) == 1 {
		names = strings.Split(names[0], " . ")
	}
	var out []dataType
	for _, name := range names {
		i := slices.IndexFunc(p.dataTypes, func(t dataType) bool { return t.name == name && t.size > 0 })
		if i < 0 {
			return nil
		}
		out = append(out, p.dataTypes[i])
	}
	return out
}
