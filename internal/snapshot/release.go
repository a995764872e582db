package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Release is a kernel release, "5.14.0-362.8.1.el9_3.x86_64". It is no semantic version: the three numbers say from which
// upstream release the tree was branched, and the vendor's suffix, which has no common form, says nothing that can be ordered
// across vendors. Only the numbers are compared.
type Release struct {
	Major, Minor, Patch int
	// Suffix is everything behind the numbers, its separator included: "-28-amd64", "-rc3", "+".
	Suffix string
}

// maxReleaseNumber keeps the numbers far from any overflow; the kernel itself has never gone beyond three digits.
const maxReleaseNumber = 1_000_000

// ParseRelease reads "major.minor", "major.minor.patch" and any suffix behind them. A missing patch number is 0, as in "6.1-rc2".
// A release candidate counts as its release, because the merge window is where netfilter changes behaviour.
func ParseRelease(s string) (Release, error) {
	var r Release
	major, rest, err := leadingNumber(s)
	if err != nil {
		return Release{}, releaseError(s, err)
	}
	if !strings.HasPrefix(rest, ".") {
		return Release{}, releaseError(s, errors.New("no minor number"))
	}
	minor, rest, err := leadingNumber(rest[1:])
	if err != nil {
		return Release{}, releaseError(s, err)
	}
	r.Major, r.Minor, r.Suffix = major, minor, rest
	if len(rest) > 1 && rest[0] == '.' && isDigit(rest[1]) {
		if r.Patch, r.Suffix, err = leadingNumber(rest[1:]); err != nil {
			return Release{}, releaseError(s, err)
		}
	}
	return r, nil
}

func releaseError(s string, cause error) error {
	const shown = 64
	if len(s) > shown {
		s = s[:shown]
	}
	return fmt.Errorf("parse kernel release %q: %w", s, cause)
}

// leadingNumber splits the digits off the front of s.
func leadingNumber(s string) (n int, rest string, err error) {
	end := 0
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	if end == 0 {
		return 0, s, errors.New("a number is missing")
	}
	n, err = strconv.Atoi(s[:end])
	if err != nil || n > maxReleaseNumber {
		return 0, s, errors.New("a number is too large")
	}
	return n, s[end:], nil
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// Compare orders two releases by their three numbers alone: negative, zero or positive as r is older than, level with or newer
// than other. Two releases that differ in their suffix only are level.
func (r Release) Compare(other Release) int {
	return cmp.Or(cmp.Compare(r.Major, other.Major), cmp.Compare(r.Minor, other.Minor), cmp.Compare(r.Patch, other.Patch))
}

// AtLeast reports whether the numbers are those of the given upstream release or of a later one. For a kernel that a vendor
// backports to, that says nothing about a single fix.
func (r Release) AtLeast(major, minor, patch int) bool {
	return r.Compare(Release{Major: major, Minor: minor, Patch: patch}) >= 0
}

// String returns the release with all three numbers written out.
func (r Release) String() string {
	return fmt.Sprintf("%d.%d.%d%s", r.Major, r.Minor, r.Patch, r.Suffix)
}
