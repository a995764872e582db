package hosttest

import (
	"context"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

// Shell returns the host as somebody sees it who has a shell on it and nothing else: netfilter's netlink is not spoken, and
// the needs that stand in for it (host.WithoutNetlink) are read. Links, addresses and routes stay as they are: a shell has
// `ip -j`, and whoever reads through one makes the kernel's messages of it.
func Shell(h host.Host) host.Host { return shell{h} }

type shell struct{ host.Host }

func (s shell) Fetch(ctx context.Context, req host.Request) (*host.Evidence, error) {
	asked := host.Request{Sample: req.Sample}
	for _, n := range req.Needs {
		if withheld(n) {
			continue
		}
		if only, ok := strings.CutPrefix(n.Only, host.WithoutNetlink); ok {
			n.Only = strings.TrimPrefix(only, ",")
		}
		asked.Needs = append(asked.Needs, n)
	}
	ev, err := s.Host.Fetch(ctx, asked)
	if err != nil {
		return nil, err
	}
	for _, n := range req.Needs {
		if withheld(n) {
			ev.Answers[n.Key()] = &host.Answer{Err: host.NoNetlink}
		}
	}
	return ev, nil
}

func withheld(n host.Need) bool {
	return n.Kind == host.Netlink && !strings.HasPrefix(n.Args[0], "rtnl/")
}
