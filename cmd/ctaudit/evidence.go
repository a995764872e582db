package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/served"
)

// evidenceCommand is what a fleet's audit runs on a node that has ctaudit.
func (a *app) evidenceCommand() *cobra.Command {
	protocol := false
	cmd := &cobra.Command{
		Use:    "evidence",
		Short:  "Answer a request on stdin with this node's evidence (for ctaudit fleet)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if protocol {
				_, err := fmt.Fprintln(a.out, served.Protocol)
				return unwritten(err)
			}
			pipe := struct {
				io.Reader
				io.Writer
			}{a.in, a.out}
			return served.Serve(cmd.Context(), host.Local(host.LocalOptions{}), toolName(), pipe)
		},
	}
	cmd.Flags().BoolVar(&protocol, "protocol", false, "print the version of the protocol, and read nothing")
	return cmd
}
