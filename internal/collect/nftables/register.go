package nftables

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// The register file: sixteen words of 4 bytes. Registers 1 to 4 are the old names of four words each, 8 to 23 of one
// (nft_parse_register, net/netfilter/nf_tables_api.c, Linux 6.18). Register 0 is the verdict.
const (
	regWords    = 16
	regVerdict  = 0
	reg32Offset = 8
)

// word returns the first word of a register; ok is false for the verdict and for registers that do not exist.
func word(reg uint32) (w int, ok bool) {
	switch {
	case reg >= 1 && reg <= 4:
		return int(reg-1) * 4, true
	case reg >= reg32Offset && reg < reg32Offset+regWords:
		return int(reg - reg32Offset), true
	}
	return 0, false
}

// load is what a run of words holds.
type load struct {
	slices []slice // the fields, in the order of the bytes; none when opaque or imm is set
	size   int     // bytes
	order  order
	mask   []byte // in the order of the bytes; nil: as loaded
	xor    []byte
	imm    []byte // an immediate
	set    string // the result of looking the fields up in this map
	opaque *nf.Ext
}

// field builds the load of a whole field.
func field(k keyField) *load {
	return &load{slices: []slice{{field: k.field, len: k.size, size: k.size}}, size: k.size, order: k.order}
}

// whole reports whether the load is exactly one whole field, not masked.
func (l *load) whole() bool {
	return len(l.slices) == 1 && l.slices[0].len == l.slices[0].size && l.mask == nil && l.opaque == nil
}

func (l *load) simple() bool {
	return l.opaque == nil && l.imm == nil && l.set == "" && len(l.slices) > 0
}

// describe names the load in the text of an opaque match.
func (l *load) describe() string {
	switch {
	case l.opaque != nil:
		return l.opaque.Name + " " + l.opaque.Args
	case l.imm != nil:
		return "0x" + hex.EncodeToString(l.imm)
	}
	out := ""
	for i, s := range l.slices {
		if i > 0 {
			out += " . "
		}
		out += string(s.field)
	}
	if l.mask != nil {
		out += " & 0x" + hex.EncodeToString(l.mask) + " ^ 0x" + hex.EncodeToString(l.xor)
	}
	if l.set != "" {
		out += " map @" + l.set
	}
	return out
}

// registers are the words; each points to the load that starts there or covers it.
type registers struct {
	at    [regWords]*load
	start [regWords]int8
}

func (r *registers) put(reg uint32, l *load) {
	w, ok := word(reg)
	if !ok {
		return
	}
	// A load that is overwritten in part is no longer whole, wherever it began.
	end := min(w+max(1, (l.size+3)/4), regWords)
	for i := w; i < end; i++ {
		r.drop(i)
	}
	for i := w; i < end; i++ {
		r.at[i], r.start[i] = l, int8(w)
	}
}

// drop forgets the load that covers word w.
func (r *registers) drop(w int) {
	l, start := r.at[w], r.start[w]
	for i := range r.at {
		if l != nil && r.at[i] == l && r.start[i] == start {
			r.at[i] = nil
		}
	}
}

// get returns what starts at the register; never nil.
func (r *registers) get(reg uint32) *load {
	w, ok := word(reg)
	if !ok {
		return unknownLoad("register")
	}
	return r.word(w)
}

func (r *registers) word(w int) *load {
	if w >= regWords || r.at[w] == nil || int(r.start[w]) != w {
		return unknownLoad("register")
	}
	return r.at[w]
}

// forget makes every register unknown: an expression that is not understood may have written any of them.
func (r *registers) forget(why nf.Ext) {
	l := &load{opaque: &why, size: 4}
	for i := range r.at {
		r.at[i], r.start[i] = l, int8(i)
	}
}

func unknownLoad(name string) *load { return &load{opaque: &nf.Ext{Name: name}} }

// number reads bytes of a register as the model's value: right-aligned numbers, left-aligned names.
func number(b []byte, o order) nf.Value {
	var v [16]byte
	switch {
	case len(b) > 16:
		b = b[:16]
		fallthrough
	case o == leftAligned:
		copy(v[:], b)
	case o == hostEndian && binary.NativeEndian.Uint16([]byte{1, 0}) == 1:
		for i, c := range b {
			v[15-i] = c
		}
	default:
		copy(v[16-len(b):], b)
	}
	return nf.Value{Hi: binary.BigEndian.Uint64(v[:8]), Lo: binary.BigEndian.Uint64(v[8:])}
}

// swap is what nft's byteorder expression does: the bytes of each unit turn round. Only loads of one unit stay readable.
func (l *load) swap(unit int) *load {
	n := *l
	if l.opaque != nil {
		return l // its name says enough; the bytes it is compared with are part of the match's text
	}
	if !l.simple() || len(l.slices) != 1 || l.order == leftAligned || unit != l.size {
		return &load{opaque: &nf.Ext{Name: "byteorder", Args: l.describe()}, size: l.size}
	}
	n.order = hostEndian - l.order
	n.mask, n.xor = reversed(l.mask), reversed(l.xor)
	return &n
}

func reversed(b []byte) []byte {
	c := bytes.Clone(b)
	slices.Reverse(c)
	return c
}

// masked is what the boolean form of nft's bitwise expression does: (x & mask) ^ xor.
func (l *load) masked(mask, xor []byte) *load {
	n := *l
	n.mask, n.xor = bytes.Clone(mask), bytes.Clone(xor)
	if !l.simple() || len(mask) != len(xor) || len(mask) > l.size {
		return &load{opaque: &nf.Ext{Name: "bitwise", Args: l.describe() + " & 0x" + hex.EncodeToString(mask) + " ^ 0x" + hex.EncodeToString(xor)}, size: l.size}
	}
	for i := range l.mask {
		if i < len(mask) { // ((x & a) ^ b) & c ^ d == (x & (a & c)) ^ ((b & c) ^ d)
			n.xor[i] = l.xor[i]&mask[i] ^ xor[i]
			n.mask[i] = l.mask[i] & mask[i]
		}
	}
	return &n
}

// operand turns a slice and the load's mask into the model's operand. shift says by how many bits a value of the slice
// must be moved to stand as the field's own value. low is true when the slice ends before the field does.
func (l *load) operand(s slice) (op nf.Operand, shift int) {
	op.Field = s.field
	if l.order == leftAligned {
		return op, 0
	}
	shift = 8 * (s.size - s.off - s.len)
	if l.mask == nil && s.len == s.size {
		return op, 0
	}
	mask := nf.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	if s.len < 16 {
		mask = shl(nf.Num(1), 8*s.len).Prev()
	}
	if l.mask != nil && s.at+s.len <= len(l.mask) {
		mask = number(l.mask[s.at:s.at+s.len], l.order)
		if xor := shl(number(l.xor[s.at:s.at+s.len], l.order), shift); xor != (nf.Value{}) {
			op.Xor = &xor
		}
	}
	mask = shl(mask, shift)
	op.Mask = &mask
	return op, shift
}

func shl(v nf.Value, n int) nf.Value {
	switch {
	case n >= 128:
		return nf.Value{}
	case n >= 64:
		return nf.Value{Hi: v.Lo << (n - 64)}
	case n == 0:
		return v
	}
	return nf.Value{Hi: v.Hi<<n | v.Lo>>(64-n), Lo: v.Lo << n}
}
