package xtables

import (
	"net/netip"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// number reads a decimal or 0x number of at most bits bits.
func number(s string, bits int) (uint64, bool) {
	base := uint64(10)
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		base, s = 16, s[2:]
	}
	if s == "" || len(s) > 20 {
		return 0, false
	}
	limit, n := ^uint64(0)>>(64-bits), uint64(0)
	for i := range len(s) {
		d := digit(s[i])
		if d >= base || n > (limit-d)/base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}

func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return uint64(c-'A') + 10
	}
	return 255
}

// span reads "a", "a:b", ":b", "a:" of numbers of at most bits bits.
func span(s string, bits int) (from, to uint64, ok bool) {
	a, b, two := strings.Cut(s, ":")
	if !two {
		from, ok = number(s, bits)
		return from, from, ok
	}
	to, ok = ^uint64(0)>>(64-bits), true
	if a != "" {
		from, ok = number(a, bits)
	}
	if b != "" && ok {
		to, ok = number(b, bits)
	}
	return from, to, ok && from <= to
}

// valueMask reads "value" or "value/mask", 32 bits each; the mask is all ones when there is none.
func valueMask(s string) (value, mask uint64, ok bool) {
	v, m, two := strings.Cut(s, "/")
	value, ok = number(v, 32)
	mask = 0xffffffff
	if two && ok {
		mask, ok = number(m, 32)
	}
	return value, mask, ok
}

// addr reads an address of the parser's family.
func (p *parser) addr(s string) (netfilter.Value, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is4() == p.v6 || a.Zone() != "" {
		return netfilter.Value{}, false
	}
	return netfilter.Addr(a), true
}

// ones is the value of all bits of an address.
func (p *parser) ones() netfilter.Value {
	if p.v6 {
		return netfilter.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	}
	return netfilter.Num(0xffffffff)
}

// mask reads what stands behind the slash of an address: a prefix length or a mask.
func (p *parser) mask(s string) (netfilter.Value, bool) {
	bits := uint64(32)
	if p.v6 {
		bits = 128
	}
	n, ok := number(s, 8)
	if !ok {
		return p.addr(s)
	}
	if n > bits {
		return netfilter.Value{}, false
	}
	return p.ones().And(hostBits(bits - n).Not()), true
}

// hostBits returns a value of n low ones.
func hostBits(n uint64) netfilter.Value {
	if n >= 64 {
		return netfilter.Value{Hi: 1<<(n-64) - 1, Lo: ^uint64(0)}
	}
	return netfilter.Value{Lo: 1<<n - 1}
}
