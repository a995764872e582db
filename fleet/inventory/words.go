package inventory

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

func itoa(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// split cuts a line into words as Python's shlex does, which is what Ansible uses: quotes inside words, backslashes, empty words in
// quotes, and with comments a # anywhere outside of quotes. (The shlex modules for Go drop empty words, or see # only at the
// beginning of a word.)
func split(line string, comments bool) ([]string, error) {
	s := splitter{}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case s.escaped:
			if s.quote != 0 && c != s.quote && c != '\\' {
				s.word.WriteByte('\\')
			}
			s.word.WriteByte(c)
			s.escaped = false
		case c == '\\' && s.quote != '\'':
			s.escaped, s.in = true, true
		case s.quote != 0 && c == s.quote:
			s.quote = 0
		case s.quote != 0:
			s.word.WriteByte(c)
		case c == '\'' || c == '"':
			s.quote, s.in = c, true
		case c == '#' && comments:
			i = len(line)
		case strings.IndexByte(" \t\r\n", c) >= 0:
			s.end()
		default:
			s.in = true
			s.word.WriteByte(c)
		}
	}
	if s.quote != 0 {
		return nil, errors.New("no closing quotation")
	}
	if s.escaped {
		return nil, errors.New("nothing behind the last backslash")
	}
	s.end()
	return s.words, nil
}

type splitter struct {
	words   []string
	word    strings.Builder
	in      bool // a word has begun, be it empty
	quote   byte // the quote that is open, or 0
	escaped bool
}

func (s *splitter) end() {
	if s.in {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.in = false
}

// container is a list or a mapping of Python.
var container = regexp.MustCompile(`^(\[.*\]|\{.*\})$`)

// literal is a value of an INI file: Ansible takes it for a Python literal when it is one, and for plain text otherwise. Of the
// literals only those matter that a variable of ours can have.
func literal(text string) value {
	switch bare := strings.TrimSpace(beforeComment(text)); {
	case bare == "None":
		return value{kind: kindNull}
	case bare == "True" || bare == "False":
		return value{text: bare}
	case bare != "" && strings.Trim(bare, "0") == "":
		return value{text: "0"}
	case strings.HasPrefix(bare, `"`) || strings.HasPrefix(bare, "'"):
		if s, ok := pythonStrings(bare); ok {
			return value{text: s}
		}
	case container.MatchString(bare) && !template(bare) && !bracketedIP(bare):
		return value{text: bare, kind: kindOther}
	default:
		if n, err := strconv.ParseInt(bare, 0, 64); err == nil && (bare == "0" || bare[0] != '0' || strings.ContainsAny(bare, "xXoObB")) {
			return value{text: strconv.FormatInt(n, 10)}
		}
	}
	return value{text: text}
}

// beforeComment leaves out a comment as Python does inside a literal. For text that is no literal nothing is left out.
func beforeComment(text string) string {
	var quote byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '"' || c == '\'':
			quote = c
		case c == '#':
			return text[:i]
		}
	}
	return text
}

// pythonStrings joins the Python strings that stand beside one another; ok is false for what is none.
func pythonStrings(text string) (joined string, ok bool) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		end := 1
		for end < len(text) && text[end] != text[0] {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		if text[0] != '"' && text[0] != '\'' || end >= len(text) {
			return "", false
		}
		part, ok := pythonString(text[1:end])
		if !ok {
			return "", false
		}
		joined += part
		text = text[end+1:]
	}
	return joined, true
}

// pythonString resolves the escapes of a Python string; ok is false for those that we do not know.
func pythonString(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.ReplaceAll(s, `\'`, `'`), `"`, `\"`) + `"`)
	return out, err == nil
}
