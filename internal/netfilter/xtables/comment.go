package xtables

import "strings"

// Comment returns the rule's first comment, "" when it has none. It does not parse the rest of the rule.
func Comment(text string) string {
	const option = "--comment "
	i := strings.Index(text, option)
	if i < 0 {
		return ""
	}
	if strings.IndexByte(text[:i], '"') >= 0 {
		return commentByWords(text) // what looks like a comment may be a quoted value
	}
	rest := text[i+len(option):]
	if !strings.HasPrefix(rest, `"`) {
		word, _, _ := strings.Cut(rest, " ")
		return word
	}
	end := ClosingQuote(rest, 0)
	if end < 0 {
		return unescape(rest[1:])
	}
	return unescape(rest[1:end])
}

func commentByWords(text string) string {
	lex := lexer{s: text}
	for {
		t, ok := lex.next()
		if !ok {
			return ""
		}
		if t.is("--comment") {
			t, _ = lex.next()
			return t.text
		}
	}
}
