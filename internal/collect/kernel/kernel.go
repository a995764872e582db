// Package kernel collects what runs the node: release, vendor, modules, the parts of the kernel's configuration that concern
// netfilter, and the size of the machine.
package kernel

import (
	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// New returns the collector of the kernel section. Documents of one collector may share what two nodes have in common.
func New() collect.Collector { return collector{&known{}} }

type collector struct{ known *known }

// known is what was parsed before, by the kind of the file.
type known struct {
	packed, plain memo[configured]
	builtin       memo[[]string]
}

func (collector) Name() string { return "kernel" }

const (
	pathRelease   = "/proc/sys/kernel/osrelease"
	pathVersion   = "/proc/sys/kernel/version"
	pathSignature = "/proc/version_signature" // Ubuntu's kernels only
	pathOSRelease = "/etc/os-release"
	pathOSVendor  = "/usr/lib/os-release"
	pathModules   = "/proc/modules"
	pathConfig    = "/proc/config.gz"
	pathCPUs      = "/sys/devices/system/cpu/online"
	pathMemory    = "/proc/meminfo"
	pathUptime    = "/proc/uptime"
	globBuiltin   = "/lib/modules/*/modules.builtin"
	globConfig    = "/boot/config-*"
	globModConfig = "/lib/modules/*/config"
)

// globLimit is ample for the files of a dozen installed kernels; one is about 300 KiB.
const globLimit = 16 << 20

func (collector) Needs() []host.Need {
	var needs []host.Need
	for _, p := range []string{
		pathRelease, pathVersion, pathSignature, pathOSRelease, pathOSVendor, pathModules, pathConfig, pathCPUs, pathMemory, pathUptime,
	} {
		needs = append(needs, file(p))
	}
	return append(needs, glob(globBuiltin), glob(globConfig), glob(globModConfig))
}

func file(path string) host.Need { return host.Need{Kind: host.File, Args: []string{path}} }

func glob(pattern string) host.Need {
	return host.Need{Kind: host.Glob, Args: []string{pattern}, Limit: globLimit}
}

// Collect fills doc.Kernel.
func (c collector) Collect(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
	r := reader{ev: ev, known: c.known}
	k := &doc.Kernel
	k.Release = must(&r, pathRelease, "kernel release", parseLine)
	k.Version = must(&r, pathVersion, "kernel version", parseLine)
	k.OSRelease = r.osRelease()
	release, version := k.Release.Or(""), k.Version.Or("")
	k.Vendor = vendor(release, version, k.OSRelease)
	k.Upstream = upstream(k.Vendor, release, version, read(&r, pathSignature, "version signature", parseLine).Or(""))
	k.Modules = read(&r, pathModules, "loaded modules", parseModules)
	config := r.config(release)
	k.Config = optionsOf(config)
	k.Builtin = r.builtin(release, config)
	k.CPUs = must(&r, pathCPUs, "number of CPUs", parseCPUList)
	k.MemoryKiB = must(&r, pathMemory, "size of memory", parseMemTotal)
	k.UptimeSeconds = must(&r, pathUptime, "uptime", parseUptime)
	return r.missing
}

// reader gathers what is missing while it reads.
type reader struct {
	ev      *host.Evidence
	known   *known
	missing []snapshot.Missing
}

func read[T any](r *reader, path, what string, parse func([]byte) (T, error)) snapshot.Value[T] {
	v, missing := collect.Parse(r.ev.Answer(file(path)), what+" ("+path+")", parse)
	r.missing = append(r.missing, missing...)
	return v
}

// must is read for what every Linux has: where the file is not there, /proc or /sys is not mounted or is masked, and the value
// is unreadable, not absent.
func must[T any](r *reader, path, what string, parse func([]byte) (T, error)) snapshot.Value[T] {
	v := read(r, path, what, parse)
	if !v.IsAbsent() {
		return v
	}
	why, hint := path+" is not there", "mount /proc and /sys"
	r.miss(what+" ("+path+")", why, hint)
	return snapshot.Unreadable[T](why, hint)
}

// osRelease takes /etc/os-release, and /usr/lib/os-release only when there is no such file, as os-release(5) has it. A node
// without either (a minimal image) has an empty one.
func (r *reader) osRelease() map[string]string {
	if v := read(r, pathOSRelease, "os-release", parseOSRelease); !v.IsAbsent() {
		return v.Or(nil)
	}
	return read(r, pathOSVendor, "os-release", parseOSRelease).Or(nil)
}

func (r *reader) miss(what, why, hint string) {
	r.missing = append(r.missing, snapshot.Missing{What: what, Why: why, Hint: hint})
}
