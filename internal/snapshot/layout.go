package snapshot

import "bytes"

// layoutDepth is how deep containers are broken into lines. A rule stands at 8: document, section, tables, table, chains,
// chain, rules, rule.
const layoutDepth = 7

// layOut breaks compact JSON into lines so that two snapshots compare line by line: containers down to layoutDepth that
// hold other containers get one line for each member, everything else stays on one line.
func layOut(compact []byte) []byte {
	out := make([]byte, 0, len(compact)+len(compact)/8)
	var broken []bool // by depth: is this container broken into lines?
	for i := 0; i < len(compact); i++ {
		switch c := compact[i]; c {
		case '"':
			end := stringEnd(compact, i)
			out = append(out, compact[i:end]...)
			i = end - 1
		case '{', '[':
			b := len(broken) < layoutDepth && nested(compact[i+1:])
			broken = append(broken, b)
			out = newLine(append(out, c), b, len(broken))
		case '}', ']':
			b := len(broken) > 0 && broken[len(broken)-1]
			broken = broken[:max(0, len(broken)-1)]
			out = append(newLine(out, b, len(broken)), c)
		case ',':
			b := len(broken) > 0 && broken[len(broken)-1]
			out = newLine(append(out, c), b, len(broken))
		case ':':
			out = append(out, ':', ' ')
		default:
			out = append(out, c)
		}
	}
	return append(out, '\n')
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

// nested reports whether the container whose content begins here holds another one that is not empty.
func nested(b []byte) bool {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i) - 1
		case '{', '[':
			if i+1 < len(b) && b[i+1] != b[i]+2 { // '}' and ']' are two behind '{' and '['
				return true
			}
			i++
		case '}', ']':
			return false
		}
	}
	return false
}

// stringEnd returns the index behind the string that begins at i.
func stringEnd(b []byte, i int) int {
	for j := i + 1; j < len(b); j++ {
		next := bytes.IndexAny(b[j:], `"\`)
		if next < 0 {
			return len(b)
		}
		if j += next; b[j] == '"' {
			return j + 1
		}
		j++ // the escaped byte
	}
	return len(b)
}
