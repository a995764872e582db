package packetpath

import (
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// known is what of the node several questions need, worked out when the first one does: a node can have thousands of interfaces,
// addresses and base chains, and questions for each of them.
type known struct {
	links   map[string]*Interface
	local   [2]ivset
	sources [2]ivset
	types   map[typesKey]ivset
	bases   map[netfilter.Hook][]basePlace
	stages  map[stageKey][]*baseChain
	hooks   map[hookKey]int
	opaque  map[string][]string
	invalid map[invalidKey]invalidIn
	// explained are rules on the ways to drops, compiled.
	explained map[*netfilter.Rule]*crule
}

type typesKey struct {
	family int
	kinds  uint64
}

// links are the node's interfaces by name, of several the first.
func (e *Evaluator) links() map[string]*Interface {
	if e.known.links == nil {
		e.known.links = make(map[string]*Interface, len(e.node.Interfaces))
		for i := range e.node.Interfaces {
			l := &e.node.Interfaces[i]
			if e.known.links[l.Name] == nil {
				e.known.links[l.Name] = l
			}
		}
	}
	return e.known.links
}

// basePlace is a base chain, or a table that could not be read whole.
type basePlace struct {
	table *netfilter.Table
	chain *netfilter.Chain // nil: such a table
}

// hooked lists the base chains of a hook, and the tables that may have one there, the last first.
func (e *Evaluator) hooked(h netfilter.Hook) []basePlace {
	if e.known.bases == nil {
		e.known.bases = map[netfilter.Hook][]basePlace{}
		for _, t := range slices.Backward(e.node.Ruleset.Tables) {
			e.hookTable(t)
		}
	}
	return e.known.bases[h]
}

func (e *Evaluator) hookTable(t *netfilter.Table) {
	add := func(h netfilter.Hook, c *netfilter.Chain) {
		e.known.bases[h] = append(e.known.bases[h], basePlace{t, c})
	}
	if t.Incomplete != "" {
		for _, h := range allHooks {
			add(h, nil)
		}
		return
	}
	for _, c := range t.Chains {
		if c.Base != nil {
			add(c.Base.Hook, c)
		}
	}
}

// allHooks are in the order of the way.
var allHooks = [...]netfilter.Hook{
	netfilter.Ingress, netfilter.Prerouting, netfilter.Input, netfilter.Forward, netfilter.Output, netfilter.Postrouting, netfilter.Egress,
}

// stageKey is what the base chains of a stage depend on.
type stageKey struct {
	hook    netfilter.Hook
	family  netfilter.Family
	decides bool
	device  string // of device hooks
}

// stageList is [Evaluator.stageChains], made once for all stages that have the same.
func (e *Evaluator) stageList(s stage, family netfilter.Family) []*baseChain {
	key := stageKey{hook: s.hook, family: family, decides: s.decides}
	switch dev := map[netfilter.Hook]*Interface{netfilter.Ingress: s.in, netfilter.Egress: s.out}[s.hook]; {
	case len(e.hooked(s.hook)) == 0: // no device has a chain there
	case dev != nil:
		key.device = dev.Name
	}
	list, ok := e.known.stages[key]
	if !ok {
		list = e.stageChains(s, family)
		e.spend(chainCost * len(e.hooked(s.hook)))
		e.known.stages[key] = list
	}
	return list
}

// hookKey is what a function is found by in the kernel's own order.
type hookKey struct {
	hook         netfilter.Hook
	priority     int32
	family       netfilter.Family // the hook's
	what         hookWhat
	tableFamily  netfilter.Family // hookChain
	table, chain string
}

type hookWhat uint8

const (
	hookChain hookWhat = iota
	hookConntrack
	hookLegacy
)

// hookPlaces are the first places of everything in the kernel's own order, from 1.
func (e *Evaluator) hookPlaces() map[hookKey]int {
	if e.known.hooks != nil {
		return e.known.hooks
	}
	e.known.hooks = map[hookKey]int{}
	for i := range e.node.HookOrder {
		h := &e.node.HookOrder[i]
		key := hookKey{hook: h.Hook, priority: h.Priority, family: h.Family}
		add := func(k hookKey) {
			if e.known.hooks[k] == 0 {
				e.known.hooks[k] = i + 1
			}
		}
		if strings.Contains(h.Function, "conntrack") {
			key.what = hookConntrack
			add(key)
		}
		if strings.Contains(h.Function, "t_do_table") || strings.Contains(h.Function, "table_") && h.Table == "" {
			key.what = hookLegacy
			add(key)
		}
		key.what, key.tableFamily, key.table, key.chain = hookChain, h.TableFamily, h.Table, h.Chain
		add(key)
	}
	return e.known.hooks
}

// place finds a base chain in the kernel's own order. The legacy tables' functions bear no table's name; at one priority
// there is one of them.
func (e *Evaluator) place(b *baseChain, s stage, family netfilter.Family) int {
	if len(e.node.HookOrder) == 0 || b.chain == nil && b.kind != baseConntrack {
		return 0
	}
	key := hookKey{hook: s.hook, priority: b.priority}
	tables := []netfilter.Family{""}
	switch {
	case b.kind == baseConntrack:
		key.what = hookConntrack
	case b.table.Backend == netfilter.Legacy:
		key.what = hookLegacy
	default:
		key.table, key.chain = b.table.Name, b.chain.Name
		tables = append(tables, b.table.Family)
	}
	first := 0
	for _, key.family = range []netfilter.Family{family, netfilter.Netdev, netfilter.INET} {
		for _, key.tableFamily = range tables {
			if at := e.hookPlaces()[key]; at > 0 && (first == 0 || at < first) {
				first = at
			}
		}
	}
	return first
}
