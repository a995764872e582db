// Package replay keeps what a kernel did to packets under a ruleset, and holds the evaluator against it: without the kernel,
// as often as wanted. The kernel's side is recorded by internal/lab/oracle; see [Case] and [Parse] for the forms.
package replay

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
)

// Fate is what the sender of a segment saw.
type Fate string

// The fates. Unreachable: an ICMP error that quotes the segment.
const (
	Silence     Fate = "silence"
	Reset       Fate = "reset"
	Unreachable Fate = "unreachable"
)

// Document is what was loaded: an iptables-restore document of one family, or an nft script.
type Document struct {
	Backend netfilter.Backend `json:"backend"`
	Family  netfilter.Family  `json:"family"`
	Text    string            `json:"text"`
}

// Case is a ruleset, the node as our collectors read it, and what the kernel did to some packets.
type Case struct {
	Name      string           `json:"name"`
	Reflect   bool             `json:"reflect,omitempty"` // net.ipv4.fwmark_reflect and net.ipv6.fwmark_reflect
	Documents []Document       `json:"documents"`
	Node      *packetpath.Node `json:"node"`
	Asked     []Asked          `json:"asked"`
}

// Asked is one question, and packets of it. Undecided: each of them must be left open, or (false) none; nil: either.
type Asked struct {
	Query     packetpath.Query `json:"query"`
	Packets   []Packet         `json:"packets"`
	Undecided *bool            `json:"undecided,omitempty"`
}

// Packet is a segment and what became of it.
type Packet struct {
	Segment packetpath.Segment `json:"segment"`
	Fate    Fate               `json:"fate"`
}

// Tally counts what comparisons saw, so that a run that decided nothing does not pass for a good one.
type Tally struct {
	Packets, Undecided, Resets int
	Assumed                    map[string]int // how often each undecided condition was in the way
}

// Check evaluates each question of the case and compares. The error is the first disagreement.
func (t *Tally) Check(c *Case) error {
	if c.Node == nil {
		return fmt.Errorf("%s: no node was read: see Format", c.Name)
	}
	e := packetpath.Compile(c.Node)
	for _, asked := range c.Asked {
		a, err := e.Evaluate(asked.Query)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		before := t.Undecided
		if err := t.Compare(&a, asked.Packets); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if open := t.Undecided > before; asked.Undecided != nil && *asked.Undecided != open {
			return fmt.Errorf("%s: undecided: %v, want %v", c.Name, open, *asked.Undecided)
		}
	}
	return nil
}

// Disagreement is a packet that the kernel did something else to than was foretold.
type Disagreement struct {
	Packet Packet
	Index  int // among the packets compared; -1: the answer's summary is wrong
	Why    string
}

func (d *Disagreement) Error() string { return d.Why }

// Compare holds an answer against what the kernel did to the packets of its question.
func (t *Tally) Compare(a *packetpath.Answer, packets []Packet) error {
	for i := range packets {
		p := &packets[i]
		if why := t.disagreement(a, p); why != "" {
			g := &p.Segment
			return &Disagreement{Packet: *p, Index: i, Why: fmt.Sprintf("%s:%d > %s:%d flags %#x in by %s: the kernel: %s; %s\n%s",
				g.Src, g.Sport, g.Dst, g.Dport, g.Bits, g.In, p.Fate, why, Explain(a, p.Segment))}
		}
	}
	if why := whole(a, packets); why != "" {
		return &Disagreement{Index: -1, Why: why}
	}
	return nil
}

// held lists the outcomes that the packet may belong to.
func held(a *packetpath.Answer, g packetpath.Segment) []*packetpath.Outcome {
	var out []*packetpath.Outcome
	for i := range a.Outcomes {
		if a.Outcomes[i].Holds(g) {
			out = append(out, &a.Outcomes[i])
		}
	}
	return out
}

// withoutBudget leaves out the outcome that stands for what was not followed to its end, where another is certain: what was decided
// has to be true all the same. One that rests on assumptions is a part of what may become of the packet, and the rest was not followed.
func withoutBudget(all []*packetpath.Outcome) []*packetpath.Outcome {
	over := func(o *packetpath.Outcome) bool { return slices.Contains(o.Assuming, packetpath.TooComplex) }
	if decided := slices.DeleteFunc(slices.Clone(all), over); slices.ContainsFunc(decided, certain) {
		return decided
	}
	return all
}

func certain(o *packetpath.Outcome) bool { return len(o.Assuming) == 0 && o.Fate != "depends" }

// disagreement compares one packet with the outcomes that hold it; empty when the kernel did what was foretold.
func (t *Tally) disagreement(a *packetpath.Answer, p *Packet) string {
	t.Packets++
	if p.Fate == Reset {
		t.Resets++
	}
	all := withoutBudget(held(a, p.Segment))
	sure := slices.IndexFunc(all, certain)
	switch {
	case len(all) == 0:
		return "no outcome holds it"
	case sure >= 0 && len(all) > 1:
		return "several outcomes hold it"
	case sure >= 0:
		return contradiction(all[0], p.Fate)
	}
	t.undecided(all[0].Assuming)
	for _, o := range all {
		// An order of tied chains is one of several, and only their common verdict is the answer's.
		if o.Fate == "depends" || slices.Contains(o.Assuming, AnOrder) || contradiction(o, p.Fate) == "" {
			return ""
		}
	}
	return "every outcome foretells something else"
}

func (t *Tally) undecided(assuming []string) {
	t.Undecided++
	if t.Assumed == nil {
		t.Assumed = map[string]int{}
	}
	for _, text := range assuming {
		t.Assumed[strings.TrimSuffix(strings.TrimPrefix(text, "not ("), ")")]++
	}
}

// AnOrder is what an outcome assumes when the kernel did not tell in which order it runs chains of equal priority.
const AnOrder = "the order in which base chains of equal priority were registered"

// contradiction holds an outcome against the kernel. A rejected packet's ICMP error may itself be dropped on its way out.
func contradiction(o *packetpath.Outcome, kernel Fate) string {
	ok := false
	switch o.Fate {
	case "reset":
		ok = kernel == Reset
	case "dropped":
		ok = kernel == Silence
	case "rejected-icmp":
		ok = kernel != Reset
	}
	if ok {
		return ""
	}
	return "foretold: " + o.Fate
}

// whole compares the answer's own summary with all the packets.
func whole(a *packetpath.Answer, packets []Packet) string {
	resets := 0
	for i := range packets {
		if packets[i].Fate == Reset {
			resets++
		}
	}
	switch {
	case a.Reset == packetpath.ResetNo && resets > 0:
		return fmt.Sprintf("the answer says no RST, the kernel sent %d", resets)
	case a.Reset == packetpath.ResetYes && resets < len(packets):
		return fmt.Sprintf("the answer says a RST for all, the kernel sent %d for %d", resets, len(packets))
	case a.Verdict == packetpath.Dropped && resets > 0:
		return fmt.Sprintf("the answer says dropped, the kernel sent %d RSTs", resets)
	}
	return ""
}

// Explain lists the outcomes that hold the segment.
func Explain(a *packetpath.Answer, g packetpath.Segment) string {
	var b strings.Builder
	for _, o := range held(a, g) {
		fmt.Fprintf(&b, "  %s, %s, by %+v, assuming %q\n", o.Fate, o.Region, o.By, o.Assuming)
	}
	return b.String()
}

// Add sums up another tally.
func (t *Tally) Add(o *Tally) {
	t.Packets, t.Undecided, t.Resets = t.Packets+o.Packets, t.Undecided+o.Undecided, t.Resets+o.Resets
	for text, n := range o.Assumed {
		if t.Assumed == nil {
			t.Assumed = map[string]int{}
		}
		t.Assumed[text] += n
	}
}

// AsDisagreement returns the disagreement in an error, or nil.
func AsDisagreement(err error) *Disagreement {
	var d *Disagreement
	if errors.As(err, &d) {
		return d
	}
	return nil
}
