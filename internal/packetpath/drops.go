package packetpath

import "github.com/ctaudit/ctaudit/internal/netfilter"

// namesInvalid reports whether a rule looks for INVALID in a state match, positively.
func namesInvalid(t *netfilter.Table, ops netfilter.Ops) bool {
	for _, op := range ops {
		switch op := op.(type) {
		case netfilter.XtState:
			if op.HasState && !op.Invert && op.States&netfilter.StateInvalid != 0 {
				return true
			}
		case netfilter.Match:
			if !op.Invert && matchNames(t, &op) {
				return true
			}
		case netfilter.VMap:
			if vmapInvalid(t, &op) != nil {
				return true
			}
		}
	}
	return false
}

// matchNames reports whether a match on ct state (alone or in a concatenation) is true of INVALID.
func matchNames(t *netfilter.Table, m *netfilter.Match) bool {
	for i, f := range m.Fields {
		if f.Field != netfilter.CTState {
			continue
		}
		v := apply(f, netfilter.Num(netfilter.StateInvalid))
		in := m.In
		if s := t.Set(m.Set); m.Set != "" && s != nil {
			for _, e := range s.Elements {
				if i < len(e.Key) {
					in = append(in[:len(in):len(in)], e.Key[i])
				}
			}
		}
		for _, iv := range in {
			if iv.Contains(v) && narrowState(f, iv) {
				return true
			}
		}
	}
	return false
}

// narrowState tells a match that names INVALID from one that happens to be true of it, as a full range would be. The bit
// test of "ct state invalid" is compiled to (state & bits) != 0: an interval from 1 up.
func narrowState(o netfilter.Operand, iv netfilter.Interval) bool {
	if o.Mask != nil {
		return o.Mask.Lo&netfilter.StateInvalid != 0 && iv.From != (netfilter.Value{})
	}
	return iv.To.Lo-iv.From.Lo < 8
}

// vmapInvalid returns the verdict that a verdict map over ct state has for INVALID.
func vmapInvalid(t *netfilter.Table, m *netfilter.VMap) *netfilter.Verdict {
	s := t.Set(m.Set)
	if s == nil {
		return nil
	}
	for i, f := range m.Fields {
		if f.Field != netfilter.CTState {
			continue
		}
		for _, e := range s.Elements {
			if i < len(e.Key) && e.Verdict != nil && e.Key[i].Contains(apply(f, netfilter.Num(netfilter.StateInvalid))) {
				return e.Verdict
			}
		}
	}
	return nil
}
