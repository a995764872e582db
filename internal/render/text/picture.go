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
//	        mangle ok     filter accept by rule 3
//	 RST ─▶ OUTPUT ─▶ POSTROUTING ─▶ ✗ the peer's connection is reset
//	        filter ok mangle ok
//
// A way that is too wide for the terminal is drawn downwards.
func (w *printer) picture(a *report.Answer) {
	packet, reset := split(a.Path)
	start := w.safe(orElse(a.Interface, "packet"))
	w.way(start, w.stops(packet), w.packetEnd(a, packet, len(reset) > 0))
	if len(reset) > 0 {
		w.way("RST", w.stops(reset), w.resetEnd(a, reset))
	}
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

// stops gathers the steps by hook. Chains that let the packet through by their policy share a line; nat chains that never saw
// it are left out.
func (w *printer) stops(steps []report.Step) []stop {
	var out []stop
	var quiet []string
	flush := func() {
		if len(quiet) > 0 {
			out[len(out)-1].lines = append(out[len(out)-1].lines, cell{w.passes(quiet), dim})
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
		case s.By == nil && s.Verdict != "drop" && s.Verdict != "depends" && s.Verdict != "reject":
			quiet = append(quiet, w.chainName(s))
		default:
			last := &out[len(out)-1]
			last.lines = append(last.lines, w.decision(s))
		}
	}
	flush()
	return out
}

// chainsShown is how many chains that let a packet through are named before they are only counted.
const chainsShown = 2

func (w *printer) passes(chains []string) string {
	if len(chains) > chainsShown {
		return count(len(chains), "chain") + " ok"
	}
	return strings.Join(chains, ", ") + " ok"
}

// chainName is as short as the backend allows: an iptables table has one chain at a hook.
func (w *printer) chainName(s report.Step) string {
	if s.Backend.XTables() {
		return w.fit(w.safe(s.Table), 16)
	}
	return w.fit(w.safe(s.Table+" "+s.Chain), 24)
}

func (w *printer) decision(s report.Step) cell {
	by := ""
	switch {
	case s.By != nil && s.By.Number > 0:
		by = fmt.Sprintf(" by rule %d", s.By.Number)
		if s.By.Chain != s.Chain {
			by += " of " + w.fit(w.safe(s.By.Chain), 20)
		}
	case s.By != nil:
		by = " by policy"
	}
	c := cell{w.chainName(s) + " " + w.safe(s.Verdict) + by, yellow}
	switch s.Verdict {
	case "drop", "queue":
		c.style = green
	case "depends":
		c = cell{w.chainName(s) + " ?" + by, purple}
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
	receiver := "TCP of this node"
	if len(steps) > 0 && steps[len(steps)-1].Hook == string(netfilter.Postrouting) {
		receiver = "the receiver"
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

// startColumns is the width of the first column, for the interface's name (IFNAMSIZ is 16, with its NUL).
const startColumns = 8

func (w *printer) way(start string, stops []stop, end cell) {
	arrow := " " + w.g.arrow + " "
	columns := 3 + max(startColumns, width(start)) + width(arrow) + width(end.text)
	widths := make([]int, len(stops))
	for i, s := range stops {
		widths[i] = s.width()
		columns += widths[i] + width(arrow)
	}
	if columns > w.opts.Width {
		w.wayDown(start, stops, end)
		return
	}
	w.wayAcross(pad(start, startColumns), stops, widths, end)
}

func (w *printer) wayAcross(start string, stops []stop, widths []int, end cell) {
	arrow := " " + w.g.arrow + " "
	first := "   " + w.in(bold, start) + w.in(dim, arrow)
	height := 0
	for i, s := range stops {
		first += pad(s.hook, widths[i]) + w.in(dim, arrow)
		height = max(height, len(s.lines))
	}
	w.line(first + w.in(end.style, end.text))
	for row := range height {
		l := strings.Repeat(" ", 3+width(start)+width(arrow))
		for i, s := range stops {
			c := cell{}
			if row < len(s.lines) {
				c = s.lines[row]
			}
			l += w.in(c.style, c.text) + strings.Repeat(" ", widths[i]-width(c.text)+width(arrow))
		}
		w.line(l)
	}
}

func (w *printer) wayDown(start string, stops []stop, end cell) {
	w.line("   " + w.in(bold, start))
	for _, s := range stops {
		w.line("    " + w.in(dim, w.g.down) + " " + s.hook)
		for _, c := range s.lines {
			w.line("    " + w.in(dim, w.g.bar) + "   " + w.in(c.style, c.text))
		}
	}
	w.line("    " + w.in(dim, w.g.down) + " " + w.in(end.style, end.text))
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
