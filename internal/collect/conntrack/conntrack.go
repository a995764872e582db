// Package conntrack collects the pressure on the connection tracking table and the counters beside it: the table's size, conntrack's
// statistics and TCP's. Counters are read twice when the evidence has a second reading.
//
// Conntrack keeps its statistics for each CPU in 32 bits (struct ip_conntrack_stat, include/linux/netfilter/nf_conntrack_common.h) and
// each of them wraps by itself, so a sum over CPUs may fall between two readings: a rise is the difference modulo 2^32, of a sum as of
// one CPU. TCP's counters have 64 bits on 64-bit machines.
package conntrack

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// New returns the collector of the conntrack section.
func New() collect.Collector { return collector{} }

type collector struct{}

func (collector) Name() string { return "conntrack" }

const (
	pathCount   = "/proc/sys/net/netfilter/nf_conntrack_count"
	pathMax     = "/proc/sys/net/netfilter/nf_conntrack_max"
	pathBuckets = "/proc/sys/net/netfilter/nf_conntrack_buckets"
	pathStat    = "/proc/net/stat/nf_conntrack"
	pathSNMP    = "/proc/net/snmp"
	pathNetstat = "/proc/net/netstat"
)

func (collector) Needs() []host.Need {
	return []host.Need{
		sampled(host.File, pathCount),
		{Kind: host.File, Args: []string{pathMax}},
		{Kind: host.File, Args: []string{pathBuckets}},
		sampled(host.Netlink, host.DumpCTStats), sampled(host.File, pathStat),
		sampled(host.File, pathSNMP), sampled(host.File, pathNetstat),
	}
}

func sampled(kind host.Kind, arg string) host.Need {
	return host.Need{Kind: kind, Args: []string{arg}, Sampled: true}
}

// Collect fills doc.Conntrack.
func (collector) Collect(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
	c := &doc.Conntrack
	first := reader{answer: func(n host.Need) *host.Answer { return ev.Answer(n) }}
	c.First = first.counters()
	c.Count = c.First.Entries
	c.Max = number(&first, pathMax, "conntrack maximum")
	c.Buckets = number(&first, pathBuckets, "conntrack buckets")
	second := reader{reading: "second ", answer: func(n host.Need) *host.Answer { return later(ev.Answer(n)) }}
	if !sampledTwice(ev) {
		return first.missing
	}
	counters := second.counters()
	c.Second = &counters
	c.Interval = ev.Interval.Seconds()
	return append(first.missing, second.missing...)
}

// sampledTwice reports whether the evidence holds two readings of anything.
func sampledTwice(ev *host.Evidence) bool {
	for _, n := range New().Needs() {
		if n.Sampled && ev.Answer(n).Second != nil {
			return ev.Interval > 0
		}
	}
	return false
}

// later is the second reading; a need that has none, while others do, was not read.
func later(a *host.Answer) *host.Answer {
	if a.Second != nil {
		return a.Second
	}
	return &host.Answer{Err: "not read a second time"}
}

// reader reads one set of answers and gathers what is missing.
type reader struct {
	reading string // put before the name of what is missing
	answer  func(host.Need) *host.Answer
	missing []snapshot.Missing
}

func parse[T any](r *reader, n host.Need, what string, p func([]byte) (T, error)) snapshot.Value[T] {
	v, missing := collect.Parse(r.answer(n), r.reading+what, p)
	r.missing = append(r.missing, missing...)
	return v
}

func number(r *reader, path, what string) snapshot.Value[uint64] {
	return parse(r, host.Need{Kind: host.File, Args: []string{path}}, what+" ("+path+")", parseNumber)
}

// parseNumber reads a sysctl that is one decimal number.
func parseNumber(b []byte) (uint64, error) {
	const longest = 24
	if len(b) > longest {
		return 0, errors.New("not a number")
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", b)
	}
	return n, nil
}

// counters is one reading of everything that counts.
func (r *reader) counters() snapshot.Counters {
	c := snapshot.Counters{Entries: number(r, pathCount, "conntrack entries"), TCP: r.tcp()}
	c.Stats, c.PerCPU, c.Source = r.stats()
	return c
}

const (
	sourceNetlink = "netlink"
	sourceProc    = "proc"
)

// stats takes conntrack's statistics from ctnetlink, which knows the newest counters, and adds those that only /proc shows. Without ctnetlink, /proc has most of them. Absent: the kernel tracks no connections.
func (r *reader) stats() (total snapshot.Value[map[string]uint64], perCPU []map[string]uint64, source string) {
	dump := r.answer(sampled(host.Netlink, host.DumpCTStats))
	netlink, lost := collect.Parse(dump, r.reading+"conntrack statistics (netlink)", parseDump)
	proc, lostProc := collect.Parse(r.answer(sampled(host.File, pathStat)), r.reading+"conntrack statistics ("+pathStat+")", parseStat)
	fromNetlink, ok := netlink.Get()
	fromProc, okProc := proc.Get()
	switch {
	case ok:
		addExpectations(fromNetlink, fromProc)
		return snapshot.Known(sum(fromNetlink)), fromNetlink, sourceNetlink
	case okProc:
		// /proc serves the unprivileged, and a shell, as well as netlink serves root: it has the same counters by other names.
		if !dump.Denied && dump.Err != host.NoNetlink {
			r.missing = append(r.missing, lost...)
		}
		return snapshot.Known(sum(fromProc)), fromProc, sourceProc
	case dump.Err == host.NoNetlink && proc.IsAbsent() && r.answer(sampled(host.File, pathCount)).Absent:
		return snapshot.Absent[map[string]uint64](), nil, "" // no conntrack here, and a shell cannot ask for more
	}
	r.missing = append(append(r.missing, lost...), lostProc...)
	if netlink.IsUnreadable() {
		why, hint := netlink.Why()
		return snapshot.Unreadable[map[string]uint64](why, hint), nil, ""
	}
	if proc.IsUnreadable() {
		why, hint := proc.Why()
		return snapshot.Unreadable[map[string]uint64](why, hint), nil, ""
	}
	return snapshot.Absent[map[string]uint64](), nil, ""
}

// addExpectations adds the counters of expectations, which ctnetlink leaves out. What else only /proc shows are columns that the kernel
// fills with zeros since it has dropped the counters. Both lists have an entry for each possible CPU, in order; lists of
// different lengths cannot be matched and stay apart.
func addExpectations(to, from []map[string]uint64) {
	if len(to) != len(from) {
		return
	}
	for i := range to {
		for _, name := range [...]string{"expect_new", "expect_create", "expect_delete"} {
			if v, there := from[i][name]; there {
				to[i][name] = v
			}
		}
	}
}

func sum(perCPU []map[string]uint64) map[string]uint64 {
	total := map[string]uint64{}
	for _, cpu := range perCPU {
		for name, v := range cpu {
			total[name] += v
		}
	}
	return total
}

// tcp joins the TCP counters of both files. They are of the network namespace that is read.
func (r *reader) tcp() snapshot.Value[map[string]uint64] {
	out := make(map[string]uint64, 256) // the kernel has about 150
	for _, f := range [...]struct{ path, group string }{{pathSNMP, "Tcp"}, {pathNetstat, "TcpExt"}} {
		v := parse(r, sampled(host.File, f.path), "TCP counters ("+f.path+")", func(b []byte) (map[string]uint64, error) {
			return out, parsePairs(b, f.group, out)
		})
		if _, ok := v.Get(); !ok {
			return v // absent: a kernel without IPv4; unreadable: half of the counters would pass for all
		}
	}
	return snapshot.Known(out)
}
