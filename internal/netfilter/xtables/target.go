package xtables

import "strings"

// Target returns the name behind a rule's -j or -g, without parsing the rule: "" when it has none. Quoted text (comments,
// log prefixes) never counts. It is for walks over a hundred thousand rules of which few are parsed.
func Target(text string) (name string, isGoto bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipQuoted(text, i)
		case '-':
			if i > 0 && text[i-1] == ' ' && strings.HasPrefix(text[i:], "--comment ") && !strings.HasPrefix(text[i:], "--comment \"") {
				i = skipWord(text, i+len("--comment ")) // a comment of one word stands bare, even "-j"
				continue
			}
			if i+3 < len(text) && (i == 0 || text[i-1] == ' ') && (text[i+1] == 'j' || text[i+1] == 'g') && text[i+2] == ' ' {
				rest := text[i+3:]
				if end := strings.IndexByte(rest, ' '); end >= 0 {
					rest = rest[:end]
				}
				return rest, text[i+1] == 'g'
			}
		}
	}
	return "", false
}

// skipWord returns the place before the space that ends the word at i.
func skipWord(s string, i int) int {
	if end := strings.IndexByte(s[i:], ' '); end >= 0 {
		return i + end - 1
	}
	return len(s)
}

// skipQuoted returns the place of the quote that closes the one at i, or the last byte when none does.
func skipQuoted(s string, i int) int {
	if end := ClosingQuote(s, i); end >= 0 {
		return end
	}
	return len(s) - 1
}

// ClosingQuote returns the place of the quote that closes the one at i, as iptables-save writes quotes: the next one that no
// backslash escapes; -1 when none does.
func ClosingQuote(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
