package packetpath

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// atom is one compiled condition of a rule.
type atom struct {
	kind   atomKind
	field  netfilter.Field
	dim    dim
	set    ivset // atomDim: the values that match, inversion included. atomValue: the interval list, mask and inversion apart
	flags  flagSet
	mask   netfilter.Value
	xor    netfilter.Value
	invert bool
	text   string           // see label
	from   *netfilter.Match // what the text is made of when somebody asks
	state  netfilter.XtState
	tuples *tuples
	fib    *[2]ivset // atomFIB: by family (0 IP, 1 IP6), the addresses that match
	sure   certainty
}

type atomKind uint8

const (
	atomValue  atomKind = iota // a field that is one value, or a known range, for the whole class: compared as it stands
	atomDim                    // a dimension
	atomFlags                  // TCP flags
	atomFIB                    // an address dimension, by address type
	atomXt                     // xtables conntrack match
	atomBreak                  // never matches, inverted or not, unless there is an entry: text
	atomInvert                 // without an entry the inversion is the answer: text
	atomNever                  // never matches
	atomGuess                  // undecided predicate: text, sure
	atomTuples                 // concatenation looked up in a set
	atomSocket                 // needs the packet's local socket: only a packet of the node itself has one
	atomBridge                 // physdev: undecided on a bridge with br_netfilter, else decided by invert
)

// dimOf maps a field to its dimension. Address fields of the other family are sorted out before.
func dimOf(f netfilter.Field) (dim, bool) {
	switch f {
	case netfilter.IPSaddr, netfilter.IP6Saddr:
		return dSaddr, true
	case netfilter.IPDaddr, netfilter.IP6Daddr:
		return dDaddr, true
	case netfilter.Sport:
		return dSport, true
	case netfilter.Dport:
		return dDport, true
	case netfilter.TTL:
		return dTTL, true
	case netfilter.Length:
		return dLength, true
	case netfilter.TOS, netfilter.DSCP:
		return dTOS, true
	case netfilter.FragOff:
		return dFrag, true
	case netfilter.TCPSeq:
		return dSeq, true
	case netfilter.TCPAck:
		return dAck, true
	case netfilter.TCPWin:
		return dWin, true
	}
	return 0, false
}

// familyOf returns the one packet family that has the field, or "".
func familyOf(f netfilter.Field) netfilter.Family {
	switch f {
	case netfilter.IPSaddr, netfilter.IPDaddr, netfilter.FragOff:
		return netfilter.IP
	case netfilter.IP6Saddr, netfilter.IP6Daddr:
		return netfilter.IP6
	}
	return ""
}

// label is the condition in words, canonical: undecided predicates are told apart by it.
func (a *atom) label() string {
	if a.text == "" && a.from != nil {
		a.text = clip(matchText(a.from))
	}
	return a.text
}

// operandText is an operand in words, canonical enough to tell predicates apart.
func operandText(o netfilter.Operand) string {
	s := string(o.Field)
	if o.Mask != nil {
		s += fmt.Sprintf(" & %#x", *o.Mask)
	}
	if o.Xor != nil && *o.Xor != (netfilter.Value{}) {
		s += fmt.Sprintf(" ^ %#x", *o.Xor)
	}
	return s
}

func matchText(m *netfilter.Match) string {
	parts := make([]string, len(m.Fields))
	for i := range m.Fields {
		parts[i] = operandText(m.Fields[i])
	}
	s := strings.Join(parts, " . ")
	if m.Set != "" {
		return s + " @" + m.Set
	}
	for i, in := range m.In {
		if i == 8 {
			return fmt.Sprintf("%s ... %d values", s, len(m.In))
		}
		s += fmt.Sprintf(" %x-%x", in.From, in.To)
	}
	return s
}

// preimage returns the values x of the field for which (x & mask) ^ xor lies in the set. ok is false where that would be
// too many intervals.
func preimage(o netfilter.Operand, in ivset) (ivset, bool) {
	bits := o.Field.Bits()
	full := width(bits)
	mask, xor := full, netfilter.Value{}
	if o.Mask != nil {
		mask = o.Mask.And(full)
	}
	if o.Xor != nil {
		xor = o.Xor.And(full)
	}
	if xor != (netfilter.Value{}) {
		in2, ok := xorSet(in, xor)
		if !ok {
			return nil, false
		}
		in = in2
	}
	in = intersect(in, ivset{{To: full}})
	host := full.And(mask.Not())
	switch {
	case host == (netfilter.Value{}):
		return in, true
	case host.And(host.Next()) == (netfilter.Value{}):
		return prefixPreimage(in, host), true
	case bits <= 16:
		return enumerate(in, mask, full), true
	}
	return scatter(in, mask, full)
}

// xorSet applies a bitwise xor to a set of single values.
func xorSet(in ivset, xor netfilter.Value) (ivset, bool) {
	var out []netfilter.Interval
	for _, i := range in {
		for v := i.From; ; v = v.Next() {
			if len(out) > 1<<16 {
				return nil, false
			}
			out = append(out, netfilter.Exactly(v.Xor(xor)))
			if v == i.To {
				break
			}
		}
	}
	return newSet(out), true
}

// prefixPreimage: the mask keeps the high bits; host are the bits it clears.
func prefixPreimage(in ivset, host netfilter.Value) ivset {
	var out []netfilter.Interval
	for _, i := range in {
		from := i.From
		if from.And(host) != (netfilter.Value{}) { // the next value with the host bits clear
			from = from.Or(host).Next()
			if from == (netfilter.Value{}) {
				continue
			}
		}
		to := i.To.And(host.Not())
		if from.Cmp(to) <= 0 {
			out = append(out, netfilter.Interval{From: from, To: to.Or(host)})
		}
	}
	return newSet(out)
}

func enumerate(in ivset, mask, full netfilter.Value) ivset {
	var out []netfilter.Interval
	for v := uint64(0); v <= full.Lo; v++ {
		if in.contains(netfilter.Num(v & mask.Lo)) {
			if n := len(out); n > 0 && out[n-1].To.Lo+1 == v {
				out[n-1].To.Lo = v
				continue
			}
			out = append(out, netfilter.Nums(v, v))
		}
	}
	return out
}

// scatter: the bits under the mask are free; those below its lowest bit make intervals, the others are enumerated.
func scatter(in ivset, mask, full netfilter.Value) (ivset, bool) {
	free := full.And(mask.Not())
	low := netfilter.Value{} // the free bits below the lowest mask bit
	for b := netfilter.Num(1); free.And(b) != (netfilter.Value{}) && low.Or(b).And(mask) == (netfilter.Value{}); {
		low = low.Or(b)
		b = netfilter.Value{Hi: b.Hi<<1 | b.Lo>>63, Lo: b.Lo << 1}
	}
	high := free.And(low.Not())
	var out []netfilter.Interval
	for _, i := range in {
		if i.From != i.To {
			return nil, false
		}
		if i.From.And(mask.Not()) != (netfilter.Value{}) {
			continue
		}
		for sub := (netfilter.Value{}); ; {
			base := i.From.Or(sub)
			out = append(out, netfilter.Interval{From: base, To: base.Or(low)})
			if len(out) > 4096 {
				return nil, false
			}
			sub = subWithBorrow(sub, high).And(high) // the next subset of high
			if sub == (netfilter.Value{}) {
				break
			}
		}
	}
	return newSet(out), true
}

// subWithBorrow returns a - b over 128 bits.
func subWithBorrow(a, b netfilter.Value) netfilter.Value {
	borrow := uint64(0)
	if a.Lo < b.Lo {
		borrow = 1
	}
	return netfilter.Value{Hi: a.Hi - b.Hi - borrow, Lo: a.Lo - b.Lo}
}
