package netfilter

import (
	"encoding/binary"
	"net/netip"
)

// Value is a match operand as an unsigned 128-bit number. IPv4 addresses, ports, marks and other numbers stand
// right-aligned; IPv6 addresses fill it; interface names stand left-aligned in 16 bytes, padded with NUL (IFNAMSIZ), so
// that "eth+" is the interval of all names that begin with "eth". Byte order on the wire or in a register does not matter
// here: readers normalise.
type Value struct{ Hi, Lo uint64 }

// Num returns the value of a number.
func Num(n uint64) Value { return Value{Lo: n} }

// Addr returns the value of an IPv4 or IPv6 address.
func Addr(a netip.Addr) Value {
	if a.Is4() {
		b := a.As4()
		return Num(uint64(binary.BigEndian.Uint32(b[:])))
	}
	b := a.As16()
	return Value{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// Name returns the value of an interface name, at most 16 bytes of it.
func Name(s string) Value {
	var b [16]byte
	copy(b[:], s)
	return Value{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// IP4 returns the value as an IPv4 address.
func (v Value) IP4() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(v.Lo))
	return netip.AddrFrom4(b)
}

// IP6 returns the value as an IPv6 address.
func (v Value) IP6() netip.Addr { return netip.AddrFrom16(v.bytes()) }

// Ifname returns the value as an interface name, up to its first NUL.
func (v Value) Ifname() string {
	b := v.bytes()
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b[:])
}

func (v Value) bytes() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], v.Hi)
	binary.BigEndian.PutUint64(b[8:], v.Lo)
	return b
}

// Cmp returns -1, 0 or 1 as v is below, equal to or above w.
func (v Value) Cmp(w Value) int {
	switch {
	case v.Hi < w.Hi || v.Hi == w.Hi && v.Lo < w.Lo:
		return -1
	case v == w:
		return 0
	}
	return 1
}

// And, Or, Xor and Not work bit by bit.
func (v Value) And(w Value) Value { return Value{v.Hi & w.Hi, v.Lo & w.Lo} }

// Or returns v | w.
func (v Value) Or(w Value) Value { return Value{v.Hi | w.Hi, v.Lo | w.Lo} }

// Xor returns v ^ w.
func (v Value) Xor(w Value) Value { return Value{v.Hi ^ w.Hi, v.Lo ^ w.Lo} }

// Not returns ^v.
func (v Value) Not() Value { return Value{^v.Hi, ^v.Lo} }

// Next returns v+1, which wraps at the top.
func (v Value) Next() Value {
	if v.Lo++; v.Lo == 0 {
		v.Hi++
	}
	return v
}

// Prev returns v-1, which wraps at zero.
func (v Value) Prev() Value {
	if v.Lo == 0 {
		v.Hi--
	}
	v.Lo--
	return v
}

// Interval is all values from From to To, both included.
type Interval struct{ From, To Value }

// Exactly returns the interval of one value.
func Exactly(v Value) Interval { return Interval{v, v} }

// Nums returns the interval from a to b.
func Nums(a, b uint64) Interval { return Interval{Num(a), Num(b)} }

// Prefix returns the interval of a prefix's addresses.
func Prefix(p netip.Prefix) Interval {
	p = p.Masked()
	host := Value{^uint64(0), ^uint64(0)}
	if bits := 128 - (p.Addr().BitLen() - p.Bits()); bits > 0 { // the number of leading bits that are not host bits
		host = shr(host, bits)
	}
	from := Addr(p.Addr())
	return Interval{from, from.Or(host)}
}

// Names returns the interval of interface names that a pattern matches: "eth0" exactly, "eth+" or "eth*" every name that
// begins with "eth".
func Names(pattern string) Interval {
	n := len(pattern)
	if n == 0 || pattern[n-1] != '+' && pattern[n-1] != '*' {
		return Exactly(Name(pattern))
	}
	from := Name(pattern[:n-1])
	return Interval{from, from.Or(shr(Value{^uint64(0), ^uint64(0)}, 8*min(n-1, 16)))}
}

// Contains reports whether v lies in the interval.
func (i Interval) Contains(v Value) bool { return i.From.Cmp(v) <= 0 && v.Cmp(i.To) <= 0 }

func shr(v Value, n int) Value {
	switch {
	case n >= 128:
		return Value{}
	case n >= 64:
		return Value{Lo: v.Hi >> (n - 64)}
	case n == 0:
		return v
	}
	return Value{Hi: v.Hi >> n, Lo: v.Lo>>n | v.Hi<<(64-n)}
}
