package nftables

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// The expressions that load, change and compare registers. Attribute numbers: include/uapi/linux/netfilter/nf_tables.h,
// Linux 6.18, named in each function.

// meta: DREG 1, KEY 2, SREG 3.
func (w *walker) meta() bool {
	a := &w.b
	k, ok := metaKey(a.u32(2))
	if !ok || !a.only(3) {
		return false
	}
	if a.has(3) {
		return w.assign(k, w.regs.get(a.u32(3)))
	}
	if k.field == "meta.random" { // another value for each packet: no field
		return w.opaqueLoad(1, nf.Ext{Name: "random"}, true)
	}
	w.regs.put(a.u32(1), w.shared.load(k))
	return a.has(1)
}

// ct: DREG 1, KEY 2, DIRECTION 3, SREG 4.
func (w *walker) ct() bool {
	a := &w.b
	k, ok := ctKey(a.u32(2), w.family)
	if !ok || !a.only(4) {
		return false
	}
	if a.has(3) {
		k.field = ctDirection(k.field, a.at[3])
	}
	if !a.has(4) {
		w.regs.put(a.u32(1), w.shared.load(k))
		return a.has(1)
	}
	if k.field == "ct.mark" {
		return w.assign(k, w.regs.get(a.u32(4)))
	}
	src := w.regs.get(a.u32(4))
	value := src.describe()
	if v := number(src.imm, k.order); src.imm != nil && v.Hi == 0 {
		value = strconv.FormatUint(v.Lo, 10)
	}
	return w.stmt("ct", string(k.field[len("ct."):])+" set "+value)
}

// payload: DREG 1, BASE 2, OFFSET 3, LEN 4, SREG 5, CSUM_TYPE 6, CSUM_OFFSET 7, CSUM_FLAGS 8.
func (w *walker) payload() bool {
	a := &w.b
	base, off, n := a.u32(2), a.u32(3), a.u32(4)
	if !a.only(8) || n == 0 || n > 64 || off > 1<<16 {
		return false
	}
	l := w.shared.payload(payloadKey{base, int(off), int(n), w.ctx})
	if !a.has(5) {
		w.regs.put(a.u32(1), l)
		return a.has(1)
	}
	return w.rewrite(l, w.regs.get(a.u32(5)))
}

// bitwise: SREG 1, DREG 2, LEN 3, MASK 4, XOR 5, OP 6, DATA 7, SREG2 8. OP: 0 mask and xor, 1 and 2 shifts, 3 to 5 between
// registers (6.13).
func (w *walker) bitwise() bool {
	a := &w.b
	if !a.only(8) {
		return false
	}
	src := w.regs.get(a.u32(1))
	switch op := a.u32(6); op {
	case 0:
		w.regs.put(a.u32(2), src.masked(nested(a.at[4], dataValue), nested(a.at[5], dataValue)))
	case 1, 2:
		w.regs.put(a.u32(2), w.shifted(src, op == 2, nested(a.at[7], dataValue)))
	default:
		args := src.describe() + " " + fmt.Sprintf("op %d ", op) + w.regs.get(a.u32(8)).describe()
		w.regs.put(a.u32(2), &load{opaque: &nf.Ext{Name: "bitwise", Args: args}, size: int(a.u32(3))})
	}
	return true
}

// shifted understands the one shift that nft writes for named parts of a field: down to the part's own value.
func (w *walker) shifted(l *load, right bool, by []byte) *load {
	n := 0
	if len(by) >= 4 {
		n = int(binary.NativeEndian.Uint32(by))
	}
	if l.simple() && right && len(l.slices) == 1 {
		o, _ := l.operand(l.slices[0])
		for _, b := range w.shared.bits {
			if o.Mask != nil && o.Xor == nil && b.of == o.Field && *o.Mask == nf.Num(b.mask) && b.shift == n {
				return &load{slices: []slice{{field: b.field, spell: spellBits(b, l.slices[0]), len: l.size, size: l.size}}, size: l.size}
			}
		}
	}
	word := " << "
	if right {
		word = " >> "
	}
	return &load{opaque: &nf.Ext{Name: "bitwise", Args: l.describe() + word + strconv.Itoa(n)}, size: l.size}
}

// byteorder: SREG 1, DREG 2, OP 3, LEN 4, SIZE 5.
func (w *walker) byteorder() bool {
	a := &w.b
	if !a.only(5) {
		return false
	}
	w.regs.put(a.u32(2), w.regs.get(a.u32(1)).swap(int(a.u32(5))))
	return true
}

// cmp: SREG 1, OP 2, DATA 3.
func (w *walker) cmp() bool {
	a := &w.b
	data := nested(a.at[3], dataValue)
	if !a.only(3) || !a.has(2) || data == nil {
		return false
	}
	w.compare(w.regs.get(a.u32(1)), a.u32(2), data)
	return true
}

// range: SREG 1, OP 2, FROM_DATA 3, TO_DATA 4.
func (w *walker) ranged() bool {
	a := &w.b
	from, to := nested(a.at[3], dataValue), nested(a.at[4], dataValue)
	if !a.only(4) || a.u32(2) > 1 || from == nil || to == nil {
		return false
	}
	w.inRange(w.regs.get(a.u32(1)), a.u32(2) == 1, from, to)
	return true
}

// immediate: DREG 1, DATA 2.
func (w *walker) immediate() bool {
	a := &w.b
	if !a.only(2) || !a.has(1) {
		return false
	}
	if a.u32(1) != regVerdict {
		v := nested(a.at[2], dataValue)
		w.regs.put(a.u32(1), &load{imm: append([]byte{}, v...), size: len(v)})
		return v != nil
	}
	v, ok := w.shared.decodeVerdict(nested(a.at[2], dataVerdict))
	if ok {
		w.add(w.shared.verdict(v))
	}
	return ok
}

// decodeVerdict reads NFTA_VERDICT_CODE 1 and NFTA_VERDICT_CHAIN 2. Codes: enum nft_verdicts and linux/netfilter.h.
func (s *shared) decodeVerdict(b []byte) (nf.Verdict, bool) {
	var code uint32
	var chain []byte
	found := false
	for {
		typ, v, rest, ok, bad := nextAttr(b)
		if !ok {
			if bad || !found {
				return nf.Verdict{}, false
			}
			break
		}
		switch typ {
		case 1:
			code, found = be32(v), len(v) >= 4
		case 2:
			chain = v
		}
		b = rest
	}
	switch c := int32(code); {
	case c == 0:
		return nf.Verdict{Kind: nf.Drop}, true
	case c == 1:
		return nf.Verdict{Kind: nf.Accept}, true
	case c > 0 && c&0xff == 3:
		return nf.Verdict{Kind: nf.Queue, Queue: strconv.Itoa(int(c >> 16))}, true
	case c == -1:
		return nf.Verdict{Kind: nf.Continue}, true
	case c == -3 && chain != nil:
		return nf.Verdict{Kind: nf.Jump, Chain: s.text(chain)}, true
	case c == -4 && chain != nil:
		return nf.Verdict{Kind: nf.Goto, Chain: s.text(chain)}, true
	case c == -5:
		return nf.Verdict{Kind: nf.Return}, true
	}
	return nf.Verdict{}, false
}

// loads are the expressions that put something into a register and nothing else.
func (w *walker) loads(name string) bool {
	a := &w.b
	switch name {
	case "fib": // DREG 1, RESULT 2, FLAGS 3
		return w.loadKey(1, 3)(fibField(a.u32(3), a.u32(2)))
	case "rt": // DREG 1, KEY 2
		return w.loadKey(1, 2)(rtKey(a.u32(2)))
	case "socket": // KEY 1, DREG 2, LEVEL 3
		return w.loadKey(2, 3)(socketKey(a.u32(1), a.u32(3)))
	case "osf": // DREG 1, TTL 2, FLAGS 3
		return w.loadKey(1, 3)(keyField{nf.Field(fmt.Sprintf("osf.ttl.%d.flags.%d", a.u8(2), a.u32(3))), 16, leftAligned}, a.has(1))
	case "numgen": // DREG 1, MODULUS 2, TYPE 3, OFFSET 4
		kind := map[bool]string{true: "random", false: "inc"}[a.u32(3) == 1]
		return w.opaqueLoad(1, nf.Ext{Name: "numgen", Args: fmt.Sprintf("%s mod %d%s", kind, a.u32(2), offset(a.u32(4)))}, a.only(4))
	case "hash": // SREG 1, DREG 2, LEN 3, MODULUS 4, SEED 5, OFFSET 6, TYPE 7 (1: symmetric)
		args := fmt.Sprintf("mod %d%s", a.u32(4), offset(a.u32(6)))
		if a.u32(7) == 1 {
			return w.opaqueLoad(2, nf.Ext{Name: "symhash", Args: args}, a.only(7))
		}
		return w.opaqueLoad(2, nf.Ext{Name: "jhash", Args: w.regs.get(a.u32(1)).describe() + " " + args + " seed 0x" + hex.EncodeToString(a.at[5])}, a.only(7))
	}
	return w.exthdr()
}

func offset(n uint32) string {
	if n == 0 {
		return ""
	}
	return " offset " + strconv.Itoa(int(n))
}

func (w *walker) loadKey(dreg int, highest uint16) func(keyField, bool) bool {
	return func(k keyField, ok bool) bool {
		if !ok || !w.b.only(highest) || !w.b.has(dreg) {
			return false
		}
		w.regs.put(w.b.u32(dreg), w.shared.load(k))
		return true
	}
}

func (w *walker) opaqueLoad(dreg int, e nf.Ext, ok bool) bool {
	if !ok || !w.b.has(dreg) {
		return false
	}
	w.regs.put(w.b.u32(dreg), &load{opaque: &e, size: 4})
	return true
}

// exthdr: DREG 1, TYPE 2, OFFSET 3, LEN 4, FLAGS 5 (1: present), OP 6 (0 IPv6, 1 TCP option, 2 IPv4 option, 3 SCTP chunk,
// 4 DCCP option), SREG 7.
func (w *walker) exthdr() bool {
	a := &w.b
	if !a.only(7) || a.u32(6) > 4 {
		return false
	}
	kind := [...]string{"exthdr", "tcp option", "ip option", "sctp chunk", "dccp option"}[a.u32(6)]
	name := fmt.Sprintf("%s %d", kind, a.u8(2))
	at := fmt.Sprintf(" @%d,%d", a.u32(3)*8, a.u32(4)*8)
	switch {
	case a.has(7):
		return w.stmt("exthdr", name+at+" set "+w.regs.get(a.u32(7)).describe())
	case !a.has(1):
		return w.stmt("reset", name) // nft reset tcp option
	case a.u32(5)&1 != 0:
		w.regs.put(a.u32(1), field(keyField{nf.Field(name + " exists"), 1, hostEndian}))
	default:
		n := int(min(a.u32(4), 64))
		w.regs.put(a.u32(1), field(keyField{nf.Field(name + at), n, networkOrder}))
	}
	return true
}
