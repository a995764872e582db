package kernel

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// kernelPattern names the vendor of kernels whose release (uname -r) matches.
type kernelPattern struct {
	vendor  string
	release *regexp.Regexp
}

// byRelease are the releases that name their vendor whatever the distribution around them is: a container's os-release, or a
// foreign kernel on a known distribution, must not win over them. The first match decides.
var byRelease = sync.OnceValue(func() []kernelPattern {
	return []kernelPattern{
		// ELRepo's kernel-ml and kernel-lt are upstream trees packaged for EL; Oracle's UEK is a line of its own.
		{"mainline", regexp.MustCompile(`\.elrepo\.`)},
		{"other", regexp.MustCompile(`el\d+uek`)},
		{"el8", regexp.MustCompile(`\.el8(?:[._]|$)`)},
		{"el9", regexp.MustCompile(`\.el9(?:[._]|$)`)},
		{"el10", regexp.MustCompile(`\.el10(?:[._]|$)`)},
		{"amzn", regexp.MustCompile(`\.amzn\d+(?:\.|$)`)},
		// Ubuntu's archive of unpatched builds: "6.5.3-060503-generic".
		{"mainline", regexp.MustCompile(`^\d+\.\d+\.\d+-\d{6}(?:rc\d+)?-(?:generic|lowlatency)`)},
		// SLE 15: version, then code stream ("150500" is 15 SP5), "5.14.21-150500.55.39-default".
		{"sle", regexp.MustCompile(`^\d+\.\d+\.\d+-150\d{3}\.`)},
		{"debian", regexp.MustCompile(`^\d+\.\d+\.\d+\+deb\d+`)},
		{"debian", regexp.MustCompile(`^\d+\.\d+\.\d+-0\.deb\d+\.`)},
	}
})

// byOSRelease are the releases that several vendors write alike; os-release's ID (or ID_LIKE) says whose they are.
var (
	debianABI = regexp.MustCompile(`^\d+\.\d+\.\d+-\d+-(?:cloud-|rt-)*(?:amd64|arm64|armmp(?:-lpae)?|686(?:-pae)?|powerpc64le|s390x|riscv64|ppc64el)$`)
	ubuntuABI = regexp.MustCompile(`^\d+\.\d+\.\d+-\d+-(?:generic|lowlatency|aws|azure|gcp|gke|gkeop|ibm|kvm|oracle|oem|raspi|realtime|nvidia)`)
	sleABI    = regexp.MustCompile(`^\d+\.\d+\.\d+-[\d.]+-(?:default|azure|rt|preempt|kvmsmall|64kb)$`)
	alpineABI = regexp.MustCompile(`^\d+\.\d+\.\d+-(?:\d+-)?(?:lts|virt|vanilla|edge|stable)$`)
	plain     = regexp.MustCompile(`^\d+\.\d+(?:\.\d+)?(?:-rc\d+)?\+?$`)
)

// vendor says whose kernel runs: the release first, then what the version text (uname -v) says of its builder, then
// os-release. "other" is every kernel that none of them accounts for: its tree may carry anything.
func vendor(release, version string, osRelease map[string]string) string {
	for _, p := range byRelease() {
		if p.release.MatchString(release) {
			return p.vendor
		}
	}
	is := func(ids ...string) bool { return slices.Contains(ids, osRelease["ID"]) }
	switch {
	case release == "":
		return "other"
	case debianVersion.MatchString(version):
		return "debian"
	case strings.Contains(version, "-Ubuntu "):
		return "ubuntu"
	case is("openwrt") && plain.MatchString(release):
		return "openwrt"
	case is("alpine") && alpineABI.MatchString(release):
		return "alpine"
	case is("sles", "sles_sap", "sle-micro", "sle_hpc", "opensuse-leap") && sleABI.MatchString(release):
		return "sle"
	// With a version text at hand, these two would have been told by it.
	case is("debian") && version == "" && debianABI.MatchString(release):
		return "debian"
	case is("ubuntu") && version == "" && ubuntuABI.MatchString(release):
		return "ubuntu"
	case plain.MatchString(release) && !strings.HasSuffix(release, "+"):
		return "mainline"
	}
	return "other"
}

// debianVersion finds the package's version in Debian's version text: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)".
var debianVersion = regexp.MustCompile(`\bDebian (\d+\.\d+\.\d+)-`)

// upstream says from which upstream release the kernel is made. Debian and Ubuntu freeze the patch number in the release for
// the sake of their module ABI ("5.10.0-28-amd64" is 5.10.209) and write the true one elsewhere. RHEL and SLE follow no
// upstream release, so there the value is absent.
func upstream(vendor, release, version, signature string) snapshot.Value[string] {
	text := ""
	switch vendor {
	case "debian":
		if m := debianVersion.FindStringSubmatch(version); m != nil {
			text = m[1]
		}
	case "ubuntu": // "Ubuntu 5.15.0-91.101-generic 5.15.131"
		if f := strings.Fields(signature); len(f) == 3 {
			text = f[2]
		}
	case "mainline", "alpine", "amzn", "openwrt":
		text = release
	}
	r, err := snapshot.ParseRelease(text)
	if err != nil {
		return snapshot.Absent[string]()
	}
	r.Suffix = ""
	return snapshot.Known(r.String())
}
