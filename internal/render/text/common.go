package text

import (
	"net/netip"
	"regexp"
	"strings"

	"github.com/ctaudit/ctaudit/internal/report"
)

// own takes out of a text what is one host's own, so that the rest can be compared with other hosts'.
type own struct{ host string }

func ownTo(host string) own { return own{host} }

var (
	addressLike = regexp.MustCompile(`[0-9A-Fa-f:.\[\]]*[:.][0-9A-Fa-f:.\[\]]*(/[0-9]+)?`)
	// container ids, machine ids, digests; links that a container runtime or a network plugin names at random; processes
	identifier = regexp.MustCompile(`\b[0-9a-f]{12,64}\b|\b(veth|cali|lxc|tap|br-|fw..)[0-9a-f]{4,}\b|\bpid [0-9]+`)
	number     = regexp.MustCompile(`[0-9]+`)
)

// key is what a finding has in common with those of other hosts.
func (o own) key(r *report.Result) string {
	counted := false
	for _, e := range r.Evidence {
		counted = counted || e.Kind == "counter"
	}
	var b strings.Builder
	for _, s := range []string{r.Control, string(r.Severity), r.Subject, r.Message} {
		o.write(&b, s, counted)
	}
	for _, e := range r.Evidence {
		o.write(&b, e.Kind, false)
		o.write(&b, e.Name, false)
		o.write(&b, e.Value, counted)
	}
	return b.String()
}

func (o own) write(b *strings.Builder, s string, counted bool) {
	s = o.common(s)
	if counted { // the message repeats the counter's value, and says since when it counts
		s = number.ReplaceAllString(s, "#")
	}
	b.WriteString(s)
	b.WriteByte(0)
}

// common is a text without the host's name, addresses and identifiers.
func (o own) common(s string) string {
	if len(o.host) > 2 {
		s = strings.ReplaceAll(s, o.host, "<host>")
	}
	s = addressLike.ReplaceAllStringFunc(s, func(word string) string {
		if isAddress(strings.TrimRight(word, ".:")) {
			return "<address>" + word[len(strings.TrimRight(word, ".:")):]
		}
		return word
	})
	return identifier.ReplaceAllString(s, "<id>")
}

func isAddress(s string) bool {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return true
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(s)
	return err == nil
}
