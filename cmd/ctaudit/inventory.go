package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ctaudit/ctaudit/fleet"
	"github.com/ctaudit/ctaudit/fleet/inventory"
)

// inventoryFlags say which hosts a command is about.
type inventoryFlags struct {
	sources []string
	limit   string
}

func (f *inventoryFlags) flags(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.sources, "inventory", "i", nil,
		"the hosts: Ansible YAML or INI, a folder of them, ansible-inventory --list, kubectl get nodes -o json, a list of user@host:port, or ctaudit's own form; - is stdin; may repeat")
	fs.StringVar(&f.limit, "limit", "", "only these hosts, as Ansible's patterns: groups, names, globs, ~regex, a:&b, a:!b, @file")
}

// targets are the hosts that are meant, in inventory order. The warnings are to be shown whatever the error is.
func (f inventoryFlags) targets(stdin io.Reader) ([]fleet.Target, []inventory.Warning, error) {
	inv, err := inventory.Load(f.sources, stdin)
	if err != nil {
		return nil, inv.Warnings(), inventoryError(err)
	}
	targets, err := inv.Select(f.limit)
	if err != nil {
		err = inventoryError(err)
	}
	return targets, inv.Warnings(), err
}

// inventoryError is all mistakes as one error: a line each, and under it its hint.
func inventoryError(err error) error {
	var lines []string
	for _, e := range inventory.Errors(err) {
		lines = append(lines, e.Error())
		var at *inventory.Error
		if errors.As(e, &at) && at.Hint != "" {
			lines = append(lines, "hint: "+at.Hint)
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (a *app) inventoryCommand() *cobra.Command {
	var f inventoryFlags
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "Show and check the hosts that a fleet's audit would read",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.flags(cmd.PersistentFlags())
	cmd.AddCommand(a.inventoryListCommand(&f), a.inventoryGraphCommand(&f), a.inventoryCheckCommand(&f))
	return cmd
}

func (a *app) inventoryListCommand(f *inventoryFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the hosts, and how each is reached",
		Example: "  ctaudit inventory list -i hosts.yaml --limit 'web:!web01'\n  ansible-inventory --list | ctaudit inventory list -i - -f json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			targets, warnings, err := f.targets(a.in)
			a.warnInventory(warnings)
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return a.targetsJSON(targets)
			case "text":
				return a.targetTable(targets)
			}
			return fmt.Errorf("--format %q: want text or json", format)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "text", "text or json")
	return cmd
}

func (a *app) warnInventory(warnings []inventory.Warning) {
	for _, w := range warnings {
		a.say("warning: %s", w)
	}
}

func (a *app) targetTable(targets []fleet.Target) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleDefault)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(table.Row{"HOST", "ADDRESS", "PORT", "USER", "BECOME", "GROUPS"})
	for _, h := range targets {
		t.AppendRow(table.Row{h.Name, address(h), blank(h.Port), h.User, becomes(h), strings.Join(h.Groups, ",")})
	}
	_, err := fmt.Fprintln(a.out, t.Render())
	return unwritten(err)
}

func address(h fleet.Target) string {
	switch {
	case h.Local:
		return "(this machine)"
	case h.Address == "":
		return h.Name
	}
	return h.Address
}

func blank(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func becomes(h fleet.Target) string {
	if h.Become.Method == "" || h.Become.User == "" {
		return h.Become.Method
	}
	return h.Become.Method + " " + h.Become.User
}

// targetJSON is how a host is reached, for scripts.
type targetJSON struct {
	Name     string            `json:"name"`
	Address  string            `json:"address"`
	Port     int               `json:"port,omitempty"`
	User     string            `json:"user,omitempty"`
	KeyFiles []string          `json:"keyFiles,omitempty"`
	Options  []string          `json:"options,omitempty"`
	Become   *becomeJSON       `json:"become,omitempty"`
	Timeout  string            `json:"timeout,omitempty"`
	Local    bool              `json:"local,omitempty"`
	Groups   []string          `json:"groups"`
	Labels   map[string]string `json:"labels,omitempty"`
	File     string            `json:"file"`
	Line     int               `json:"line,omitempty"`
}

type becomeJSON struct {
	Method string `json:"method"`
	User   string `json:"user"`
}

func (a *app) targetsJSON(targets []fleet.Target) error {
	out := make([]targetJSON, len(targets))
	for i, h := range targets {
		out[i] = targetJSON{
			Name: h.Name, Address: h.Address, Port: h.Port, User: h.User, KeyFiles: h.KeyFiles, Options: h.Options, Local: h.Local,
			Groups: append([]string{}, h.Groups...), Labels: h.Labels, File: h.File, Line: h.Line,
		}
		if h.Address == "" {
			out[i].Address = h.Name
		}
		if h.Become.Method != "" {
			out[i].Become = &becomeJSON{h.Become.Method, h.Become.User}
		}
		if h.Become.Method != "" && h.Become.User == "" {
			out[i].Become.User = "root"
		}
		if h.Timeout > 0 {
			out[i].Timeout = h.Timeout.String()
		}
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return unwritten(enc.Encode(out))
}

func (a *app) inventoryGraphCommand(f *inventoryFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "graph",
		Short:   "Show the groups, what is in each, and what is below it",
		Example: "  ctaudit inventory graph -i hosts.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			inv, err := inventory.Load(f.sources, a.in)
			if err != nil {
				a.warnInventory(inv.Warnings())
				return inventoryError(err)
			}
			graph, err := inv.Graph(f.limit)
			a.warnInventory(inv.Warnings())
			if err != nil {
				return inventoryError(err)
			}
			_, err = io.WriteString(a.out, graph)
			return unwritten(err)
		},
	}
}

func (a *app) inventoryCheckCommand(f *inventoryFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "check",
		Short:   "Name every mistake and every surprise of an inventory, with its line",
		Example: "  ctaudit inventory check -i hosts.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.checkInventory(f) },
	}
}

func (a *app) checkInventory(f *inventoryFlags) error {
	targets, warnings, err := f.targets(a.in)
	var out strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&out, "warning: %s\n", w)
	}
	errs := 0
	if err != nil {
		for line := range strings.Lines(err.Error() + "\n") {
			if !strings.HasPrefix(line, "hint: ") {
				errs++
				line = "error: " + line
			}
			out.WriteString(line)
		}
	} else {
		fmt.Fprintf(&out, "%s, %s\n", count(len(targets), "host"), count(len(warnings), "warning"))
	}
	if _, err := io.WriteString(a.out, out.String()); err != nil {
		return unwritten(err)
	}
	if errs > 0 {
		return &exitError{exitUsage, "exit 2: " + count(errs, "error") + " in the inventory"}
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
