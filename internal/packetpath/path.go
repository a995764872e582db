package packetpath

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// baseChain is one entry of a hook: a base chain, conntrack itself, or something that is there but cannot be read.
type baseChain struct {
	hook     netfilter.Hook
	priority int32
	table    *netfilter.Table
	chain    *netfilter.Chain
	decides  bool // of the hook that this question is decided in (INPUT for A, FORWARD for B)
	opaque   string
	kind     baseKind
	place    int // in the kernel's own order, from 1; 0: not known
}

type baseKind uint8

const (
	baseRules     baseKind = iota
	baseNAT                // skipped: it never sees a packet without an entry
	baseConntrack          // conntrack attaches the entry and takes templates off
	baseOpaque             // an unreadable table: opaque says why
)

// score says how much an acceptance here tells a reader: a rule more than a policy, filter more than mangle.
func (b *baseChain) score(rule bool) int {
	switch {
	case b.chain == nil || !b.decides:
		return 0
	case rule:
		return 4
	case b.priority == 0:
		return 3
	}
	return 2
}

// stage is one hook on the way, with the links that it sees.
type stage struct {
	hook    netfilter.Hook
	in, out *Interface
	reset   bool
	decides bool
	routed  bool // behind the routing of a forwarded packet
}

// chains lists a stage's base chains by priority; those of equal priority stand together in the order they run in as far as
// that is known, else the one listed last first.
func (e *Evaluator) stageChains(s stage, family netfilter.Family) []*baseChain {
	var out []*baseChain
	if s.hook == netfilter.Prerouting || s.hook == netfilter.Output {
		out = append(out, &baseChain{hook: s.hook, priority: netfilter.ConntrackPriority, kind: baseConntrack})
	}
	for _, at := range e.hooked(s.hook) {
		t, c := at.table, at.chain
		if t.Dormant || !sees(t, s.hook, family) {
			continue
		}
		if t.Incomplete != "" {
			out = append(out, e.opaqueTable(t, s)...)
			continue
		}
		if b := c.Base; onDevice(b, s) {
			k := baseRules
			if b.Type == netfilter.NATChain {
				k = baseNAT
			}
			out = append(out, &baseChain{hook: s.hook, priority: b.Priority, table: t, chain: c, decides: s.decides, kind: k})
		}
	}
	for _, b := range out {
		b.place = e.place(b, s, family)
	}
	slices.SortStableFunc(out, func(a, b *baseChain) int {
		if a.priority == b.priority && a.place > 0 && b.place > 0 {
			return a.place - b.place
		}
		return cmp.Compare(a.priority, b.priority)
	})
	return out
}

// sees reports whether a table's chains at a hook see packets of the family. Bridge and ARP tables have hooks of their own.
func sees(t *netfilter.Table, h netfilter.Hook, family netfilter.Family) bool {
	device := h == netfilter.Ingress || h == netfilter.Egress
	switch t.Family {
	case netfilter.Netdev:
		return device
	case netfilter.INET:
		return h != netfilter.Egress
	}
	return !device && t.Family == family
}

func onDevice(b *netfilter.Base, s stage) bool {
	var dev *Interface
	switch s.hook {
	case netfilter.Ingress:
		dev = s.in
	case netfilter.Egress:
		dev = s.out
	default:
		return true
	}
	return dev != nil && slices.ContainsFunc(b.Devices, func(d string) bool {
		if p, ok := strings.CutSuffix(d, "*"); ok {
			return strings.HasPrefix(dev.Name, p)
		}
		return d == dev.Name
	})
}

// xtablesAt says at which priority an iptables table stands at a hook. Source: the tables' modules, net/ipv4/netfilter/iptable_*.c.
func xtablesAt(t *netfilter.Table, h netfilter.Hook) (int32, bool) {
	in := func(hooks ...netfilter.Hook) bool { return slices.Contains(hooks, h) }
	switch t.Name {
	case "raw":
		return -300, in(netfilter.Prerouting, netfilter.Output)
	case "mangle":
		return -150, in(netfilter.Prerouting, netfilter.Input, netfilter.Forward, netfilter.Output, netfilter.Postrouting)
	case "filter":
		return 0, in(netfilter.Input, netfilter.Forward, netfilter.Output)
	case "security":
		if t.Backend == netfilter.IPTablesNFT { // its own idea: iptables/nft.c, xtables_ipv4; seen with 1.8.9
			return 150, in(netfilter.Input, netfilter.Forward, netfilter.Output)
		}
		return 50, in(netfilter.Input, netfilter.Forward, netfilter.Output)
	case "nat":
		return 0, false
	}
	return -1 << 31, true
}

// opaqueTable stands for a table that could not be read whole, at each hook where it can have chains.
func (e *Evaluator) opaqueTable(t *netfilter.Table, s stage) []*baseChain {
	prio := int32(-1 << 31)
	if t.Backend.XTables() {
		p, ok := xtablesAt(t, s.hook)
		if !ok {
			return nil
		}
		prio = p
	}
	why := fmt.Sprintf("%s table %s %s, which could not be read whole (%s)", t.Backend, t.Family, t.Name, t.Incomplete)
	return []*baseChain{{hook: s.hook, priority: prio, table: t, kind: baseOpaque, opaque: clip(why)}}
}

// runBase runs one base chain over one class: results are in w.accepted, w.resets and w.leaves.
func (w *walker) runBase(b *baseChain, c *class, query ctState) {
	if !w.ev.spend(chainCost) {
		return
	}
	w.base = b
	w.cuts, w.dirty, w.partial = w.cuts[:0], 0, 0
	switch b.kind {
	case baseConntrack:
		w.conntrack(c, query)
		return
	case baseOpaque:
		w.opaque(b, c)
		return
	}
	w.view.table, w.view.tableOf = b.table.Family, b.table
	id := ruleID{b.table, b.chain, nil}
	if b.kind == baseNAT {
		if c.ct.tracked() {
			// A nat chain is consulted for the first packet of a connection; what it translates is not modelled.
			w.through(c, id, "depends", 0)
			return
		}
		w.through(c, id, "skipped", 0)
		return
	}
	for _, c := range w.chain(w.ev.compile(b.table, b.chain.Name), c, 0) {
		if b.chain.Base.Policy == netfilter.Drop {
			w.end(c, fateDropped, id)
			continue
		}
		w.through(c, id, "continue", b.score(false))
	}
}

// conntrack takes templates off and gives the packet the state that the question says it gets.
func (w *walker) conntrack(c *class, query ctState) {
	d := *c
	if w.view.reset && !d.ct.tracked() && d.ct != ctUntracked {
		d.ct = ctInvalid
	}
	switch {
	case w.view.reset && d.ct == ctInvalid && query == ctEstablished: // rejected in front of conntrack, which knows the connection
		d.ct = ctEstablished
	case w.view.reset:
	case d.ct != ctUntracked:
		d.ct = query
	}
	w.accepted = append(w.accepted, &d)
}

// opaque is a table that may drop, answer with a RST or an ICMP error, mark, or untrack.
func (w *walker) opaque(b *baseChain, c *class) {
	rest := *c
	split := func(what string) *class {
		part := rest
		part.state, rest.state = rest.with(b.opaque+what, true, fresh), rest.with(b.opaque+what, false, fresh)
		return &part
	}
	w.end(split(" drops"), fateDropped, ruleID{})
	native := !b.table.Backend.XTables()
	if !w.view.reset && (native || b.table.Name == "filter") && b.hook != netfilter.Postrouting {
		w.end(split(" answers with an ICMP error"), fateICMP, ruleID{})
		w.end(split(" answers with a RST"), fateReset, ruleID{})
	}
	if native || b.table.Name == "raw" {
		d := split(" untracks")
		d.ct, d.markKnown = ctUntracked, 0
		w.through(d, ruleID{}, "depends", 0)
	}
	rest.markKnown = 0
	w.through(&rest, ruleID{}, "depends", 0)
}
