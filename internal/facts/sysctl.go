package facts

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

const keyLiberal = "net.netfilter.nf_conntrack_tcp_be_liberal"

// deadPrefix begins the names that 4.9 removed (commit adf0516845bc): no kernel since then has any of them.
const deadPrefix = "net.ipv4.netfilter.ip_conntrack_"

var forwardingKeys = map[netfilter.Family]string{
	netfilter.IP:  "net.ipv4.ip_forward",
	netfilter.IP6: "net.ipv6.conf.all.forwarding",
}

func sysctlFacts(doc *snapshot.Document) map[string]Fact[string] {
	out := make(map[string]Fact[string], min(len(doc.Sysctl.Live), mostSysctls))
	for _, key := range slices.Sorted(maps.Keys(doc.Sysctl.Live)) {
		if perInterface(key) {
			continue
		}
		if len(out) == mostSysctls {
			break // a key that is not there was not collected: no policy takes it for absent
		}
		out[key] = fact(doc.Sysctl.Live[key])
	}
	return out
}

// perInterface keeps the facts small: a node with a thousand veths has thousands of these, and no policy reads them.
func perInterface(key string) bool {
	rest, ok := strings.CutPrefix(key, "net.ipv4.conf.")
	if !ok {
		rest, ok = strings.CutPrefix(key, "net.ipv6.conf.")
	}
	return ok && !strings.HasPrefix(rest, "all.") && !strings.HasPrefix(rest, "default.")
}

func live(doc *snapshot.Document, key string) snapshot.Value[string] {
	if v, ok := doc.Sysctl.Live[key]; ok {
		return v
	}
	return snapshot.Unreadable[string](key+" was not collected", "collect again with this version of ctaudit")
}

func intSysctl(doc *snapshot.Document, key string) Fact[int] { return intFact(key, live(doc, key)) }

func intFact(key string, v snapshot.Value[string]) Fact[int] {
	s, ok := v.Get()
	if !ok {
		f := fact(v)
		return Fact[int]{Known: f.Known, Absent: f.Absent, Why: f.Why, Hint: f.Hint}
	}
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return unknown[int](fmt.Sprintf("%s holds %q, which is not a number", key, s), "")
	}
	return known(n)
}

// ownForwarding are the ends of the keys by which a single interface forwards: IPv4 goes by the setting of the interface that
// a packet came in by; IPv6 goes by that of all, and since 6.17 by an interface's force_forwarding.
// Source: net/ipv4/route.c, ip_route_input_slow(), and net/ipv6/ip6_output.c, ip6_forward(), Linux 6.18.
var ownForwarding = map[netfilter.Family][2]string{
	netfilter.IP:  {"net.ipv4.conf.", ".forwarding"},
	netfilter.IP6: {"net.ipv6.conf.", ".force_forwarding"},
}

func forwardingFacts(doc *snapshot.Document) map[netfilter.Family]Fact[bool] {
	out := map[netfilter.Family]Fact[bool]{}
	for _, fam := range families {
		n := intSysctl(doc, forwardingKeys[fam])
		out[fam] = Fact[bool]{Known: n.Known, Absent: n.Absent, Value: n.Value != 0, Why: n.Why, Hint: n.Hint}
		if n.Value == 0 {
			out[fam] = forwardingByInterface(doc, fam, out[fam])
		}
	}
	return out
}

// forwardingByInterface is what the interfaces' own settings make of the global one, which is not on.
func forwardingByInterface(doc *snapshot.Document, fam netfilter.Family, global Fact[bool]) Fact[bool] {
	for _, key := range slices.Sorted(maps.Keys(doc.Sysctl.Live)) {
		name, ok := strings.CutPrefix(key, ownForwarding[fam][0])
		name, own := strings.CutSuffix(name, ownForwarding[fam][1])
		if !ok || !own || name == "all" || name == "default" || name == "lo" {
			continue
		}
		n := intSysctl(doc, key)
		switch {
		case n.Value != 0:
			return known(true)
		case !n.Known && global.Known:
			global = unknown[bool](key+": "+n.Why, n.Hint)
		}
	}
	return global
}

// decidedKeys are the keys for which policies ask what the next boot sets, patterns and exclusions weighed.
func decidedKeys(doc *snapshot.Document) []string {
	keys := []string{keyLiberal}
	for key := range doc.Sysctl.Live {
		if strings.HasPrefix(key, "net.netfilter.") || strings.HasPrefix(key, "net.ipv4.vs.") {
			keys = append(keys, key)
		}
	}
	for _, key := range forwardingKeys {
		keys = append(keys, key)
	}
	return keys
}

// weighable reports whether it can be said within the bounds which assignment decides each key.
func weighable(keys []string, list []snapshot.Assignment) bool {
	const patternCost = 200
	work := len(list)
	for i := range list {
		if strings.ContainsAny(list[i].Key, "*?[") {
			work += patternCost
		}
	}
	return len(list) <= mostPersisted && len(keys)*work <= workBudget
}

func persistedFacts(doc *snapshot.Document) Persisted {
	p := Persisted{Effective: map[string]Assignment{}, All: []Assignment{}, Mentions: []Mention{}}
	for i, m := range doc.Sysctl.Mentions.Or(nil) {
		if i == mostMentions {
			break
		}
		p.Mentions = append(p.Mentions, Mention{File: m.File, Line: m.Line, Text: m.Text, Dead: strings.Contains(m.Text, "ip_conntrack")})
	}
	if doc.Sysctl.Persisted.IsUnreadable() {
		p.Why, p.Hint = doc.Sysctl.Persisted.Why()
		return p
	}
	keys := decidedKeys(doc)
	if !weighable(keys, doc.Sysctl.Persisted.Or(nil)) {
		p.Why = fmt.Sprintf("more than %d assignments, or too many patterns", mostPersisted)
		return p
	}
	p.Known = true
	for _, a := range doc.Sysctl.Persisted.Or(nil) {
		if a.Exclude {
			continue
		}
		as := assignment(a)
		p.All = append(p.All, as)
		if as.Dead && !a.Overridden {
			p.Effective[a.Key] = as
		}
	}
	for _, key := range keys {
		if a, ok := doc.Sysctl.AtBoot(key).Get(); ok {
			p.Effective[key] = assignment(a)
		}
	}
	return p
}

func assignment(a snapshot.Assignment) Assignment {
	return Assignment{
		Key: a.Key, Value: a.Value, File: a.File, Line: a.Line, Ignore: a.Ignore,
		Dead: strings.HasPrefix(a.Key, deadPrefix), Unread: a.Unread,
	}
}
