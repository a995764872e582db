package xtables

import (
	"errors"
	"strings"
)

var errQuote = errors.New("quoted text does not end")

// token is one word of a rule. text is unquoted and unescaped; from and to are its place in the rule, quotes included.
type token struct {
	text     string
	from, to int
	quoted   bool
}

// is reports whether the token is the plain word w: a quoted "-j" is a value, never an option.
func (t token) is(w string) bool { return !t.quoted && t.text == w }

// long reports whether the token is an option of a match or target.
func (t token) long() bool {
	return !t.quoted && len(t.text) > 2 && t.text[0] == '-' && t.text[1] == '-'
}

// short reports whether the token is an option of the rule itself: -m, -j, -s ...
func (t token) short() bool {
	return !t.quoted && len(t.text) == 2 && t.text[0] == '-' && strings.IndexByte("mjgsdiopfc", t.text[1]) >= 0
}

// lexer cuts a rule into words as iptables-save quotes them: xtables_save_string (libxtables) puts a value in double
// quotes unless it is letters, digits, '-' and '_' alone, with a backslash before '"', '\” and '\'.
type lexer struct {
	s   string
	i   int
	err error
}

// next returns the next word; false at the end of the rule or when a quote does not end (err is set).
func (l *lexer) next() (token, bool) {
	for l.i < len(l.s) && (l.s[l.i] == ' ' || l.s[l.i] == '\t') {
		l.i++
	}
	if l.i == len(l.s) || l.err != nil {
		return token{from: l.i, to: l.i}, false
	}
	if l.s[l.i] == '"' {
		return l.quoted()
	}
	from, end := l.i, strings.IndexByte(l.s[l.i:], ' ')
	if end < 0 {
		end = len(l.s) - from
	}
	l.i = from + end
	return token{text: l.s[from:l.i], from: from, to: l.i}, true
}

func (l *lexer) quoted() (token, bool) {
	from := l.i
	end := ClosingQuote(l.s, from)
	if end < 0 || end+1 < len(l.s) && l.s[end+1] != ' ' {
		l.err, l.i = errQuote, len(l.s)
		return token{}, false
	}
	l.i = end + 1
	return token{text: unescape(l.s[from+1 : end]), from: from, to: l.i, quoted: true}, true
}

// unescape removes the backslashes; text without one is returned as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}
