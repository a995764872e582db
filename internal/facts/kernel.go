package facts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func kernelFacts(doc *snapshot.Document) Kernel {
	k := Kernel{Release: fact(doc.Kernel.Release), Vendor: doc.Kernel.Vendor, UptimeSeconds: fact(doc.Kernel.UptimeSeconds)}
	k.Fix, k.FixWhy = kernelFix(doc)
	k.ConntrackAtBoot, k.ConntrackAtBootFile = conntrackAtBoot(doc)
	return k
}

// Measure puts what a proof showed on this kernel in the place of what its version says: "none", "partial" or "full".
func (k *Kernel) Measure(fix string) {
	k.Measured, k.Fix = true, fix
	k.FixWhy = "measured by the proof on this kernel: " + map[string]string{
		"none":    "conntrack calls a stale ACK INVALID",
		"partial": "conntrack ignores a stale ACK, but still calls other segments INVALID",
		"full":    "conntrack calls none of the proof's segments INVALID",
	}[fix]
}

// kernelFix says how much of the bug this kernel has mended, from its version. Linux 6.1 ignores old segments, delayed ACKs
// and small overshoots instead of calling them INVALID (commits d9a6f0d0df18, 6e250dcbff1d, 09a59001b0d6); no kernel does
// so for the rest. Enterprise lines carry backports, so their version decides nothing.
func kernelFix(doc *snapshot.Document) (fix, why string) {
	release, ok := doc.Kernel.Release.Get()
	if !ok {
		return "unknown", "the kernel release could not be read"
	}
	r, err := snapshot.ParseRelease(release)
	switch {
	case err != nil:
		return "unknown", "the kernel release is not understood"
	case r.Major > 6 || r.Major == 6 && r.Minor >= 1:
		return "partial", "since 6.1 conntrack ignores stale ACKs, old segments and small overshoots; segments far over the window and ACKs of unseen data still are INVALID"
	case doc.Kernel.Vendor == "openwrt":
		return "unknown", "OpenWrt's kernels can check no windows at all (nf_conntrack_tcp_no_window_check)"
	case !slices.Contains([]string{"mainline", "debian", "ubuntu", "amzn", "alpine"}, doc.Kernel.Vendor):
		return "unknown", doc.Kernel.Vendor + " kernels can carry backports: the version does not say which"
	}
	return "none", "before 6.1 a stale ACK, an old segment or one over the window is INVALID"
}

// conntrackAtBoot says whether the conntrack sysctls exist when systemd-sysctl runs.
func conntrackAtBoot(doc *snapshot.Document) (how, file string) {
	const module = "nf_conntrack"
	if cfg, ok := doc.Kernel.Config.Get(); ok && cfg["CONFIG_NF_CONNTRACK"] == "y" {
		return "builtin", ""
	}
	if b, ok := doc.Kernel.Builtin.Get(); ok && slices.Contains(b, module) {
		return "builtin", ""
	}
	loads, ok := doc.Sysctl.ModulesLoad.Get()
	for _, l := range loads {
		if strings.ReplaceAll(l.Module, "-", "_") == module {
			return "modules-load", l.File
		}
	}
	modules, listed := doc.Kernel.Modules.Get()
	if (ok || doc.Sysctl.ModulesLoad.IsAbsent()) && listed && slices.Contains(modules, module) {
		return "late", ""
	}
	if cfg, known := doc.Kernel.Config.Get(); (ok || doc.Sysctl.ModulesLoad.IsAbsent()) && known && cfg["CONFIG_NF_CONNTRACK"] == "m" {
		return "late", ""
	}
	return "unknown", ""
}

// containerFacts lists the namespaces of containers. One that no link of the node leads to, and that no runtime made, is
// no container of this node's, nor is one that the node's own default route leads to (the host of a node that is itself a
// container). What could not be read stays.
func (n *Node) containerFacts() []Container {
	out, more := []Container{}, 0
	for _, ns := range n.doc.Topology.Namespaces.Or(nil) {
		v, ok := ns.Sysctl[keyLiberal]
		if !ok {
			v = snapshot.Unreadable[string]("not collected", "")
		}
		c := Container{Name: containerName(ns), Liberal: intFact(keyLiberal, v), Connected: len(ns.Links) > 0}
		switch {
		case n.leadsOut(ns):
		case len(out) == mostContainers:
			more++
		case c.Connected || ns.Container != "" || !c.Liberal.Known:
			out = append(out, c)
		}
	}
	if more > 0 {
		why := fmt.Sprintf("the first %d containers are looked at", mostContainers)
		out = append(out, Container{Name: fmt.Sprintf("%d more namespaces", more), Liberal: unknown[int](why, "")})
	}
	if why := n.doc.Topology.NamespacesIncomplete; why != "" && len(out) > 0 {
		out = append(out, Container{Name: "namespaces that were not seen", Liberal: unknown[int](why, "run as root")})
	}
	return out
}

// leadsOut reports whether nothing but the node's way out leads to the namespace.
func (n *Node) leadsOut(ns snapshot.Namespace) bool {
	for _, i := range ns.Links {
		if l := n.byIndex[i]; l == nil || !l.hasDefault() || n.enslaved(l) {
			return false
		}
	}
	return len(ns.Links) > 0
}

func containerName(ns snapshot.Namespace) string {
	switch {
	case ns.Container != "" && ns.Runtime != "":
		return ns.Runtime + " " + ns.Container
	case ns.Container != "":
		return "container " + ns.Container
	case len(ns.PIDs) > 0:
		return "pid " + strconv.Itoa(ns.PIDs[0]) + " (" + ns.Command + ")"
	}
	if len(ns.Names) > 0 {
		return "namespace " + ns.Names[0]
	}
	return "namespace " + strconv.FormatUint(ns.ID, 10)
}
