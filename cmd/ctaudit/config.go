package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// settings fills the flags that the command line left alone: from CTAUDIT_<FLAG>, then from the first configuration file that
// names them. A key is a flag's name.
func (a *app) settings(cmd *cobra.Command) error {
	files, err := a.configFiles(cmd)
	if err != nil {
		return err
	}
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || failed != nil {
			return
		}
		name := "CTAUDIT_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := a.env[name]; ok {
			failed = set(cmd, f, []string{v}, name)
			return
		}
		for _, c := range files {
			if v, ok := c.values[f.Name]; ok {
				failed = set(cmd, f, v.texts, fmt.Sprintf("%s:%d", c.path, v.line))
				return
			}
		}
	})
	return failed
}

func set(cmd *cobra.Command, f *pflag.Flag, values []string, from string) error {
	for _, v := range values {
		if err := cmd.Flags().Set(f.Name, v); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	return nil
}

type config struct {
	path   string
	values map[string]setting
}

type setting struct {
	texts []string
	line  int
}

// configFiles reads the configuration files that exist, strongest first.
func (a *app) configFiles(cmd *cobra.Command) ([]config, error) {
	home := a.env["XDG_CONFIG_HOME"]
	if home == "" && a.env["HOME"] != "" {
		home = filepath.Join(a.env["HOME"], ".config")
	}
	paths := []string{"ctaudit.yaml"}
	if home != "" {
		paths = append(paths, filepath.Join(home, "ctaudit", "config.yaml"))
	}
	var out []config
	for _, p := range append(paths, "/etc/ctaudit/config.yaml") {
		text, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		values, err := parseConfig(text, flagNames(cmd.Root()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		out = append(out, config{p, values})
	}
	return out, nil
}

// parseConfig reads a mapping of flag names to a value or a list of values. A key that no command has is an error with its
// line, because a misspelt fail-on must not pass for the default.
func parseConfig(text []byte, known []string) (map[string]setting, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	out := map[string]setting{}
	if len(doc.Content) == 0 {
		return out, nil
	}
	m := doc.Content[0]
	if m.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want a mapping of flag names to values", m.Line)
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if !slices.Contains(known, key.Value) {
			return nil, fmt.Errorf("line %d: no flag is called %q%s", key.Line, key.Value, didYouMean(key.Value, known))
		}
		s := setting{line: key.Line}
		switch value.Kind {
		case yaml.ScalarNode:
			s.texts = []string{value.Value}
		case yaml.SequenceNode:
			for _, v := range value.Content {
				if v.Kind != yaml.ScalarNode {
					return nil, fmt.Errorf("line %d: %s: want plain values in the list", v.Line, key.Value)
				}
				s.texts = append(s.texts, v.Value)
			}
		default:
			return nil, fmt.Errorf("line %d: %s: want a value or a list of values", value.Line, key.Value)
		}
		out[key.Value] = s
	}
	return out, nil
}

// flagNames are the flags of all commands: one file serves them all.
func flagNames(root *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	root.PersistentFlags().VisitAll(add)
	for _, c := range root.Commands() {
		c.LocalFlags().VisitAll(add)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
