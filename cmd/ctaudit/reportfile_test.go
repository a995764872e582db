package main

import (
	"io"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/report"
)

// repeated is a text over and over, up to so many bytes.
type repeated struct {
	text string
	left int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.left)], r.text)
	r.left -= n
	return n, nil
}

// TestHostileReports: a report from elsewhere costs no more memory than its largest host, which is bounded.
func TestHostileReports(t *testing.T) {
	huge := func() io.Reader { return &repeated{strings.Repeat("x", 1<<15), 2 * journal.MaxLine} }
	deep := func() io.Reader { return &repeated{strings.Repeat("[", 1<<15), 1 << 20} }
	for name, c := range map[string]struct {
		parts []io.Reader
		want  string
	}{
		"one host":     {[]io.Reader{strings.NewReader(`{"hosts":[{"name":"a"},{"name":"`), huge()}, "host 2, at byte 23: a part of it is larger than 64 MiB"},
		"another part": {[]io.Reader{strings.NewReader(`{"other":"`), huge()}, "a part of it is larger than 64 MiB"},
		"a key":        {[]io.Reader{strings.NewReader(`{"`), huge()}, "a part of it is larger than 64 MiB"},
		"deep":         {[]io.Reader{strings.NewReader(`{"hosts":[{"name":`), deep()}, "exceeded max depth"},
		"deep beside":  {[]io.Reader{strings.NewReader(`{"x":`), deep()}, "exceeded max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := eachHost(io.MultiReader(c.parts...), func(*report.Host) error { return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
