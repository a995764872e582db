package nftables

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

// libnftnl up to 1.2.9 prints a register as words of the machine; 1.3.2 prints its bytes in order, so 10.0.0.1 is another
// address. nft's version does not tell: 1.1.3 runs with either library. What tells is a value shorter than a word, which the
// older one fills up; an element, behind which it writes "[end]"; or a value that the JSON has in one order only.

// checkOrder makes everything missing unless the output shows that its words are in the machine's order.
func (r *textReader) checkOrder(debug []byte) {
	doubts, prev := 0, ""
	for len(debug) > 0 && doubts < 64 {
		var b []byte
		b, debug = nextLine(debug)
		line := string(b)
		words := valueWords(line)
		sure, doubt := r.orderOf(line, prev, words)
		switch {
		case sure > 0:
			return
		case sure < 0:
			r.parser.lack(host.DumpNFTables, "nft's library prints registers in a form that is not understood", hintPush)
			return
		case doubt:
			doubts++
		}
		prev = line
	}
	if doubts > 0 {
		r.parser.lack(host.DumpNFTables, "nothing shows in which order nft's library prints registers", hintPush)
	}
}

// orderOf is 1 where a line shows the machine's order, -1 where it shows another one; doubt is a value that would differ.
func (r *textReader) orderOf(line, prev string, words []string) (sure int, doubt bool) {
	if strings.HasPrefix(line, "\telement ") {
		text, _, _ := strings.Cut(line, " userdata ")
		return map[bool]int{true: 1, false: -1}[strings.HasSuffix(strings.TrimRight(text, " "), "[end]")], false
	}
	if len(words) == 0 {
		return 0, false
	}
	if slices.ContainsFunc(words, func(w string) bool { return !isHexWord(w) }) {
		return -1, false
	}
	if isCompare(line) && shortLoad(prev, line) {
		return 1, false
	}
	var data []byte
	for _, w := range words {
		data = appendWord(data, w)
	}
	turned := swapped(data)
	if bytes.Equal(data, turned) {
		return 0, false
	}
	here, there := r.inJSON(data), r.inJSON(turned)
	switch {
	case here && !there:
		return 1, true
	case there && !here:
		return -1, true
	}
	return 0, true
}

// valueWords are the hexadecimal words of an expression that holds a register's content, without 0x.
func valueWords(line string) (out []string) {
	if !isCompare(line) && !strings.HasPrefix(line, "  [ bitwise ") && !strings.HasPrefix(line, "  [ immediate reg ") {
		return nil
	}
	if strings.Contains(line, " -> ") { // a chain may have any name
		return nil
	}
	for _, w := range strings.Fields(line) {
		if s, ok := strings.CutPrefix(w, "0x"); ok {
			out = append(out, s)
		}
	}
	return out
}

func isCompare(line string) bool {
	return strings.HasPrefix(line, "  [ cmp ") || strings.HasPrefix(line, "  [ range ")
}

// shortLoad reports whether prev loads fewer than 4 bytes into the register that line compares.
func shortLoad(prev, line string) bool {
	load, reg, ok := strings.Cut(strings.TrimSuffix(prev, " ]"), " => reg ")
	return ok && strings.Contains(line, " reg "+reg+" 0x") && slices.ContainsFunc([]string{
		"  [ payload load 1b ", "  [ payload load 2b ", "  [ meta load l4proto", "  [ meta load nfproto", "  [ meta load protocol",
	}, func(s string) bool { return strings.HasPrefix(load+" ", s) })
}

// swapped has each word's bytes the other way round.
func swapped(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i+4 <= len(data); i += 4 {
		out = binary.BigEndian.AppendUint32(out, binary.LittleEndian.Uint32(data[i:]))
	}
	return out
}

// inJSON reports whether the JSON has the value as an address, a name or a number.
func (r *textReader) inJSON(data []byte) bool {
	n := binary.LittleEndian.Uint32(data)
	texts := []string{
		fmt.Sprintf(`"%d.%d.%d.%d"`, data[0], data[1], data[2], data[3]),
		fmt.Sprintf(`"right": %d}`, n), fmt.Sprintf(`"value": %d}`, n),
	}
	if name := bytes.TrimRight(data, "\x00"); len(name) > 1 {
		texts = append(texts, `"`+string(name)+`"`)
	}
	return slices.ContainsFunc(texts, func(s string) bool { return bytes.Contains(r.json, []byte(s)) })
}
