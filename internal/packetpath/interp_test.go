package packetpath

import (
	"slices"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// A second opinion on the evaluator: one packet, one rule after the other, nothing symbolic, nothing shared with the code
// under test but the model's types.

type concrete struct {
	fields    map[nf.Field]nf.Value
	mark      uint32
	out       string // a forwarded packet's: PREROUTING does not see it yet
	untracked bool
	template  bool
	guesses   map[string]bool // the truth of undecided predicates
	of        string          // whose predicates: empty, or the RST's, which is another packet
}

type verdictText string

// run sends the packet through hooks; "" means that it came out.
func (p *concrete) run(node *Node, hooks []nf.Hook, fam nf.Family) verdictText {
	for _, h := range hooks {
		if p.out != "" {
			p.fields[nf.OIFName] = nf.Value{}
			if h != nf.Prerouting {
				p.fields[nf.OIFName] = nf.Name(p.out)
			}
		}
		type base struct {
			t *nf.Table
			c *nf.Chain
		}
		var list []base
		for _, t := range node.Ruleset.Tables {
			if t.Dormant || t.Family != fam && t.Family != nf.INET {
				continue
			}
			for _, c := range t.Chains {
				if c.Base != nil && c.Base.Hook == h && c.Base.Type != nf.NATChain {
					list = append(list, base{t, c})
				}
			}
		}
		slices.SortStableFunc(list, func(a, b base) int { return int(a.c.Base.Priority - b.c.Base.Priority) })
		for _, b := range list {
			if h == nf.Prerouting && b.c.Base.Priority > -200 {
				p.template = false
			}
			v := p.chain(b.t, b.c)
			if v == "" || v == "return" {
				v = verdictText(b.c.Base.Policy)
			}
			if v != "accept" {
				return v
			}
		}
		p.template = p.template && h != nf.Prerouting
	}
	return ""
}

// chain returns "", "return" (end of chain), accept, drop, or reject words.
func (p *concrete) chain(t *nf.Table, c *nf.Chain) verdictText {
	for _, r := range c.Rules {
		v := p.rule(t, r)
		if v == "return" {
			return ""
		}
		if v != "" {
			if v == "gone" { // a goto came back: so do we
				return ""
			}
			return v
		}
	}
	return ""
}

func (p *concrete) rule(t *nf.Table, r *nf.Rule) verdictText {
	for _, op := range r.Ops {
		switch op := op.(type) {
		case nf.Match:
			if !p.match(t, op) {
				return ""
			}
		case nf.XtState:
			if !p.xtState(op) {
				return ""
			}
		case nf.Ext:
			if !p.ext(op) {
				return ""
			}
		case nf.Assign:
			if op.From == "ct.mark" {
				if t.Backend.XTables() {
					continue
				}
				return ""
			}
			p.mark = p.mark&uint32(op.And.Lo) ^ uint32(op.Xor.Lo)
		case nf.Stmt:
			if op.Name == "notrack" && !p.template {
				p.untracked = true
			}
		case nf.Verdict:
			return p.verdict(t, op)
		case nf.VMap:
			if v := p.vmap(t, op); v != nil {
				return p.verdict(t, *v)
			}
			return ""
		}
	}
	return ""
}

func (p *concrete) verdict(t *nf.Table, v nf.Verdict) verdictText {
	switch v.Kind {
	case nf.Jump:
		return p.chain(t, t.Chain(v.Chain))
	case nf.Goto:
		if got := p.chain(t, t.Chain(v.Chain)); got != "" {
			return got
		}
		return "gone"
	case nf.Return:
		return "return"
	case nf.Reject:
		if v.With == "tcp-reset" {
			return "reset"
		}
		return "icmp"
	case nf.Continue:
		return ""
	}
	return verdictText(v.Kind)
}

func (p *concrete) state() uint64 {
	if p.untracked {
		return nf.StateUntracked
	}
	return nf.StateInvalid
}

func (p *concrete) xtState(x nf.XtState) bool {
	if !x.HasState {
		return false
	}
	return (uint64(x.States)&p.state() != 0) != x.Invert
}

func (p *concrete) ext(x nf.Ext) bool {
	switch x.Name {
	case "connmark", "connbytes":
		return false
	case "helper", "connlabel":
		return x.Invert
	}
	return p.guesses[p.of+x.Name+" "+x.Args] != x.Invert
}

// read returns a field's value; ok false ends the rule.
func (p *concrete) read(o nf.Operand) (nf.Value, bool) {
	var v nf.Value
	switch o.Field {
	case nf.Mark:
		v = nf.Num(uint64(p.mark))
	case nf.CTState:
		v = nf.Num(p.state())
	default:
		got, ok := p.fields[o.Field]
		if !ok {
			return v, false
		}
		v = got
	}
	if o.Mask != nil {
		v = v.And(*o.Mask)
	}
	if o.Xor != nil {
		v = v.Xor(*o.Xor)
	}
	return v, true
}

func (p *concrete) match(t *nf.Table, m nf.Match) bool {
	var key []nf.Value
	for _, f := range m.Fields {
		v, ok := p.read(f)
		if !ok {
			return false
		}
		key = append(key, v)
	}
	in := false
	if m.Set == "" {
		in = slices.ContainsFunc(m.In, func(i nf.Interval) bool { return i.Contains(key[0]) })
	} else {
		in = p.find(t.Set(m.Set), key) != nil
	}
	return in != m.Invert
}

func (p *concrete) find(s *nf.Set, key []nf.Value) *nf.Element {
	for i := range s.Elements {
		e := &s.Elements[i]
		hit := true
		for k := range key {
			hit = hit && e.Key[k].Contains(key[k])
		}
		if hit {
			return e
		}
	}
	return s.CatchAll
}

func (p *concrete) vmap(t *nf.Table, m nf.VMap) *nf.Verdict {
	var key []nf.Value
	for _, f := range m.Fields {
		v, ok := p.read(f)
		if !ok {
			return nil
		}
		key = append(key, v)
	}
	if e := p.find(t.Set(m.Set), key); e != nil {
		return e.Verdict
	}
	return nil
}

// packetFields are what matches read of a packet that came in by an interface.
func packetFields(pk Packet, flags uint8) map[nf.Field]nf.Value {
	f := map[nf.Field]nf.Value{
		nf.IIFName: nf.Name(pk.In), nf.OIFName: {}, nf.L4Proto: nf.Num(6), nf.NFProto: nf.Num(2),
		nf.IPSaddr: nf.Addr(pk.Src), nf.IPDaddr: nf.Addr(pk.Dst), nf.Sport: nf.Num(uint64(pk.Sport)), nf.Dport: nf.Num(uint64(pk.Dport)),
		nf.TCPFlags: nf.Num(uint64(flags)),
	}
	return f
}

// resetFields are those of the RST that answers it.
func resetFields(pk Packet, flags uint8) map[nf.Field]nf.Value {
	r := uint64(rst)
	if flags&ackBit == 0 {
		r |= ackBit
	}
	return map[nf.Field]nf.Value{
		nf.IIFName: {}, nf.OIFName: nf.Name(pk.In), nf.L4Proto: nf.Num(6), nf.NFProto: nf.Num(2),
		nf.IPSaddr: nf.Addr(pk.Dst), nf.IPDaddr: nf.Addr(pk.Src), nf.Sport: nf.Num(uint64(pk.Dport)), nf.Dport: nf.Num(uint64(pk.Sport)),
		nf.TCPFlags: nf.Num(r),
	}
}

// fateOf is question A, or with an outgoing interface question B, for one packet.
func fateOf(node *Node, pk Packet, guesses map[string]bool) string {
	flags := ParseFlags(pk.Flags)
	p := &concrete{fields: packetFields(pk, flags), guesses: guesses, out: pk.Out}
	way := []nf.Hook{nf.Prerouting, nf.Input}
	if pk.Out != "" {
		way = []nf.Hook{nf.Prerouting, nf.Forward, nf.Postrouting}
	}
	v := p.run(node, way, nf.IP)
	switch {
	case v == "drop", v == "reset" && flags&rst != 0:
		return "dropped"
	case v == "icmp":
		return "rejected-icmp"
	case v == "" && flags&rst != 0:
		return "delivered"
	}
	answer := &concrete{fields: resetFields(pk, flags), guesses: guesses, of: "the RST's "}
	way = []nf.Hook{nf.Output, nf.Postrouting}
	if v == "" && pk.Out != "" { // the pod answers
		answer.fields[nf.IIFName], answer.out = nf.Name(pk.Out), pk.In
		way = []nf.Hook{nf.Prerouting, nf.Forward, nf.Postrouting}
	} else if node.FwmarkReflect[nf.IP] {
		answer.mark = p.mark
	}
	if answer.run(node, way, nf.IP) != "" {
		return "dropped"
	}
	return "reset"
}
