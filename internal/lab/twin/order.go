package twin

import (
	"slices"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Hooked is one entry of the kernel's own list of what is registered at a hook, in running order: a chain of an nf_tables table,
// or (Table is empty) a table of iptables-legacy.
type Hooked struct {
	Family      netfilter.Family // the hook's
	Hook        netfilter.Hook
	Device      string
	Priority    int32
	TableFamily netfilter.Family
	Table       string
}

// holds reports whether the entry belongs to a table of the document.
func (d *document) holds(h Hooked) bool {
	return slices.ContainsFunc(d.tables, func(t *netfilter.Table) bool {
		if h.Table == "" {
			return t.Backend == netfilter.Legacy && t.Family == h.Family
		}
		return t.Backend != netfilter.Legacy && t.Name == h.Table && t.Family == h.TableFamily
	})
}

// inOrder sorts documents so that of chains with one priority the one that runs first is registered last, as on the node. Where
// no such order is found, or the snapshot does not tell, they stay as they are: the evaluator then knows no order either.
func (t *Twin) inOrder(list []*document) []*document {
	for range len(list) * len(list) {
		early, late := t.violated(list)
		if early < 0 {
			return list
		}
		d := list[late]
		list = slices.Insert(slices.Delete(list, late, late+1), early, d)
	}
	if early, _ := t.violated(list); early >= 0 {
		t.gap(Gap{What: "chains of equal priority", Why: "no order of loading gives them the node's order"})
	}
	return list
}

// violated finds two documents of which the one loaded first holds a chain that runs before one of the other's at the same
// priority; -1 when there are none.
func (t *Twin) violated(list []*document) (early, late int) {
	place := func(h Hooked) int {
		return slices.IndexFunc(list, func(d *document) bool { return d.holds(h) })
	}
	for i := 1; i < len(t.source.HookOrder); i++ {
		a, b := t.source.HookOrder[i-1], t.source.HookOrder[i]
		if a.Family != b.Family || a.Hook != b.Hook || a.Device != b.Device || a.Priority != b.Priority {
			continue
		}
		if x, y := place(a), place(b); x >= 0 && y >= 0 && x < y {
			return x, y
		}
	}
	return -1, -1
}
