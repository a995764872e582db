// Package sysctl collects what the kernel's network knobs are set to, and what files would set them to at the next boot.
//
// The live values are files of /proc/sys. The files are read as those who apply them do: systemd-sysctl(8), which reads
// sysctl.d and nothing else, and "sysctl --system" of procps, which reads /etc/sysctl.conf as well, last. Which of the two a
// node runs at boot is known from its first process.
package sysctl

import (
	"path"
	"slices"
	"sync"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// New returns the collector of the sysctl section.
func New() collect.Collector { return collector{} }

type collector struct{}

func (collector) Name() string { return "sysctl" }

const (
	pathConf    = "/etc/sysctl.conf"
	pathModules = "/etc/modules"
	pathCmdline = "/proc/cmdline"
	pathInit    = "/proc/1/comm"
	pathThreads = "/proc/2/comm" // the parent of the kernel's threads, in the first process namespace alone (kernel/kthread.c)
)

func (collector) Needs() []host.Need { return needs() }

// needs are the same for every node of a fleet.
var needs = sync.OnceValue(func() []host.Need {
	needs := []host.Need{file(pathConf), file(pathModules), file(pathCmdline), file(pathInit), file(pathThreads)}
	for _, k := range liveKeys() {
		needs = append(needs, k.need)
	}
	for _, kind := range confKinds() {
		needs = append(needs, confNeeds()[kind]...)
	}
	return slices.Clip(append(needs, mentionPaths()...))
})

func file(p string) host.Need     { return host.Need{Kind: host.File, Args: []string{p}} }
func glob(p string) host.Need     { return host.Need{Kind: host.Glob, Args: []string{p}, Limit: globLimit} }
func isGlob(n host.Need) bool     { return n.Kind == host.Glob }
func needPath(n host.Need) string { return n.Args[0] }

// globLimit is far above what any folder of configuration or any node's interfaces fill.
const globLimit = 8 << 20

// confDirs are the folders of a kind of configuration, the strongest first: a file there masks those of the same name in all
// weaker ones (CONF_PATHS in systemd; procps 4 has the same order).
func confDirs(kind string) []string {
	dirs := []string{"/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"}
	for i, d := range dirs {
		dirs[i] = path.Join(d, kind)
	}
	return dirs
}

func confKinds() []string { return []string{"sysctl.d", "modules-load.d", "modprobe.d"} }

// confNeeds are the files of each kind, the strongest folder first.
var confNeeds = sync.OnceValue(func() map[string][]host.Need {
	out := map[string][]host.Need{}
	for _, kind := range confKinds() {
		for _, dir := range confDirs(kind) {
			out[kind] = append(out[kind], glob(path.Join(dir, "*.conf")))
		}
	}
	return out
})

// Collect fills doc.Sysctl.
func (collector) Collect(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
	r := reader{ev: ev}
	r.args = splitCmdline(ev.Answer(file(pathCmdline)))
	s := &doc.Sysctl
	s.Live = r.live()
	s.BootReader = r.bootReader()
	s.Contained = r.contained()
	s.Persisted = r.persisted(s.BootReader)
	s.ModulesLoad = r.modulesLoad(s.BootReader)
	s.ModuleOptions = r.moduleOptions()
	s.Mentions = r.mentions()
	return r.missing
}

// reader gathers what is missing while it reads.
type reader struct {
	ev      *host.Evidence
	args    []string // of the kernel's command line
	missing []snapshot.Missing
}

func (r *reader) miss(what, why, hint string) {
	r.missing = append(r.missing, snapshot.Missing{What: what, Why: why, Hint: hint})
}

const (
	readerSystemd = "systemd"
	readerProcps  = "procps"
)

// bootReader tells systemd, which names itself "systemd", from every other first process; the init scripts of the others run
// sysctl --system or do what it does.
func (r *reader) bootReader() snapshot.Value[string] {
	v, missing := collect.Parse(r.ev.Answer(file(pathInit)), "first process ("+pathInit+")", parseValue)
	r.missing = append(r.missing, missing...)
	comm, ok := v.Get()
	switch {
	case ok && comm == "systemd":
		return snapshot.Known(readerSystemd)
	case ok:
		return snapshot.Known(readerProcps)
	case v.IsAbsent():
		const why, hint = pathInit + " is not there", "run as root where /proc hides other users' processes"
		r.miss("first process", why, hint)
		return snapshot.Unreadable[string](why, hint)
	}
	return v
}
