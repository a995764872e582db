package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// valueKind is how a value is written in text: the same 128 bits read as an address, a name or a number.
type valueKind uint8

const (
	kindNumber valueKind = iota
	kindHex              // a number that people read bit by bit
	kindIP4
	kindIP6
	kindName
)

func (f Field) kind() valueKind {
	switch f {
	case IPSaddr, IPDaddr, "ct.original.ip.saddr", "ct.original.ip.daddr", "ct.reply.ip.saddr", "ct.reply.ip.daddr", "arp.saddr.ip", "arp.daddr.ip", "rt.ip.nexthop":
		return kindIP4
	case IP6Saddr, IP6Daddr, "ct.original.ip6.saddr", "ct.original.ip6.daddr", "ct.reply.ip6.saddr", "ct.reply.ip6.daddr", "rt.ip6.nexthop":
		return kindIP6
	case IIFName, OIFName, IIFKind, OIFKind, "meta.ibrname", "meta.obrname", "meta.sdifname", "ct.helper":
		return kindName
	case Mark, "ct.mark":
		return kindHex
	}
	if strings.HasPrefix(string(f), "fib.") && strings.HasSuffix(string(f), ".oifname") {
		return kindName
	}
	return kindNumber
}

// maskKind is how masks are written: like the field when it is an address, in hexadecimal when it is a number.
func (f Field) maskKind() valueKind {
	if k := f.kind(); k == kindIP4 || k == kindIP6 {
		return k
	}
	return kindHex
}

// typeKind is how values of nft's named data types are written.
func typeKind(name string) valueKind {
	switch name {
	case "ipv4_addr":
		return kindIP4
	case "ipv6_addr":
		return kindIP6
	case "ifname":
		return kindName
	case "mark":
		return kindHex
	}
	return kindNumber
}

var ones = Value{^uint64(0), ^uint64(0)}

// appendValue writes v so that parseValue with the same kind reads it back.
func appendValue(b []byte, k valueKind, v Value) []byte {
	switch {
	case k == kindIP6:
		return v.IP6().AppendTo(b)
	case k == kindIP4 && v.Hi == 0 && v.Lo>>32 == 0:
		return v.IP4().AppendTo(b)
	case k == kindName && plainName(v):
		return append(b, v.Ifname()...)
	case k == kindName:
		return fmt.Appendf(b, "0x%016x%016x", v.Hi, v.Lo)
	case v.Hi != 0:
		return fmt.Appendf(b, "0x%x%016x", v.Hi, v.Lo)
	case k == kindHex && v.Lo > 9:
		return strconv.AppendUint(append(b, "0x"...), v.Lo, 16)
	}
	return strconv.AppendUint(b, v.Lo, 10)
}

// appendInterval writes an interval: one value, a prefix ("10.0.0.0/8", "eth*") or both ends.
func appendInterval(b []byte, k valueKind, i Interval) []byte {
	if i.From == i.To {
		return appendValue(b, k, i.From)
	}
	if n, ok := i.prefixBits(k); ok {
		return strconv.AppendInt(append(appendValue(b, k, i.From), '/'), int64(n), 10)
	}
	if k != kindName {
		return appendValue(append(appendValue(b, k, i.From), '-'), k, i.To)
	}
	if p, ok := i.namePrefix(); ok {
		return append(append(b, p...), '*')
	}
	return fmt.Appendf(b, "0x%016x%016x-0x%016x%016x", i.From.Hi, i.From.Lo, i.To.Hi, i.To.Lo)
}

// prefixBits returns the prefix length when an address interval is exactly one prefix.
func (i Interval) prefixBits(k valueKind) (int, bool) {
	width := 128
	switch {
	case k == kindIP4 && i.To.Hi == 0 && i.To.Lo>>32 == 0:
		width = 32
	case k != kindIP6:
		return 0, false
	}
	host := i.From.Xor(i.To)
	if host.And(host.Next()) != (Value{}) || host.And(i.From) != (Value{}) {
		return 0, false
	}
	n := 0
	for ; host != (Value{}); n++ {
		host = shr(host, 1)
	}
	return width - n, true
}

// namePrefix returns what all names of the interval begin with, when it is exactly the names that do.
func (i Interval) namePrefix() (string, bool) {
	from, to := i.From.bytes(), i.To.bytes()
	n := 0
	for n < 16 && from[n] == to[n] {
		n++
	}
	for j := n; j < 16; j++ {
		if from[j] != 0 || to[j] != 0xff {
			return "", false
		}
	}
	return string(from[:n]), plain(string(from[:n]))
}

// plainName reports whether the value is a name that can stand for itself: printable, NUL-padded, and not to be taken for
// a pattern or a hexadecimal fallback.
func plainName(v Value) bool {
	s := v.Ifname()
	return Name(s) == v && plain(s)
}

func plain(s string) bool {
	for j := range len(s) {
		if s[j] <= ' ' || s[j] >= 0x7f || s[j] == '*' {
			return false
		}
	}
	return !strings.HasPrefix(s, "0x")
}

// parseInterval reads what appendInterval wrote. It returns an error for anything else, and for an end before its start.
func parseInterval(k valueKind, s string) (Interval, error) {
	if k == kindName {
		return parseNames(s)
	}
	if addr, bits, ok := strings.Cut(s, "/"); ok {
		return parsePrefix(k, addr, bits)
	}
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		v, err := parseValue(k, s)
		return Exactly(v), err
	}
	a, err := parseValue(k, from)
	if err != nil {
		return Interval{}, err
	}
	b, err := parseValue(k, to)
	if err == nil && a.Cmp(b) > 0 {
		err = fmt.Errorf("interval %q: ends before it starts", s)
	}
	return Interval{a, b}, err
}

func parsePrefix(k valueKind, addr, bits string) (Interval, error) {
	a, err := netip.ParseAddr(addr)
	n, aerr := strconv.Atoi(bits)
	if err != nil || aerr != nil || a.Zone() != "" || a.Is4() != (k == kindIP4) || k != kindIP4 && k != kindIP6 {
		return Interval{}, fmt.Errorf("prefix %q: not an address and a length", addr+"/"+bits)
	}
	p := netip.PrefixFrom(a, n)
	if !p.IsValid() || p.Masked().Addr() != a {
		return Interval{}, fmt.Errorf("prefix %q: bad length or host bits set", addr+"/"+bits)
	}
	return Prefix(p), nil
}

func parseNames(s string) (Interval, error) {
	if strings.HasPrefix(s, "0x") {
		from, to, ok := strings.Cut(s, "-")
		if !ok {
			to = from
		}
		a, err := parseHex(from)
		b, berr := parseHex(to)
		if err = errors.Join(err, berr); err == nil && a.Cmp(b) > 0 {
			err = fmt.Errorf("interval %q: ends before it starts", s)
		}
		return Interval{a, b}, err
	}
	if n := len(strings.TrimSuffix(s, "*")); n > 16 || !plain(strings.TrimSuffix(s, "*")) {
		return Interval{}, fmt.Errorf("name %q: too long or not printable", s)
	}
	if !strings.HasSuffix(s, "*") {
		return Exactly(Name(s)), nil
	}
	return Names(s), nil
}

func parseValue(k valueKind, s string) (Value, error) {
	switch {
	case k == kindName:
		i, err := parseNames(s)
		if err == nil && i.From != i.To {
			err = fmt.Errorf("name %q: a pattern where one value is needed", s)
		}
		return i.From, err
	case k == kindIP6 || k == kindIP4 && strings.Contains(s, "."):
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.Is4() != (k == kindIP4) {
			return Value{}, fmt.Errorf("address %q: not of the family", s)
		}
		return Addr(a), nil
	case strings.HasPrefix(s, "0x"):
		return parseHex(s)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return Value{}, fmt.Errorf("number %q: not a number of 64 bits", s)
	}
	return Num(n), nil
}

func parseHex(s string) (Value, error) {
	d := strings.TrimPrefix(s, "0x")
	if d == s || d == "" || len(d) > 32 {
		return Value{}, fmt.Errorf("number %q: not a hexadecimal number of 128 bits", s)
	}
	cut := max(len(d)-16, 0)
	lo, err := strconv.ParseUint(d[cut:], 16, 64)
	var hi uint64
	if cut > 0 && err == nil {
		hi, err = strconv.ParseUint(d[:cut], 16, 64)
	}
	if err != nil {
		return Value{}, fmt.Errorf("number %q: not a hexadecimal number of 128 bits", s)
	}
	return Value{hi, lo}, nil
}
