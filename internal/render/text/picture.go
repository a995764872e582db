package text

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// picture draws the way of the packet, and below it the way of the RST that it provokes:
//
//	eth0 ─▶ PREROUTING ─▶ INPUT ─▶ ✗ TCP answers RST
//	        raw ok        filter accept by rule 3
//	 RST ─▶ OUTPUT ─▶ POSTROUTING ─▶ ✗ the peer's connection is reset
//	        filter ok mangle ok
//
// A way that is too wide for the terminal is drawn downwards.
func (w *printer) picture(a *report.Answer) {
	packet, reset := split(a.Path)
	start := w.safe(orElse(a.Interface, "packet"))
	for _, d := range []detail{full, short} {
		ways := w.ways(a, packet, reset, d)
		if across(start, ways) <= w.opts.Width-len(margin) {
			for _, v := range ways {
				w.wayAcross(v, width(start))
			}
			return
		}
	}
	for _, v := range w.ways(a, packet, reset, full) {
		w.wayDown(v)
	}
}

// detail is how much a picture says about each chain.
type detail int

const (
	full  detail = iota // the chains' names
	short               // only what decides
)

const margin = "   "

// way is one packet's way: where it starts, the hooks, how it ends.
type way struct {
	start string
	stops []stop
	end   cell
}

func (w *printer) ways(a *report.Answer, packet, reset []report.Step, d detail) []way {
	start := w.safe(orElse(a.Interface, "packet"))
	out := []way{{start, w.stops(packet, d), w.packetEnd(a, packet, len(reset) > 0)}}
	if len(reset) > 0 {
		out = append(out, way{"RST", w.stops(reset, d), w.resetEnd(a, reset)})
	}
	return out
}

// stop is one hook with a line for each chain that has something to say.
type stop struct {
	hook  string
	lines []cell
}

// cell is a text and its colour.
type cell struct {
	text  string
	style style
}

func split(path []report.Step) (packet, reset []report.Step) {
	for _, s := range path {
		if s.Packet == "reset" {
			reset = append(reset, s)
		} else {
			packet = append(packet, s)
		}
	}
	return packet, reset
}

// stops gathers the steps by hook. Neighbours that let the packet through by their policy share a line; nat chains that never saw
// it are left out.
func (w *printer) stops(steps []report.Step, d detail) []stop {
	var out []stop
	var quiet []string
	flush := func() {
		if len(quiet) > 0 {
			out[len(out)-1].lines = append(out[len(out)-1].lines, cell{w.passes(quiet, d), dim})
		}
		quiet = nil
	}
	for _, s := range steps {
		hook := strings.ToUpper(w.safe(s.Hook))
		if len(out) == 0 || out[len(out)-1].hook != hook {
			flush()
			out = append(out, stop{hook: hook})
		}
		switch {
		case s.Verdict == "skipped":
		case unopposed(s):
			quiet = append(quiet, w.tableName(s))
		default:
			flush()
			last := &out[len(out)-1]
			last.lines = append(last.lines, w.decision(s, d))
		}
	}
	flush()
	return out
}

// unopposed reports whether no rule of the chain had a say, and its policy let the packet through.
func unopposed(s report.Step) bool {
	return (s.By == nil || s.By.Number == 0) && (s.Verdict == "continue" || s.Verdict == "accept")
}

// chainsShown is how many chains that let a packet through are named before they are only counted.
const chainsShown = 2

func (w *printer) passes(chains []string, d detail) string {
	if len(chains) > chainsShown || d == short {
		return count(len(chains), "chain") + " ok"
	}
	return strings.Join(chains, ", ") + " ok"
}

// chainName is the chain that decides; an iptables table has one base chain at a hook, and needs only the table's name.
func (w *printer) chainName(s report.Step, d detail) string {
	switch {
	case d == short:
		return ""
	case s.Backend.XTables():
		return w.tableName(s) + " "
	}
	return w.fit(w.safe(s.Table+" "+s.Chain), 24) + " "
}

func (w *printer) tableName(s report.Step) string { return w.fit(w.safe(s.Table), 16) }

func (w *printer) decision(s report.Step, d detail) cell {
	by := ""
	switch {
	case s.By != nil && s.By.Number > 0:
		by = fmt.Sprintf(" by rule %d", s.By.Number)
		if s.By.Chain != s.Chain && d == full {
			by += " of " + w.fit(w.safe(s.By.Chain), 20)
		}
	case s.By != nil:
		by = " by policy"
	}
	c := cell{w.chainName(s, d) + w.safe(s.Verdict) + by, yellow}
	switch s.Verdict {
	case "drop", "queue":
		c.style = green
	case "depends":
		c = cell{w.chainName(s, d) + "?" + by, purple}
	case "reject":
		c.style = red
	}
	return c
}

// packetEnd is what becomes of the packet behind the last hook.
func (w *printer) packetEnd(a *report.Answer, steps []report.Step, provoked bool) cell {
	last := ""
	if len(steps) > 0 {
		last = steps[len(steps)-1].Verdict
	}
	receiver := "TCP"
	if len(steps) > 0 && steps[len(steps)-1].Hook == string(netfilter.Postrouting) {
		receiver = "the pod"
	}
	switch {
	case last == "drop" || last == "queue":
		return cell{w.g.good + " dropped", green}
	case last == "reject":
		return w.rejected(a)
	case provoked || a.Reset == "yes":
		return cell{w.g.bad + " " + receiver + " answers RST", red}
	case a.Reset == "some":
		return cell{w.g.bad + " " + receiver + " answers some with RST", red}
	case a.Reset == "depends":
		return cell{w.g.open + " undecided", purple}
	}
	return cell{w.g.good + " delivered", green}
}

func (w *printer) rejected(a *report.Answer) cell {
	if a.Reset == "no" {
		return cell{w.g.good + " rejected with an ICMP error", green}
	}
	return cell{w.g.bad + " rejected with RST", red}
}

func (w *printer) resetEnd(a *report.Answer, steps []report.Step) cell {
	switch last := steps[len(steps)-1].Verdict; {
	case last == "drop" || last == "queue":
		return cell{w.g.good + " the RST is dropped", green}
	case a.Reset == "depends" || last == "depends":
		return cell{w.g.open + " undecided", purple}
	}
	return cell{w.g.bad + " the peer sees a reset", red}
}

const arrowColumns = 4 // an arrow and a blank on each side

// across returns how wide the ways are side by side with their hooks.
func across(start string, ways []way) int {
	widest := 0
	for _, v := range ways {
		columns := max(width(start), width(v.start)) + arrowColumns + width(v.end.text)
		for _, s := range v.stops {
			columns += s.width() + arrowColumns
		}
		widest = max(widest, columns)
	}
	return widest
}

func (w *printer) wayAcross(v way, startColumns int) {
	arrow := " " + w.in(dim, w.g.arrow) + " "
	first := margin + w.in(bold, pad(v.start, max(startColumns, len("RST")))) + arrow
	rows := make([]string, v.height())
	for i := range rows {
		rows[i] = strings.Repeat(" ", width(first))
	}
	for _, s := range v.stops {
		columns := s.width()
		first += pad(s.hook, columns) + arrow
		for i := range rows {
			c := s.line(i)
			rows[i] += w.in(c.style, c.text) + strings.Repeat(" ", columns-width(c.text)+arrowColumns)
		}
	}
	w.line(first + w.in(v.end.style, v.end.text))
	for _, r := range rows {
		w.line(r)
	}
}

func (w *printer) wayDown(v way) {
	w.line(margin + w.in(bold, v.start))
	for _, s := range v.stops {
		w.line(margin + " " + w.in(dim, w.g.down) + " " + s.hook)
		for _, c := range s.lines {
			w.line(margin + " " + w.in(dim, w.g.bar) + "   " + w.in(c.style, c.text))
		}
	}
	w.line(margin + " " + w.in(dim, w.g.down) + " " + w.in(v.end.style, v.end.text))
}

func (v way) height() int {
	n := 0
	for _, s := range v.stops {
		n = max(n, len(s.lines))
	}
	return n
}

func (s stop) line(i int) cell {
	if i < len(s.lines) {
		return s.lines[i]
	}
	return cell{}
}

func (s stop) width() int {
	n := width(s.hook)
	for _, c := range s.lines {
		n = max(n, width(c.text))
	}
	return n
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
