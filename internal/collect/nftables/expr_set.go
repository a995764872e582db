package nftables

import (
	"fmt"
	"slices"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// lookup: SET 1, SREG 2, DREG 3, SET_ID 4, FLAGS 5 (1: not in the set).
func (w *walker) lookup() bool {
	a := &w.b
	set := w.sets[string(trimNUL(a.at[1]))]
	if !a.only(5) || !a.has(1) || a.u32(5) > 1 {
		return false
	}
	invert, sreg, dreg, toReg := a.u32(5) == 1, a.u32(2), a.u32(3), a.has(3)
	name := w.shared.text(a.at[1])
	fields, why := w.key(sreg, set)
	switch {
	case toReg && dreg == regVerdict && why == nil:
		w.items = append(w.items, item{op: nf.VMap{Fields: fields, Set: name}, spell: w.spelled(sreg, fields)})
	case toReg && dreg == regVerdict:
		w.add(nf.VMap{Fields: []nf.Operand{{Field: nf.Field(why.Name + " " + why.Args)}}, Set: name})
	case toReg && why == nil && len(fields) == 1 && fields[0].Mask == nil && fields[0].Xor == nil:
		src := w.regs.get(sreg)
		w.regs.put(dreg, &load{slices: src.slices, set: name, size: set.dataLen()})
	case toReg:
		what := w.keyText(sreg, fields, why) + " map @" + name
		w.regs.put(dreg, &load{opaque: &nf.Ext{Name: "lookup", Args: what}, size: set.dataLen()})
	case why != nil:
		w.ext(why.Name, why.Args+" @"+name, invert)
	default:
		w.items = append(w.items, item{op: nf.Match{Fields: fields, Set: name, Invert: invert}, spell: w.spelled(sreg, fields)})
	}
	return true
}

// spelled returns the rule's own name of a lookup's only field.
func (w *walker) spelled(sreg uint32, fields []nf.Operand) nf.Field {
	if l := w.regs.get(sreg); len(fields) == 1 && len(l.slices) == 1 {
		return l.slices[0].spell
	}
	return ""
}

func (w *walker) keyText(sreg uint32, fields []nf.Operand, why *nf.Ext) string {
	if why != nil {
		return why.Name + " " + why.Args
	}
	text := ""
	for i, f := range fields {
		if i > 0 {
			text += " . "
		}
		text += string(f.Field)
	}
	if len(fields) == 1 {
		return w.regs.get(sreg).describe()
	}
	return text
}

// key reads the registers that a lookup compares with a set's key: one field, or several in consecutive words. It returns
// the reason as an opaque match when one of them is not understood, or when the set keeps its keys in another byte order
// than the register has, so that its elements would be read wrongly.
func (w *walker) key(sreg uint32, set *setInfo) ([]nf.Operand, *nf.Ext) {
	start, ok := word(sreg)
	if !ok || set == nil {
		return nil, &nf.Ext{Name: "lookup", Args: w.regs.get(sreg).describe()}
	}
	first := w.regs.word(start)
	if first.whole() && first.simple() && first.size >= set.keyLen && set.agrees(0, first) {
		return w.operands(nf.Operand{Field: first.slices[0].field}), nil
	}
	var out []nf.Operand
	for used, i := 0, 0; used < set.keyLen; i++ {
		l := w.regs.word(start + used/4)
		if !l.simple() || len(l.slices) != 1 || !set.agrees(i, l) {
			if l.opaque != nil && len(out) == 0 && l.size >= set.keyLen {
				return nil, l.opaque
			}
			return nil, &nf.Ext{Name: "lookup", Args: w.concatText(start, set.keyLen)}
		}
		o, shift := l.operand(l.slices[0])
		if shift != 0 {
			return nil, &nf.Ext{Name: "lookup", Args: w.concatText(start, set.keyLen)}
		}
		out = append(out, o)
		used += align4(l.size)
	}
	return out, nil
}

func (w *walker) concatText(start, length int) string {
	text := ""
	for used := 0; used < length && start+used/4 < regWords; {
		l := w.regs.word(start + used/4)
		if used > 0 {
			text += " . "
		}
		text += l.describe()
		used += max(4, align4(l.size))
	}
	return text
}

// dynset: SET_NAME 1, SET_ID 2, OP 3, SREG_KEY 4, SREG_DATA 5, TIMEOUT 6, EXPR 7, PAD 8, FLAGS 9, EXPRESSIONS 10. It ends the
// rule when the set is full or a statement of the element says so (nft_dynset_eval): a match of its own kind.
func (w *walker) dynset() bool {
	a := &w.b
	if !a.only(10) || a.u32(3) > 2 {
		return false
	}
	op := [...]string{"add", "update", "delete"}[a.u32(3)]
	name := w.shared.text(a.at[1])
	key := "?"
	if set := w.sets[name]; set != nil {
		set.set.Dynamic = true // whether it has the flag or only a timeout
		if start, ok := word(a.u32(4)); ok {
			key = w.concatText(start, set.keyLen)
		}
	}
	args := fmt.Sprintf("%s @%s { %s", op, name, key)
	if a.has(6) {
		args += fmt.Sprintf(" timeout %dms", a.u64(6))
	}
	for _, t := range []int{7, 10} {
		if a.has(t) {
			args += " expr " + opaqueText(a.at[t])
		}
	}
	if a.has(5) {
		args += " : " + w.regs.get(a.u32(5)).describe()
	}
	return w.ext("dynset", args+" }", a.u32(9)&1 != 0)
}

// objref: TYPE 1, NAME 2, SREG 3, SET_NAME 4, SET_ID 5.
func (w *walker) objref() bool {
	a := &w.b
	if !a.only(5) {
		return false
	}
	if a.has(3) { // the object's name comes from a map; no element ends the rule (nft_objref_map_eval)
		return w.ext("objref", w.regs.get(a.u32(3)).describe()+" map @"+w.shared.text(a.at[4]), false)
	}
	kind, quoted := objectKind(a.u32(1)), quote(valid(a.at[2]))
	switch kind {
	case "quota", "limit", "ct count":
		return w.ext(kind, "name "+quoted, false)
	case "":
		return false
	}
	return w.stmt(kind, "name "+quoted)
}

// objectKind names NFT_OBJECT_* types.
func objectKind(t uint32) string {
	kinds := [...]string{"", "counter", "quota", "ct helper", "limit", "ct count", "tunnel", "ct timeout", "secmark", "ct expectation", "synproxy"}
	if int(t) < len(kinds) {
		return kinds[t]
	}
	return ""
}

// rewrite is a write of payload bytes. nft changes a part of a word by loading the whole, so a write may span fields that
// stay as they are; each field that changes is one assignment.
func (w *walker) rewrite(target, l *load) bool {
	for _, s := range target.slices {
		k := keyField{s.field, s.size, networkOrder}
		part := &load{opaque: l.opaque, size: s.len}
		switch {
		case s.len < s.size:
			part.opaque = &nf.Ext{Name: "payload", Args: l.describe()}
		case len(l.imm) >= s.at+s.len:
			part.imm = l.imm[s.at : s.at+s.len]
		case l.simple() && slices.Contains(l.slices, s) && (l.mask == nil || len(l.mask) >= s.at+s.len):
			part.slices = []slice{s}
			part.slices[0].at = 0
			if l.mask != nil {
				part.mask, part.xor = l.mask[s.at:s.at+s.len], l.xor[s.at:s.at+s.len]
			}
			if part.unchanged() {
				continue
			}
		case len(target.slices) == 1:
			part = l
		default:
			part.opaque = &nf.Ext{Name: "payload", Args: l.describe()}
		}
		w.assign(k, part)
	}
	return true
}

// unchanged reports whether a load gives back what it loaded.
func (l *load) unchanged() bool {
	for i := range l.mask {
		if l.mask[i] != 0xff || l.xor[i] != 0 {
			return false
		}
	}
	return true
}

// assign is a write to a field: from a constant, another field, or a map.
func (w *walker) assign(k keyField, l *load) bool {
	out := nf.Assign{Field: k.field}
	all := nf.Value{Hi: ^uint64(0), Lo: ^uint64(0)}
	if k.size < 16 {
		all = shl(nf.Num(1), 8*k.size).Prev()
	}
	switch {
	case l.imm != nil:
		out.Xor = number(l.imm[:min(len(l.imm), k.size)], k.order)
	case l.opaque == nil && l.set != "" && l.mask == nil && len(l.slices) == 1:
		out.From, out.Map, out.And = l.slices[0].field, l.set, all
	case l.simple() && len(l.slices) == 1 && l.slices[0].len == l.slices[0].size:
		out.From, out.And = l.slices[0].field, all
		if o, _ := l.operand(l.slices[0]); o.Mask != nil {
			out.And = *o.Mask
			if o.Xor != nil {
				out.Xor = *o.Xor
			}
		}
		if out.From == k.field {
			out.From = ""
		}
	default:
		out.From, out.And = nf.Field(l.describe()), all
	}
	w.add(out)
	return true
}
