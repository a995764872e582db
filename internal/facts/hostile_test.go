package facts

import (
	"fmt"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// hostile are nodes made to be expensive: what a recording, or a script that answers over SSH, can say.
var hostile = map[string]func() *snapshot.Document{
	"uplinks":                    func() *snapshot.Document { return crowded(10_000, "").Document },
	"uplinks without address":    func() *snapshot.Document { return bareUplinks(10_000).Document },
	"uplinks of a large ruleset": func() *snapshot.Document { return withRules(crowded(400, ""), 3_000).Document },
	"uplinks of a NAT walk":      func() *snapshot.Document { return natWalks(crowded(5_000, ""), 100_000).Document },
	"addresses":                  func() *snapshot.Document { return addresses(10_000).Document },
	"ports of a VRF":             func() *snapshot.Document { return vrfPorts(10_000).Document },
	"namespaces":                 func() *snapshot.Document { return containers(10_000).Document },
	"bridges":                    func() *snapshot.Document { return services(crowded(5_000, "bridge")).Document },
	"bridges and uplinks":        func() *snapshot.Document { return services(both(3_000)).Document },
	"base chains":                func() *snapshot.Document { return baseChains(crowded(60, ""), 5_000).Document },
	"routes":                     func() *snapshot.Document { return routes(50_000).Document },
	"translations to ranges":     func() *snapshot.Document { return ranges(addresses(5_000), 20_000).Document },
	"NAT rules with sets":        func() *snapshot.Document { return natSets(containers(5_000), 2_000, 50_000).Document },
	"verdict maps of NAT":        func() *snapshot.Document { return natMaps(2_000, 50_000).Document },
	"drops and uplinks":          func() *snapshot.Document { return dropsOf(crowded(500, ""), 2_000).Document },
	"sysctl":                     func() *snapshot.Document { return sysctls(20_000).Document },
}

func addr(i int) string { return fmt.Sprintf("%d.%d.%d.10", 20+i>>16&127, i>>8&255, i&255) }

// crowd adds links at once: small.link looks for what is there.
func (s small) crowd(links []snapshot.Link, addrs []snapshot.Address, routes []snapshot.Route) small {
	s.Topology.Links = snapshot.Known(append(s.Topology.Links.Or(nil), links...))
	s.Topology.Addresses = snapshot.Known(append(s.Topology.Addresses.Or(nil), addrs...))
	s.Topology.Routes = snapshot.Known(append(s.Topology.Routes.Or(nil), routes...))
	return s
}

func crowded(n int, kind string) small {
	var links []snapshot.Link
	var addrs []snapshot.Address
	var routes []snapshot.Route
	for i := range n {
		index := uint32(1000 + i)
		links = append(links, snapshot.Link{Index: index, Name: fmt.Sprint("u", i), Kind: kind, Up: true})
		addrs = append(addrs, snapshot.Address{Link: index, Prefix: addr(i) + "/24", Scope: "global"},
			snapshot.Address{Link: index, Prefix: fmt.Sprintf("2001:db8:%x::1/64", i), Scope: "global"})
		if kind == "" {
			routes = append(routes, snapshot.Route{Family: netfilter.IP, Table: 254, Type: "unicast", Dst: "0.0.0.0/0", Gateway: "192.0.2.1", Links: []uint32{index}})
		}
	}
	return node().crowd(links, addrs, routes).nat("POSTROUTING -j MASQUERADE")
}

func bareUplinks(n int) small {
	s := addresses(n)
	var links []snapshot.Link
	var routes []snapshot.Route
	for i := range n {
		index := uint32(100000 + i)
		links = append(links, snapshot.Link{Index: index, Name: fmt.Sprint("w", i), Up: true})
		routes = append(routes, snapshot.Route{Family: netfilter.IP, Table: 254, Type: "unicast", Dst: "0.0.0.0/0", Links: []uint32{index}})
	}
	return s.crowd(links, nil, routes)
}

func both(n int) small {
	a, b := crowded(n, ""), crowded(n, "bridge")
	links, addrs := b.Topology.Links.Or(nil)[3:], b.Topology.Addresses.Or(nil)[3:]
	for i := range links {
		links[i].Index, links[i].Name = links[i].Index+50_000, fmt.Sprint("b", i)
	}
	for i := range addrs {
		addrs[i].Link += 50_000
	}
	return a.crowd(links, addrs, nil)
}

func services(s small) small {
	return s.table(netfilter.IP, "nat", "KUBE-SERVICES -d 10.96.0.1/32 -j DNAT --to-destination 10.0.0.1", "PREROUTING -j KUBE-SERVICES", "POSTROUTING -j MASQUERADE")
}

func saved(text string) []*netfilter.Table {
	return parse(nil, text)
}

func withRules(s small, n int) small {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
	for i := range n {
		fmt.Fprintf(&b, "-A INPUT -s %d.%d.0.0/16 -p tcp -m tcp --sport %d:%d --dport %d:%d -m ttl --ttl-gt %d -j %s\n",
			i%200, i*7%256, i%60000, i%60000+5000, 1024+i*3%50000, 9000+i*3%50000, i%250, []string{"DROP", "ACCEPT"}[i%2])
	}
	s.IPTables.Tables = append(s.IPTables.Tables, saved(b.String())...)
	return s
}

func natWalks(s small, n int) small {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("POSTROUTING -s 10.%d.%d.%d/32 -j SET --add-set a src", i>>16, i>>8&255, i&255))
	}
	return s.nat(append(lines, "POSTROUTING -j MASQUERADE")...)
}

func addresses(n int) small {
	var addrs []snapshot.Address
	for i := range n {
		addrs = append(addrs, snapshot.Address{Link: 2, Prefix: addr(i) + "/32", Scope: "global", Broadcast: addr(i + n)})
	}
	return node().crowd(nil, addrs, nil).nat(dockerMasquerade)
}

func vrfPorts(n int) small {
	s := crowded(n, "").link("vrf0", "vrf")
	links := s.Topology.Links.Or(nil)
	for i := range links {
		if strings.HasPrefix(links[i].Name, "u") {
			links[i].Master = s.index("vrf0")
		}
	}
	return s
}

func containers(n int) small {
	var links []snapshot.Link
	var spaces []snapshot.Namespace
	var routes []snapshot.Route
	for i := range n {
		index, id := uint32(1000+i), int32(i)
		links = append(links, snapshot.Link{Index: index, Name: fmt.Sprint("veth", i), Kind: "veth", Up: true, Peer: 2, PeerNS: &id})
		spaces = append(spaces, snapshot.Namespace{
			ID: uint64(i), PIDs: []int{i + 2}, Command: "app", Container: fmt.Sprintf("%012x", i), Runtime: "docker",
			Sysctl: map[string]snapshot.Value[string]{keyLiberal: snapshot.Known("0")}, Links: []uint32{index},
		})
		routes = append(routes, snapshot.Route{Family: netfilter.IP, Table: 254, Type: "unicast", Dst: addr(i) + "/32", Links: []uint32{index}})
	}
	s := services(node().crowd(links, nil, routes))
	s.Topology.Namespaces = snapshot.Known(spaces)
	return s
}

func baseChains(s small, n int) small {
	var order []snapshot.HookEntry
	t := &netfilter.Table{Backend: netfilter.NFTables, Family: netfilter.INET, Name: "t"}
	for i := range n {
		name := fmt.Sprint("c", i)
		t.Chains = append(t.Chains, &netfilter.Chain{Name: name, Base: &netfilter.Base{Type: netfilter.FilterChain, Hook: netfilter.Input, Policy: netfilter.Accept}})
		order = append(order, snapshot.HookEntry{Family: netfilter.IP, Hook: netfilter.Input, Function: "nft_do_chain_inet", Table: "t", Chain: name, TableFamily: netfilter.INET})
	}
	s.NFTables.Tables = append(s.NFTables.Tables, t)
	s.NFTables.HookOrder = snapshot.Known(order)
	return s
}

func routes(n int) small {
	var routes []snapshot.Route
	for i := range n {
		routes = append(routes, snapshot.Route{Family: netfilter.IP, Table: 254, Type: "unicast", Dst: addr(i) + "/32", Links: []uint32{3, 2}},
			snapshot.Route{Family: netfilter.IP, Table: 255, Type: "local", Dst: addr(i) + "/32", Links: []uint32{2}})
	}
	s := services(node().crowd(nil, nil, routes))
	for i := range n {
		s.Topology.Rules = snapshot.Known(append(s.Topology.Rules.Or(nil), snapshot.PolicyRule{Family: netfilter.IP, Priority: uint32(i), Table: uint32(i), Action: "lookup"}))
	}
	return s
}

func ranges(s small, n int) small {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("POSTROUTING -s 10.%d.%d.%d/32 -j SNAT --to-source 1.0.0.0-200.0.0.0", i>>16, i>>8&255, i&255))
	}
	return s.nat(lines...)
}

func natSets(s small, rules, elements int) small {
	t := &netfilter.Table{Backend: netfilter.NFTables, Family: netfilter.IP, Name: "n"}
	set := &netfilter.Set{Name: "s"}
	for i := range elements {
		set.Elements = append(set.Elements, netfilter.Element{Key: []netfilter.Interval{netfilter.Exactly(netfilter.Num(uint64(200<<24 + 3*i)))}})
	}
	t.Sets = []*netfilter.Set{set}
	post := &netfilter.Chain{Name: "post", Base: &netfilter.Base{Type: netfilter.NATChain, Hook: netfilter.Postrouting, Priority: 100, Policy: netfilter.Accept}}
	for i := range rules {
		post.Rules = append(post.Rules, &netfilter.Rule{Number: i + 1, Text: "x", Ops: netfilter.Ops{
			netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.IPSaddr}}, Set: "s"}, netfilter.Stmt{Name: "masquerade"},
		}})
	}
	t.Chains = []*netfilter.Chain{post}
	s.NFTables.Tables = append(s.NFTables.Tables, t)
	return s
}

func natMaps(rules, elements int) small {
	s := natSets(node(), 0, elements)
	t := s.NFTables.Tables[0]
	for i := range t.Sets[0].Elements {
		t.Sets[0].Elements[i].Verdict = &netfilter.Verdict{Kind: netfilter.Jump, Chain: "c"}
	}
	t.Chains = append(t.Chains, &netfilter.Chain{Name: "c"})
	for i := range rules {
		t.Chains[0].Rules = append(t.Chains[0].Rules, &netfilter.Rule{Number: i + 1, Text: "x", Ops: netfilter.Ops{
			netfilter.VMap{Fields: []netfilter.Operand{{Field: netfilter.IPSaddr}}, Set: "s"},
		}})
	}
	return s
}

func dropsOf(s small, n int) small {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
	for i := range n {
		fmt.Fprintf(&b, "-A INPUT -i none%d -m conntrack --ctstate INVALID -j DROP\n", i)
	}
	s.IPTables.Tables = append(s.IPTables.Tables, saved(b.String())...)
	return s
}

func sysctls(n int) small {
	s := node()
	var list []snapshot.Assignment
	for i := range n {
		s.live(fmt.Sprint("net.netfilter.k", i), "1")
		list = append(list, snapshot.Assignment{Key: fmt.Sprintf("net.*.x%d", i), Value: "1", File: "/etc/sysctl.d/a.conf", Line: i})
	}
	s.Sysctl.Persisted = snapshot.Known(list)
	return s
}
