package twin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

const (
	tableMain  = 254
	tableLocal = 255
)

// route adds the routes and the rules that choose a table. A route that cannot be added concerns its family.
func (t *Twin) route(ctx context.Context) error {
	t.routesOf(t.source.Routes)
	t.policy()
	return ctx.Err()
}

func (t *Twin) routesOf(routes []Route) {
	for _, r := range routes {
		dst, err := netip.ParsePrefix(r.Dst)
		if err != nil || t.ownRoute(r, dst) || t.down(r) {
			continue
		}
		if err = t.addRoute(r, dst); err != nil && !errors.Is(err, unix.EEXIST) {
			t.gap(Gap{What: fmt.Sprintf("route %s in table %d", r.Dst, r.Table), Why: err.Error(), Families: []netfilter.Family{r.Family}})
		}
	}
}

// ownRoute reports routes that the kernel makes by itself: those of the local table that belong to an address, and multicast.
func (t *Twin) ownRoute(r Route, dst netip.Prefix) bool {
	if dst.Addr().IsMulticast() || r.Type == "multicast" || r.Type == "broadcast" || r.Type == "anycast" {
		return true
	}
	if r.Type != "local" || r.Table != tableLocal {
		return false
	}
	return dst.Addr().IsLoopback() || slices.ContainsFunc(t.source.Addresses, func(a Address) bool {
		p, err := netip.ParsePrefix(a.Prefix)
		return err == nil && p.Addr() == dst.Addr()
	})
}

// down reports a route over links that are down: it is not in use, and cannot be added.
func (t *Twin) down(r Route) bool {
	for _, i := range r.Links {
		if l := t.byIndex[i]; l == nil || l.Up {
			return false
		}
	}
	return len(r.Links) > 0
}

var routeTypes = map[string]int{
	"unicast": unix.RTN_UNICAST, "local": unix.RTN_LOCAL, "blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE,
	"prohibit": unix.RTN_PROHIBIT, "throw": unix.RTN_THROW,
}

func (t *Twin) addRoute(r Route, dst netip.Prefix) error {
	typ, ok := routeTypes[r.Type]
	if !ok {
		return fmt.Errorf("type %s", r.Type)
	}
	route := &netlink.Route{
		Dst: network(dst), Table: int(r.Table), Type: typ, Priority: int(r.Metric), Family: familyNumber(r.Family), Protocol: unix.RTPROT_STATIC,
	}
	if src, err := netip.ParseAddr(r.Source); err == nil {
		route.Src = src.AsSlice()
	}
	if typ != unix.RTN_UNICAST && typ != unix.RTN_LOCAL {
		return t.links.RouteAdd(route)
	}
	indexes, err := t.present(r.Links)
	if err != nil {
		return err
	}
	if len(indexes) > 1 { // the gateways are not known: neighbours are pinned anyhow
		for _, i := range indexes {
			route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{LinkIndex: i})
		}
		return t.links.RouteAdd(route)
	}
	route.LinkIndex = indexes[0]
	switch gw, err := netip.ParseAddr(r.Gateway); {
	case err == nil && familyOf(gw) == r.Family:
		route.Gw = gw.AsSlice()
		route.SetFlag(netlink.FLAG_ONLINK)
	case typ == unix.RTN_LOCAL:
		route.Scope = unix.RT_SCOPE_HOST
	default:
		route.Scope = unix.RT_SCOPE_LINK
	}
	return t.links.RouteAdd(route)
}

// present are the indexes of a route's links in the twin.
func (t *Twin) present(links []uint32) (indexes []int, err error) {
	for _, i := range links {
		l := t.byIndex[i]
		if l == nil {
			return nil, fmt.Errorf("no link has the number %d", i)
		}
		built, err := t.links.LinkByName(l.Name)
		if err != nil {
			return nil, fmt.Errorf("link %s: %w", l.Name, err)
		}
		indexes = append(indexes, built.Attrs().Index)
	}
	if len(indexes) == 0 {
		return nil, errors.New("it names no link")
	}
	return indexes, nil
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func familyNumber(f netfilter.Family) int {
	if f == netfilter.IP6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// policy adds the rules that choose a table, but those that every namespace has.
func (t *Twin) policy() {
	for _, r := range t.source.Rules {
		if r.Priority == 0 && r.Table == tableLocal || r.Priority >= 32766 && r.Priority <= 32767 && r.Src == "" && r.Dst == "" && r.Mark == "" {
			continue
		}
		if err := t.addRule(r); err != nil {
			t.gap(Gap{What: fmt.Sprintf("routing rule %d", r.Priority), Why: err.Error(), Families: []netfilter.Family{r.Family}})
		}
	}
}

func (t *Twin) addRule(r PolicyRule) error {
	if r.Action != "lookup" {
		return fmt.Errorf("action %s", r.Action)
	}
	rule := netlink.NewRule()
	rule.Priority, rule.Table, rule.Family, rule.Invert, rule.IifName = int(r.Priority), int(r.Table), familyNumber(r.Family), r.Invert, r.In
	for _, p := range []struct {
		text string
		to   **net.IPNet
	}{{r.Src, &rule.Src}, {r.Dst, &rule.Dst}} {
		if p.text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(p.text)
		if err != nil {
			return err
		}
		*p.to = network(prefix)
	}
	if value, mask, ok := strings.Cut(r.Mark, "/"); r.Mark != "" {
		v, err := strconv.ParseUint(value, 0, 32)
		if err != nil {
			return err
		}
		rule.Mark = uint32(v)
		if m, err := strconv.ParseUint(mask, 0, 32); ok && err == nil {
			mask := uint32(m)
			rule.Mask = &mask
		}
	}
	return t.links.RuleAdd(rule)
}

var (
	perLink  = regexp.MustCompile(`^net\.ipv[46]\.conf\.([^.]+)\.(forwarding|rp_filter|route_localnet)$`)
	settings = []string{
		"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.fwmark_reflect", "net.ipv6.fwmark_reflect",
		"net.netfilter.nf_conntrack_tcp_be_liberal", "net.netfilter.nf_conntrack_checksum", "net.netfilter.nf_conntrack_log_invalid",
		"net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables",
	}
	number = regexp.MustCompile(`^-?[0-9]{1,10}$`)
)

// set writes the node's settings that a stray segment can meet. Two are not the node's: conntrack picks up no connection from
// the middle, so that every segment without an entry is INVALID to it, as the questions have it; and ICMP errors are not rationed.
func (t *Twin) set(context.Context) error {
	for _, key := range settings { // the first two write those of every interface
		t.setOne(key, t.source.Sysctls[key])
	}
	for _, key := range t.interfaceKeys() {
		t.setOne(key, t.source.Sysctls[key])
	}
	for _, s := range [][2]string{
		{"net.ipv4.icmp_ratemask", "0"}, {"net.ipv6.icmp.ratelimit", "0"}, {"net.netfilter.nf_conntrack_tcp_loose", "0"},
	} {
		if err := t.node.Sysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	for _, key := range []string{"net.ipv4.icmp_msgs_per_sec", "net.ipv4.icmp_msgs_burst"} {
		_ = t.node.Sysctl(key, "1000000") // the initial namespace's alone before Linux 6.13
	}
	return nil
}

// interfaceKeys are the settings of single interfaces that the twin has, "all" and "default" first. Names come from the
// snapshot: nothing but a link's own name may stand in a key.
func (t *Twin) interfaceKeys() (keys []string) {
	built := map[string]int{"all": 0, "default": 1, "lo": 2}
	for name := range t.ways {
		if !strings.ContainsAny(name, "/") {
			built[strings.ReplaceAll(name, ".", "/")] = 3
		}
	}
	for key := range t.source.Sysctls {
		if m := perLink.FindStringSubmatch(key); m != nil {
			if _, ok := built[m[1]]; ok && !strings.Contains(m[1], "//") {
				keys = append(keys, key)
			}
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if x, y := built[perLink.FindStringSubmatch(a)[1]], built[perLink.FindStringSubmatch(b)[1]]; x != y {
			return x - y
		}
		return strings.Compare(a, b)
	})
	return keys
}

func (t *Twin) setOne(key, value string) {
	if value == "" {
		return
	}
	if !number.MatchString(value) {
		t.gap(Gap{What: "setting " + key, Why: "its value is no number"})
		return
	}
	err := t.node.Sysctl(key, value)
	if err == nil {
		return
	}
	g := Gap{What: "setting " + key + "=" + value, Why: err.Error()}
	switch {
	case strings.HasPrefix(key, "net.bridge."):
		if value == "0" {
			return // off is what a kernel without br_netfilter does
		}
		g.Why, g.Harmless = "this kernel has no br_netfilter; only physdev matches see the difference", !t.physdev()
	case strings.HasPrefix(key, "net.netfilter."):
		g.Harmless = true // no entry, no window
	}
	t.gap(g)
}

func (t *Twin) physdev() bool {
	for _, table := range t.source.Ruleset.Tables {
		for _, c := range table.Chains {
			if slices.ContainsFunc(c.Rules, func(r *netfilter.Rule) bool { return strings.Contains(r.Text, "physdev") }) {
				return true
			}
		}
	}
	return false
}
