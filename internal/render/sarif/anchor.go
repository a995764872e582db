package sarif

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/report"
)

// Anchor is a place in the user's repository that a finding is shown at. Line is 1-based.
type Anchor struct {
	Path string
	Line int
}

// Mapping says which file to edit for the controls that Pattern (a control id or a glob) matches.
type Mapping struct {
	Pattern string
	Anchor  Anchor
}

// ParseAnchor reads "path" or "path:line". The path is relative to the repository's root and stays inside it.
func ParseAnchor(s string) (Anchor, error) {
	a := Anchor{Path: s, Line: 1}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		if n, err := strconv.Atoi(s[i+1:]); err == nil {
			a.Path, a.Line = s[:i], n
		}
	}
	clean := path.Clean(a.Path)
	switch {
	case a.Path == "" || a.Line < 1:
		return Anchor{}, fmt.Errorf("anchor %q: use PATH or PATH:LINE, lines from 1", s)
	case path.IsAbs(clean) || clean == "." || clean == ".." || strings.HasPrefix(clean, "../"):
		return Anchor{}, fmt.Errorf("anchor %q: not a path inside the repository", s)
	}
	a.Path = clean
	return a, nil
}

// ParseMapping reads "CONTROL=path" or "CONTROL=path:line"; CONTROL may be a glob.
func ParseMapping(s string) (Mapping, error) {
	pattern, file, ok := strings.Cut(s, "=")
	if !ok || pattern == "" {
		return Mapping{}, fmt.Errorf("mapping %q: use CONTROL=PATH[:LINE]", s)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return Mapping{}, fmt.Errorf("mapping %q: bad glob", s)
	}
	a, err := ParseAnchor(file)
	return Mapping{pattern, a}, err
}

// anchor returns the first that applies: the file to edit for the control, the host's line in the inventory, the anchor for
// everything, and else a path that exists nowhere but stays the same from run to run.
func (w *Writer) anchor(h *report.Host, r *report.Result) Anchor {
	for _, m := range w.opts.Map {
		if ok, err := path.Match(m.Pattern, r.Control); ok && err == nil {
			return m.Anchor
		}
	}
	if h.File != "" {
		return Anchor{h.File, max(1, h.Line)}
	}
	if w.opts.Anchor.Path != "" {
		return w.opts.Anchor
	}
	return Anchor{virtual(h.Name, w.area(r.Control), r.Subject), 1}
}

// virtual is the path of a finding without a file: ctaudit/<host>/<area>/<subject>, in lower case. What changes from run to
// run (addresses, container ids) is left out of the subject, or GitHub would lose track of the alert.
func virtual(host, area, subject string) string {
	var stable []string
	for _, word := range strings.Fields(subject) {
		if !volatile(word) {
			stable = append(stable, word)
		}
	}
	parts := []string{"ctaudit", host, area, strings.Join(stable, " ")}
	for i, p := range parts {
		p = strings.ToLower(strings.ToValidUTF8(p, "\uFFFD"))
		if strings.Trim(p, ".") == "" { // no segment may be empty, "." or ".."
			p = "node"
		}
		parts[i] = strings.ReplaceAll(p, "/", "-")
	}
	return strings.Join(parts, "/")
}

var containerID = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

func volatile(word string) bool {
	word = strings.Trim(word, "()[],;")
	if containerID.MatchString(word) {
		return true
	}
	if _, err := netip.ParseAddr(word); err == nil {
		return true
	}
	if _, err := netip.ParsePrefix(word); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(word)
	return err == nil
}

// uri percent-encodes a relative path: everything but unreserved characters and "/" (RFC 3986), so that neither a space nor a
// colon that looks like a scheme remains.
func uri(p string) string {
	var b strings.Builder
	for i := range len(p) {
		c := p[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
