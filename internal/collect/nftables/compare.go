package nftables

import (
	"encoding/hex"
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// Comparison operators: enum nft_cmp_ops, include/uapi/linux/netfilter/nf_tables.h, Linux 6.18.
const (
	cmpEQ = iota
	cmpNEQ
	cmpLT
	cmpLTE
	cmpGT
	cmpGTE
)

// item is an operation with what only its text needs: the name that the field had in the rule, and iptables' words for
// it where the expression has its own.
type item struct {
	op     nf.Op
	spell  nf.Field
	xt     string
	compat compat
}

// compat is an xtables extension. Nearly all of them end in iptables' own words, so the operation is made only when it is
// needed.
type compat struct {
	kind    string // match or target; empty: the item is none
	name    string
	options string
}

func (c compat) text() string {
	flag := "-m "
	if c.kind == "target" {
		flag = "-j "
	}
	return strings.TrimSuffix(flag+c.name+" "+c.options, " ")
}

func (c compat) ext() nf.Ext { return nf.Ext{Name: "xt " + c.kind + " " + c.name, Args: c.options} }

// compare turns a cmp expression into matches. It compares bytes as memcmp does (nft_cmp_eval), so that an order in host
// byte order means nothing a person wrote, and stays opaque.
func (w *walker) compare(l *load, op uint32, data []byte) {
	switch {
	case !l.simple() || op > cmpGTE || len(data) == 0 || len(data) > l.size,
		len(l.slices) > 1 && op != cmpEQ,
		op > cmpNEQ && l.order != networkOrder && len(data) > 1,
		len(data) < l.size && l.order != leftAligned && (l.mask != nil || l.order == hostEndian):
		w.opaqueMatch(l, op == cmpNEQ, [...]string{"==", "==", "<", "<=", ">", ">="}[min(op, cmpGTE)]+" 0x"+hex.EncodeToString(data))
		return
	}
	for _, s := range l.slices {
		if s.at >= len(data) {
			break
		}
		if s.at+s.len > len(data) {
			s.len = len(data) - s.at // the comparison is shorter than the load: a prefix
		}
		w.compareSlice(l, s, op, data[s.at:s.at+s.len])
	}
}

func (w *walker) compareSlice(l *load, s slice, op uint32, data []byte) {
	if l.order == leftAligned {
		w.match(nf.Operand{Field: s.field}, s.spell, nameInterval(data, l.size), op == cmpNEQ)
		return
	}
	o, shift := l.operand(s)
	v := shl(number(data, l.order), shift)
	if op <= cmpNEQ {
		w.equal(o, s, v, op == cmpNEQ)
		return
	}
	top := shl(nf.Num(1), 8*s.size).Prev()
	if s.size >= 16 {
		top = nf.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	}
	in := nf.Interval{To: top}
	switch op {
	case cmpLT, cmpGTE:
		if v == (nf.Value{}) { // below zero is nothing, at least zero is all
			w.match(o, s.spell, nf.Interval{To: top}, op == cmpLT)
			return
		}
		in.To = v.Prev()
	case cmpLTE, cmpGT:
		in.To = v.Or(shl(nf.Num(1), shift).Prev())
	}
	w.bounded(o, s, in, op)
}

// bounded writes "at most" and "at least" as intervals that a person would write.
func (w *walker) bounded(o nf.Operand, s slice, below nf.Interval, op uint32) {
	if op == cmpLT || op == cmpLTE {
		w.narrow(o, s.spell, below)
		return
	}
	top := nf.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	if s.size < 16 {
		top = shl(nf.Num(1), 8*s.size).Prev()
	}
	if below.To == top { // above the highest value is nothing
		w.match(o, s.spell, nf.Interval{To: top}, true)
		return
	}
	w.narrow(o, s.spell, nf.Interval{From: below.To.Next(), To: top})
}

// narrow appends a bound; nft writes a range as two of them, one behind the other, which are one interval again.
func (w *walker) narrow(o nf.Operand, spell nf.Field, in nf.Interval) {
	if n := len(w.items) - 1; n >= 0 && o.Mask == nil {
		m, ok := w.items[n].op.(nf.Match)
		if ok && !m.Invert && len(m.In) == 1 && len(m.Fields) == 1 && m.Fields[0] == o {
			both := meet(m.In[0], in)
			if both.From.Cmp(both.To) <= 0 {
				w.items, in = w.items[:n], both
			}
		}
	}
	w.match(o, spell, in, false)
}

func meet(a, b nf.Interval) nf.Interval {
	if a.From.Cmp(b.From) < 0 {
		a.From = b.From
	}
	if a.To.Cmp(b.To) > 0 {
		a.To = b.To
	}
	return a
}

// equal writes (field & mask) ^ xor == v. A mask of leading bits is an interval; a mask of a named part is that part.
func (w *walker) equal(o nf.Operand, s slice, v nf.Value, invert bool) {
	if o.Xor != nil {
		v, o.Xor = v.Xor(*o.Xor), nil
	}
	if o.Mask == nil {
		w.match(o, s.spell, nf.Exactly(v), invert)
		return
	}
	for _, b := range w.shared.bits {
		if b.of == o.Field && *o.Mask == nf.Num(b.mask) && v.And(o.Mask.Not()) == (nf.Value{}) {
			w.match(nf.Operand{Field: b.field}, spellBits(b, s), nf.Exactly(nf.Num(v.Lo>>b.shift)), invert)
			return
		}
	}
	full := nf.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	if s.size < 16 {
		full = shl(nf.Num(1), 8*s.size).Prev()
	}
	host := o.Mask.Xor(full)
	leading := host.And(host.Next()) == (nf.Value{}) && host != full
	if leading && v.And(host) == (nf.Value{}) && s.size > 1 && o.Field != nf.CTState && o.Field != nf.Mark {
		w.match(nf.Operand{Field: o.Field}, s.spell, nf.Interval{From: v, To: v.Or(host)}, invert)
		return
	}
	w.match(o, s.spell, nf.Exactly(v), invert)
}

func spellBits(b bitField, s slice) nf.Field {
	if b.field == nf.DSCP && s.field != nf.TOS {
		return "ip6.dscp"
	}
	return ""
}

// nameInterval is what comparing fewer bytes than a name has means: all names that begin so, unless the end of the name
// was compared too.
func nameInterval(data []byte, size int) nf.Interval {
	text := trimNUL(data)
	if len(text) < len(data) || len(data) >= size {
		return nf.Exactly(number(text, leftAligned))
	}
	return nf.Names(string(text) + "*")
}

// inRange turns a range expression into a match; like compare it is a memcmp.
func (w *walker) inRange(l *load, invert bool, from, to []byte) {
	if !l.simple() || len(l.slices) != 1 || len(from) != l.size || len(to) != l.size || l.order == hostEndian && l.size > 1 {
		w.opaqueMatch(l, invert, "0x"+hex.EncodeToString(from)+"-0x"+hex.EncodeToString(to))
		return
	}
	s := l.slices[0]
	o, shift := l.operand(s)
	in := nf.Interval{From: shl(number(from, l.order), shift), To: shl(number(to, l.order), shift)}
	switch {
	case o.Xor == nil && o.Mask != nil && s.len < s.size && l.mask == nil && s.off == 0: // leading bytes only
		o.Mask, in.To = nil, in.To.Or(shl(nf.Num(1), shift).Prev())
	case o.Mask != nil:
		for _, b := range w.shared.bits {
			if b.of == o.Field && *o.Mask == nf.Num(b.mask) && o.Xor == nil {
				o, in = nf.Operand{Field: b.field}, nf.Nums(in.From.Lo>>b.shift, in.To.Lo>>b.shift)
				break
			}
		}
	}
	if in.From.Cmp(in.To) > 0 {
		w.opaqueMatch(l, invert, "0x"+hex.EncodeToString(from)+"-0x"+hex.EncodeToString(to))
		return
	}
	w.match(o, s.spell, in, invert)
}

// match appends a comparison and learns from it what the packet's headers are.
func (w *walker) match(o nf.Operand, spell nf.Field, in nf.Interval, invert bool) {
	if !invert && in.From == in.To && o.Mask == nil {
		w.learn(o.Field, in.From.Lo)
	}
	key := opKey{field: o.Field, value: in.From, invert: invert}
	small := o.Mask == nil && o.Xor == nil && in.From == in.To && (o.Field == nf.L4Proto || o.Field == nf.NFProto || o.Field == nf.EthProto)
	if op, ok := w.shared.ops[key]; ok && small {
		w.items = append(w.items, item{op: op, spell: spell})
		return
	}
	var op nf.Op = nf.Match{Fields: w.operands(o), In: w.shared.interval(in), Invert: invert}
	if small {
		w.shared.ops[key] = op
	}
	w.items = append(w.items, item{op: op, spell: spell})
}

// learn notes what a match requires of the packet, for the payload loads behind it.
func (w *walker) learn(f nf.Field, v uint64) {
	switch f {
	case nf.NFProto:
		w.ctx.l3 = family(uint8(min(v, 255)))
	case nf.EthProto, "ether.type", "vlan.type":
		w.ctx.l3 = etherFamily(v)
	case nf.L4Proto, "ip6.nexthdr":
		w.ctx.l4 = int(v)
	}
}

func etherFamily(v uint64) nf.Family {
	switch v {
	case 0x0800:
		return nf.IP
	case 0x86dd:
		return nf.IP6
	case 0x0806:
		return nf.ARP
	}
	return ""
}

// operands returns the slice of one operand; unmasked ones are shared between rules.
func (w *walker) operands(o nf.Operand) []nf.Operand {
	if o.Mask != nil || o.Xor != nil {
		return []nf.Operand{o}
	}
	s, ok := w.shared.fields[o.Field]
	if !ok {
		s = []nf.Operand{o}
		w.shared.fields[o.Field] = s
	}
	return s
}

// opaqueMatch keeps a comparison that no field describes, at its place, by the name of what was loaded.
func (w *walker) opaqueMatch(l *load, invert bool, rest string) {
	name := "cmp"
	if l.opaque != nil {
		name = l.opaque.Name
		rest = strings.TrimSpace(l.opaque.Args + " " + rest)
	} else {
		rest = l.describe() + " " + rest
	}
	w.add(nf.Ext{Name: name, Args: rest, Invert: invert})
}
