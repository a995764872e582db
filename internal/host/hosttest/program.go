package hosttest

import (
	"context"

	"github.com/ctaudit/ctaudit/internal/host"
)

// WithProgram is the host with the program at path in the place of the one that PATH has by that name: what a node with
// another version of it would say. The file must have the same name, by which the host tells what it would load.
func WithProgram(h host.Host, name, path string) host.Host { return withProgram{h, name, path} }

type withProgram struct {
	host.Host
	name, path string
}

// Fetch asks for the other program, and gives its answers to who asked for the one by name.
func (w withProgram) Fetch(ctx context.Context, req host.Request) (*host.Evidence, error) {
	asked, instead := host.Request{Sample: req.Sample}, map[string]string{}
	for _, n := range req.Needs {
		if n.Kind == host.Command && n.Args[0] == w.name {
			key := n.Key()
			n.Args = append([]string{w.path}, n.Args[1:]...)
			instead[key] = n.Key()
		}
		asked.Needs = append(asked.Needs, n)
	}
	ev, err := w.Host.Fetch(ctx, asked)
	if err != nil {
		return nil, err
	}
	for key, other := range instead {
		ev.Answers[key] = ev.Answers[other]
		delete(ev.Answers, other)
	}
	return ev, nil
}
