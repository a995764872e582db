package facts

import "github.com/ctaudit/ctaudit/internal/snapshot"

func conntrackFacts(doc *snapshot.Document) Conntrack {
	ct := doc.Conntrack
	return Conntrack{
		Count: countFact(ct.Count), Max: countFact(ct.Max), Buckets: countFact(ct.Buckets),
		Sampled: ct.Second != nil, IntervalSeconds: ct.Interval, Deltas: deltas(ct),
	}
}

// countFact clamps a count that no table can hold; JSON has no 64-bit unsigned numbers that Rego would keep.
func countFact(v snapshot.Value[uint64]) Fact[int] {
	f := fact(v)
	return Fact[int]{Known: f.Known, Absent: f.Absent, Value: clamp(f.Value), Why: f.Why, Hint: f.Hint}
}

// clamp keeps a number where every JSON reader has it exactly.
func clamp(v uint64) int { return int(min(v, 1<<53)) }

// deltas are what the counters rose by between two readings, or their values since the namespace was made when there is
// one reading. A counter that one of the readings lacks is not in the map.
func deltas(ct snapshot.Conntrack) Fact[map[string]int] {
	stats, ok := ct.First.Stats.Get()
	if !ok && !ct.First.Stats.IsAbsent() {
		why, hint := ct.First.Stats.Why()
		return unknown[map[string]int](why, hint)
	}
	tcp, _ := ct.First.TCP.Get()
	out := map[string]int{}
	if ct.Second == nil {
		merge(out, stats, func(_ string, v uint64) (uint64, bool) { return v, true })
		merge(out, tcp, func(_ string, v uint64) (uint64, bool) { return v, true })
		return known(out)
	}
	later, ok := ct.Second.Stats.Get()
	if !ok && !ct.Second.Stats.IsAbsent() {
		why, hint := ct.Second.Stats.Why()
		return unknown[map[string]int]("second reading: "+why, hint)
	}
	laterTCP, _ := ct.Second.TCP.Get()
	merge(out, later, func(k string, v uint64) (uint64, bool) { old, ok := stats[k]; return rise32(old, v), ok })
	merge(out, laterTCP, func(k string, v uint64) (uint64, bool) { old, ok := tcp[k]; return rise(old, v), ok })
	return known(out)
}

// rise32 is what a sum of 32-bit counters rose by (struct ip_conntrack_stat, one a CPU): each wraps. Half the range or
// more in seconds is no rise but a counter that began anew, when conntrack was loaded again.
func rise32(old, now uint64) uint64 {
	d := uint32(now) - uint32(old)
	if now < old && d >= 1<<31 {
		return now
	}
	if now >= old {
		return now - old
	}
	return uint64(d)
}

// rise is the same for unsigned long, which wraps at 32 bits on 32-bit machines (include/net/snmp.h).
func rise(old, now uint64) uint64 {
	switch {
	case now >= old:
		return now - old
	case old < 1<<32:
		return rise32(old, now)
	}
	return now
}

func merge(out map[string]int, in map[string]uint64, value func(string, uint64) (uint64, bool)) {
	for k, v := range in {
		if rise, ok := value(k, v); ok {
			out[k] = clamp(rise)
		}
	}
}
