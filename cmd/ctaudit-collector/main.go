// Command ctaudit-collector is the part of ctaudit that reads a node, alone: small enough to be sent to nodes that have no
// tools for a shell to use (ctaudit fleet --push). It takes one request on standard input, writes the evidence to standard
// output, and ends. It changes nothing.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/served"
)

// version is set by the build (-ldflags -X main.version=...).
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	pipe := struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}
	if err := served.Serve(ctx, host.Local(host.LocalOptions{}), "ctaudit-collector "+version, pipe); err != nil {
		fmt.Fprintf(os.Stderr, "ctaudit-collector: %v\n", err)
		os.Exit(1)
	}
}
