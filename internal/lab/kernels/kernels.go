// Package kernels boots Debian's kernels in an emulated machine, so that what ctaudit says of a kernel is held against that
// kernel and not only against the one that runs the tests. The packages come from the Debian archive that this machine's apt
// uses, are verified by apt, are unpacked by dpkg-deb into memory and never installed: nothing but the cache folder changes.
//
// The machine has no disk. Its initramfs holds busybox, the modules that the proof needs, nft with its libraries and the
// programs to run; what they print leaves as one tar.gz over the second serial port.
package kernels

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/ctaudit/ctaudit/internal/lab/archive"
)

// Kernel is one that Debian ships, in its flavour for virtual machines: the same sources with fewer drivers.
type Kernel struct {
	Series string // the release begins with it, a dot behind
	Suite  string // of the Debian archive
}

// All are the kernels of the matrix, oldest first. The last one moves on with Debian's backports.
func All() []Kernel {
	return []Kernel{
		{Series: "5.10", Suite: "bullseye"},
		{Series: "6.1", Suite: "bookworm"},
		{Series: "6.12", Suite: "trixie"},
		{Series: "7", Suite: "trixie-backports"},
	}
}

// Package is what every suite calls the newest kernel of this flavour.
const Package = "linux-image-cloud-amd64"

// kernelPackages carry the kernel and its modules; which of them do differs between suites.
var kernelPackages = regexp.MustCompile(`^linux-(image|binary|modules|base)-[0-9]`)

// Image is a kernel out of its packages.
type Image struct {
	Release string            // uname -r
	Kernel  []byte            // the bzImage
	Modules map[string][]byte // by name, underscores for dashes; as the package has them
	Builtin map[string]bool   // modules that are part of the kernel

	builtin []byte // the file modules.builtin
}

// Fetch returns the kernel, out of the cache folder or else out of the archive.
func Fetch(ctx context.Context, k Kernel, cache string) (*Image, error) {
	debs, err := archive.Fetch(ctx, archive.Request{Suite: k.Suite, Package: Package, Wanted: kernelPackages}, filepath.Join(cache, k.Suite))
	if err != nil {
		return nil, fmt.Errorf("fetch Linux %s: %w", k.Series, err)
	}
	image, err := unpack(ctx, debs)
	if err != nil {
		return nil, fmt.Errorf("unpack Linux %s: %w", k.Series, err)
	}
	return image, nil
}
