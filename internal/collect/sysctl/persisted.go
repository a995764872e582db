package sysctl

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// maxAssignments bounds the list. A node may have a few lines for each interface, never this many.
const maxAssignments = 20_000

// persisted lists the assignments that concern us in the order in which the node applies them at boot: the kernel those of its
// command line, then the files. It is unreadable as a whole when any of it is, because the part that is missing could win.
func (r *reader) persisted(bootReader snapshot.Value[string]) snapshot.Value[[]snapshot.Assignment] {
	before := len(r.missing)
	p := &persistence{concern: concerns(), list: []snapshot.Assignment{}}
	for _, a := range r.cmdline() {
		p.addCmdline(a)
	}
	files, _ := r.confFiles("sysctl.d")
	for _, f := range files {
		p.addFile(f, false)
	}
	r.addConf(p, files, bootReader)
	if len(p.list) > maxAssignments {
		r.miss("sysctl.d", fmt.Sprintf("more than %d assignments", maxAssignments), "")
	}
	if len(r.missing) > before {
		m := r.missing[before]
		return snapshot.Unreadable[[]snapshot.Assignment](m.What+": "+m.Why, m.Hint)
	}
	p.override(bootReader.Or(readerSystemd))
	return snapshot.Known(p.list)
}

// addConf adds /etc/sysctl.conf where it is applied. procps reads it after everything else. systemd does not read it, but
// Debian up to 12, Ubuntu and RHEL link to it from /etc/sysctl.d/99-sysctl.conf; then its lines are in the list already, under
// the link's name. A file that nothing reads is listed all the same, as such: whoever wrote it believes otherwise.
func (r *reader) addConf(p *persistence, files []confFile, bootReader snapshot.Value[string]) {
	a := r.ev.Answer(file(pathConf))
	if why, hint := collect.Trouble(a); why != "" {
		r.miss(pathConf, why, hint)
		return
	}
	conf := confFile{path: pathConf, data: a.Data}
	who, known := bootReader.Get()
	switch {
	case a.Absent:
	case known && who == readerProcps:
		p.addFile(conf, false)
	case applies(files, a.Data):
	case known:
		p.addFile(conf, true)
	case p.sets(conf):
		why, hint := bootReader.Why()
		r.miss(pathConf, "whether anything applies it at boot is not known: "+why, hint)
	}
}

// persistence gathers the assignments.
type persistence struct {
	concern concern
	list    []snapshot.Assignment
}

func (p *persistence) addFile(f confFile, unread bool) {
	confLines(f.data, func(number int, line string) {
		a, err := parseAssignment(line)
		if err != nil || !p.concern.has(swapSeparators(a.Key)) || len(p.list) > maxAssignments {
			return
		}
		a.File, a.Line, a.Unread, a.Overridden = f.path, number, unread, f.masked || unread
		p.list = append(p.list, a)
	})
}

func (p *persistence) sets(f confFile) bool {
	probe := persistence{concern: p.concern}
	probe.addFile(f, false)
	return len(probe.list) > 0
}

// addCmdline takes "sysctl.net.ipv4.ip_forward=1" of the kernel's command line, which the kernel itself applies before it
// starts the first process (fs/proc/proc_sysctl.c process_sysctl_arg, since 5.8). Every dot separates there.
func (p *persistence) addCmdline(arg string) {
	name, value, ok := strings.Cut(arg, "=")
	rest, ours := strings.CutPrefix(strings.ReplaceAll(name, "/", "."), "sysctl.")
	if !ok || !ours || !p.concern.has(strings.ReplaceAll(rest, ".", "/")) {
		return
	}
	p.list = append(p.list, snapshot.Assignment{Key: printable(rest), Value: printable(value), File: pathCmdline, Line: 1})
}

// override marks what a later line undoes. For systemd a key has one line, be it an assignment or an exclusion: a later one takes
// its place, unless it repeats the value, and a dash on either then counts for both (parse_line in systemd's
// src/sysctl/sysctl.c). procps writes every assignment in turn, so the last one holds, and its exclusions undo none (measured
// with 4.0.2); nor does either's exclusion undo what the kernel has set itself.
func (p *persistence) override(reader string) {
	last := map[string]int{}
	for i := range p.list {
		a := &p.list[i]
		if a.Overridden {
			continue
		}
		j, set := last[a.Key]
		if !set {
			last[a.Key] = i
			continue
		}
		b := &p.list[j]
		switch {
		case a.Exclude != b.Exclude && (reader == readerProcps || b.File == pathCmdline):
			if b.Exclude {
				last[a.Key] = i
			}
		case a.Value == b.Value && a.Exclude == b.Exclude && b.File != pathCmdline:
			a.Overridden = true
			b.Ignore = b.Ignore || a.Ignore
		default:
			b.Overridden = true
			last[a.Key] = i
		}
	}
}

// parseAssignment reads one line of a sysctl.d file: "key = value", "-key = value" (failure is ignored), or "-key" (the key is
// kept out of the reach of patterns). Values are taken as they stand, quotes included.
func parseAssignment(line string) (snapshot.Assignment, error) {
	dash := strings.HasPrefix(line, "-")
	key, value, assigned := strings.Cut(line, "=")
	if !assigned && !dash {
		return snapshot.Assignment{}, errors.New("not an assignment")
	}
	key = normalize(strings.Trim(strings.TrimPrefix(key, "-"), blanks))
	if key == "" || len(key) > maxValue {
		return snapshot.Assignment{}, errors.New("no key")
	}
	return snapshot.Assignment{
		Key: printable(dotted(key)), Value: printable(strings.Trim(value, blanks)),
		Ignore: assigned && dash, Exclude: !assigned,
	}, nil
}

// normalize turns a key as written into its path below /proc/sys, as sysctl_normalize in systemd's src/shared/sysctl-util.c does:
// the first separator tells which of slash and dot separates throughout; the other one is part of names.
func normalize(key string) string {
	if i := strings.IndexAny(key, "/."); i >= 0 && key[i] == '.' {
		key = swapSeparators(key)
	}
	if key == "" {
		return ""
	}
	return strings.TrimPrefix(path.Clean("/"+key), "/")
}

// printable makes text from a file fit for the document: bounded, valid UTF-8, without control characters.
func printable(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxValue)], "\uFFFD")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return '\uFFFD'
		}
		return r
	}, s)
}

// cmdline splits the kernel's command line at unquoted blanks, quotes removed (lib/cmdline.c next_arg), up to the "--" behind
// which the arguments are the first process's own.
func (r *reader) cmdline() []string {
	a := r.ev.Answer(file(pathCmdline))
	if why, hint := collect.Trouble(a); why != "" {
		r.miss("kernel command line ("+pathCmdline+")", why, hint)
		return nil
	}
	return r.args
}

func splitCmdline(a *host.Answer) []string {
	quoted := false
	args := strings.FieldsFunc(string(a.Data), func(c rune) bool {
		if c == '"' {
			quoted = !quoted
		}
		return !quoted && unicode.IsSpace(c)
	})
	for i := range args {
		if args[i] == "--" {
			return args[:i]
		}
		args[i] = strings.ReplaceAll(args[i], `"`, "")
	}
	return args
}
