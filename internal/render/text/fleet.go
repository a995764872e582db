package text

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/report"
)

// Fleet is the handler for many hosts: what they have in common is said once, with the hosts it is true of. Of each host it
// keeps the name in the causes it belongs to, and no more. With Options.Verbose it writes every host in full before.
type Fleet struct {
	*Writer
	full      bool
	hosts     int
	states    map[report.State][]string
	findings  causes
	undecided causes
	unread    causes
	unaudited causes
	scopes    causes
}

// NewFleet returns a handler that writes to w when it ends.
func NewFleet(w io.Writer, opts Options) *Fleet {
	return &Fleet{Writer: New(w, opts), full: opts.Verbose, states: map[report.State][]string{}}
}

// cause is hosts that show the same, but for what is each host's own (addresses, identifiers, counters).
type cause struct {
	example  report.Result // the first host's
	controls []string      // that are undecided for it
	hosts    []string
	differs  bool // in what is each host's own
	fixes    bool // differ
}

// causes are in the order in which they were met first.
type causes struct {
	at   map[string]int
	list []*cause
}

// add notes that a host shows r; key is what it has in common with others.
func (c *causes) add(key, host string, r *report.Result) *cause {
	i, ok := c.at[key]
	if !ok {
		if c.at == nil {
			c.at = map[string]int{}
		}
		i = len(c.list)
		c.at[key] = i
		c.list = append(c.list, &cause{example: *r})
	}
	g := c.list[i]
	if n := len(g.hosts); n == 0 || g.hosts[n-1] != host {
		g.hosts = append(g.hosts, host)
	}
	g.differs = g.differs || ok && (r.Message != g.example.Message || r.Subject != g.example.Subject || !slices.Equal(r.Evidence, g.example.Evidence))
	g.fixes = g.fixes || r.Fix != g.example.Fix
	return g
}

// sorted puts the worst in front, and among those what the fewest hosts show.
func (c *causes) sorted(area func(*report.Result) int) []*cause {
	slices.SortStableFunc(c.list, func(a, b *cause) int {
		return cmp.Or(cmp.Compare(rank(b.example.Severity), rank(a.example.Severity)), cmp.Compare(len(a.hosts), len(b.hosts)),
			cmp.Compare(area(&a.example), area(&b.example)), cmp.Compare(a.example.Control, b.example.Control))
	})
	return c.list
}

// Host takes one host.
func (f *Fleet) Host(h *report.Host) error {
	if f.hosts++; f.full {
		if err := f.Writer.Host(h); err != nil {
			return err
		}
	}
	if h.Status == report.HostError {
		own := ownTo(h.Name)
		key := strings.Join([]string{h.Stage, own.common(h.Error), own.common(h.Hint)}, "\x00")
		f.unaudited.add(key, h.Name, &report.Result{Subject: h.Stage, Message: h.Error, Hint: h.Hint})
		return nil
	}
	if s := stateOf(h.Answers); s != "" {
		f.states[s] = append(f.states[s], h.Name)
	}
	own := ownTo(h.Name)
	if h.Scope != "" {
		f.scopes.add(own.common(h.Scope), h.Name, &report.Result{Message: h.Scope})
	}
	for _, r := range outcomes(h.Results, report.Fail) {
		f.findings.add(own.key(r), h.Name, r)
	}
	for _, alike := range f.alikeUnknowns(h) {
		names := make([]string, len(alike))
		for i, r := range alike {
			names[i] = r.Control
		}
		first := alike[0]
		key := strings.Join([]string{strings.Join(names, " "), own.common(first.Subject), own.common(first.Message), own.common(first.Hint)}, "\x00")
		f.undecided.add(key, h.Name, first).controls = names
	}
	for _, c := range unreadBy(h.Missing) {
		key := strings.Join([]string{c.collector, own.common(strings.Join(c.what, ", ")), own.common(c.why), own.common(c.hint)}, "\x00")
		f.unread.add(key, h.Name, &report.Result{Control: c.collector, Subject: strings.Join(c.what, ", "), Message: c.why, Hint: c.hint})
	}
	return nil
}

// stateOf is the worst that the answers say of a host.
func stateOf(answers []report.Answer) report.State {
	worst := report.State("")
	for i := range answers {
		if slices.Index(states[:], answers[i].State) > slices.Index(states[:], worst) {
			worst = answers[i].State
		}
	}
	return worst
}

var states = [...]report.State{report.NotConcerned, report.Protected, report.Undecided, report.Exposed}

// End writes everything.
func (f *Fleet) End(s report.Summary, e report.Exit) error {
	if f.full && f.hosts > 0 {
		f.line("")
	}
	f.line(f.in(bold, count(s.Hosts, "host")))
	f.overview()
	f.printScopes(s)
	f.printFindings(s)
	f.printUndecided(s)
	f.printUnread(s)
	f.printUnaudited(s)
	f.line("")
	f.wrapped("", fmt.Sprintf("coverage: %d of %s audited, %s %% of the controls decided",
		s.Hosts-s.Errors, count(s.Hosts, "host"), report.Percent(s.Coverage)))
	return f.Writer.End(s, e)
}

func (f *Fleet) overview() {
	if len(f.states) == 0 {
		return
	}
	f.line("")
	for _, s := range slices.Backward(states[:]) {
		hosts := f.states[s]
		if len(hosts) == 0 {
			continue
		}
		mark, label, style := f.state(&report.Answer{State: s})
		f.wrapped("  "+f.in(style, mark+" "+pad(label, 12))+" "+pad(count(len(hosts), "host"), 11), f.names(hosts))
	}
}

// printScopes says of which hosts something else was read than their names promise.
func (f *Fleet) printScopes(s report.Summary) {
	if len(f.scopes.list) == 0 {
		return
	}
	f.section("Not the whole node")
	for _, g := range f.scopes.sorted(func(*report.Result) int { return 0 }) {
		if !f.opts.Quiet {
			f.line("")
		}
		f.wrapped("  "+f.in(purple, "SCOPE")+"  ", f.safe(g.example.Message))
		f.who(g, s)
	}
}

// namesShown is how many hosts of a cause are named before the rest is only counted.
const namesShown = 4

func (f *Fleet) names(hosts []string) string {
	shown := hosts
	if !f.full && len(hosts) > namesShown+1 {
		shown = hosts[:namesShown]
	}
	safe := make([]string, len(shown))
	for i, h := range shown {
		safe[i] = f.safe(h)
	}
	s := strings.Join(safe, ", ")
	if more := len(hosts) - len(shown); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// who says how many hosts a cause has, and which.
func (f *Fleet) who(g *cause, s report.Summary) {
	f.wrapped(indent+f.in(bold, fmt.Sprintf("%d of %s", len(g.hosts), count(s.Hosts, "host")))+": ", f.names(g.hosts))
}

// what says what the hosts show, and where the example is from if it is only one of several.
func (f *Fleet) what(g *cause) {
	on := ""
	if g.differs {
		on = "on " + f.safe(g.hosts[0]) + ", "
	}
	f.wrapped(indent, on+f.safe(g.example.Subject)+": "+f.safe(g.example.Message))
}

func (f *Fleet) printFindings(s report.Summary) {
	if len(f.findings.list) == 0 {
		return
	}
	f.section("Findings")
	for _, g := range f.findings.sorted(f.area) {
		r := &g.example
		if !f.opts.Quiet {
			f.line("")
		}
		label := f.in(severityStyle(r.Severity), fmt.Sprintf("%-8s", strings.ToUpper(string(r.Severity))))
		f.wrapped("  "+label+" "+f.in(bold, f.safe(r.Control))+"  ", f.safe(f.controls[r.Control].Title))
		f.who(g, s)
		f.what(g)
		if f.opts.Quiet {
			continue
		}
		f.evidence(r.Evidence)
		f.hint(r)
		f.remedy(g)
	}
}

func (f *Fleet) remedy(g *cause) {
	switch advice := f.controls[g.example.Control].Remediation; {
	case g.example.Fix != "" && g.fixes:
		f.fixOn(" on "+f.safe(g.hosts[0]), g.example.Fix)
	case g.example.Fix != "":
		f.fix(g.example.Fix)
	case advice != "":
		f.wrapped(indent+f.in(cyan, "fix")+"   ", f.safe(advice))
	}
}

func (f *Fleet) printUndecided(s report.Summary) {
	if len(f.undecided.list) == 0 {
		return
	}
	f.section("Undecided")
	for _, g := range f.undecided.sorted(f.area) {
		if !f.opts.Quiet {
			f.line("")
		}
		f.wrapped("  "+f.in(purple, "UNKNOWN ")+" ", f.safe(strings.Join(g.controls, ", ")))
		f.who(g, s)
		f.what(g)
		f.hint(&g.example)
	}
}

func (f *Fleet) printUnread(s report.Summary) {
	if len(f.unread.list) == 0 {
		return
	}
	f.section("Could not be read")
	for _, g := range f.unread.sorted(f.area) {
		if !f.opts.Quiet {
			f.line("")
		}
		on := ""
		if g.differs {
			on = " (" + f.safe(g.hosts[0]) + ")"
		}
		f.wrapped("  "+pad(f.safe(g.example.Control), 9)+"  ", f.safe(g.example.Subject)+": "+f.safe(g.example.Message)+on)
		f.who(g, s)
		f.hint(&g.example)
	}
}

func (f *Fleet) printUnaudited(s report.Summary) {
	if len(f.unaudited.list) == 0 {
		return
	}
	f.section("Not audited")
	for _, g := range f.unaudited.sorted(func(*report.Result) int { return 0 }) {
		if !f.opts.Quiet {
			f.line("")
		}
		what := f.safe(g.example.Message)
		if g.example.Subject != "" {
			what = f.safe(g.example.Subject) + ": " + what
		}
		if g.differs {
			what += " (" + f.safe(g.hosts[0]) + ")"
		}
		f.wrapped("  "+f.in(red, f.g.bad+" ERROR ")+" ", what)
		f.who(g, s)
		f.hint(&g.example)
	}
}
