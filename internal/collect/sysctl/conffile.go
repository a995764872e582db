package sysctl

import (
	"bytes"
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/collect"
)

// confFile is one file of a configuration folder.
type confFile struct {
	path   string
	data   []byte
	masked bool // a file of the same name in a stronger folder stands in for it
}

// confFiles lists the *.conf files of a kind of configuration in the order in which they are applied, by name whatever their
// folder, masked ones before the file that masks them. A file that cannot be read is Missing, and ok is false, for nothing is
// certain then: it could have set anything.
func (r *reader) confFiles(kind string) (files []confFile, ok bool) {
	ok = true
	strongest := map[string]int{}
	rank := map[string]int{}
	for i, need := range confNeeds()[kind] {
		a := r.ev.Answer(need)
		if why, hint := collect.Trouble(a); why != "" {
			r.miss(path.Dir(needPath(need)), why, hint)
			ok = false
		}
		for p, data := range a.Files {
			name := path.Base(p)
			if strings.HasPrefix(name, ".") || merged(p, data, files) {
				continue
			}
			rank[p] = i
			if _, seen := strongest[name]; !seen {
				strongest[name] = i
			}
			files = append(files, confFile{path: p, data: data, masked: strongest[name] < i})
		}
	}
	slices.SortFunc(files, func(a, b confFile) int {
		return cmp.Or(cmp.Compare(path.Base(a.path), path.Base(b.path)), cmp.Compare(rank[b.path], rank[a.path]))
	})
	return files, ok
}

// merged reports whether p is another path of a file that is listed already, which it is wherever /lib is a link to /usr/lib.
func merged(p string, data []byte, files []confFile) bool {
	rest, ok := strings.CutPrefix(p, "/lib/")
	if !ok {
		return false
	}
	return slices.ContainsFunc(files, func(f confFile) bool { return f.path == "/usr/lib/"+rest && bytes.Equal(f.data, data) })
}

// applies reports whether one of the files that are not masked has these very bytes. That is how /etc/sysctl.conf and
// /etc/modules reach systemd, which reads neither: through a link in the folder (99-sysctl.conf, modules.conf) or a copy.
func applies(files []confFile, data []byte) bool {
	return slices.ContainsFunc(files, func(f confFile) bool { return !f.masked && bytes.Equal(f.data, data) })
}

// longLine is the longest line that systemd reads (LONG_LINE_MAX in src/basic/fileio.h): at a longer one it gives up on the
// file, and keeps what it has read before.
const longLine = 1 << 20

// confLines yields the lines of a file with their numbers from 1, blanks trimmed, without empty ones and comments. A NUL
// ends a line as a newline does, and a carriage return beside a newline belongs to it (read_line in src/basic/fileio.c).
func confLines(data []byte, yield func(number int, line string)) {
	for number := 1; len(data) > 0; number++ {
		end := bytes.IndexAny(data, "\n\r\x00")
		line := data
		if end < 0 {
			data = nil
		} else {
			line, data = data[:end], data[end+lineEnd(data[end:]):]
		}
		if len(line) > longLine {
			return
		}
		if line = bytes.Trim(line, blanks); len(line) > 0 && line[0] != '#' && line[0] != ';' {
			yield(number, string(line))
		}
	}
}

const blanks = " \t\n\r"

// lineEnd is the length of the line end at the front of b: newline and carriage return once each at most, or up to a NUL.
func lineEnd(b []byte) int {
	n := 1
	for n < len(b) && b[n-1] != 0 && bytes.IndexByte([]byte("\n\r\x00"), b[n]) >= 0 && bytes.IndexByte(b[:n], b[n]) < 0 {
		n++
	}
	return n
}
