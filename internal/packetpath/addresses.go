package packetpath

import (
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// fib compiles an address type match: by family, the addresses whose type matches. Types that need the routing table
// (blackhole, unreachable, prohibit) are none of a packet that arrived and can be answered.
func (c *compiler) fib(o netfilter.Operand, in ivset, invert bool) atom {
	d := dDaddr
	if o.Field == netfilter.FIBSaddrType {
		d = dSaddr
	}
	a := atom{kind: atomFIB, dim: d, fib: &[2]ivset{}}
	for f, types := range c.e.addressTypes() {
		kinds := uint64(0) // all rules that mean the same types share one set
		for _, t := range types {
			if in.contains(apply(o, netfilter.Num(t.kind))) != invert {
				kinds |= 1 << t.kind
			}
		}
		a.fib[f] = c.e.ofTypes(f, kinds)
	}
	return a
}

// ofTypes are the addresses of the types whose bit is set.
func (e *Evaluator) ofTypes(f int, kinds uint64) ivset {
	key := typesKey{f, kinds}
	out, ok := e.known.types[key]
	if ok {
		return out
	}
	var list []netfilter.Interval
	for _, t := range e.addressTypes()[f] {
		if kinds>>t.kind&1 != 0 {
			list = append(list, t.set...)
		}
	}
	out = newSet(list)
	e.known.types[key] = out
	return out
}

// addressType is the addresses of one routing type (RTN_*).
type addressType struct {
	kind uint64
	set  ivset
}

// addressTypes partitions both families' addresses by type: 0 IP, 1 IP6.
func (e *Evaluator) addressTypes() [2][]addressType {
	if e.types != nil {
		return *e.types
	}
	var out [2][]addressType
	for f, bits := range []int{32, 128} {
		rest := ivset{{To: width(bits)}}
		take := func(kind uint64, s ivset) {
			s = intersect(s, rest)
			rest = subtract(rest, s)
			out[f] = append(out[f], addressType{kind, s})
		}
		take(2, e.local(f))
		take(3, e.broadcast(f))
		take(5, multicast[f])
		take(1, rest)
	}
	e.types = &out
	return out
}

func (e *Evaluator) local(f int) ivset {
	if e.known.local[f] == nil {
		e.known.local[f] = e.allLocal(f)
	}
	return e.known.local[f]
}

func (e *Evaluator) allLocal(f int) ivset {
	list := slices.Clone(loopback[f])
	addrs := slices.Clone(e.node.Local)
	for i := range e.node.Interfaces {
		addrs = append(addrs, e.node.Interfaces[i].Addrs...)
	}
	for _, a := range addrs {
		if a.Unmap().Is4() == (f == 0) {
			list = append(list, netfilter.Exactly(netfilter.Addr(a.Unmap())))
		}
	}
	return newSet(list)
}

func (e *Evaluator) broadcast(f int) ivset {
	if f == 1 {
		return nil
	}
	list := []netfilter.Interval{netfilter.Nums(0xffffffff, 0xffffffff), netfilter.Nums(0, 0)}
	for _, a := range e.node.Broadcast {
		if a.Unmap().Is4() {
			list = append(list, netfilter.Exactly(netfilter.Addr(a.Unmap())))
		}
	}
	return newSet(list)
}

var loopback = [2]ivset{nums(0x7f000000, 0x7fffffff), {netfilter.Exactly(netfilter.Num(1))}}

var multicast = [2]ivset{nums(0xe0000000, 0xefffffff), {{From: netfilter.Value{Hi: 0xff << 56}, To: maxValue}}}
