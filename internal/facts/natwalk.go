package facts

import (
	"fmt"
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// natFlow is what a walk of nat chains asks about: packets of a family at a hook, leaving by one of some links (nil: any).
type natFlow struct {
	fam  netfilter.Family
	hook netfilter.Hook
	out  []*link
}

// visitor is shown a rule that translates; false ends the walk.
type visitor func(natAt) bool

// natAt is a NAT rule in its place.
type natAt struct {
	flow  natFlow
	table *netfilter.Table
	chain *netfilter.Chain
	rule  *netfilter.Rule
	ops   netfilter.Ops
	stmt  netfilter.Stmt
}

// natWalk goes through the nat chains that a flow can reach, each chain once. It follows a jump unless it cannot match, and
// it ends a chain where a rule matches always.
type natWalk struct {
	node   *Node
	flow   natFlow
	table  *netfilter.Table
	visit  visitor
	done   bool
	opaque string // the first rule that may translate for all that is known of it
	seen   map[*netfilter.Chain]bool
	stack  []frame
	finds  int
	index  map[string]*netfilter.Chain
	spare  int // how many rules without NAT may still be parsed
}

type frame struct {
	chain *netfilter.Chain
	next  int
}

// parsedPlain is how many rules that neither translate nor jump are parsed in a walk, to see whether they end a chain.
const parsedPlain = 2000

// walkNAT shows the visitor every rule of nat chains that may translate the flow, and returns what it could not read.
func (n *Node) walkNAT(flow natFlow, visit visitor) (opaque string) {
	for _, t := range n.ruleset.Tables {
		if t.Dormant || !t.Family.Covers(flow.fam) {
			continue
		}
		w := natWalk{node: n, flow: flow, table: t, visit: visit, seen: map[*netfilter.Chain]bool{}, spare: parsedPlain}
		for _, c := range t.Chains {
			if c.Base != nil && c.Base.Type == netfilter.NATChain && c.Base.Hook == flow.hook {
				w.walk(c)
			}
		}
		if opaque == "" {
			opaque = w.opaque
		}
		if w.done {
			break
		}
	}
	return opaque
}

// walk needs no recursion, so that no jump chain is too deep for it.
func (w *natWalk) walk(base *netfilter.Chain) {
	w.push(base)
	for len(w.stack) > 0 && !w.done {
		top := len(w.stack) - 1
		f := &w.stack[top]
		if f.next == len(f.chain.Rules) {
			w.stack = w.stack[:top]
			continue
		}
		f.next++
		if w.rule(f.chain, f.chain.Rules[f.next-1]) {
			w.stack[top].next = len(w.stack[top].chain.Rules)
		}
	}
	w.stack = w.stack[:0]
}

func (w *natWalk) push(c *netfilter.Chain) {
	if !w.seen[c] {
		w.seen[c] = true
		w.stack = append(w.stack, frame{chain: c})
	}
}

// rule looks at one rule; true: no packet gets to the rules behind it.
func (w *natWalk) rule(c *netfilter.Chain, r *netfilter.Rule) (ends bool) {
	if !w.node.spend(4) {
		w.done = true
		return true
	}
	if r.Ops == nil && w.table.Backend.XTables() && (!w.worthParsing(r.Text) || !w.node.spend(parseCost+len(r.Text))) {
		return false
	}
	ops := xtables.Ops(w.table, r)
	always := true
	for _, op := range ops {
		switch op := op.(type) {
		case netfilter.Match:
			m := w.match(op)
			if m == never {
				return false
			}
			always = always && m == everytime
		case netfilter.XtState:
			always = false
		case netfilter.Ext:
			always = false
			w.ext(c, r, op)
		case netfilter.Stmt:
			w.stmt(natAt{w.flow, w.table, c, r, ops, op})
		case netfilter.VMap:
			always = false
			w.vmap(c, r, op)
		case netfilter.Verdict:
			return w.verdict(c, r, op, always)
		}
	}
	return false
}

// worthParsing is a cheap look at the rule's target.
func (w *natWalk) worthParsing(text string) bool {
	target, _ := xtables.Target(text)
	switch target {
	case "", "MARK", "LOG", "NFLOG", "CONNMARK", "TRACE", "TCPMSS":
		return false
	case "ACCEPT", "RETURN", "DROP":
		w.spare--
		return w.spare >= 0
	}
	return true
}

func (w *natWalk) verdict(c *netfilter.Chain, r *netfilter.Rule, v netfilter.Verdict, always bool) (ends bool) {
	switch v.Kind {
	case netfilter.Jump, netfilter.Goto:
		next := w.chain(v.Chain)
		if next == nil { // an xtables target without options that nobody here knows reads like a chain
			w.unsure(c, r, "jumps to "+v.Chain+", which is no chain that was read")
			return false
		}
		w.push(next)
		return always && v.Kind == netfilter.Goto
	case netfilter.Continue:
		return false
	}
	return always
}

// searched is how many chains are looked up by a plain search before an index is made: of a kube-proxy node's forty
// thousand chains, a walk needs a few.
const searched = 64

func (w *natWalk) chain(name string) *netfilter.Chain {
	if w.finds++; w.finds <= searched {
		return w.table.Chain(name)
	}
	if w.index == nil {
		w.index = make(map[string]*netfilter.Chain, len(w.table.Chains))
		for _, c := range w.table.Chains {
			if w.index[c.Name] == nil {
				w.index[c.Name] = c
			}
		}
	}
	return w.index[name]
}

// vmap follows the verdicts of a map that the flow can meet.
func (w *natWalk) vmap(c *netfilter.Chain, r *netfilter.Rule, m netfilter.VMap) {
	s := w.node.setOf(w.table, m.Set).set
	if s == nil || s.Incomplete != "" || s.Dynamic {
		w.unsure(c, r, "looks up a verdict map whose content is not known")
		return
	}
	if !w.node.spend(8 * len(s.Elements)) {
		return
	}
	for i := range s.Elements {
		e := &s.Elements[i]
		if e.Verdict == nil || e.Verdict.Chain == "" {
			continue
		}
		if len(m.Fields) == 1 && len(e.Key) == 1 && w.in(m.Fields[0], e.Key) == never {
			continue
		}
		w.verdict(c, r, *e.Verdict, false)
	}
	if s.CatchAll != nil && s.CatchAll.Verdict != nil {
		w.verdict(c, r, *s.CatchAll.Verdict, false)
	}
}

func (w *natWalk) unsure(c *netfilter.Chain, r *netfilter.Rule, what string) {
	if w.opaque == "" {
		w.opaque = fmt.Sprintf("rule %d of %s %s %s %s %s", r.Number, w.table.Backend, w.table.Family, w.table.Name, c.Name, what)
	}
}

// ext: xtables keeps matches and targets apart, and an Ext there is a match. An nft expression that nobody knows may do
// anything.
func (w *natWalk) ext(c *netfilter.Chain, r *netfilter.Rule, x netfilter.Ext) {
	if len(r.Ops) > 0 && !matchExt(x.Name) {
		w.unsure(c, r, "has an expression that is not understood: "+x.Name)
	}
}

// matchExt are nf_tables' expressions that only match, and iptables' matches.
func matchExt(name string) bool {
	switch name {
	case "limit", "quota", "ct count", "lookup", "numgen", "random", "symhash", "jhash", "bitwise", "byteorder", "payload", "rt", "socket",
		"fib", "exthdr", "osf", "meta", "ct", "cmp", "range", "xfrm", "tunnel", "hash":
		return true
	}
	return len(name) > 9 && name[:9] == "xt match "
}

func (w *natWalk) stmt(at natAt) {
	switch at.stmt.Name {
	case "masquerade", "snat", "dnat", "redirect", "netmap":
		if !w.done && !w.visit(at) {
			w.done = true
		}
	case "counter", "log", "mark", "connmark", "comment", "notrack", "ct", "tee", "dup", "nflog", "ulog", "checksum", "classify",
		"tcpmss", "tcpoptstrip", "ttl", "hl", "tos", "dscp", "ecn", "trace", "audit", "led", "idletimer", "rateest", "set", "secmark",
		"connsecmark", "hmark", "last", "quota", "objref", "add", "update", "delete", "synproxy", "tproxy", "flow", "fwd",
		"snpt", "dnpt", "nftrace", "connlabel", "limit", "ct helper", "ct timeout", "ct expectation":
	default:
		w.unsure(at.chain, at.rule, "has a target that is not understood: "+at.stmt.Name)
	}
}

// certainty says whether a match holds for the flow.
type certainty uint8

const (
	maybe certainty = iota
	never
	everytime
)

func (c certainty) not() certainty {
	switch c {
	case never:
		return everytime
	case everytime:
		return never
	}
	return maybe
}

func (w *natWalk) match(m netfilter.Match) certainty {
	other := otherFamily(w.flow.fam)
	for _, f := range m.Fields {
		if f.Field == addressField(other, true) || f.Field == addressField(other, false) {
			return never // inverted or not
		}
	}
	if len(m.Fields) != 1 {
		return maybe
	}
	in, known := m.In, true
	if m.Set != "" {
		u := w.node.setOf(w.table, m.Set)
		in, known = u.keys, u.known
	}
	if !known {
		return maybe
	}
	c := w.in(m.Fields[0], in)
	if m.Invert {
		return c.not()
	}
	return c
}

// in decides whether what is known of the flow lies in the intervals.
func (w *natWalk) in(o netfilter.Operand, list []netfilter.Interval) certainty {
	if o.Mask != nil || o.Xor != nil {
		return maybe
	}
	var values []netfilter.Value
	switch o.Field {
	case netfilter.NFProto:
		values = []netfilter.Value{netfilter.Num([2]uint64{2, 10}[familyIndex(w.flow.fam)])}
	case netfilter.EthProto:
		values = []netfilter.Value{netfilter.Num([2]uint64{0x0800, 0x86dd}[familyIndex(w.flow.fam)])}
	case netfilter.OIFName:
		for _, l := range w.flow.out {
			values = append(values, netfilter.Name(l.Name))
		}
	case netfilter.OIF:
		for _, l := range w.flow.out {
			values = append(values, netfilter.Num(uint64(l.Index)))
		}
	}
	hits := 0
	if !w.node.spend(len(values) * len(list)) {
		return maybe
	}
	for _, v := range values {
		if slices.ContainsFunc(list, func(i netfilter.Interval) bool { return i.Contains(v) }) {
			hits++
		}
	}
	switch {
	case len(values) == 0 || hits > 0 && hits < len(values):
		return maybe
	case hits == 0:
		return never
	}
	return everytime
}

func otherFamily(fam netfilter.Family) netfilter.Family {
	if fam == netfilter.IP {
		return netfilter.IP6
	}
	return netfilter.IP
}

func addressField(fam netfilter.Family, source bool) netfilter.Field {
	switch {
	case fam == netfilter.IP && source:
		return netfilter.IPSaddr
	case fam == netfilter.IP:
		return netfilter.IPDaddr
	case source:
		return netfilter.IP6Saddr
	}
	return netfilter.IP6Daddr
}
