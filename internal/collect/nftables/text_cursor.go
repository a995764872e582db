package nftables

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// cursor walks over a line's words. What is not as expected makes it bad for good.
type cursor struct {
	words  []string
	bad    bool
	octets bool // how values are printed, see text_values.go
}

// done reports whether every word was as expected.
func (c *cursor) done() bool { return !c.bad && len(c.words) == 0 }

func (c *cursor) take() string {
	if len(c.words) == 0 {
		c.bad = true
		return ""
	}
	w := c.words[0]
	c.words = c.words[1:]
	return w
}

// is passes over the words if they are the next ones.
func (c *cursor) is(words ...string) bool {
	if len(c.words) < len(words) || !slices.Equal(c.words[:len(words)], words) {
		return false
	}
	c.words = c.words[len(words):]
	return true
}

// must passes over the words, which have to be the next ones.
func (c *cursor) must(words ...string) {
	if !c.is(words...) {
		c.bad = true
	}
}

// oneOf returns which of the words is the next one, -1 for none.
func (c *cursor) oneOf(words ...string) int {
	i := slices.Index(words, c.take())
	if i < 0 {
		c.bad = true
	}
	return i
}

func (c *cursor) parse(s string, base int) uint64 {
	v, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		c.bad = true
	}
	return v
}

func (c *cursor) number() uint64 { return c.parse(c.take(), 10) }

func (c *cursor) hex() uint64 {
	s, ok := strings.CutPrefix(c.take(), "0x")
	if !ok {
		c.bad = true
	}
	return c.parse(s, 16)
}

// reg reads "reg 1".
func (c *cursor) reg() uint32 {
	c.must("reg")
	return c.u32()
}

func (c *cursor) u32() uint32 {
	v := c.number()
	if v > 1<<32-1 {
		c.bad = true
	}
	return uint32(v)
}

// verdict reads "drop" or "jump -> CHAIN".
func (c *cursor) verdict() (nf.Verdict, bool) {
	kind := nf.VerdictKind(c.take())
	switch kind {
	case nf.Accept, nf.Drop, nf.Continue, nf.Return:
		return nf.Verdict{Kind: kind}, true
	case nf.Jump, nf.Goto:
		c.must("->")
		return nf.Verdict{Kind: kind, Chain: valid([]byte(c.take()))}, !c.bad
	}
	return nf.Verdict{}, false
}

// builder makes an expression's attributes, as the kernel sends them.
type builder struct{ b []byte }

func (b *builder) put(typ uint16, v []byte) {
	b.b = binary.NativeEndian.AppendUint16(b.b, uint16(nlaHeader+len(v)))
	b.b = append(binary.NativeEndian.AppendUint16(b.b, typ), v...)
	b.b = append(b.b, make([]byte, align4(len(v))-len(v))...)
}

func (b *builder) u8(typ uint16, v uint8)   { b.put(typ, []byte{v}) }
func (b *builder) u16(typ uint16, v uint16) { b.put(typ, binary.BigEndian.AppendUint16(nil, v)) }
func (b *builder) u32(typ uint16, v uint32) { b.put(typ, binary.BigEndian.AppendUint32(nil, v)) }
func (b *builder) u64(typ uint16, v uint64) { b.put(typ, binary.BigEndian.AppendUint64(nil, v)) }
func (b *builder) text(typ uint16, s string) {
	b.put(typ, append([]byte(s), 0))
}
