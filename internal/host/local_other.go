//go:build !linux

package host

import (
	"context"
	"errors"
)

// LocalOptions choose what Local reads.
type LocalOptions struct {
	Namespace string
}

// Local returns a host that cannot be read: netfilter is Linux's. Snapshots and recordings work everywhere.
func Local(LocalOptions) Host { return nowhere{} }

type nowhere struct{}

func (nowhere) Fetch(context.Context, Request) (*Evidence, error) {
	return nil, errors.New("read this node: only Linux has netfilter; give a snapshot or a recording instead")
}
