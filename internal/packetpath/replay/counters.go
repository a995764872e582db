package replay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
	"github.com/ctaudit/ctaudit/internal/packetpath"
)

// Counts holds the counters of the rules that drop against the packets that the evaluator says they dropped. The counters
// must have been read behind the packets, from rules that were new before them.
//
// A rule that asks for TCP has counted those packets and no others. Any other rule has counted them at least: the node's
// own ICMP errors and IPv6 housekeeping cross the hooks too.
type Counts struct {
	ruleset *netfilter.Ruleset
	sure    map[netfilter.RuleRef]uint64
	maybe   map[netfilter.RuleRef]uint64 // packets that something undecided may have led there
	off     bool                         // packets could not be followed: any rule may have taken them
	Rules   int                          // counters that were compared
}

// NewCounts prepares the comparison for a ruleset.
func NewCounts(r *netfilter.Ruleset) *Counts {
	return &Counts{ruleset: r, sure: map[netfilter.RuleRef]uint64{}, maybe: map[netfilter.RuleRef]uint64{}}
}

// Take notes the rules that the answer names for the packets.
func (c *Counts) Take(a *packetpath.Answer, packets []Packet) {
	for i := range packets {
		for _, o := range held(a, packets[i].Segment) {
			by := o.DecidedBy(packets[i].Segment)
			switch {
			case o.Fate == "depends" || slices.Contains(o.Assuming, AnOrder):
				c.off = true
			case o.Fate != "dropped" || by == nil:
			case certain(o):
				c.sure[*by]++
			default:
				c.maybe[*by]++
			}
		}
	}
}

// Check compares all rules that drop. It says what is wrong, or "".
func (c *Counts) Check() string {
	if c.off || tied(c.ruleset) || answersItself(c.ruleset) {
		return ""
	}
	for _, t := range c.ruleset.Tables {
		for _, ch := range t.Chains {
			for _, r := range ch.Rules {
				if why := c.rule(t, ch, r); why != "" {
					return why
				}
			}
			if why := c.policy(t, ch); why != "" {
				return why
			}
		}
	}
	return ""
}

// tied reports chains at one place: which of two drops took a packet is then not known.
func tied(r *netfilter.Ruleset) bool {
	type place struct {
		hook     netfilter.Hook
		priority int32
	}
	taken := map[place]bool{}
	for _, t := range r.Tables {
		for _, ch := range t.Chains {
			if ch.Base == nil || ch.Base.Type == netfilter.NATChain || len(ch.Rules) == 0 && ch.Base.Policy != netfilter.Drop {
				continue
			}
			p := place{ch.Base.Hook, ch.Base.Priority}
			if taken[p] {
				return true
			}
			taken[p] = true
		}
	}
	return false
}

// answersItself reports a SYNPROXY: it sends segments of its own, which rules count too.
func answersItself(r *netfilter.Ruleset) bool {
	return slices.ContainsFunc(r.Tables, func(t *netfilter.Table) bool {
		return slices.ContainsFunc(t.Chains, func(ch *netfilter.Chain) bool {
			return slices.ContainsFunc(ch.Rules, func(r *netfilter.Rule) bool { return strings.Contains(strings.ToLower(r.Text), "synproxy") })
		})
	})
}

func (c *Counts) rule(t *netfilter.Table, ch *netfilter.Chain, r *netfilter.Rule) string {
	ref := netfilter.RuleRef{
		Backend: t.Backend, Family: t.Family, Table: t.Name, Chain: ch.Name,
		Number: r.Number, Handle: r.Handle, Text: r.Excerpt(),
	}
	ops := xtables.Ops(t, r)
	if r.Counters == nil || t.Incomplete != "" || !countsDrops(t, ops) {
		return ""
	}
	c.Rules++
	low, high := c.sure[ref], c.sure[ref]+c.maybe[ref]
	if n := r.Counters.Packets; n < low || n > high && onlyTCP(ops) {
		return fmt.Sprintf("counter: %d packets, foretold %d to %d: %+v", n, low, high, ref)
	}
	return ""
}

// policy: the counter of a builtin chain counts what its policy ended, of every protocol.
func (c *Counts) policy(t *netfilter.Table, ch *netfilter.Chain) string {
	if ch.Base == nil || ch.Base.Counters == nil || ch.Base.Policy != netfilter.Drop || t.Backend != netfilter.Legacy {
		return ""
	}
	ref := netfilter.RuleRef{
		Backend: t.Backend, Family: t.Family, Table: t.Name, Chain: ch.Name, Policy: netfilter.Drop, Text: "policy drop",
	}
	c.Rules++
	if n := ch.Base.Counters.Packets; n < c.sure[ref] {
		return fmt.Sprintf("counter: %d packets, foretold %d: %+v", n, c.sure[ref], ref)
	}
	return ""
}

// countsDrops reports a rule that drops whatever its counter counted: an iptables rule, or an nft rule whose counter stands
// right before the drop. A rule of several counters keeps one of them in view, which may be another; one with a verdict
// map drops before it counts.
func countsDrops(t *netfilter.Table, ops netfilter.Ops) bool {
	n := len(ops)
	if n == 0 {
		return false
	}
	if v, ok := ops[n-1].(netfilter.Verdict); !ok || v.Kind != netfilter.Drop {
		return false
	}
	if t.Backend.XTables() {
		return true
	}
	counts := func(op netfilter.Op) bool {
		s, ok := op.(netfilter.Stmt)
		return ok && s.Name == "counter"
	}
	decides := func(op netfilter.Op) bool { _, ok := op.(netfilter.VMap); return ok }
	return n > 1 && slices.IndexFunc(ops, counts) == n-2 && !slices.ContainsFunc(ops, decides)
}

// onlyTCP reports a rule that asks for TCP.
func onlyTCP(ops netfilter.Ops) bool {
	return slices.ContainsFunc(ops, func(op netfilter.Op) bool {
		m, ok := op.(netfilter.Match)
		return ok && len(m.Fields) == 1 && !m.Invert && m.Set == "" && len(m.In) == 1 && m.In[0] == netfilter.Nums(6, 6) &&
			m.Fields[0].Mask == nil && (m.Fields[0].Field == netfilter.L4Proto || strings.HasSuffix(string(m.Fields[0].Field), "protocol"))
	})
}
