package packetpath

import (
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// view is what the rules of one base chain see: which packet, where. A class always describes the packet that was asked
// about; when the rules see the RST that it provokes, the view maps the RST's fields back to it, so that no class has to be
// rewritten and the regions of the answer are in terms of the question.
type view struct {
	family netfilter.Family
	hook   netfilter.Hook
	table  netfilter.Family // nft_pf(): netdev chains see NFPROTO_NETDEV
	reset  bool
	in     *Interface // nil: none
	out    *Interface
	remote bool // the RST comes from another host (question B)
	routed bool // the packet has been routed on: its TTL is one less
	bridge bool // In is a bridge and br_netfilter is on
	toNode bool // question A
	// tableOf is the table whose rules are run: sets are looked up in it.
	tableOf *netfilter.Table
}

// index selects the prepared form of a condition group.
func (v *view) index() int {
	i := 0
	if v.family == netfilter.IP6 {
		i = 1
	}
	switch {
	case v.reset:
		i += 2
	case v.routed:
		i += 4
	}
	return i
}

// mapped returns the dimension of the class that a dimension of the seen packet is, ok false when it is none.
func (v *view) mapped(d dim) (dim, bool) {
	if !v.reset {
		return d, true
	}
	switch d {
	case dSaddr:
		return dDaddr, true
	case dDaddr:
		return dSaddr, true
	case dSport:
		return dDport, true
	case dDport:
		return dSport, true
	}
	return 0, false
}

// resetRange is what a RST's other fields can be. Source: net/ipv4/tcp_ipv4.c, tcp_v4_send_reset(); tcp_ipv6.c.
func (v *view) resetRange(d dim) ivset {
	switch d {
	case dLength:
		if v.family == netfilter.IP6 {
			return nums(60, 60)
		}
		return nums(40, 40)
	case dTTL:
		return nums(1, 255)
	case dTOS:
		return nums(0, 255)
	case dFrag:
		return ivset{netfilter.Nums(0, 0), netfilter.Nums(0x4000, 0x4000)}
	case dWin:
		return nums(0, 0)
	}
	return nums(0, 1<<32-1)
}

// The RST answers a segment with ACK by RST, one without by RST+ACK.
const (
	rst    = 4
	ackBit = 16
)

// flagsSeen maps a set of flags of the seen packet to those of the class.
func (v *view) flagsSeen(f flagSet) flagSet {
	if !v.reset {
		return f
	}
	plain, withAck := f.has(rst), f.has(rst|ackBit)
	return flagsWhere(func(b uint8) bool {
		if b&ackBit != 0 {
			return plain
		}
		return withAck
	})
}

// prepared is a condition group for one kind of view: its box, and what is left to test.
type prepared struct {
	never  bool
	box    box
	dims   uint32 // dimensions of the seen packet in box
	tests  []*atom
	tuples []*atom
}

func (g *group) prepare(v *view) *prepared {
	if p := g.prepared[v.index()]; p != nil {
		return p
	}
	p := &prepared{}
	for i := range g.atoms {
		p.take(&g.atoms[i], v)
	}
	g.prepared[v.index()] = p
	return p
}

func (p *prepared) take(a *atom, v *view) {
	if fam := familyOf(a.field); fam != "" && fam != v.family {
		p.never = true
		return
	}
	switch a.kind {
	case atomNever:
		p.never = true
	case atomDim:
		p.dim(a, v)
	case atomFlags:
		p.dims |= writtenFlags
		p.addFlags(v.flagsSeen(a.flags))
	case atomFIB:
		d, _ := v.mapped(a.dim)
		p.dims |= 1 << a.dim
		p.addDim(d, a.fib[v.index()&1])
	case atomTuples:
		p.tuples = append(p.tuples, a)
	default:
		p.tests = append(p.tests, a)
	}
}

func (p *prepared) dim(a *atom, v *view) {
	p.dims |= 1 << a.dim
	if d, ok := v.mapped(a.dim); ok {
		if d == dTTL && v.routed {
			p.addDim(d, onceMore(a.set))
			return
		}
		p.addDim(d, a.set)
		return
	}
	switch relate(v.resetRange(a.dim), a.set) {
	case disjoint:
		p.never = true
	case overlap:
		p.tests = append(p.tests, &atom{kind: atomGuess, text: "the RST's " + a.label(), sure: pure})
	}
}

// onceMore is the TTLs of packets that have those of the set behind a router: FORWARD sees one less.
// Source: net/ipv4/ip_forward.c, ip_forward(); net/ipv6/ip6_output.c, ip6_forward().
func onceMore(set ivset) ivset {
	var out []netfilter.Interval
	for _, in := range set {
		if in.From.Lo < 255 {
			out = append(out, netfilter.Nums(in.From.Lo+1, min(in.To.Lo, 254)+1))
		}
	}
	return newSet(out)
}

func (p *prepared) addFlags(f flagSet) {
	if p.box.hasFlags {
		f = f.and(p.box.flags)
	}
	p.box.flags, p.box.hasFlags = f, true
}

func (p *prepared) addDim(d dim, s ivset) {
	for i := range p.box.atoms {
		if p.box.atoms[i].dim == d {
			s = intersect(p.box.atoms[i].set, s)
			p.box.atoms[i].set = s
			p.never = p.never || len(s) == 0
			return
		}
	}
	p.never = p.never || len(s) == 0
	p.box.atoms = append(p.box.atoms, dimAtom{d, s})
}

// answer is three-valued.
type answer uint8

const (
	no answer = iota
	yes
	unknown
)

func truth(b bool) answer {
	if b {
		return yes
	}
	return no
}

// test answers a condition that is the same for the whole class.
func (v *view) test(a *atom, c *class) answer {
	switch a.kind {
	case atomXt:
		return v.xtState(a, c)
	case atomBreak:
		if c.ct.entry() {
			return unknown
		}
		return no
	case atomInvert:
		if c.ct.entry() {
			return unknown
		}
		return truth(a.invert)
	case atomSocket:
		if !v.reset || v.remote {
			return truth(a.invert)
		}
		return unknown
	case atomBridge:
		if v.bridge {
			return unknown
		}
		return truth(a.invert) // xt_physdev.c, physdev_mt(): the inversions decide when there is no bridge
	case atomValue:
		return v.value(a, c)
	}
	return unknown
}

// xtState follows net/netfilter/xt_conntrack.c, conntrack_mt().
func (v *view) xtState(a *atom, c *class) answer {
	if a.state.HasState && (a.state.States&c.ct.bits() != 0) == a.state.Invert && !c.ct.entry() {
		return no
	}
	if !c.ct.entry() {
		return truth(a.state.HasState)
	}
	return v.xtEntry(a, c)
}

// xtEntry is the same with an entry: the other keys count, and the entry may be translated.
func (v *view) xtEntry(a *atom, c *class) answer {
	s := a.state
	if s.HasState {
		hit := s.States&c.ct.bits() != 0
		if !hit && s.States&(netfilter.StateSNAT|netfilter.StateDNAT) != 0 {
			return unknown
		}
		if hit == s.Invert {
			return no
		}
	}
	if len(s.Others) > 0 {
		return unknown
	}
	return yes
}

// value answers a comparison with a field that is one value for the whole class.
func (v *view) value(a *atom, c *class) answer {
	if a.field == netfilter.Mark {
		return markTest(a, c)
	}
	val, state := v.field(a.field, c)
	switch state {
	case fieldBreaks:
		return no
	case fieldUnknown:
		return unknown
	}
	return truth(a.set.contains(val.And(a.mask).Xor(a.xor)) != a.invert)
}

func markTest(a *atom, c *class) answer {
	if mask := uint32(a.mask.Lo); mask&^c.markKnown != 0 {
		return unknown
	}
	v := netfilter.Num(uint64(c.mark)).And(a.mask).Xor(a.xor)
	return truth(a.set.contains(v) != a.invert)
}

type fieldState uint8

const (
	fieldKnown fieldState = iota
	fieldBreaks
	fieldUnknown
)

// field returns what a match reads. Source: net/netfilter/nft_meta.c, nft_meta_get_eval().
func (v *view) field(f netfilter.Field, c *class) (netfilter.Value, fieldState) {
	switch f {
	case netfilter.IIFType:
		return v.iifType()
	case netfilter.IIFName, netfilter.IIF, netfilter.IIFGroup, netfilter.IIFKind:
		return linkField(v.in, f)
	case netfilter.OIFName, netfilter.OIF, netfilter.OIFGroup, netfilter.OIFType, netfilter.OIFKind:
		return linkField(v.out, inward(f))
	case netfilter.NFProto:
		return netfilter.Num(v.nfproto()), fieldKnown
	case netfilter.L4Proto:
		return netfilter.Num(6), fieldKnown
	case netfilter.EthProto:
		if v.family == netfilter.IP6 {
			return netfilter.Num(0x86dd), fieldKnown
		}
		return netfilter.Num(0x0800), fieldKnown
	case netfilter.PktType:
		return netfilter.Num(0), fieldKnown
	case netfilter.CTState:
		return netfilter.Num(uint64(c.ct.bits())), fieldKnown
	case netfilter.SKUID, netfilter.SKGID:
		return netfilter.Value{}, fieldBreaks // no socket, or the kernel's own without a file
	case netfilter.CGroup:
		if !v.reset || v.remote {
			return netfilter.Value{}, fieldBreaks
		}
	}
	return v.lookups(string(f))
}

// lookups are the fields that ask the routing table or the socket table.
func (v *view) lookups(f string) (netfilter.Value, fieldState) {
	switch {
	case strings.HasPrefix(f, "socket.") && (!v.reset || v.remote):
		return netfilter.Value{}, fieldBreaks // nft_socket.c: no socket for a pod's flow
	case strings.HasPrefix(f, "fib.saddr.") && strings.HasSuffix(f, ".present") && !v.reset:
		return netfilter.Num(1), fieldKnown // the packet came by the interface that leads back to its source
	case strings.HasPrefix(f, "fib.daddr.") && strings.HasSuffix(f, ".iif.type") && v.toNode && !v.reset:
		return netfilter.Num(2), fieldKnown // question A asks about addresses of that interface
	}
	return netfilter.Value{}, fieldUnknown
}

// iifType: later kernels read the type of the link that the packet buffer is on (NFT_META_IFTYPE, skb->dev; measured on
// 6.18), earlier ones that of the incoming link. They differ once ip_output() has set the outgoing link.
func (v *view) iifType() (netfilter.Value, fieldState) {
	in, inState := linkField(v.in, netfilter.IIFType)
	if v.hook != netfilter.Postrouting && v.hook != netfilter.Egress {
		return in, inState
	}
	if out, outState := linkField(v.out, netfilter.IIFType); out != in || outState != inState {
		return netfilter.Value{}, fieldUnknown
	}
	return in, inState
}

func (v *view) nfproto() uint64 {
	switch {
	case v.table == netfilter.Netdev:
		return 5
	case v.family == netfilter.IP6:
		return 10
	}
	return 2
}

func inward(f netfilter.Field) netfilter.Field {
	switch f {
	case netfilter.OIFName:
		return netfilter.IIFName
	case netfilter.OIF:
		return netfilter.IIF
	case netfilter.OIFGroup:
		return netfilter.IIFGroup
	case netfilter.OIFType:
		return netfilter.IIFType
	}
	return netfilter.IIFKind
}

// linkField reads a field of a link. Without a link the name is empty and the index 0; the others end the rule.
func linkField(i *Interface, f netfilter.Field) (netfilter.Value, fieldState) {
	if i == nil {
		if f == netfilter.IIFName || f == netfilter.IIF {
			return netfilter.Value{}, fieldKnown
		}
		return netfilter.Value{}, fieldBreaks
	}
	if f == netfilter.IIFName {
		return netfilter.Name(i.Name), fieldKnown
	}
	if i.Index == 0 { // a link that the node's list does not have
		return netfilter.Value{}, fieldUnknown
	}
	switch f {
	case netfilter.IIF:
		return netfilter.Num(uint64(i.Index)), fieldKnown
	case netfilter.IIFGroup:
		return netfilter.Num(uint64(i.Group)), fieldKnown
	case netfilter.IIFType:
		return netfilter.Num(uint64(i.Type)), fieldKnown
	}
	if i.Kind == "" {
		return netfilter.Value{}, fieldBreaks
	}
	return netfilter.Name(i.Kind), fieldKnown
}
