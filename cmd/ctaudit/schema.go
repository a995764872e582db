package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/internal/lab/proof"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/report"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// schemas are the published JSON Schemas by name.
func schemas() map[string][]byte {
	return map[string][]byte{
		"proof": proof.Schema(), "report": report.Schema(), "snapshot": snapshot.Schema(), "trace": report.TraceSchema(), "twin": twin.Schema(),
	}
}

func (a *app) schemaCommand() *cobra.Command {
	names := []string{"proof", "report", "snapshot", "trace", "twin"}
	return &cobra.Command{
		Use:       "schema " + strings.Join(names, "|"),
		Short:     "Print the JSON Schema of a document",
		Args:      cobra.ExactArgs(1),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(names, args[0]) {
				return fmt.Errorf("no schema is called %q: want one of %s", args[0], strings.Join(names, ", "))
			}
			_, err := a.out.Write(schemas()[args[0]])
			return err
		},
	}
}
