package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/fleet"
)

type host struct {
	name     string
	file     string // where it is named first
	line     int
	vars     vars
	direct   []*group
	labels   map[string]string
	target   fleet.Target
	problems []error
}

// where is the place at which the host is named first.
func (h *host) where() string { return strings.TrimSuffix(place(h.file, h.line), ": ") }

type group struct {
	name     string
	hosts    []*host
	has      map[*host]bool
	children []*group
	parents  []*group
	vars     vars
	priority int
	depth    int // the longest way down from all; 0: not computed
}

func newInventory() *Inventory {
	inv := &Inventory{hosts: map[string]*host{}, groups: map[string]*group{}}
	inv.all, inv.loose = inv.group("all"), inv.group("ungrouped")
	inv.all.adopt(inv.loose)
	return inv
}

// group finds a group, or makes it.
func (inv *Inventory) group(name string) *group {
	if g, ok := inv.groups[name]; ok {
		return g
	}
	g := &group{name: name, has: map[*host]bool{}, priority: 1}
	inv.groups[name] = g
	inv.grouped = append(inv.grouped, g)
	return g
}

func (g *group) add(h *host) {
	if !g.has[h] {
		g.has[h] = true
		g.hosts = append(g.hosts, h)
		h.direct = append(h.direct, g)
	}
}

// keep leaves only the hosts that are wanted.
func (g *group) keep(wanted func(*host) bool) {
	g.hosts = slices.DeleteFunc(g.hosts, func(h *host) bool {
		if wanted(h) {
			return false
		}
		delete(g.has, h)
		h.direct = slices.DeleteFunc(h.direct, func(x *group) bool { return x == g })
		return true
	})
}

func (g *group) adopt(child *group) {
	if !slices.Contains(g.children, child) {
		g.children = append(g.children, child)
		child.parents = append(child.parents, g)
	}
}

// ancestors are every group above g, without g.
func (g *group) ancestors() map[*group]bool {
	seen := map[*group]bool{}
	for todo := slices.Clone(g.parents); len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !seen[next] {
			seen[next] = true
			todo = append(todo, next.parents...)
		}
	}
	return seen
}

// allHosts are the hosts of the group and of those below it: level by level, as Ansible orders them.
func (g *group) allHosts() []*host {
	var hosts []*host
	seen, listed := map[*group]bool{g: true}, map[*host]bool{}
	for todo := []*group{g}; len(todo) > 0; todo = todo[1:] {
		for _, h := range todo[0].hosts {
			if !listed[h] {
				listed[h] = true
				hosts = append(hosts, h)
			}
		}
		for _, c := range todo[0].children {
			if !seen[c] {
				seen[c] = true
				todo = append(todo, c)
			}
		}
	}
	return hosts
}

// groupsOf are the groups that the host is in, those above them and all included, weakest first.
func (inv *Inventory) groupsOf(h *host) []*group {
	set := map[*group]bool{inv.all: true}
	for _, g := range h.direct {
		set[g] = true
		for a := range g.ancestors() {
			set[a] = true
		}
	}
	groups := make([]*group, 0, len(set))
	for g := range set {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority), cmp.Compare(a.name, b.name))
	})
	return groups
}

// link makes child a child of parent. Ansible refuses loops, and so do we; they would also never end.
func (l *loader) link(parent, child *group, line int) {
	above := parent.ancestors()
	switch {
	case len(above) > maxLevels:
		l.fail(line, "", "more than %d groups above %q", maxLevels, child.name)
	case parent == child:
		l.fail(line, "", "group %q is its own child", child.name)
	case child == l.inv.all:
		l.fail(line, "", "group %q has all as its child: all is above every group", parent.name)
	case above[child]:
		l.fail(line, "", "group %q below %q makes a loop", child.name, parent.name)
	default:
		parent.adopt(child)
	}
}

// reconcile does what Ansible does once all sources are read: everything hangs below all, and ungrouped has the hosts that no
// other group has.
func (l *loader) reconcile() {
	inv := l.inv
	for _, g := range inv.grouped {
		if g != inv.all && len(g.parents) == 0 {
			inv.all.adopt(g)
		}
	}
	grouped := func(h *host) bool {
		return slices.ContainsFunc(h.direct, func(g *group) bool { return g != inv.all && g != inv.loose })
	}
	inv.loose.keep(func(h *host) bool { return !grouped(h) })
	for _, h := range inv.order {
		if !grouped(h) {
			inv.loose.add(h)
		}
		if inv.groups[h.name] != nil {
			l.inv.warn(h.file, h.line, "%s is the name of a host and of a group", h.name)
		}
	}
	for _, g := range inv.grouped {
		if g.deepen() > maxLevels {
			l.fail(0, "", "groups below one another at more than %d levels", maxLevels)
			break
		}
	}
}

func (g *group) deepen() int {
	if g.depth == 0 {
		for _, p := range g.parents {
			g.depth = max(g.depth, p.deepen()+1)
		}
	}
	return g.depth
}

func (inv *Inventory) warn(file string, line int, format string, args ...any) {
	w := Warning{file, line, fmt.Sprintf(format, args...)}
	switch {
	case slices.Contains(inv.warnings, w):
	case len(inv.warnings) >= maxProblems:
		inv.unsaid++
	default:
		inv.warnings = append(inv.warnings, w)
	}
}
