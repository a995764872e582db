package lab

import (
	"fmt"
	"os/exec"

	"github.com/coreos/go-iptables/iptables"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// IPTables writes rules one at a time into a namespace, as administrators and container engines do, through
// coreos/go-iptables, which adapts to the version and the locking of the binary that it finds. It is for writing: its
// reads fork once a chain, and in legacy mode they create the table that they ask for.
type IPTables struct {
	ns  *Netns
	ipt *iptables.IPTables
}

// IPTables finds the backend's binary for a family ([netfilter.IP] or [netfilter.IP6]).
func (n *Netns) IPTables(backend netfilter.Backend, family netfilter.Family) (*IPTables, error) {
	name, proto := "iptables", iptables.ProtocolIPv4
	if family == netfilter.IP6 {
		name, proto = "ip6tables", iptables.ProtocolIPv6
	}
	suffix := "-nft"
	if backend == netfilter.Legacy {
		suffix = "-legacy"
	}
	path, err := exec.LookPath(name + suffix)
	if err != nil {
		return nil, fmt.Errorf("find %s%s: %w", name, suffix, err)
	}
	ipt, err := iptables.New(iptables.Path(path), iptables.IPFamily(proto), iptables.Timeout(10))
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	return &IPTables{n, ipt}, nil
}

// Version is the binary's version: major, minor, patch.
func (t *IPTables) Version() (major, minor, patch int) { return t.ipt.GetIptablesVersion() }

// Append adds a rule at a chain's end.
func (t *IPTables) Append(table, chain string, rule ...string) error {
	return t.ns.Do(func() error { return t.ipt.Append(table, chain, rule...) })
}

// Insert puts a rule in front of a chain's first.
func (t *IPTables) Insert(table, chain string, rule ...string) error {
	return t.ns.Do(func() error { return t.ipt.Insert(table, chain, 1, rule...) })
}

// Policy sets a built-in chain's policy.
func (t *IPTables) Policy(table, chain, target string) error {
	return t.ns.Do(func() error { return t.ipt.ChangePolicy(table, chain, target) })
}
