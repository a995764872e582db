package sysctl

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// modulesLoad lists the modules that are loaded at boot because a file or the kernel's command line names them: modules-load.d(5),
// modules-load= on the command line, and /etc/modules where something reads it (init scripts, or systemd through the link
// /etc/modules-load.d/modules.conf that Debian has). Masked files load nothing and are left out.
func (r *reader) modulesLoad(bootReader snapshot.Value[string]) snapshot.Value[[]snapshot.ModuleLoad] {
	before := len(r.missing)
	list := cmdlineModules(r.args)
	if why, hint := collect.Trouble(r.ev.Answer(file(pathCmdline))); why != "" {
		return snapshot.Unreadable[[]snapshot.ModuleLoad](pathCmdline+": "+why, hint)
	}
	files, _ := r.confFiles("modules-load.d")
	for _, f := range files {
		if !f.masked {
			list = append(list, namedModules(f, false)...)
		}
	}
	a := r.ev.Answer(file(pathModules))
	if why, hint := collect.Trouble(a); why != "" {
		r.miss(pathModules, why, hint)
	}
	if !a.Absent && bootReader.Or(readerSystemd) == readerProcps && !applies(files, a.Data) {
		list = append(list, namedModules(confFile{path: pathModules, data: a.Data}, true)...)
	}
	if len(r.missing) > before {
		m := r.missing[before]
		return snapshot.Unreadable[[]snapshot.ModuleLoad](m.What+": "+m.Why, m.Hint)
	}
	return snapshot.Known(list)
}

// namedModules reads one module a line. Only init scripts take arguments behind the name; systemd looks the whole line up and
// finds nothing.
func namedModules(f confFile, arguments bool) []snapshot.ModuleLoad {
	var out []snapshot.ModuleLoad
	confLines(f.data, func(_ int, line string) {
		if arguments {
			line, _, _ = strings.Cut(strings.TrimSpace(strings.Map(blank, line)), " ")
		}
		if isModule(line) {
			out = append(out, snapshot.ModuleLoad{Module: line, File: f.path})
		}
	})
	return out
}

// blank makes every white space a space: a line of nothing but form feeds has no word.
func blank(r rune) rune {
	if unicode.IsSpace(r) {
		return ' '
	}
	return r
}

// cmdlineModules reads modules_load=a,b and rd.modules_load= (for the initial RAM disk), written with "-" or "_"
// (parse_proc_cmdline_item in systemd's src/modules-load/modules-load.c).
func cmdlineModules(args []string) []snapshot.ModuleLoad {
	out := []snapshot.ModuleLoad{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if name = strings.ReplaceAll(name, "-", "_"); !ok || strings.TrimPrefix(name, "rd.") != "modules_load" {
			continue
		}
		for m := range strings.SplitSeq(value, ",") {
			if isModule(m) {
				out = append(out, snapshot.ModuleLoad{Module: m, File: pathCmdline})
			}
		}
	}
	return out
}

// isModule reports whether s can be a module's name or alias; MODULE_NAME_LEN is below 64, and aliases are short as well.
func isModule(s string) bool {
	const longest = 128
	return s != "" && len(s) <= longest && strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) < 0
}

const (
	module     = "nf_conntrack"
	maxOptions = 1000 // of one file; nf_conntrack has half a dozen
)

// moduleOptions lists the options that modprobe(8) passes to nf_conntrack, from modprobe.d(5) and from the command line
// ("nf_conntrack.hashsize=..."): hashsize sizes the table before any sysctl can.
func (r *reader) moduleOptions() snapshot.Value[[]snapshot.ModuleOption] {
	before := len(r.missing)
	list := []snapshot.ModuleOption{}
	files, _ := r.confFiles("modprobe.d")
	for _, f := range files {
		if !f.masked {
			list = append(list, fileOptions(f)...)
		}
	}
	a := r.ev.Answer(file(pathCmdline))
	for _, arg := range r.args {
		name, option, _ := strings.Cut(arg, ".")
		if sameModule(name) && option != "" {
			list = append(list, snapshot.ModuleOption{Module: module, Option: printable(option), File: pathCmdline, Line: 1})
		}
	}
	switch why, hint := collect.Trouble(a); {
	case len(r.missing) > before:
		m := r.missing[before]
		return snapshot.Unreadable[[]snapshot.ModuleOption](m.What+": "+m.Why, m.Hint)
	case why != "":
		return snapshot.Unreadable[[]snapshot.ModuleOption](pathCmdline+": "+why, hint)
	}
	return snapshot.Known(list)
}

// fileOptions reads the "options nf_conntrack ..." lines of a modprobe.d file. A backslash before the end of a line continues it;
// the line number is that of the first.
func fileOptions(f confFile) []snapshot.ModuleOption {
	var out []snapshot.ModuleOption
	number := 1
	if !bytes.Contains(f.data, []byte("options")) {
		return nil
	}
	joined := bytes.ReplaceAll(f.data, []byte("\\\n"), []byte("\v")) // a vertical tab is a blank, and keeps count
	for line := range bytes.Lines(joined) {
		first := number
		number += 1 + bytes.Count(line, []byte("\v"))
		w := strings.Fields(string(line))
		if len(w) < 3 || w[0] != "options" || !sameModule(w[1]) || len(out) >= maxOptions {
			continue
		}
		for _, option := range w[2:] {
			out = append(out, snapshot.ModuleOption{Module: module, Option: printable(option), File: f.path, Line: first})
		}
	}
	return out
}

func sameModule(name string) bool { return strings.ReplaceAll(name, "-", "_") == module }

// mentionPaths are places where people set sysctls by a command: boot scripts, units and their drop-ins, tuned profiles.
func mentionPaths() []host.Need {
	return []host.Need{
		file("/etc/rc.local"), file("/etc/rc.d/rc.local"),
		glob("/etc/systemd/system/*.service"), glob("/etc/systemd/system/*.service.d/*.conf"), glob("/etc/tuned/*/tuned.conf"),
	}
}

const (
	mentioned   = "conntrack_tcp_be_liberal"
	maxText     = 200
	maxMentions = 200
)

// mentions finds the lines that name be_liberal, dead name or true one, in those places.
func (r *reader) mentions() snapshot.Value[[]snapshot.Mention] {
	before := len(r.missing)
	list := []snapshot.Mention{}
	for _, n := range mentionPaths() {
		a := r.ev.Answer(n)
		if why, hint := collect.Trouble(a); why != "" {
			r.miss(needPath(n), why, hint)
		}
		if n.Kind == host.File {
			list = append(list, mentionsIn(needPath(n), a.Data)...)
		}
		for p, data := range a.Files {
			list = append(list, mentionsIn(p, data)...)
		}
	}
	if len(r.missing) > before {
		m := r.missing[before]
		return snapshot.Unreadable[[]snapshot.Mention](m.What+": "+m.Why, m.Hint)
	}
	slices.SortStableFunc(list, func(a, b snapshot.Mention) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return snapshot.Known(list[:min(len(list), maxMentions)])
}

func mentionsIn(file string, data []byte) []snapshot.Mention {
	var out []snapshot.Mention
	if !bytes.Contains(data, []byte(mentioned)) {
		return nil
	}
	confLines(data, func(number int, line string) {
		if i := strings.Index(line, mentioned); i >= 0 && len(out) < maxMentions {
			from := max(0, i-maxText/2) // a long line is cut around the name
			text := printable(line[from:min(len(line), from+maxText)])
			out = append(out, snapshot.Mention{File: file, Line: number, Text: strings.ToValidUTF8(text[:min(len(text), maxText)], "")})
		}
	})
	return out
}
