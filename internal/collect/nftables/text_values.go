package nftables

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// libnftnl prints a value in groups of up to 4 bytes, in expressions with 0x in front of each. There are two forms of it:
//
//   - words, before libnftnl 1.3.2: each group is a word of the machine, and the last one is filled up, so 10.0.0.1 is
//     0x0100000a and port 22 is 0x00001600;
//   - octets, from 1.3.2 on: the bytes as they lie in memory, and no more of them than the value has: 0x0a000001 and 0x0016.
//     (The library can print numbers of the machine from their highest byte, but only those that nft itself puts into an
//     expression: what comes from the kernel has no such mark.)
//
// Which of them an output has is [textReader.checkOrder]'s to find out.

// groups takes the groups that are next.
func (c *cursor) groups(prefix string) (out []string) {
	for len(c.words) > 0 {
		s, ok := strings.CutPrefix(c.words[0], prefix)
		if !ok || !c.isGroup(s) {
			return out
		}
		out = append(out, s)
		c.words = c.words[1:]
	}
	return out
}

// value returns the bytes of groups as they are in memory: filled up to whole words in the form of words.
func (c *cursor) value(groups []string) (out []byte) {
	for i, g := range groups {
		if !c.octets {
			out = appendWord(out, g)
			continue
		}
		if len(g) < 8 && i < len(groups)-1 {
			c.bad = true
		}
		b, err := hex.DecodeString(g)
		c.bad = c.bad || err != nil
		out = append(out, b...)
	}
	return out
}

// hexValue reads a value of an expression: "0x30687465 0x00000000".
func (c *cursor) hexValue() []byte { return c.value(c.groups("0x")) }

// elementValue reads a value of an element, which is filled up to whole words in either form.
func (c *cursor) elementValue() []byte {
	v := c.value(c.groups(""))
	return append(v, make([]byte, align4(len(v))-len(v))...)
}

// isGroup reports whether a word of a line may be a group of a value.
func (c *cursor) isGroup(s string) bool {
	return isHexWord(s) || c.octets && isShortGroup(s)
}

// isShortGroup reports whether s is a group of 1 to 3 bytes, which the form of octets has alone.
func isShortGroup(s string) bool { return len(s) > 0 && len(s) < 8 && len(s)%2 == 0 && isHex(s) }

func isHexWord(s string) bool { return len(s) == 8 && isHex(s) }

func isHex(s string) bool {
	for _, d := range []byte(s) {
		if !(d >= '0' && d <= '9' || d >= 'a' && d <= 'f') {
			return false
		}
	}
	return true
}

// appendWord appends the bytes of a word as a machine with the lowest byte first has them in memory.
func appendWord(b []byte, hex string) []byte {
	var v uint32
	for _, d := range []byte(hex) {
		switch {
		case d <= '9':
			v = v<<4 | uint32(d-'0')
		default:
			v = v<<4 | uint32(d-'a'+10)
		}
	}
	return binary.LittleEndian.AppendUint32(b, v)
}
