// Package topology collects a node's links, addresses, routes, routing rules and the network namespaces of its containers.
//
// Everything but the namespaces comes from rtnetlink dumps. Attributes are decoded here, on mdlayher/netlink's decoder: the
// message types of jsimonetti/rtnetlink lose IFLA_LINK_NETNSID and RTA_VIA and reject links with short hardware addresses.
package topology

import (
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// New returns the collector of the topology section.
func New() collect.Collector { return collector{} }

type collector struct{}

func (collector) Name() string { return "topology" }

func (collector) Needs() []host.Need {
	return []host.Need{
		netlinkNeed(host.DumpLinks), netlinkNeed(host.DumpAddresses), netlinkNeed(host.DumpRoutes),
		netlinkNeed(host.DumpRules), netlinkNeed(host.DumpQdiscs), namespacesNeed(),
	}
}

func netlinkNeed(dump string) host.Need { return host.Need{Kind: host.Netlink, Args: []string{dump}} }

// Collect fills doc.Topology.
func (collector) Collect(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
	r := reader{evidence: ev}
	t := &doc.Topology
	t.Links = read(&r, source[snapshot.Link]{"links", host.DumpLinks, unix.RTM_NEWLINK, parseLink, sortLinks})
	t.Addresses = read(&r, source[snapshot.Address]{
		"addresses", host.DumpAddresses, unix.RTM_NEWADDR, parseAddress, sortAddresses,
	})
	t.Routes = read(&r, source[snapshot.Route]{"routes", host.DumpRoutes, unix.RTM_NEWROUTE, parseRoute, sortRoutes})
	t.Rules = read(&r, source[snapshot.PolicyRule]{
		"routing rules", host.DumpRules, unix.RTM_NEWRULE, parseRule, sortRules,
	})
	qdiscs := read(&r, source[qdisc]{
		"queueing disciplines", host.DumpQdiscs, unix.RTM_NEWQDISC, parseQdisc, func([]qdisc) {},
	})
	links := t.Links.Or(nil)
	if q, ok := qdiscs.Get(); ok {
		joinQdiscs(links, q)
	} else {
		for i := range links {
			links[i].TCPrograms = []string{"unknown: queueing disciplines could not be read"}
		}
	}
	t.Namespaces, t.NamespacesIncomplete = r.namespaces(links)
	return r.missing
}

// reader gathers what is missing while it reads.
type reader struct {
	evidence *host.Evidence
	missing  []snapshot.Missing
}

// source is one dump: what people call it, its name, its messages' type, and how they are parsed and sorted.
type source[T any] struct {
	what  string
	dump  string
	kind  uint16
	parse func(message) (T, bool, error)
	sort  func([]T)
}

// read parses one dump whole, or not at all: a part of it would pass for all there is.
func read[T any](r *reader, s source[T]) snapshot.Value[[]T] {
	a := r.evidence.Answer(netlinkNeed(s.dump))
	if why, hint := fault(a); why != "" {
		return lack[[]T](r, s.what, why, hint)
	}
	d, err := parseDump(a.Data)
	if err != nil {
		return lack[[]T](r, s.what, err.Error(), "")
	}
	all, err := parseAll(d, s.kind, s.parse)
	if err != nil {
		return lack[[]T](r, s.what, err.Error(), "")
	}
	if d.torn {
		r.missing = append(r.missing, snapshot.Missing{What: s.what, Why: "changed while being read", Hint: "run again"})
	}
	s.sort(all)
	return snapshot.Known(all)
}

// lack notes what is missing, and is its value.
func lack[T any](r *reader, what, why, hint string) snapshot.Value[T] {
	r.missing = append(r.missing, snapshot.Missing{What: what, Why: why, Hint: hint})
	return snapshot.Unreadable[T](why, hint)
}

// fault says why an answer cannot be used, "" when it can. A dump that is not there is no empty list.
func fault(a *host.Answer) (why, hint string) {
	if why, hint = collect.Trouble(a); why == "" && a.Absent {
		why = "not available on this node"
	}
	return why, hint
}
