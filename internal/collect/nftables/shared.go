package nftables

import nf "github.com/ctaudit/ctaudit/internal/netfilter"

// shared is what the rules of one ruleset have in common: a hundred thousand rules are built from few operations, so
// equal ones are one value, and small pieces are cut from large blocks.
type shared struct {
	headers   *layouts
	matches   map[string]decoder
	targets   map[string]decoder
	bits      []bitField
	fields    map[nf.Field][]nf.Operand
	ops       map[opKey]nf.Op
	verdicts  map[nf.Verdict]nf.Op
	stmts     map[nf.Stmt]nf.Op
	intervals []nf.Interval
	rules     []nf.Rule
	counters  []nf.Counters
	opBlock   []nf.Op
	names     map[string]string
	loads     map[keyField]*load
	payloads  map[payloadKey]*load
	verdictOf map[nf.Verdict]*nf.Verdict
}

type opKey struct {
	field  nf.Field
	value  nf.Value
	invert bool
}

const block = 1024

// room is how many are made at once, of which so many were made before: a small ruleset is no reason for large blocks.
func room(before, need int) int { return max(need, min(max(2*before, 16), block)) }

func newShared() *shared {
	return &shared{
		headers: headerLayouts(), matches: xtMatches(), targets: xtTargets(), bits: bitFields(), fields: map[nf.Field][]nf.Operand{}, ops: map[opKey]nf.Op{},
		verdicts: map[nf.Verdict]nf.Op{}, stmts: map[nf.Stmt]nf.Op{}, names: map[string]string{}, loads: map[keyField]*load{}, payloads: map[payloadKey]*load{}, verdictOf: map[nf.Verdict]*nf.Verdict{},
	}
}

func (s *shared) interval(in nf.Interval) []nf.Interval {
	if len(s.intervals) == cap(s.intervals) {
		s.intervals = make([]nf.Interval, 0, room(cap(s.intervals), 1))
	}
	s.intervals = append(s.intervals, in)
	n := len(s.intervals)
	return s.intervals[n-1 : n : n]
}

func (s *shared) rule() *nf.Rule {
	if len(s.rules) == cap(s.rules) {
		s.rules = make([]nf.Rule, 0, min(room(cap(s.rules), 1), block/4))
	}
	s.rules = append(s.rules, nf.Rule{})
	return &s.rules[len(s.rules)-1]
}

func (s *shared) counter(packets, bytes uint64) *nf.Counters {
	if len(s.counters) == cap(s.counters) {
		s.counters = make([]nf.Counters, 0, room(cap(s.counters), 1))
	}
	s.counters = append(s.counters, nf.Counters{Packets: packets, Bytes: bytes})
	return &s.counters[len(s.counters)-1]
}

// keep copies a rule's operations into the current block.
func (s *shared) keep(items []item) nf.Ops {
	if len(items) == 0 {
		return nil
	}
	if len(s.opBlock)+len(items) > cap(s.opBlock) {
		s.opBlock = make([]nf.Op, 0, room(cap(s.opBlock), len(items)))
	}
	start := len(s.opBlock)
	for _, it := range items {
		s.opBlock = append(s.opBlock, it.op)
	}
	return nf.Ops(s.opBlock[start:len(s.opBlock):len(s.opBlock)])
}

func (s *shared) verdict(v nf.Verdict) nf.Op {
	op, ok := s.verdicts[v]
	if !ok {
		op = v
		if len(s.verdicts) < block { // kube-proxy's forty thousand chains are jumped to once
			s.verdicts[v] = op
		}
	}
	return op
}

func (s *shared) stmt(v nf.Stmt) nf.Op {
	op, ok := s.stmts[v]
	if !ok {
		op = v
		s.stmts[v] = op
	}
	return op
}

// text returns a valid string of the bytes, the same one for the same bytes. Names come from whoever may write rules:
// bytes that are no UTF-8 become U+FFFD, as they would in JSON.
func (s *shared) text(b []byte) string {
	b = trimNUL(b)
	if t, ok := s.names[string(b)]; ok {
		return t
	}
	t := valid(b)
	if len(s.names) < 1<<16 {
		s.names[string(b)] = t
	}
	return t
}

// load returns the load of a whole field; loads are never changed, so equal ones are one.
func (s *shared) load(k keyField) *load {
	l, ok := s.loads[k]
	if !ok {
		l = field(k)
		s.loads[k] = l
	}
	return l
}

// intervalRun returns room for n intervals.
func (s *shared) intervalRun(n int) []nf.Interval {
	if len(s.intervals)+n > cap(s.intervals) {
		s.intervals = make([]nf.Interval, 0, room(cap(s.intervals), n))
	}
	start := len(s.intervals)
	s.intervals = s.intervals[:start+n]
	return s.intervals[start : start+n : start+n]
}

// verdictPtr returns a pointer to the one copy of a verdict.
func (s *shared) verdictPtr(v nf.Verdict) *nf.Verdict {
	p, ok := s.verdictOf[v]
	if !ok {
		p = &v
		s.verdictOf[v] = p
	}
	return p
}

// payloadKey is a payload load and what the rule knows about the packet.
type payloadKey struct {
	base   uint32
	off, n int
	knowledge
}

func (s *shared) payload(k payloadKey) *load {
	l, ok := s.payloads[k]
	if ok {
		return l
	}
	l = &load{slices: payloadSlices(s.headers.header(k.base, &k.knowledge), k.off, k.n), size: k.n}
	if l.slices == nil {
		l.slices = []slice{{field: rawPayload(k.base, k.off, k.n), len: k.n, size: k.n}}
	}
	if len(s.payloads) < block { // real rulesets have dozens
		s.payloads[k] = l
	}
	return l
}
