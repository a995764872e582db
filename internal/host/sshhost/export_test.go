package sshhost

import (
	"io"

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
