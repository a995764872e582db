package packetpath

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// setup is a query made ready: the class it begins with, and the hooks on the way.
type setup struct {
	query        Query
	family       netfilter.Family
	state        ctState
	forwarded    bool
	start        *class
	stages       []stage // the packet's
	answerStages []stage // of the RST that the receiver answers with
	rejectStages []stage // of a RST that a REJECT rule sends
	like         point   // what a witness should look like
	tieList      []tie   // see ties
	lists        map[stage][]*baseChain
	blurred      []string // conditions that the last walk did not keep apart
	weight       int      // what it took to make it ready, in steps
	texts        map[textKey]string
}

func (e *Evaluator) setup(q Query) (*setup, error) {
	s := &setup{lists: map[stage][]*baseChain{}, query: q, family: q.Family, forwarded: q.Question == B || q.Question == Custom && q.Out != ""}
	if q.Family != netfilter.IP && q.Family != netfilter.IP6 {
		return nil, fmt.Errorf("question %s: family %q is neither ip nor ip6", q.Question, q.Family)
	}
	if q.In == "" || q.Question == B && q.Out == "" {
		return nil, fmt.Errorf("question %s: the interface is missing", q.Question)
	}
	state, err := parseState(q.State)
	if err != nil {
		return nil, err
	}
	s.state = state
	r, err := e.startRegion(s)
	if err != nil {
		return nil, fmt.Errorf("question %s: %w", q.Question, err)
	}
	s.start = &class{region: r, state: state0(q.Mark)}
	s.route(e.link(q.In), e.link(q.Out))
	return s, nil
}

func state0(mark uint32) state { return state{mark: mark, markKnown: ^uint32(0)} }

func parseState(s string) (ctState, error) {
	switch s {
	case "", "invalid":
		return ctInvalid, nil
	case "untracked":
		return ctUntracked, nil
	case "new":
		return ctNew, nil
	case "established":
		return ctEstablished, nil
	case "related":
		return ctRelated, nil
	}
	return 0, fmt.Errorf("state %q: not one of invalid, untracked, new, established, related", s)
}

// link finds an interface; one that the node's list does not have is known by name only.
func (e *Evaluator) link(name string) *Interface {
	if name == "" {
		return nil
	}
	if l := e.links()[name]; l != nil {
		return l
	}
	return &Interface{Name: name}
}

// route lists the hooks on the way.
func (s *setup) route(in, out *Interface) {
	local := []stage{
		{hook: netfilter.Output, out: in, reset: true},
		{hook: netfilter.Postrouting, out: in, reset: true},
		{hook: netfilter.Egress, out: in, reset: true},
	}
	s.stages = []stage{{hook: netfilter.Ingress, in: in}, {hook: netfilter.Prerouting, in: in}}
	s.rejectStages = local
	if !s.forwarded {
		s.stages = append(s.stages, stage{hook: netfilter.Input, in: in, decides: true})
		s.answerStages = local
		return
	}
	// Since 5.7 POSTROUTING sees the interface that a forwarded packet came in by (28f8bfd1ac94).
	s.stages = append(s.stages, stage{hook: netfilter.Forward, in: in, out: out, decides: true, routed: true},
		stage{hook: netfilter.Postrouting, in: in, out: out, routed: true}, stage{hook: netfilter.Egress, out: out, routed: true})
	s.answerStages = []stage{
		{hook: netfilter.Ingress, in: out, reset: true},
		{hook: netfilter.Prerouting, in: out, reset: true},
		{hook: netfilter.Forward, in: out, out: in, reset: true},
		{hook: netfilter.Postrouting, in: out, out: in, reset: true},
		{hook: netfilter.Egress, out: in, reset: true},
	}
}

// startRegion is all packets of the question.
func (e *Evaluator) startRegion(s *setup) (*region, error) {
	q, f := &s.query, 0
	if s.family == netfilter.IP6 {
		f = 1
	}
	r := &region{flags: queryFlags(q)}
	var err error
	if r.set[dSaddr], err = s.addresses(q.Src, f, e.sources(f)); err != nil {
		return nil, err
	}
	if r.set[dDaddr], err = s.addresses(q.Dst, f, e.destinations(q, f)); err != nil {
		return nil, err
	}
	r.set[dSport] = ports(q.Sport, nums(1, 65535))
	r.set[dDport] = ports(q.Dport, defaultDport(q))
	r.set[dTTL] = nums(1, 255)
	if s.forwarded {
		r.set[dTTL] = nums(2, 255) // a router forwards nothing else
	}
	r.set[dLength] = nums(uint64(40+20*f), 65535)
	r.set[dTOS] = nums(0, 255)
	r.set[dFrag] = ivset{netfilter.Nums(0, 0), netfilter.Nums(0x4000, 0x4000)}
	for _, d := range []dim{dSeq, dAck} {
		r.set[d] = nums(0, 1<<32-1)
	}
	r.set[dWin] = nums(0, 65535)
	for f, v := range q.Fields {
		d, ok := dimOf(f)
		if _, extra := extraFields[d]; !ok || !extra {
			return nil, fmt.Errorf("field %s cannot be given", f)
		}
		r.set[d] = nums(v, v)
	}
	s.like = likely(f)
	return r, nil
}

// likely is what a witness takes where the class leaves it free: documentation addresses, a common server port, a plain ACK.
func likely(f int) point {
	p := point{flags: ackBit}
	src := netip.MustParseAddr("203.0.113.9")
	if f == 1 {
		src = netip.MustParseAddr("2001:db8::9")
	}
	p.value[dSaddr] = netfilter.Addr(src)
	p.value[dSport] = netfilter.Num(443)
	p.value[dDport] = netfilter.Num(31000)
	p.value[dTTL] = netfilter.Num(57)
	p.value[dLength] = netfilter.Num(52 + 20*uint64(f))
	p.value[dFrag] = netfilter.Num(0x4000 * uint64(1-f))
	p.value[dSeq] = netfilter.Num(1)
	p.value[dAck] = netfilter.Num(1)
	p.value[dWin] = netfilter.Num(501)
	return p
}

// strayFlags are the segments that an established connection's peer really sends and that provoke a RST: ACK, with or
// without FIN, PSH, URG, ECE and CWR; never SYN or RST.
func strayFlags() flagSet {
	const syn = 2
	return flagsWhere(func(b uint8) bool { return b&ackBit != 0 && b&(rst|syn) == 0 })
}

func queryFlags(q *Query) flagSet {
	var f flagSet
	for _, b := range q.Flags {
		f.add(b)
	}
	switch {
	case len(q.Flags) > 0:
		return f
	case q.Question == Custom:
		f.add(ackBit)
		return f
	}
	return strayFlags()
}

func defaultDport(q *Query) ivset {
	if q.Question == Custom {
		return nums(0, 65535)
	}
	return nums(1024, 65535) // the NAT port range; masquerade keeps the client's own port where it is free
}

func ports(in []PortRange, def ivset) ivset {
	if len(in) == 0 {
		return def
	}
	list := make([]netfilter.Interval, len(in))
	for i, p := range in {
		list[i] = netfilter.Nums(uint64(p.From), uint64(p.To))
	}
	return newSet(list)
}

func (s *setup) addresses(in []netip.Prefix, f int, def ivset) (ivset, error) {
	var list []netfilter.Interval
	for _, p := range in {
		if p.Addr().Is4() == (f == 0) && p.IsValid() {
			list = append(list, netfilter.Prefix(p))
		}
	}
	if len(in) > 0 {
		def = newSet(list)
	}
	s.weight += len(in) * intervalCost
	if len(def) == 0 {
		return nil, errors.New("no address of this family")
	}
	return def, nil
}

// sources are the addresses that a packet from outside can come from: not the node's own, not loopback, multicast,
// broadcast or reserved, and of IPv6 not link-local. Private ones are in: servers live there too.
func (e *Evaluator) sources(f int) ivset {
	if e.known.sources[f] == nil {
		e.known.sources[f] = e.allSources(f)
	}
	return e.known.sources[f]
}

func (e *Evaluator) allSources(f int) ivset {
	out := []ivset{nums(1<<24, 0xdfffffff), {{From: netfilter.Num(2), To: maxValue}}}[f]
	out = subtract(out, e.local(f))
	out = subtract(out, e.broadcast(f))
	if f == 1 {
		out = subtract(out, multicast[1])
		out = subtract(out, ivset{netfilter.Prefix(netip.MustParsePrefix("fe80::/10"))})
		out = subtract(out, ivset{{From: netfilter.Value{Lo: 0xffff << 32}, To: netfilter.Value{Lo: 0xffff<<32 | 0xffffffff}}})
	}
	return out
}

// destinations are the node's own addresses on the interface for A, others' for B, any for a described packet.
func (e *Evaluator) destinations(q *Query, f int) ivset {
	if q.Question == B {
		return e.sources(f)
	}
	if len(q.Dst) > 0 {
		return nil // they are said
	}
	if q.Question != A {
		return ivset{{To: width([]int{32, 128}[f])}}
	}
	addrs := e.link(q.In).Addrs
	if len(addrs) == 0 {
		addrs = e.node.Local
	}
	var list []netfilter.Interval
	for _, a := range addrs {
		a = a.Unmap()
		if a.Is4() == (f == 0) && !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			list = append(list, netfilter.Exactly(netfilter.Addr(a.WithZone(""))))
		}
	}
	return newSet(list)
}
