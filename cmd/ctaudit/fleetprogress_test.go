package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/report"
)

// TestProgress: in a log a line now and then, with what matters and how long it takes; on a terminal one line, which is taken away.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := (&app{streams: streams{err: &out}}).newProgress(100, 20)
	p.now, p.begun, p.said = func() time.Time { return clock }, clock, clock
	bad := &report.Host{Results: []report.Result{{Outcome: report.Fail}, {Outcome: report.Fail}}}
	for i := range 80 {
		clock = clock.Add(500 * time.Millisecond)
		h := &report.Host{}
		switch {
		case i%10 == 0:
			h = bad
		case i%20 == 5:
			h = &report.Host{Status: report.HostError}
		}
		p.host(h)
	}
	p.end()
	want := `30 of 100 hosts done, 1 with findings, 1 not audited, 2.0/s, 35s left
40 of 100 hosts done, 2 with findings, 1 not audited, 2.0/s, 30s left
50 of 100 hosts done, 3 with findings, 2 not audited, 2.0/s, 25s left
60 of 100 hosts done, 4 with findings, 2 not audited, 2.0/s, 20s left
70 of 100 hosts done, 5 with findings, 3 not audited, 2.0/s, 15s left
80 of 100 hosts done, 6 with findings, 3 not audited, 2.0/s, 10s left
90 of 100 hosts done, 7 with findings, 4 not audited, 2.0/s, 5s left
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	out.Reset()
	p = (&app{streams: streams{err: &out}}).newProgress(2, 0)
	p.terminal = true
	p.host(bad)
	p.draw()
	p.end()
	if s := out.String(); !strings.HasPrefix(s, "\r1 of 2 hosts done, 1 with findings") || !strings.HasSuffix(s, "\r\x1b[K") || strings.Contains(s, "\n") {
		t.Errorf("on a terminal: %q", s)
	}
}
