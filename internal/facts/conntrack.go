package facts

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func conntrackFacts(doc *snapshot.Document) Conntrack {
	ct := doc.Conntrack
	return Conntrack{
		Count: countFact(ct.Count), Max: countFact(ct.Max), Buckets: countFact(ct.Buckets),
		Sampled: ct.Second != nil, IntervalSeconds: ct.Interval, Deltas: deltas(ct),
	}
}

func countFact(v snapshot.Value[uint64]) Fact[int] {
	f := fact(v)
	return Fact[int]{Known: f.Known, Absent: f.Absent, Value: int(f.Value), Why: f.Why, Hint: f.Hint}
}

// deltas are what the counters rose by between two readings, or their values since the namespace was made when there is
// one reading. The conntrack statistics are 32 bits wide in the kernel (struct ip_conntrack_stat) and wrap.
func deltas(ct snapshot.Conntrack) Fact[map[string]int] {
	stats, ok := ct.First.Stats.Get()
	if !ok && !ct.First.Stats.IsAbsent() {
		why, hint := ct.First.Stats.Why()
		return unknown[map[string]int](why, hint)
	}
	tcp, _ := ct.First.TCP.Get()
	out := map[string]int{}
	if ct.Second == nil {
		merge(out, stats, func(_ string, v uint64) uint64 { return v })
		merge(out, tcp, func(_ string, v uint64) uint64 { return v })
		return known(out)
	}
	later, ok := ct.Second.Stats.Get()
	if !ok && !ct.Second.Stats.IsAbsent() {
		why, hint := ct.Second.Stats.Why()
		return unknown[map[string]int]("second reading: "+why, hint)
	}
	merge(out, later, func(k string, v uint64) uint64 { return uint64(uint32(v) - uint32(stats[k])) })
	laterTCP, _ := ct.Second.TCP.Get()
	merge(out, laterTCP, func(k string, v uint64) uint64 { return v - tcp[k] })
	return known(out)
}

func merge(out map[string]int, in map[string]uint64, value func(string, uint64) uint64) {
	for k, v := range in {
		out[k] = int(value(k, v))
	}
}

// conntrackUsed says whether anything in the namespace makes the kernel track connections. Since 4.10 the hooks register only
// when a rule needs them (commit 0c66dc1ea3f0), so the sysctls can exist while nothing is tracked.
func conntrackUsed(doc *snapshot.Document, rs *netfilter.Ruleset) Fact[bool] {
	if doc.Conntrack.Count.Or(0) > 0 {
		return known(true)
	}
	incomplete := ""
	for _, t := range rs.Tables {
		if !t.Dormant && tableTracks(t) {
			return known(true)
		}
		if t.Incomplete != "" {
			incomplete = t.Incomplete
		}
	}
	if incomplete != "" {
		return unknown[bool]("a table could not be read whole: "+incomplete, "")
	}
	if why, hint := rulesUnread(doc); why != "" {
		return unknown[bool](why, hint)
	}
	if doc.Conntrack.Count.IsUnreadable() {
		why, hint := doc.Conntrack.Count.Why()
		return unknown[bool](why, hint)
	}
	return known(false)
}

func tableTracks(t *netfilter.Table) bool {
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if ruleTracks(t, r) {
				return true
			}
		}
	}
	return false
}

// trackingWords are what an iptables rule says when it needs conntrack; the text is searched first because most rules of
// a large table need not be parsed to know that they do not.
var trackingWords = [...]string{"state", "conn", "NAT", "MASQUERADE", "REDIRECT", "CT", "NETMAP", "helper", "SYNPROXY", "CONNMARK"}

func ruleTracks(t *netfilter.Table, r *netfilter.Rule) bool {
	if r.Ops == nil && t.Backend.XTables() && !containsAny(r.Text, trackingWords[:]) {
		return false
	}
	for _, op := range xtables.Ops(t, r) {
		if opTracks(op) {
			return true
		}
	}
	return false
}

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func opTracks(op netfilter.Op) bool {
	switch op := op.(type) {
	case netfilter.XtState:
		return true
	case netfilter.Match:
		return anyCT(op.Fields)
	case netfilter.VMap:
		return anyCT(op.Fields)
	case netfilter.Ext:
		return !harmless[op.Name]
	case netfilter.Assign:
		return isCT(op.Field) || isCT(op.From)
	case netfilter.Stmt:
		return !harmless[op.Name]
	}
	return false
}

// harmless are the matches and statements known by name that need no conntrack entry. What is not listed, an extension that
// nobody here knows above all, may need one.
var harmless = map[string]bool{
	"addrtype": true, "comment": true, "cpu": true, "hashlimit": true, "icmp": true, "icmp6": true, "iprange": true, "length": true,
	"limit": true, "mac": true, "multiport": true, "owner": true, "physdev": true, "pkttype": true, "recent": true, "rt": true,
	"set": true, "statistic": true, "tcp": true, "time": true, "udp": true,
	"checksum": true, "classify": true, "counter": true, "dup": true, "log": true, "nflog": true, "notrack": true,
	"tcpmss": true, "tee": true, "tproxy": true,
}

func anyCT(ops []netfilter.Operand) bool {
	for _, o := range ops {
		if isCT(o.Field) {
			return true
		}
	}
	return false
}

func isCT(f netfilter.Field) bool { return strings.HasPrefix(string(f), "ct.") }
