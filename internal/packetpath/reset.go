package packetpath

// sender is who answers with a RST: the node's TCP, another host, or a REJECT rule.
type sender uint8

const (
	byTCP sender = iota
	byPeer
	byRule
)

// provoke follows the RSTs that classes provoke through the given hooks; what comes out reaches the peer.
func (w *walker) provoke(s *setup, stages []stage, classes []*class, by sender) {
	if len(classes) == 0 {
		return
	}
	w.view.reset, w.view.remote = true, by == byPeer
	live := make([]*class, len(classes))
	for i, c := range classes {
		d := *c
		d.ct, d.written = ctInvalid, 0
		if by == byRule {
			d.ct = attached(c.ct)
		}
		if by == byPeer || !w.ev.node.FwmarkReflect[s.family] {
			d.mark, d.markKnown = 0, ^uint32(0)
		}
		live[i] = &d
	}
	if !w.ev.spend(len(live) * classCost / 2) {
		return
	}
	for _, c := range w.stages(s, stages, live) {
		if c.written&rewritten != 0 { // it may not be the peer's connection any more that it resets
			w.leaves = append(w.leaves, leaf{class: c, fate: fateDepends, reset: true, depends: rewrites})
			continue
		}
		w.leaves = append(w.leaves, leaf{class: c, fate: fateReset, by: c.accept.id(), reset: true})
	}
	w.view.reset, w.view.remote = false, false
}

// attached is what the RST of a REJECT rule has of the packet's entry: it is RELATED to it, also where there is none. The kernel's
// own RST and another host's have nothing.
// Source: net/ipv4/netfilter/nf_reject_ipv4.c, nf_send_reset(); net/netfilter/nf_conntrack_core.c, nf_conntrack_attach().
func attached(rejected ctState) ctState {
	switch {
	case rejected.tracked():
		return ctRelated
	case rejected == ctTemplate:
		return ctTemplateReply
	case rejected == ctUntracked:
		return ctHollow
	}
	return ctInvalid
}

func (a *acceptance) id() ruleID {
	if a == nil {
		return ruleID{}
	}
	return a.rule
}

// mergeComplements joins classes that differ in one undecided predicate only, so that a predicate which made no difference
// is forgotten again.
func mergeComplements(in []*class) []*class {
	at := len(in) // what is done stands from here on
	for i := len(in) - 1; i >= 0; i-- {
		if at < len(in) {
			if m := complementary(in[i], in[at]); m != nil {
				in[at] = m
				continue
			}
		}
		at--
		in[at] = in[i]
	}
	return in[at:]
}

// complementary returns the union of two classes that are equal but for the polarity of their last assumption.
func complementary(a, b *class) *class {
	if a.region != b.region || !sameWrites(a, b) || a.wide != b.wide || a.assume == nil || b.assume == nil {
		return nil
	}
	x, y := a.assume, b.assume
	if x.prev != y.prev || x.text != y.text || x.holds == y.holds {
		return nil
	}
	out := *a
	out.assume = x.prev
	if b.accept != nil && (out.accept == nil || b.accept.score > out.accept.score) {
		out.accept, out.steps = b.accept, b.steps
	}
	return &out
}
