package inventory

import (
	"fmt"
	"strings"
)

// maxGraph bounds a graph: groups that share children repeat them, twice as often at each level.
const maxGraph = 16 << 20

// Graph draws the groups with their hosts as ansible-inventory --graph does, only with the hosts that the limit leaves.
func (inv *Inventory) Graph(limit string) (string, error) {
	hosts, err := inv.limited(limit)
	if err != nil {
		return "", err
	}
	keep := map[*host]bool{}
	for _, h := range hosts {
		keep[h] = true
	}
	var out strings.Builder
	inv.draw(&out, inv.all, keep, 0)
	if out.Len() > maxGraph {
		return "", fmt.Errorf("the graph has more than %d MiB: groups share children at too many levels", maxGraph>>20)
	}
	return out.String(), nil
}

func (inv *Inventory) draw(out *strings.Builder, g *group, keep map[*host]bool, depth int) {
	if out.Len() > maxGraph {
		return
	}
	branch := func(depth int) string {
		if depth == 0 {
			return ""
		}
		return strings.Repeat("  |", depth) + "--"
	}
	fmt.Fprintf(out, "%s@%s:\n", branch(depth), g.name)
	for _, c := range g.children {
		inv.draw(out, c, keep, depth+1)
	}
	if g == inv.all {
		return
	}
	for _, h := range g.hosts {
		if keep[h] {
			fmt.Fprintf(out, "%s%s\n", branch(depth+1), h.name)
		}
	}
}
