// Package escape makes text that came from a node harmless to print. Rule comments, interface names and file contents are
// written by whoever could write them there: they may hold terminal controls, markup, text that reorders its line, or no
// text at all. Nothing is dropped: what cannot be printed is shown escaped, so that a reader sees that it was there.
package escape

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s as one line of printable characters: controls (C0, C1, DEL), line ends, invisible and bidirectional
// format characters become \x1b, \u202e or \U000e0001. Broken UTF-8 becomes U+FFFD, as in JSON, so that all formats, and a
// report of a snapshot, show the same.
func Line(s string) string { return clean(s, func(r rune) bool { return unicode.IsPrint(r) }) }

// Lines is Line for text of several lines: line ends stay, and a tab becomes four spaces.
func Lines(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\t", "    ")
	return clean(s, func(r rune) bool { return r == '\n' || unicode.IsPrint(r) })
}

// ASCII is Line for a terminal that knows ASCII only.
func ASCII(s string) string { return clean(s, func(r rune) bool { return r >= ' ' && r <= '~' }) }

// JSON replaces what encoding/json leaves as it is in a valid document though it cannot be printed: DEL, C1 controls and
// format characters, which occur only inside strings. The document's meaning stays.
func JSON(doc []byte) []byte {
	keep := func(r rune) bool { return r == '\n' || r == '\t' || unicode.IsPrint(r) }
	if plain(string(doc), keep) {
		return doc
	}
	out := make([]byte, 0, len(doc)+64)
	for _, r := range string(doc) {
		switch {
		case keep(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func plain(s string, keep func(rune) bool) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf || !keep(rune(s[i])) {
			return false
		}
	}
	return true
}

func clean(s string, keep func(rune) bool) string {
	if plain(s, keep) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case keep(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
