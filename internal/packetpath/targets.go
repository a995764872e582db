package packetpath

import (
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// bothBoxes is the conjunction of two boxes.
func bothBoxes(a, b *box) box {
	p := prepared{}
	for _, x := range []*box{a, b} {
		if x.hasFlags {
			p.addFlags(x.flags)
		}
		for _, at := range x.atoms {
			p.addDim(at.dim, at.set)
		}
	}
	return p.box
}

// vmap carries out a verdict map: each element's part goes its own way, that of a "continue" on within the rule, and the rest
// to the next rule. Source: net/netfilter/nft_lookup.c, nft_lookup_eval(); nf_tables_core.c, nft_do_chain().
func (r *ruleRun) vmap(s *cstep, c *class, out []*class) []*class {
	r.box = nil
	r.dirty++
	choices, ok := r.boxes(s.vmap.fields, s.vmap.set, c)
	if !ok {
		return r.anyVerdict(s, c, out)
	}
	for i := range choices {
		if c == nil {
			return out
		}
		var hit *class
		if hit, c = r.cutClass(c, &choices[i].box); hit != nil {
			out = r.chosen(choices[i].verdict, hit, out)
		}
	}
	if c != nil {
		r.next = append(r.next, c)
	}
	return out
}

// chosen carries out what a verdict map has for a class.
func (r *ruleRun) chosen(v *netfilter.Verdict, c *class, out []*class) []*class {
	if v == nil || v.Kind == netfilter.Continue {
		return append(out, c)
	}
	r.verdict(v, c)
	return out
}

// anyVerdict is a verdict map whose key cannot be told: each verdict in it may be the packet's, or none.
func (r *ruleRun) anyVerdict(s *cstep, c *class, out []*class) []*class {
	verdicts := make([]netfilter.Verdict, 0, 4)
	all := s.vmap.set.Elements
	if s.vmap.set.CatchAll != nil {
		all = append(all[:len(all):len(all)], *s.vmap.set.CatchAll)
	}
	for i := range all {
		if v := all[i].Verdict; v != nil && !slices.Contains(verdicts, *v) {
			if verdicts = append(verdicts, *v); len(verdicts) > 32 {
				r.lost(c, s.text+": too many verdicts to follow")
				return out
			}
		}
	}
	rest := *c
	for i := range verdicts {
		part := rest
		text := clip(strings.TrimSpace(s.text + ": " + string(verdicts[i].Kind) + " " + verdicts[i].Chain))
		part.state, rest.state = rest.with(text, true, max(fresh, s.vmap.sure)), rest.with(text, false, max(fresh, s.vmap.sure))
		out = r.chosen(&verdicts[i], &part, out)
	}
	r.next = append(r.next, &rest)
	return out
}

// special carries out the targets that may end the packet's way.
func (r *ruleRun) special(s *cstep, c *class, out []*class) []*class {
	r.dirty++
	switch s.do {
	case doSynproxyXT, doSynproxyNFT:
		return r.synproxy(s, c, out)
	case doTproxyXT:
		listens, none := *c, *c
		listens.state = c.with("a listener for "+s.text, true, fresh)
		none.state = c.with("a listener for "+s.text, false, fresh)
		listens.markKnown = 0
		r.accept(&listens, r.id())
		r.end(&none, fateDropped, r.id())
	case doFwd:
		r.lost(c, s.text+": the packet leaves by another interface")
	default:
		r.mystery(s.text, c)
	}
	return out
}

// synproxy swallows the packets of a handshake. nft_synproxy.c, nft_synproxy_do_eval(), drops what has a bad checksum, and
// computes that of an IPv6 segment as if it were an IPv4 one where the hardware has not verified it (seen on 6.18).
func (r *ruleRun) synproxy(s *cstep, c *class, out []*class) []*class {
	b := box{flags: synproxied(s.do), hasFlags: true}
	if r.view.reset {
		b.flags = flagSet{} // a RST is neither a SYN nor a bare ACK; RST+ACK below
		if s.do == doSynproxyNFT {
			b.flags = r.view.flagsSeen(synproxied(s.do))
		}
	}
	hit, rest := r.cutClass(c, &b)
	if hit != nil {
		r.end(hit, fateDropped, r.id())
	}
	if rest == nil {
		return out
	}
	if s.do == doSynproxyNFT && r.view.family == netfilter.IP6 {
		const text = "the checksum that synproxy computes for IPv6 is not right"
		silent, passes := *rest, *rest
		silent.state, passes.state = rest.with(text, true, fresh), rest.with(text, false, fresh)
		r.end(&silent, fateDropped, r.id())
		rest = &passes
	}
	return append(out, rest)
}

// synproxied are the flags that SYNPROXY swallows. Source: net/netfilter/xt_SYNPROXY.c, synproxy_tg4(); nft_synproxy.c,
// nft_synproxy_eval_v4().
func synproxied(do action) flagSet {
	const fin, syn = 1, 2
	return flagsWhere(func(b uint8) bool {
		if do == doSynproxyNFT {
			return b&(syn|ackBit) != 0
		}
		return b&(syn|ackBit|fin|rst) == syn || b&(syn|ackBit|fin|rst) == ackBit
	})
}

// mystery is something that may do anything: drop, answer with a RST or an ICMP error, accept, or go on with another mark.
func (r *ruleRun) mystery(text string, c *class) {
	r.dirty++
	r.box = nil
	rest := *c
	for _, f := range []fate{fateDropped, fateICMP, fateReset, ""} {
		if f == fateICMP && r.view.reset {
			continue
		}
		part := rest
		what := text + mysteries[f]
		part.state, rest.state = rest.with(what, true, fresh), rest.with(what, false, fresh)
		if f == "" {
			part.markKnown = 0
			r.accept(&part, r.id())
			continue
		}
		r.end(&part, f, r.id())
	}
	rest.markKnown = 0
	r.next = append(r.next, &rest)
}

var mysteries = map[fate]string{
	fateDropped: ": drops", fateICMP: ": answers with an ICMP error", fateReset: ": answers with a RST", "": ": accepts",
}

// queue: whoever listens on the queue decides; with nobody there the packet is dropped, or accepted when bypassed. It is
// not known who listens, so it may be either, and it never counts as protection.
func (r *ruleRun) queue(v *netfilter.Verdict, c *class) {
	r.dirty++
	text := clip(strings.TrimSpace("nfqueue "+v.Queue)) + ": drops"
	drops, passes := *c, *c
	drops.state, passes.state = c.with(text, true, fresh), c.with(text, false, fresh)
	passes.markKnown = 0
	r.end(&drops, fateDropped, r.id())
	r.accept(&passes, r.id())
}

// reject ends the packet and may provoke a RST. No RST answers a RST.
// Source: net/ipv4/netfilter/nf_reject_ipv4.c, nf_send_reset(): "no RST for RST".
func (r *ruleRun) reject(v *netfilter.Verdict, c *class) {
	if r.view.reset {
		r.end(c, fateDropped, r.id())
		return
	}
	if !strings.Contains(v.With, "reset") {
		r.end(c, fateICMP, r.id())
		return
	}
	if c.written&rewritten != 0 { // it answers other ports or addresses than the sender's
		r.lost(c, rewrites)
		return
	}
	b := box{flags: withRST, hasFlags: true}
	dead, rest := r.cutClass(c, &b)
	if dead != nil {
		r.end(dead, fateDropped, r.id())
	}
	if rest == nil {
		return
	}
	d := *rest
	id := r.id()
	d.accept = &acceptance{id, 99}
	d.steps = &stepNode{step{r.base, r.packet(), "reject", id}, rest.steps}
	if r.base.table.Family == netfilter.Netdev {
		r.rejectOnWire(&d)
		return
	}
	r.resets = append(r.resets, &d)
}

// rejectOnWire: nft_reject_netdev.c hands the RST to the device: no OUTPUT, no POSTROUTING. It is not sent for a segment with
// a bad checksum, and an Ethernet frame's padding, which is still there at ingress, counts as part of it where the hardware
// has not verified the checksum (nf_reject_ipv4.c, nf_reject_ip_tcphdr_get(); seen on 6.18). An IPv6 segment is never padded.
func (r *ruleRun) rejectOnWire(c *class) {
	const payload = 46 // bytes, of the shortest Ethernet frame
	if r.view.family == netfilter.IP && r.view.hook == netfilter.Ingress {
		short := box{atoms: []dimAtom{{dLength, nums(0, payload-1)}}}
		padded, rest := r.cutClass(c, &short)
		if padded != nil {
			const text = "the padding of a short frame spoils its checksum"
			silent, answered := *padded, *padded
			silent.state, answered.state = padded.with(text, true, fresh), padded.with(text, false, fresh)
			r.dirty++
			r.end(&silent, fateDropped, r.id())
			r.wire = append(r.wire, &answered)
		}
		if c = rest; c == nil {
			return
		}
	}
	r.wire = append(r.wire, c)
}

var withRST = flagsWhere(func(b uint8) bool { return b&rst != 0 })
