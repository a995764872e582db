package snapshot

import (
	"bytes"
	"io"
)

// layoutDepth is how deep containers are broken into lines. A rule stands at 8: document, section, tables, table, chains,
// chain, rules, rule.
const layoutDepth = 7

// layout breaks the compact JSON that is written to it into lines so that two snapshots compare line by line: containers
// down to layoutDepth that hold other containers get one line for each member, everything else stays on one line. It holds
// no more than a string, or a container that holds no other, at a time.
type layout struct {
	w      io.Writer
	in     []byte // not laid out yet
	out    []byte
	broken []bool // by depth: is this container broken into lines?
	err    error  // of w
}

// Write takes the next part of the document.
func (l *layout) Write(p []byte) (int, error) {
	l.in = append(l.in, p...)
	i := 0
	for i < len(l.in) {
		n := l.token(l.in[i:])
		if n == 0 {
			break
		}
		i += n
	}
	l.in = append(l.in[:0], l.in[i:]...)
	if _, l.err = l.w.Write(l.out); l.err != nil {
		return 0, l.err
	}
	l.out = l.out[:0]
	return len(p), nil
}

// token lays out what b begins with and returns its length, 0 when more must come first.
func (l *layout) token(b []byte) int {
	switch c := b[0]; c {
	case '"':
		end := stringEnd(b, 0)
		if end < 0 {
			return 0
		}
		l.out = append(l.out, b[:end]...)
		return end
	case '{', '[':
		broken, sure := false, true
		if len(l.broken) < layoutDepth {
			broken, sure = nested(b[1:])
		}
		if !sure {
			return 0
		}
		l.broken = append(l.broken, broken)
		l.out = newLine(append(l.out, c), broken, len(l.broken))
	case '}', ']':
		broken := len(l.broken) > 0 && l.broken[len(l.broken)-1]
		l.broken = l.broken[:max(0, len(l.broken)-1)]
		l.out = append(newLine(l.out, broken, len(l.broken)), c)
	case ',':
		l.out = newLine(append(l.out, c), len(l.broken) > 0 && l.broken[len(l.broken)-1], len(l.broken))
	case ':':
		l.out = append(l.out, ':', ' ')
	default:
		l.out = append(l.out, c)
	}
	return 1
}

func newLine(out []byte, broken bool, depth int) []byte {
	if !broken {
		if n := len(out); n > 0 && out[n-1] == ',' {
			return append(out, ' ')
		}
		return out
	}
	out = append(out, '\n')
	for range depth {
		out = append(out, '\t')
	}
	return out
}

// nested reports whether the container whose content begins here holds another one that is not empty; sure is false when b
// ends before that is known.
func nested(b []byte) (broken, sure bool) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := stringEnd(b, i)
			if end < 0 {
				return false, false
			}
			i = end - 1
		case '{', '[':
			if i+1 == len(b) {
				return false, false
			}
			if b[i+1] != b[i]+2 { // '}' and ']' are two behind '{' and '['
				return true, true
			}
			i++
		case '}', ']':
			return false, true
		}
	}
	return false, false
}

// stringEnd returns the index behind the string that begins at i, -1 when it does not end.
func stringEnd(b []byte, i int) int {
	for j := i + 1; j < len(b); j++ {
		next := bytes.IndexAny(b[j:], `"\`)
		if next < 0 {
			return -1
		}
		if j += next; b[j] == '"' {
			return j + 1
		}
		j++ // the escaped byte
	}
	return -1
}
