package inventory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// loader reads sources into one inventory, and keeps every mistake it meets.
type loader struct {
	inv      *Inventory
	stdin    io.Reader
	file     string // the source being read, as the user named it
	problems []error
	nodes    int // YAML nodes visited in the file
	stdinRed bool
	full     bool // it was said that there are too many hosts
	unsaid   int  // mistakes beyond those that are kept
}

func (l *loader) fail(line int, hint, format string, args ...any) {
	if len(l.problems) >= maxProblems {
		l.unsaid++
		return
	}
	l.problems = append(l.problems, &Error{l.file, line, fmt.Sprintf(format, args...), hint})
}

func (l *loader) warn(line int, format string, args ...any) {
	l.inv.warn(l.file, line, format, args...)
}

const listHint = "run it through Ansible: ansible-inventory -i FILE --list | ctaudit inventory list -i -"

func (l *loader) source(path string) {
	l.file = path
	if path == "-" {
		l.standardInput()
		return
	}
	info, err := os.Stat(path)
	switch {
	case err != nil && strings.Contains(path, ","):
		l.hostList(path)
	case err != nil:
		l.fail(0, "", "read inventory: %v", plain(err))
	case info.IsDir():
		l.inv.folders = append(l.inv.folders, &folder{dir: path})
		l.folder(path, 0)
	default:
		l.inv.folders = append(l.inv.folders, &folder{dir: filepath.Dir(path)})
		l.readFile(path)
	}
}

// plain is the cause alone: the place in front of a message names the file already.
func plain(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func (l *loader) standardInput() {
	if l.stdinRed || l.stdin == nil {
		l.fail(0, "", "standard input can be read once")
		return
	}
	l.stdinRed = true
	l.read(l.stdin)
}

func (l *loader) readFile(path string) {
	l.file = path
	f, err := os.Open(path)
	if err != nil {
		l.fail(0, "", "read inventory: %v", plain(err))
		return
	}
	defer f.Close()
	l.read(f)
}

func (l *loader) read(r io.Reader) {
	in := bufio.NewReader(r)
	start, _ := in.Peek(4096)
	if bytes.IndexByte(start, 0) >= 0 { // a device, an archive: not worth reading to its end
		l.fail(1+bytes.Count(start[:bytes.IndexByte(start, 0)], []byte("\n")), "", "a NUL byte: this is no inventory")
		return
	}
	text, err := io.ReadAll(io.LimitReader(in, maxText+1))
	switch {
	case err != nil:
		l.fail(0, "", "read inventory: %v", plain(err))
	case len(text) > maxText:
		l.fail(0, "", "larger than %d MiB: this is no inventory", maxText>>20)
	default:
		l.parse(text)
	}
}

// passedOver are the names that Ansible leaves out of a folder of inventories.
var passedOver = regexp.MustCompile(
	`^\.|^(host_vars|group_vars|vars_plugins)$|(~|\.(pyc|pyo|swp|bak|rpm|md|txt|rst|orig|ini|cfg|retry))$`)

func (l *loader) folder(dir string, depth int) {
	entries, err := os.ReadDir(dir)
	if err != nil || depth > maxDepth {
		l.fail(0, "", "read folder: %v", plain(err))
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		switch {
		case passedOver.MatchString(e.Name()):
			if strings.HasSuffix(e.Name(), ".ini") {
				l.inv.warn(path, 0, "passed over, as Ansible does with .ini files in a folder of inventories")
			}
		case err == nil && info.IsDir():
			l.folder(path, depth+1)
		default:
			l.readFile(path)
		}
		l.file = dir
	}
}

// form is how a source is written.
type form int

const (
	formINI form = iota // plain lists too
	formYAML
	formJSON
	formRefused
)

// parse detects the form by the content and reads it.
func (l *loader) parse(text []byte) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	switch l.detect(text) {
	case formJSON:
		l.parseJSON(text)
	case formYAML:
		l.parseYAML(text)
	case formINI:
		l.parseINI(text)
	case formRefused:
	}
}

func (l *loader) detect(text []byte) form {
	start := bytes.TrimLeft(text, " \t\r\n")
	switch {
	case bytes.HasPrefix(start, []byte("{")) && looksJSON(start):
		return formJSON
	case len(text) > maxYAML:
		l.fail(0, "", "larger than %d MiB: this is no inventory", maxYAML>>20)
	case bytes.HasPrefix(start, []byte("$ANSIBLE_VAULT;")):
		l.fail(1, "ansible-vault view FILE | ctaudit inventory list -i -", "encrypted by ansible-vault")
	case bytes.HasPrefix(text, []byte("#!")):
		l.fail(1, "run it yourself: ./SCRIPT --list | ctaudit inventory list -i -", "this is a script: ctaudit runs none")
	case bytes.IndexByte(text, 0) >= 0:
		l.fail(1+bytes.Count(text[:bytes.IndexByte(text, 0)], []byte("\n")), "", "a NUL byte: this is no inventory")
	case strings.HasSuffix(l.file, ".toml"):
		l.fail(0, listHint, "TOML inventories are not read")
	case yamlStart(start):
		return formYAML
	default:
		return formINI
	}
	return formRefused
}

// looksJSON tells JSON from YAML in flow style, which starts alike.
func looksJSON(start []byte) bool {
	rest := bytes.TrimLeft(start[1:], " \t\r\n")
	return len(rest) > 0 && (rest[0] == '"' || rest[0] == '}')
}

var yamlKey = regexp.MustCompile(`^("[^"]*"|'[^']*'|[^\s:\[\]=]+)\s*:(\s|$)`)

// yamlStart reports whether the first line that says something is YAML's.
func yamlStart(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == ';' {
			continue
		}
		return bytes.HasPrefix(line, []byte("---")) || bytes.HasPrefix(line, []byte("%YAML")) || line[0] == '{' ||
			bytes.HasPrefix(line, []byte("- ")) || yamlKey.Match(line)
	}
	return false
}

// hostList reads "a,b,", the form of a host list on Ansible's command line.
func (l *loader) hostList(list string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			l.listed(0, name)
		}
	}
}

// host finds the named host, or makes it when the name can be printed: it goes into reports as it is.
func (l *loader) host(name string, line int) *host {
	if h, ok := l.inv.hosts[name]; ok {
		return h
	}
	if !l.printable("host", name, line) {
		return nil
	}
	if len(l.inv.order) >= maxHosts {
		if !l.full {
			l.fail(line, "", "more than %d hosts", maxHosts)
		}
		l.full = true
		return nil
	}
	h := &host{name: name, file: l.file, line: line}
	l.inv.hosts[name] = h
	l.inv.order = append(l.inv.order, h)
	return h
}

// group finds the named group, or makes it.
func (l *loader) group(name string, line int) *group {
	if g, ok := l.inv.groups[name]; ok {
		return g
	}
	if !l.printable("group", name, line) {
		return nil
	}
	if len(l.inv.grouped) >= maxGroups {
		l.fail(line, "", "group %q: more than %d groups", name, maxGroups)
		return nil
	}
	return l.inv.group(name)
}

func (l *loader) printable(what, name string, line int) bool {
	switch {
	case name == "":
		l.fail(line, "", "a %s without a name", what)
	case len(name) > maxName:
		l.fail(line, "", "a %s's name of %d bytes", what, len(name))
	case !printable(name):
		l.fail(line, "", "%s %q: control characters in a name", what, name)
	default:
		return true
	}
	return false
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
