// Package registry lists the collectors. It is the only place that knows them all.
package registry

import (
	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/conntrack"
	"github.com/ctaudit/ctaudit/internal/collect/iptables"
	"github.com/ctaudit/ctaudit/internal/collect/kernel"
	"github.com/ctaudit/ctaudit/internal/collect/nftables"
	"github.com/ctaudit/ctaudit/internal/collect/sysctl"
	"github.com/ctaudit/ctaudit/internal/collect/topology"
)

// All returns every collector, in the order in which documents account for them.
func All() []collect.Collector {
	return []collect.Collector{
		kernel.New(),
		sysctl.New(),
		iptables.New(),
		nftables.New(),
		conntrack.New(),
		topology.New(),
	}
}
