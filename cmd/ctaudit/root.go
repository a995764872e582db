package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ctaudit/ctaudit/internal/host/sshhost"
)

// app is what every command shares.
type app struct {
	streams
	env     map[string]string
	noColor bool
	quiet   bool
	verbose bool
	reach   func(sshhost.Options) (reach, error) // to a fleet's hosts
}

// run is the whole program as a function: arguments, environment ("KEY=value") and streams in, an error out that exitCode turns
// into a number.
func run(ctx context.Context, args, environ []string, s streams) error {
	return (&app{streams: s, env: environment(environ), reach: overSSH}).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) error {
	root := a.root()
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	return env
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ctaudit",
		Short: "Find out whether this node resets its containers' connections, and why",
		Long: `ctaudit audits how a node treats TCP segments that conntrack calls INVALID. Such a segment of a container's
masqueraded connection reaches the node itself, which answers RST: "connection reset by peer". ctaudit computes what
this node's ruleset does to that very packet, names the rule that decides, and judges the workarounds.

It reads; it changes nothing on the node.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.settings(cmd) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(err, "see "+cmd.CommandPath()+" --help")
	})
	p := root.PersistentFlags()
	p.BoolVar(&a.noColor, "no-color", false, "no colours, whatever the terminal")
	p.BoolVarP(&a.quiet, "quiet", "q", false, "print nothing on stderr but errors")
	p.BoolVarP(&a.verbose, "verbose", "v", false, "print passes and not-applicable controls too")
	root.AddCommand(a.scanCommand(), a.collectCommand(), a.traceCommand(), a.proveCommand(), a.fleetCommand(), a.mergeCommand(), a.inventoryCommand(),
		a.explainCommand(), a.checksCommand(), a.schemaCommand(), a.evidenceCommand(), a.versionCommand(), a.manCommand(root))
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.out, toolName())
			return err
		},
	}
}

func toolName() string { return "ctaudit " + version }

// say is talk for people; data never goes here.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}
