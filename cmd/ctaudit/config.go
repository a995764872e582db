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

	"github.com/ctaudit/ctaudit/internal/config"
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
		if v := a.env[name]; v != "" {
			failed = set(cmd, f, []string{v}, name)
			return
		}
		for _, c := range files {
			if v, ok := c.values[f.Name]; ok {
				failed = set(cmd, f, v.Values, fmt.Sprintf("%s:%d", c.path, v.Line))
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

type configFile struct {
	path   string
	values map[string]config.Setting
}

// configFiles reads the configuration files that exist, strongest first.
func (a *app) configFiles(cmd *cobra.Command) ([]configFile, error) {
	home := a.env["XDG_CONFIG_HOME"]
	if home == "" && a.env["HOME"] != "" {
		home = filepath.Join(a.env["HOME"], ".config")
	}
	paths := []string{"ctaudit.yaml"}
	if home != "" {
		paths = append(paths, filepath.Join(home, "ctaudit", "config.yaml"))
	}
	var out []configFile
	for _, p := range append(paths, "/etc/ctaudit/config.yaml") {
		text, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, fs.ErrPermission) && hiddenFolder(p) { // as under sudo -u, which may keep another's HOME
			a.say("warning: configuration passed over: %v", err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		values, err := config.ParseSettings(text, flagNames(cmd.Root()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		out = append(out, configFile{p, values})
	}
	return out, nil
}

// hiddenFolder reports whether the file's folder may not even be looked into: nobody wrote a configuration there for this user. A
// file that is there and may not be read is an error.
func hiddenFolder(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrPermission)
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
