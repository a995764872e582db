// Package config reads what users write for ctaudit: settings and waivers. It is the only room that knows YAML, and it
// refuses what it does not know, with the line: a misspelt word must not pass for a default.
package config

import (
	"fmt"
	"slices"

	"github.com/agnivade/levenshtein"
	"gopkg.in/yaml.v3"
)

// Setting is the value, or the values, that a file gives a flag.
type Setting struct {
	Values []string
	Line   int
}

// ParseSettings reads a mapping of flag names to a value or a list of values; known are the names there are.
func ParseSettings(text []byte, known []string) (map[string]Setting, error) {
	m, err := mapping(text)
	if err != nil || m == nil {
		return map[string]Setting{}, err
	}
	out := map[string]Setting{}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if !slices.Contains(known, key.Value) {
			return nil, fmt.Errorf("line %d: no flag is called %q%s", key.Line, key.Value, DidYouMean(key.Value, known))
		}
		if _, twice := out[key.Value]; twice {
			return nil, fmt.Errorf("line %d: %s is set twice", key.Line, key.Value)
		}
		values, err := scalars(key.Value, value)
		if err != nil {
			return nil, err
		}
		out[key.Value] = Setting{values, key.Line}
	}
	return out, nil
}

// mapping is the document's mapping, or nil for an empty document.
func mapping(text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil, nil
	}
	if m := doc.Content[0]; m.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want a mapping", m.Line)
	}
	return doc.Content[0], nil
}

func scalars(key string, value *yaml.Node) ([]string, error) {
	switch value.Kind {
	case yaml.ScalarNode:
		return []string{value.Value}, nil
	case yaml.SequenceNode:
		var out []string
		for _, v := range value.Content {
			if v.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: %s: want plain values in the list", v.Line, key)
			}
			out = append(out, v.Value)
		}
		return out, nil
	}
	return nil, fmt.Errorf("line %d: %s: want a value or a list of values", value.Line, key)
}

// DidYouMean names the known word nearest to a misspelt one, or nothing when none is near.
func DidYouMean(word string, known []string) string {
	best, at := 3, ""
	for _, k := range known {
		if d := levenshtein.ComputeDistance(word, k); d < best {
			best, at = d, k
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", at)
}
