package sshhost

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable makes a text from the other side fit for a terminal: control characters and bytes that are no UTF-8 are written
// as \xNN, and what goes beyond limit characters is cut.
func printable(s string, limit int) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); n++ {
		if n == limit {
			return b.String() + "..."
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			for _, c := range []byte(s[i : i+size]) {
				b.WriteString(`\x` + string(hex[c>>4]) + string(hex[c&15]))
			}
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// quoted is the last line of what the other side says, short, in quotation marks.
func quoted(s string) string { return `"` + printable(lastLine(s), 80) + `"` }

// lastLine is the last line that says something, fit to be printed.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return printable(strings.TrimSpace(s), 200)
}
