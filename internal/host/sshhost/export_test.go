package sshhost

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

// SetProbe replaces the probe.
func (c *Client) SetProbe(script func(host.Request, string) []byte, read func(io.Reader, host.Request, string, int64) (*host.Evidence, error)) {
	c.script, c.read = script, read
}

// Runs is how often ssh -G ran.
func (c *Client) Runs() int { return c.resolver.runs }

// WithoutSSH makes the client believe that there is no ssh program.
func (c *Client) WithoutSSH() { c.resolver.ssh = "" }

var (
	ParseKnownHosts = readKnownHosts
	Printable       = printable
	MatchPattern    = matchPattern
)

// Resolved is the configuration of a target, as ssh -G prints it.
func (c *Client) Resolved(ctx context.Context, t Target) (string, error) {
	h, err := t.hop()
	if err != nil {
		return "", err
	}
	cfg, err := c.resolver.resolve(ctx, h)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for key, values := range cfg.values {
		for _, v := range values {
			if key == "hostname" {
				v = cfg.hostname()
			}
			fmt.Fprintf(&b, "%s %s\n", key, v)
		}
	}
	return b.String(), nil
}

// SetReader replaces what reads the probe's answer.
func (c *Client) SetReader(read func(io.Reader, host.Request, string, int64) (*host.Evidence, error)) {
	c.read = read
}

// Known is how many lines there are for a name.
func (db *knownHosts) Known(name string) int { return len(db.lookup(name)) }
