package facts

import "github.com/ctaudit/ctaudit/internal/netfilter"

// setName is where a set is found.
type setName struct {
	table *netfilter.Table
	name  string
}

// setUse is a set as walks of NAT rules need it, for all rules that look it up.
type setUse struct {
	set   *netfilter.Set
	keys  []netfilter.Interval // of a set that has one field and is known whole
	known bool
}

// setOf finds a set by name, once.
func (n *Node) setOf(t *netfilter.Table, name string) *setUse {
	at := setName{t, name}
	u, ok := n.sets[at]
	if !ok {
		n.spend(len(t.Sets))
		u = &setUse{set: t.Set(name)}
		if s := u.set; s != nil {
			n.spend(len(s.Elements))
		}
		u.keys, u.known = keysOf(u.set)
		n.sets[at] = u
	}
	return u
}

// keysOf are the keys of a set that is known whole and has one field.
func keysOf(s *netfilter.Set) (in []netfilter.Interval, known bool) {
	if s == nil || s.Incomplete != "" || s.Dynamic || s.CatchAll != nil {
		return nil, false
	}
	for _, e := range s.Elements {
		if len(e.Key) != 1 {
			return nil, false
		}
		in = append(in, e.Key[0])
	}
	return in, true
}
