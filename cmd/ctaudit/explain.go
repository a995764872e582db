package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/internal/config"
	"github.com/ctaudit/ctaudit/internal/policy"
	"github.com/ctaudit/ctaudit/internal/report"
)

func (a *app) explainCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "explain CONTROL",
		Short:   "Print what a control checks, why, when it fails and how to mend it",
		Example: "  ctaudit explain CT-RST-001",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			controls, err := controls(dir)
			if err != nil {
				return err
			}
			return a.explain(controls, args[0])
		},
		ValidArgsFunction: completeControls,
	}
	policyFlag(cmd, &dir)
	return cmd
}

func (a *app) explain(controls []report.Control, id string) error {
	ids := make([]string, 0, len(controls))
	for _, c := range controls {
		if strings.EqualFold(c.ID, id) {
			_, err := fmt.Fprintf(a.out, "%s  %s  (%s)\n\n%s\n", c.ID, c.Title, c.Severity, strings.TrimSpace(help(c)))
			return err
		}
		ids = append(ids, c.ID)
	}
	return withHint(fmt.Errorf("no control is called %q%s", id, config.DidYouMean(strings.ToUpper(id), ids)), "ctaudit checks lists them")
}

// help is the control's page, or what its metadata says when a user's policy brought none.
func help(c report.Control) string {
	if c.Help != "" {
		return c.Help
	}
	return c.Description + "\n\nRemediation: " + c.Remediation + "\n\n" + strings.Join(c.References, "\n")
}

func (a *app) checksCommand() *cobra.Command {
	var (
		dir    string
		format string
	)
	cmd := &cobra.Command{
		Use:   "checks",
		Short: "List the controls",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			controls, err := controls(dir)
			if err != nil {
				return err
			}
			switch format {
			case "json":
				enc := json.NewEncoder(a.out)
				enc.SetIndent("", "  ")
				return enc.Encode(controls)
			case "text":
				return a.controlTable(controls)
			}
			return fmt.Errorf("--format %q: want text or json", format)
		},
	}
	policyFlag(cmd, &dir)
	cmd.Flags().StringVarP(&format, "format", "f", "text", "text or json")
	return cmd
}

func (a *app) controlTable(controls []report.Control) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.AppendHeader(table.Row{"control", "severity", "title"})
	for _, c := range controls {
		t.AppendRow(table.Row{c.ID, c.Severity, c.Title})
	}
	_, err := fmt.Fprintln(a.out, t.Render())
	return err
}

func policyFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "policy", "", "add the controls in `dir`, or override those of the same id")
}

func controls(dir string) ([]report.Control, error) {
	engine, err := policy.Load(policy.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	return engine.Controls(), nil
}

func completeControls(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list, err := controls("")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []cobra.Completion
	for _, c := range list {
		out = append(out, cobra.CompletionWithDesc(c.ID, c.Title))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
