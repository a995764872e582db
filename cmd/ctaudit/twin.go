package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// judged is a node rebuilt, with the predictions that its twin is to confirm.
type judged struct {
	doc     *snapshot.Document
	answers []packetpath.Answer
	opaque  []packetpath.OpaqueHook
}

func judgedOf(doc *snapshot.Document, node *facts.Node) judged {
	return judged{doc: doc, answers: node.Answers(), opaque: node.Evaluated().OpaqueHooks}
}

// confirm rebuilds the node, puts segments of every answer to it, and holds what the kernel does against the prediction.
func (j judged) confirm(ctx context.Context) (*twin.Result, error) {
	t, err := twin.Build(ctx, twinNode(j.doc))
	if err != nil {
		return nil, err
	}
	defer t.Close()
	back, _, err := collect.Run(ctx, host.Local(host.LocalOptions{Namespace: t.Path()}), registry.All(),
		collect.Options{Only: []string{"iptables", "nftables"}})
	if err != nil {
		return nil, fmt.Errorf("twin: read it back: %w", err)
	}
	gaps := append(t.Gaps, t.Compare(back.Ruleset())...)
	for _, o := range j.opaque {
		g := twin.Gap{What: o.Name, Why: "a program that no ruleset shows"}
		if o.Interface != "" {
			g.Links = []string{o.Interface}
		}
		gaps = append(gaps, g)
	}
	r := &twin.Result{
		Host: j.doc.Host, Kernel: j.doc.Kernel.Release.Or(""), Taken: j.doc.Taken,
		NotBuilt: append([]twin.Gap{}, gaps...), Questions: []twin.Question{},
	}
	agreements := []twin.Agreement{}
	for i := range j.answers {
		q, err := j.question(ctx, t, gaps, &j.answers[i])
		if err != nil {
			return nil, err
		}
		r.Questions = append(r.Questions, q)
		agreements = append(agreements, q.Agreement)
	}
	if r.Agreement = twin.Worst(agreements...); len(agreements) == 0 {
		r.Agreement = twin.Agrees
	}
	return r, nil
}

func (j judged) question(ctx context.Context, t *twin.Twin, gaps []twin.Gap, a *packetpath.Answer) (twin.Question, error) {
	q := twin.Question{
		Question: string(a.Question), Family: string(a.Family), Interface: a.Interface, Verdict: string(a.Verdict), Reset: string(a.Reset),
		Agreement: twin.Undecided, Why: j.undecided(gaps, a), Classes: []twin.Class{},
	}
	agreements := []twin.Agreement{}
	for i := range a.Outcomes {
		c := twin.Class{
			Predicted: a.Outcomes[i].Fate, Region: a.Outcomes[i].Region, By: a.Outcomes[i].By,
			Agreement: twin.Undecided, Why: []string{}, Segments: []twin.Sent{},
		}
		if len(q.Why) == 0 {
			if err := put(ctx, t, a, i, &c); err != nil {
				return q, err
			}
		}
		q.Classes = append(q.Classes, c)
		agreements = append(agreements, c.Agreement)
	}
	if len(q.Why) == 0 {
		q.Agreement = twin.Worst(agreements...)
	}
	return q, nil
}

// undecided says why no segment of a question can decide: the prediction is none, or the twin lacks what it may meet.
func (j judged) undecided(gaps []twin.Gap, a *packetpath.Answer) []string {
	why := []string{}
	if len(a.Outcomes) == 0 || a.Verdict == packetpath.Depends {
		return append(why, a.DependsOn...)
	}
	in, out := a.Outcomes[0].Witness.In, a.Outcomes[0].Witness.Out
	for _, g := range gaps {
		if g.Touches(a.Family, in, out) {
			why = append(why, g.String())
		}
	}
	key := map[netfilter.Family]string{netfilter.IP: "net.ipv4.ip_forward", netfilter.IP6: "net.ipv6.conf.all.forwarding"}[a.Family]
	if v, ok := j.doc.Sysctl.Live[key]; out != "" && (!ok || v.Or("0") == "0") {
		why = append(why, key+" is off, or was not read: this node forwards nothing")
	}
	return why
}

// members is how many segments of a class are sent besides its witness.
const members = 6

// put sends a class's witness and some random members.
func put(ctx context.Context, t *twin.Twin, a *packetpath.Answer, class int, c *twin.Class) error {
	segments := choose(a, class)
	packets := make([]twin.Packet, len(segments))
	for i, g := range segments {
		packets[i] = twinPacket(g)
	}
	seen, err := t.Send(ctx, packets)
	if err != nil {
		return err
	}
	for i, g := range segments {
		g.Flags = packetpath.FlagsText(g.Bits)
		c.Segments = append(c.Segments, twin.Sent{
			Segment: g.String(), Observed: seen[i].Fate, Delivered: seen[i].Delivered, Why: seen[i].Why,
		})
	}
	c.Agreement, c.Why = summary(a, segments, seen)
	return nil
}

// summary is what the segments of a class say together. One that could not be sent, being the node's own address or too long,
// says nothing where others could.
func summary(a *packetpath.Answer, segments []packetpath.Segment, seen []twin.Seen) (twin.Agreement, []string) {
	agreements, why := []twin.Agreement{}, []string{}
	sent := slices.ContainsFunc(seen, func(s twin.Seen) bool { return s.Why == "" })
	for i, g := range segments {
		if sent && seen[i].Why != "" {
			continue
		}
		agreement, reasons := agree(a, g, seen[i])
		agreements = append(agreements, agreement)
		for _, w := range reasons {
			if !slices.Contains(why, w) {
				why = append(why, w)
			}
		}
	}
	if len(segments) == 0 {
		why = append(why, "no segment of this class was found")
	}
	return twin.Worst(agreements...), why
}

// agree holds one segment against every outcome that holds it.
func agree(a *packetpath.Answer, g packetpath.Segment, seen twin.Seen) (twin.Agreement, []string) {
	if seen.Why != "" {
		return twin.Undecided, []string{seen.Why}
	}
	var assuming []string
	possible, all := false, true
	for i := range a.Outcomes {
		o := &a.Outcomes[i]
		if !o.Holds(g) {
			continue
		}
		// An order of tied chains is one of several, and only their common verdict is the answer's.
		open := o.Fate == "depends" || slices.ContainsFunc(o.Assuming, func(s string) bool { return strings.HasPrefix(s, anOrder) })
		possible, all = possible || open || foretold(o.Fate, seen.Fate), all && foretold(o.Fate, seen.Fate)
		assuming = append(assuming, o.Assuming...)
	}
	switch {
	case !possible:
		return twin.Differs, nil
	case !all:
		return twin.Undecided, slices.Compact(append(assuming, "observed: "+seen.Fate))
	}
	return twin.Agrees, nil
}

// anOrder begins what an outcome assumes when the kernel did not tell in which order it runs chains of equal priority.
const anOrder = "the order in which base chains"

// foretold: the ICMP error of a rejected segment may itself be dropped on its way out.
func foretold(fate, observed string) bool {
	return fate == observed || fate == twin.Rejected && observed == twin.Dropped
}

// choose returns the class's witness, and members of it that differ from the witness in a few fields.
func choose(a *packetpath.Answer, class int) []packetpath.Segment {
	o := &a.Outcomes[class]
	witness := o.Witness.Segment()
	r := rand.New(rand.NewPCG(uint64(class), uint64(len(a.Interface))))
	out := []packetpath.Segment{}
	if o.Holds(witness) {
		out = append(out, witness)
	}
	for tries := 0; tries < 60*members && len(out) <= members; tries++ {
		g := vary(r, witness)
		if o.Holds(g) && !slices.ContainsFunc(out, func(x packetpath.Segment) bool { return x.String() == g.String() && x.Bits == g.Bits }) {
			out = append(out, g)
		}
	}
	return out
}

// vary changes some fields of a segment as an established connection's peer may have them.
func vary(r *rand.Rand, g packetpath.Segment) packetpath.Segment {
	if r.IntN(2) == 0 {
		b := g.Src.AsSlice()
		for i := range b {
			if i > len(b)-4 || r.IntN(2) == 0 && g.Src.Is4() {
				b[i] = byte(r.IntN(256))
			}
		}
		g.Src, _ = netip.AddrFromSlice(b)
	}
	if r.IntN(2) == 0 {
		g.Sport = uint16(1 + r.IntN(65535))
	}
	if r.IntN(2) == 0 {
		g.Dport = uint16(1024 + r.IntN(64512))
	}
	if r.IntN(2) == 0 {
		g.Bits = lab.ACK | uint8(r.IntN(256))&(lab.FIN|lab.PSH|lab.URG|lab.ECE|lab.CWR)
	}
	if r.IntN(4) == 0 && g.Out != "" {
		b := g.Dst.AsSlice()
		b[len(b)-1] = byte(1 + r.IntN(254))
		g.Dst, _ = netip.AddrFromSlice(b)
	}
	return g
}

func twinPacket(g packetpath.Segment) twin.Packet {
	header := 40
	if g.Src.Is6() {
		header = 60
	}
	return twin.Packet{In: g.In, Out: g.Out, Segment: lab.Segment{
		Src: netip.AddrPortFrom(g.Src, g.Sport), Dst: netip.AddrPortFrom(g.Dst, g.Dport), Flags: g.Bits, Seq: g.Seq, Ack: g.Ack,
		Window: g.Window, TTL: g.TTL, TOS: g.TOS, FragOff: g.FragOff, Payload: make([]byte, max(0, int(g.Length)-header)),
	}}
}

// twinNode is a snapshot as the lab takes it.
func twinNode(doc *snapshot.Document) *twin.Node {
	n := &twin.Node{Ruleset: doc.Ruleset(), Sysctls: map[string]string{}}
	for key, v := range doc.Sysctl.Live {
		if s, ok := v.Get(); ok {
			n.Sysctls[key] = s
		}
	}
	for _, h := range doc.NFTables.HookOrder.Or(nil) {
		if h.Table != "" || legacyHook(h.Function) {
			n.HookOrder = append(n.HookOrder, twin.Hooked{
				Family: h.Family, Hook: h.Hook, Device: h.Device, Priority: h.Priority, TableFamily: h.TableFamily, Table: h.Table,
			})
		}
	}
	for _, l := range doc.Topology.Links.Or(nil) {
		n.Links = append(n.Links, twin.Link{
			Index: l.Index, Name: l.Name, Kind: l.Kind, Type: l.Type, Group: l.Group, Master: l.Master, Up: l.Up, Loopback: l.Loopback,
		})
	}
	for _, a := range doc.Topology.Addresses.Or(nil) {
		n.Addresses = append(n.Addresses, twin.Address{Link: a.Link, Prefix: a.Prefix, Broadcast: a.Broadcast, Scope: a.Scope})
	}
	for _, r := range doc.Topology.Routes.Or(nil) {
		n.Routes = append(n.Routes, twin.Route{
			Family: r.Family, Table: r.Table, Type: r.Type, Dst: r.Dst, Gateway: r.Gateway, Source: r.Source, Metric: r.Metric, Links: r.Links,
		})
	}
	for _, r := range doc.Topology.Rules.Or(nil) {
		n.Rules = append(n.Rules, twin.PolicyRule{
			Family: r.Family, Priority: r.Priority, Table: r.Table, Src: r.Src, Dst: r.Dst, Mark: r.Mark, In: r.In, Invert: r.Invert, Action: r.Action,
		})
	}
	return n
}

// legacyHook reports a function of iptables-legacy: its names differ between tables and kernels.
func legacyHook(function string) bool {
	return strings.Contains(function, "t_do_table") || strings.HasPrefix(function, "iptable_") || strings.HasPrefix(function, "ip6table_")
}
