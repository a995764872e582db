package text

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

func step(hook, packet, verdict string, rule int) report.Step {
	s := report.Step{Hook: hook, Backend: netfilter.Legacy, Family: netfilter.IP, Table: "filter", Chain: strings.ToUpper(hook), Packet: packet, Verdict: verdict}
	if rule > 0 {
		s.By = &netfilter.RuleRef{Backend: netfilter.Legacy, Table: "filter", Chain: s.Chain, Number: rule, Text: "-j X"}
	}
	return s
}

func policy(s report.Step) report.Step {
	s.By = &netfilter.RuleRef{Backend: s.Backend, Table: s.Table, Chain: s.Chain, Policy: netfilter.VerdictKind(s.Verdict)}
	return s
}

// draw returns the picture of an answer.
func draw(t *testing.T, o Options, reset string, path ...report.Step) string {
	t.Helper()
	var b bytes.Buffer
	p := newPrinter(&b, o)
	p.picture(&report.Answer{Interface: "eth0", Reset: reset, Path: path})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return "\n" + b.String()
}

func TestPicture(t *testing.T) {
	wide := Options{Unicode: true}
	for name, c := range map[string]struct {
		opts  Options
		reset string
		path  []report.Step
		want  string
	}{
		"answered": {wide, "yes", []report.Step{step("prerouting", "packet", "continue", 0), step("input", "packet", "accept", 3), step("output", "reset", "continue", 0)}, `
   eth0 ─▶ PREROUTING ─▶ INPUT                   ─▶ ✗ TCP answers RST
           filter ok     filter accept by rule 3
   RST  ─▶ OUTPUT    ─▶ ✗ the peer sees a reset
           filter ok
`},
		"dropped": {wide, "no", []report.Step{step("input", "packet", "drop", 1)}, `
   eth0 ─▶ INPUT                 ─▶ ✓ dropped
           filter drop by rule 1
`},
		"the rst is dropped": {wide, "no", []report.Step{step("input", "packet", "continue", 0), step("output", "reset", "drop", 2)}, `
   eth0 ─▶ INPUT     ─▶ ✗ TCP answers RST
           filter ok
   RST  ─▶ OUTPUT                ─▶ ✓ the RST is dropped
           filter drop by rule 2
`},
		"rejected with a reset": {wide, "yes", []report.Step{step("input", "packet", "reject", 4)}, `
   eth0 ─▶ INPUT                   ─▶ ✗ rejected with RST
           filter reject by rule 4
`},
		"rejected with icmp": {wide, "no", []report.Step{step("input", "packet", "reject", 4)}, `
   eth0 ─▶ INPUT                   ─▶ ✓ rejected with an ICMP error
           filter reject by rule 4
`},
		"undecided": {wide, "depends", []report.Step{step("forward", "packet", "depends", 1), step("postrouting", "packet", "continue", 0)}, `
   eth0 ─▶ FORWARD            ─▶ POSTROUTING ─▶ ? undecided
           filter ? by rule 1    filter ok
`},
		"delivered": {wide, "no", []report.Step{step("input", "packet", "accept", 1)}, `
   eth0 ─▶ INPUT                   ─▶ ✓ delivered
           filter accept by rule 1
`},
		"nat is left out, many are counted": {wide, "yes", []report.Step{step("prerouting", "packet", "skipped", 0), step("input", "packet", "continue", 0), step("input", "packet", "continue", 0), step("input", "packet", "continue", 0)}, `
   eth0 ─▶ PREROUTING ─▶ INPUT       ─▶ ✗ TCP answers RST
                         3 chains ok
`},
		"by policy": {wide, "no", []report.Step{policy(step("input", "packet", "continue", 0)), policy(step("input", "packet", "drop", 0))}, `
   eth0 ─▶ INPUT                 ─▶ ✓ dropped
           filter ok
           filter drop by policy
`},
		"nothing on the way": {wide, "yes", nil, `
   eth0 ─▶ ✗ TCP answers RST
`},
		"ascii": {Options{}, "yes", []report.Step{step("input", "packet", "accept", 3)}, `
   eth0 -> INPUT                   -> x TCP answers RST
           filter accept by rule 3
`},
		"short": {Options{Unicode: true, Width: 50}, "yes", []report.Step{step("input", "packet", "accept", 3)}, `
   eth0 ─▶ INPUT            ─▶ ✗ TCP answers RST
           accept by rule 3
`},
		"down": {Options{Unicode: true, Width: 40}, "yes", []report.Step{step("prerouting", "packet", "continue", 0), step("input", "packet", "accept", 3), step("output", "reset", "continue", 0)}, `
   eth0
    ▼ PREROUTING
    │   filter ok
    ▼ INPUT
    │   filter accept by rule 3
    ▼ ✗ TCP answers RST
   RST
    ▼ OUTPUT
    │   filter ok
    ▼ ✗ the peer sees a reset
`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := draw(t, c.opts, c.reset, c.path...); got != c.want {
				t.Errorf("got%swant%s", got, c.want)
			}
		})
	}
}

// TestColoursChangeNothing: without its SGR sequences the coloured report is the plain one.
func TestColoursChangeNothing(t *testing.T) {
	path := []report.Step{step("prerouting", "packet", "continue", 0), step("input", "packet", "accept", 3), step("output", "reset", "drop", 1)}
	plain := draw(t, Options{Unicode: true}, "no", path...)
	coloured := draw(t, Options{Unicode: true, Color: true}, "no", path...)
	var b strings.Builder
	for part := range strings.SplitSeq(coloured, "\x1b[") {
		if _, rest, ok := strings.Cut(part, "m"); ok && b.Len() > 0 {
			part = rest
		}
		b.WriteString(part)
	}
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	if got := strings.Join(lines, "\n"); got != plain || coloured == plain {
		t.Errorf("got %s\nwant %s", got, plain)
	}
}

func TestState(t *testing.T) {
	p := newPrinter(nil, Options{Unicode: true})
	for _, c := range []struct {
		state report.State
		reset string
		want  string
	}{
		{report.Exposed, "yes", "✗ EXPOSED"},
		{report.Exposed, "some", "✗ PARTLY OPEN"},
		{report.Protected, "yes", "✓ PROTECTED"},
		{report.Undecided, "yes", "? UNDECIDED"},
		{report.NotConcerned, "yes", "· NO CONCERN"},
		{"", "yes", "✗ RESET"},
		{"", "some", "✗ SOME RESET"},
		{"", "no", "✓ NO RESET"},
		{"", "depends", "? UNDECIDED"},
		{"", "", "? UNDECIDED"},
		{"else", "else", "? UNDECIDED"},
	} {
		if mark, label, _ := p.state(&report.Answer{State: c.state, Reset: c.reset}); mark+" "+label != c.want {
			t.Errorf("%s, %s: got %s %s, want %s", c.state, c.reset, mark, label, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in      string
		columns int
		want    string
	}{
		{"", 10, ""},
		{"a b c", 3, "a b|c"},
		{"abcdef g", 3, "abcdef|g"},
		{"日本 語", 4, "日本|語"},
		{"  a \n b ", 10, "a b"},
		{"\x1b[1mab\x1b[0m cd", 5, "\x1b[1mab\x1b[0m cd"},
	} {
		if got := strings.Join(wrap(c.in, c.columns), "|"); got != c.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", c.in, c.columns, got, c.want)
		}
	}
}

func TestFit(t *testing.T) {
	p := newPrinter(nil, Options{Unicode: true})
	for in, want := range map[string]string{"short": "short", "exactly ten": "exactly t…", "日本日本日本": "日本日本…"} {
		if got := p.fit(in, 10); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}
