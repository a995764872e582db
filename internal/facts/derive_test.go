package facts

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// small is a hand-built node: eth0 with a default route, docker0, and what a test adds.
type small struct{ *snapshot.Document }

func node() small {
	s := small{&snapshot.Document{}}
	for _, name := range []string{"kernel", "sysctl", "iptables", "nftables", "conntrack", "topology"} {
		s.Collectors = append(s.Collectors, snapshot.Collector{Name: name, Status: snapshot.StatusOK})
	}
	s.Sysctl.Live = map[string]snapshot.Value[string]{}
	s.live("net.ipv4.ip_forward", "1").live("net.ipv6.conf.all.forwarding", "0").live(keyLiberal, "0")
	s.Conntrack.Count = snapshot.Known[uint64](3)
	s.Topology.Links = snapshot.Known([]snapshot.Link{})
	s.Topology.Addresses = snapshot.Known([]snapshot.Address{})
	s.Topology.Routes = snapshot.Known([]snapshot.Route{})
	s.Topology.Namespaces = snapshot.Known([]snapshot.Namespace{})
	s.link("lo", "").address("lo", "127.0.0.1/8", "host")
	s.link("eth0", "").address("eth0", "192.0.2.10/24", "global").route("eth0", "0.0.0.0/0", "192.0.2.1")
	return s.link("docker0", "bridge").address("docker0", "172.17.0.1/16", "global")
}

func (s small) live(key, value string) small {
	s.Sysctl.Live[key] = snapshot.Known(value)
	return s
}

func (s small) link(name, kind string) small {
	list := s.Topology.Links.Or(nil)
	l := snapshot.Link{Index: uint32(len(list) + 1), Name: name, Kind: kind, Up: true, Loopback: name == "lo"}
	s.Topology.Links = snapshot.Known(append(list, l))
	return s
}

func (s small) change(name string, f func(*snapshot.Link)) small {
	list := s.Topology.Links.Or(nil)
	f(&list[s.index(name)-1])
	return s
}

func (s small) index(name string) uint32 {
	for _, l := range s.Topology.Links.Or(nil) {
		if l.Name == name {
			return l.Index
		}
	}
	panic("no link " + name)
}

func (s small) address(link, prefix, scope string) small {
	list := s.Topology.Addresses.Or(nil)
	s.Topology.Addresses = snapshot.Known(append(list, snapshot.Address{Link: s.index(link), Prefix: prefix, Scope: scope}))
	return s
}

func (s small) route(link, dst, gateway string) small {
	fam := netfilter.IP
	if strings.Contains(dst, ":") {
		fam = netfilter.IP6
	}
	return s.routeIn(snapshot.Route{Family: fam, Table: 254, Type: "unicast", Dst: dst, Gateway: gateway, Links: []uint32{s.index(link)}})
}

func (s small) routeIn(r snapshot.Route) small {
	s.Topology.Routes = snapshot.Known(append(s.Topology.Routes.Or(nil), r))
	return s
}

func (s small) master(port, bridge string) small {
	return s.change(port, func(l *snapshot.Link) { l.Master = s.index(bridge) })
}

// away makes the link a veth into another namespace; seen: the namespace was found.
func (s small) away(name string, seen bool) small {
	id := int32(s.index(name))
	s.change(name, func(l *snapshot.Link) { l.Kind, l.Peer, l.PeerNS = "veth", 2, &id })
	if seen {
		ns := snapshot.Namespace{ID: uint64(id), PIDs: []int{7}, Command: "app", Links: []uint32{s.index(name)}}
		s.Topology.Namespaces = snapshot.Known(append(s.Topology.Namespaces.Or(nil), ns))
	}
	return s
}

// nat adds iptables rules "CHAIN RULE" to the nat table; chains that are not built in are declared.
func (s small) nat(lines ...string) small { return s.table(netfilter.IP, "nat", lines...) }

func (s small) table(fam netfilter.Family, name string, lines ...string) small {
	t := &netfilter.Table{Backend: netfilter.Legacy, Family: fam, Name: name}
	for hook, chain := range map[netfilter.Hook]string{netfilter.Prerouting: "PREROUTING", netfilter.Output: "OUTPUT", netfilter.Postrouting: "POSTROUTING"} {
		kind := netfilter.FilterChain
		if name == "nat" {
			kind = netfilter.NATChain
		}
		base := &netfilter.Base{Type: kind, Hook: hook, Priority: 100, Policy: netfilter.Accept}
		t.Chains = append(t.Chains, &netfilter.Chain{Name: chain, Base: base})
	}
	for _, line := range lines {
		chain, text, _ := strings.Cut(line, " ")
		c := t.Chain(chain)
		if c == nil {
			c = &netfilter.Chain{Name: chain}
			t.Chains = append(t.Chains, c)
		}
		if text != "" {
			c.Rules = append(c.Rules, &netfilter.Rule{Number: len(c.Rules) + 1, Text: text})
		}
	}
	slices.SortFunc(t.Chains, func(a, b *netfilter.Chain) int { return strings.Compare(a.Name, b.Name) })
	s.IPTables.Tables = append(s.IPTables.Tables, t)
	return s
}

const dockerMasquerade = "POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"

// uplinkText writes question A's interfaces with the addresses asked about.
func uplinkText(n *Node, fam netfilter.Family) string {
	var out []string
	for _, u := range n.ups[familyIndex(fam)] {
		var addrs []string
		for _, a := range u.addrs {
			addrs = append(addrs, a.Addr().String())
		}
		out = append(out, u.Name+" "+strings.Join(addrs, ","))
	}
	return strings.Join(out, "; ")
}

func TestUplinks(t *testing.T) {
	tests := []struct {
		name string
		doc  small
		want string
	}{
		{"Docker", node().nat(dockerMasquerade), "eth0 192.0.2.10"},
		{"no NAT", node(), "eth0 192.0.2.10"},
		{"a second address", node().address("eth0", "192.0.2.11/24", "global").nat(dockerMasquerade), "eth0 192.0.2.10,192.0.2.11"},
		{
			"a second NIC without a default route", node().link("eth1", "").address("eth1", "10.9.0.2/24", "global").nat(dockerMasquerade),
			"eth0 192.0.2.10; eth1 10.9.0.2",
		},
		{
			"masquerading by one NIC", node().link("eth1", "").address("eth1", "10.9.0.2/24", "global").nat("POSTROUTING -o eth1 -j MASQUERADE"),
			"eth1 10.9.0.2",
		},
		{
			"by names that begin alike", node().link("eth1", "").address("eth1", "10.9.0.2/24", "global").nat("POSTROUTING -o eth+ -j MASQUERADE"),
			"eth0 192.0.2.10; eth1 10.9.0.2",
		},
		{"by a NIC that is not there: nothing is left out", node().nat("POSTROUTING -o ppp0 -j MASQUERADE"), "eth0 192.0.2.10"},
		{
			"a default route in another table", node().link("eth1", "").address("eth1", "10.9.0.2/32", "global").
				routeIn(snapshot.Route{Family: "ip", Table: 100, Type: "unicast", Dst: "0.0.0.0/0", Links: []uint32{4}}).nat(dockerMasquerade),
			"eth0 192.0.2.10; eth1 10.9.0.2",
		},
		{
			"a bridge with the NIC as port", node().link("br0", "bridge").address("br0", "198.51.100.3/24", "global").master("eth0", "br0").nat(dockerMasquerade),
			"br0 198.51.100.3",
		},
		{
			"a bond", node().link("bond0", "bond").address("bond0", "198.51.100.3/24", "global").route("bond0", "0.0.0.0/0", "198.51.100.1").master("eth0", "bond0").nat(dockerMasquerade),
			"bond0 198.51.100.3",
		},
		{"a VRF", node().link("blue", "vrf").master("eth0", "blue").nat(dockerMasquerade), "blue 192.0.2.10"},
		{"WireGuard", node().link("wg0", "wireguard").address("wg0", "10.8.0.1/24", "global").nat(dockerMasquerade), "eth0 192.0.2.10; wg0 10.8.0.1"},
		{
			"an overlay", node().link("flannel.1", "vxlan").address("flannel.1", "10.244.1.0/32", "global").nat("POSTROUTING -j MASQUERADE"),
			"eth0 192.0.2.10; flannel.1 10.244.1.0",
		},
		{
			"an uplink without an address", node().link("eth1", "").address("lo", "203.0.113.1/32", "global").route("eth1", "0.0.0.0/0", "").nat("POSTROUTING -o eth1 -j MASQUERADE"),
			"eth1 172.17.0.1,192.0.2.10,203.0.113.1",
		},
		{
			"169.254 of universal scope", node().link("eth1", "").address("eth1", "169.254.7.1/30", "global").nat("POSTROUTING -o eth1 -j MASQUERADE"),
			"eth1 169.254.7.1",
		},
		{"169.254 of link scope", node().link("eth1", "").address("eth1", "169.254.7.1/30", "link").nat(dockerMasquerade), "eth0 192.0.2.10"},
		{
			"SNAT to an address elsewhere on the node", node().address("lo", "203.0.113.1/32", "global").nat("POSTROUTING -o eth0 -j SNAT --to-source 203.0.113.1"),
			"eth0 203.0.113.1",
		},
		{"SNAT to a range, and masquerading", node().address("lo", "203.0.113.4/32", "global").
			nat("POSTROUTING -s 172.17.0.2/32 -j SNAT --to-source 203.0.113.1-203.0.113.9:1024-9999", dockerMasquerade), "eth0 192.0.2.10,203.0.113.4"},
		{"down", node().change("eth0", func(l *snapshot.Link) { l.Up = false }).nat(dockerMasquerade), ""},
		{"dummies", node().link("kube-ipvs0", "dummy").address("kube-ipvs0", "10.96.0.1/32", "global").nat(dockerMasquerade), "eth0 192.0.2.10"},
		{"a container's veth", node().link("veth0", "").away("veth0", true).address("veth0", "10.3.0.1/32", "global").nat("POSTROUTING -j MASQUERADE"), "eth0 192.0.2.10"},
		{
			"a veth into an unseen namespace", node().link("veth0", "").away("veth0", false).address("veth0", "10.3.0.1/32", "global").nat("POSTROUTING -j MASQUERADE"),
			"eth0 192.0.2.10; veth0 10.3.0.1",
		},
		{"a node that is a container", node().away("eth0", true).nat(dockerMasquerade), "eth0 192.0.2.10"},
		{"a VPN in a container", node().route("docker0", "10.50.0.0/16", "172.17.0.9").nat("POSTROUTING -j MASQUERADE"), "eth0 192.0.2.10; docker0 172.17.0.1"},
		{
			"a rule that is not understood", node().link("eth1", "").address("eth1", "10.9.0.2/24", "global").nat("POSTROUTING -o eth0 -j MASQUERADE", "POSTROUTING -j FULLCONENAT"),
			"eth0 192.0.2.10; eth1 10.9.0.2",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := uplinkText(Of(tt.doc.Document), netfilter.IP); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestUplinks6(t *testing.T) {
	base := func() small {
		return node().address("eth0", "fe80::1/64", "link").address("docker0", "fd00::1/64", "global").route("eth0", "::/0", "fe80::ff")
	}
	tests := map[string]struct {
		doc  small
		want string
	}{
		"a default from router advertisements": {base().address("eth0", "2001:db8::2/64", "global"), "eth0 2001:db8::2"},
		"2000::/3":                             {node().address("eth0", "2001:db8::2/128", "global").route("eth0", "2000::/3", "fe80::ff"), "eth0 2001:db8::2"},
		"no address of its own":                {base(), "eth0 fd00::1"},
		"no IPv6":                              {node(), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := uplinkText(Of(tt.doc.Document), netfilter.IP6); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestSourceNAT(t *testing.T) {
	unreadNAT := node()
	unreadNAT.nat("POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -j MASQUERADE").IPTables.Tables[0].Incomplete = "cut"
	partFilter := node().table(netfilter.IP, "filter")
	partFilter.IPTables.Tables[0].Incomplete = "cut"
	noList := node().nat()
	noList.Collectors[3] = snapshot.Collector{Name: "nftables", Status: snapshot.StatusPartial, Missing: []snapshot.Missing{{What: "nf_tables tables", Why: "changed"}}}
	hooked := node()
	hooked.NFTables.HookOrder = snapshot.Known([]snapshot.HookEntry{{Family: "ip", Hook: "postrouting", Priority: 100, Function: "ipt_do_table"}})
	hidden := node()
	hidden.NFTables.HookOrder = snapshot.Known([]snapshot.HookEntry{{Family: "ip", Hook: "postrouting", Priority: 100, Table: "t", Chain: "c", TableFamily: "inet"}})
	tests := []struct {
		name string
		doc  small
		want string
	}{
		{"none", node().nat(), "none"},
		{"Docker", node().nat(dockerMasquerade), "masquerade egress own"},
		{"through jumps", node().nat("POSTROUTING -j A", "A -m mark --mark 0x1 -g B", "B -j MASQUERADE"), "masquerade egress own"},
		{"a chain nobody jumps to", node().nat("A -j MASQUERADE"), "none"},
		{"behind a mark (KUBE-POSTROUTING)", node().nat("POSTROUTING -j K", "K -m mark ! --mark 0x4000/0x4000 -j RETURN", "K -j MARK --set-xmark 0x4000/0x0", "K -j MASQUERADE --random-fully"), "masquerade egress own"},
		{"with ipsets (Calico)", node().nat("POSTROUTING -m set --match-set pools src -m set ! --match-set all dst -j MASQUERADE"), "masquerade egress own"},
		{"behind an accept of everything", node().nat("POSTROUTING -j ACCEPT", dockerMasquerade), "none"},
		{"behind an accept of something", node().nat("POSTROUTING -d 10.0.0.0/8 -j ACCEPT", dockerMasquerade), "masquerade egress own"},
		{"hairpin only", node().nat("POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -j MASQUERADE"), "masquerade own"},
		{"out by the containers' bridge only", node().nat("POSTROUTING -o docker0 -j MASQUERADE"), "masquerade own"},
		{"hairpin only, the rest unread", unreadNAT, "unknown"},
		{"a filter table in part", partFilter, "none"},
		{"to a pool that is routed here", node().nat("POSTROUTING -s 172.17.0.0/16 -j SNAT --to-source 203.0.113.1-203.0.113.9"), "snat egress"},
		{"to an address that is local by a route", node().routeIn(snapshot.Route{Family: "ip", Table: 255, Type: "local", Dst: "203.0.113.0/29"}).
			nat("POSTROUTING -s 172.17.0.0/16 -j SNAT --to-source 203.0.113.1"), "snat egress own"},
		{"NETMAP in a chain of its own", node().nat("POSTROUTING -j A", "A -s 172.17.0.0/16 -j NETMAP --to 192.0.2.0/24"), "snat egress own"},
		{"NETMAP in PREROUTING", node().nat("PREROUTING -d 192.0.2.0/24 -j NETMAP --to 172.17.0.0/24"), "none"},
		{"an unknown target", node().nat("POSTROUTING -o eth0 -j FULLCONENAT"), "unknown"},
		{"an unknown target with options", node().nat("POSTROUTING -o eth0 -j RAWSNAT --to-source 192.0.2.1/32"), "unknown"},
		{"a rule that does not parse", node().nat("POSTROUTING -j"), "none"},
		{"Open vSwitch", node().link("ovs-system", "openvswitch"), "unknown"},
		{"the list of tables in part", noList, "unknown"},
		{"a legacy hook without a table", hooked, "unknown"},
		{"an nf_tables hook without a table", hidden, "unknown"},
		{"IPv6 alone", node().table(netfilter.IP6, "nat", "POSTROUTING -j MASQUERADE"), "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := Of(tt.doc.Document)
			if got := sourceText(n.snat(netfilter.IP)); got != tt.want {
				t.Errorf("%s, want %s (%s)", got, tt.want, n.snat(netfilter.IP).Why)
			}
		})
	}
}

// nftTable is an inet table whose nat chain has the rules, each a list of steps.
func (s small) nftTable(rules map[string][]netfilter.Ops, sets ...*netfilter.Set) small {
	t := &netfilter.Table{Backend: netfilter.NFTables, Family: netfilter.INET, Name: "t", Sets: sets}
	for name, list := range rules {
		c := &netfilter.Chain{Name: name}
		if name == "post" {
			c.Base = &netfilter.Base{Type: netfilter.NATChain, Hook: netfilter.Postrouting, Priority: 100, Policy: netfilter.Accept}
		}
		for i, ops := range list {
			c.Rules = append(c.Rules, &netfilter.Rule{Number: i + 1, Text: fmt.Sprint(ops), Ops: ops})
		}
		t.Chains = append(t.Chains, c)
	}
	s.NFTables.Tables = append(s.NFTables.Tables, t)
	return s
}

func TestSourceNATNative(t *testing.T) {
	is := func(f netfilter.Field, v netfilter.Value) netfilter.Match {
		return netfilter.Match{Fields: []netfilter.Operand{{Field: f}}, In: []netfilter.Interval{netfilter.Exactly(v)}}
	}
	masquerade := netfilter.Stmt{Name: "masquerade"}
	jump := netfilter.Verdict{Kind: netfilter.Jump, Chain: "a"}
	byFamily := func(incomplete string) *netfilter.Set {
		return &netfilter.Set{Name: "m", Verdicts: true, Incomplete: incomplete, Elements: []netfilter.Element{{Key: []netfilter.Interval{netfilter.Nums(10, 10)}, Verdict: &jump}}}
	}
	vmap := netfilter.VMap{Fields: []netfilter.Operand{{Field: netfilter.NFProto}}, Set: "m"}
	source6 := netfilter.Match{Fields: []netfilter.Operand{{Field: netfilter.IP6Saddr}}, In: []netfilter.Interval{netfilter.Prefix(netip.MustParsePrefix("fd00::/8"))}}
	tests := []struct {
		name, v4, v6 string
		rules        map[string][]netfilter.Ops
		set          *netfilter.Set
	}{
		{"both families", "masquerade egress own", "masquerade egress own", map[string][]netfilter.Ops{"post": {{masquerade}}}, nil},
		{"nfproto", "none", "masquerade egress own", map[string][]netfilter.Ops{"post": {{is(netfilter.NFProto, netfilter.Num(10)), masquerade}}}, nil},
		{"a jump that matches one family", "none", "masquerade egress own", map[string][]netfilter.Ops{"post": {{source6, jump}}, "a": {{masquerade}}}, nil},
		{"a verdict map", "none", "masquerade egress own", map[string][]netfilter.Ops{"post": {{vmap}}, "a": {{masquerade}}}, byFamily("")},
		{"a verdict map in part", "unknown", "unknown", map[string][]netfilter.Ops{"post": {{vmap}}, "a": {{masquerade}}}, byFamily("cut")},
		{"an expression nobody knows", "unknown", "unknown", map[string][]netfilter.Ops{"post": {{netfilter.Ext{Name: "fullcone"}}}}, nil},
		{"a limit", "none", "none", map[string][]netfilter.Ops{"post": {{netfilter.Ext{Name: "limit"}}}}, nil},
		{"to a map's addresses", "snat egress own", "snat egress", map[string][]netfilter.Ops{"post": {{netfilter.Stmt{Name: "snat", Args: "to ip ip saddr map @m"}}}}, nil},
		{"to a foreign address", "snat egress", "snat egress", map[string][]netfilter.Ops{"post": {{netfilter.Stmt{Name: "snat", Args: "to ip 203.0.113.1"}}, {netfilter.Stmt{Name: "snat", Args: "to ip6 2001:db8::1"}}}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := node()
			if tt.set != nil {
				s = s.nftTable(tt.rules, tt.set)
			} else {
				s = s.nftTable(tt.rules)
			}
			n := Of(s.Document)
			if v4, v6 := sourceText(n.snat(netfilter.IP)), sourceText(n.snat(netfilter.IP6)); v4 != tt.v4 || v6 != tt.v6 {
				t.Errorf("%s and %s, want %s and %s", v4, v6, tt.v4, tt.v6)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	tests := []struct {
		fam        netfilter.Family
		args, want string
	}{
		{netfilter.IP, "--to-source 192.0.2.1", "192.0.2.1-192.0.2.1"},
		{netfilter.IP, "--to-source 192.0.2.1-192.0.2.9:1-99 --random-fully", "192.0.2.1-192.0.2.9"},
		{netfilter.IP, "--to-source 192.0.2.1:1024-2047 --persistent", "192.0.2.1-192.0.2.1"},
		{netfilter.IP, "--to 192.0.2.0/30", "192.0.2.0-192.0.2.3"},
		{netfilter.IP, "to ip prefix 192.0.2.0-192.0.2.255 random", "192.0.2.0-192.0.2.255"},
		{netfilter.IP, "to 192.0.2.1:99", "192.0.2.1-192.0.2.1"},
		{netfilter.IP6, "--to-source [2001:db8::1]:80", "2001:db8::1-2001:db8::1"},
		{netfilter.IP6, "--to-source 2001:db8::1-2001:db8::9", "2001:db8::1-2001:db8::9 2001:db8::1-2001:db8:0:0::"},
		{netfilter.IP6, "to ip6 2001:db8::1:80", "2001:db8::1:80-2001:db8::1:80 2001:db8::1-2001:db8::1"},
		{netfilter.IP, "to ip saddr map @m", ""},
		{netfilter.IP, "to", ""},
		{netfilter.IP, "--to-source not-an-address", ""},
	}
	for _, tt := range tests {
		list, ok := targets(natAt{flow: natFlow{fam: tt.fam}, table: &netfilter.Table{Family: netfilter.INET}, stmt: netfilter.Stmt{Args: tt.args}})
		var got []string
		for _, r := range list {
			got = append(got, r.from.String()+"-"+r.to.String())
		}
		if text := strings.Join(got, " "); ok != (tt.want != "") || !strings.HasPrefix(tt.want, text) || text == "" && tt.want != "" {
			t.Errorf("%q: %q, want %q", tt.args, text, tt.want)
		}
	}
}

func TestServiceProxy(t *testing.T) {
	tests := []struct {
		name, proxy, services string
		doc                   small
	}{
		{"none", "none", "", node()},
		{"iptables", "kube-proxy-iptables", "ip", node().nat("PREROUTING -j KUBE-SERVICES", "KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SEP", "KUBE-SEP -j DNAT --to-destination 10.0.0.1:1")},
		{"iptables without a Service", "kube-proxy-iptables", "", node().nat("PREROUTING -j KUBE-SERVICES", "KUBE-SERVICES")},
		{"ipvs", "kube-proxy-ipvs", "ip6", node().link(ipvsLink, "dummy").address(ipvsLink, "fd00:96::1/128", "global").nat("KUBE-SERVICES")},
		{"kube-router", "kube-router", "ip", node().link(kubeRouterLink, "dummy").address(kubeRouterLink, "10.96.0.1/32", "link")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Of(tt.doc.Document).Facts()
			services := ""
			for _, fam := range families {
				if f.Services[fam].Value {
					services += string(fam)
				}
			}
			if f.ServiceProxy.Value != tt.proxy || services != tt.services {
				t.Errorf("%+v, %q", f.ServiceProxy, services)
			}
		})
	}
}

func TestContainerLinks(t *testing.T) {
	tests := []struct {
		name string
		doc  small
		want []string
	}{
		{"docker0 without containers", node(), []string{"docker0"}},
		{"docker0 with one", node().link("v0", "").away("v0", true).master("v0", "docker0"), []string{"docker0"}},
		{"Calico", node().link("cali0", "").away("cali0", true).route("cali0", "10.65.0.1/32", ""), []string{"docker0", "cali0"}},
		{"Cilium: no address, no route", node().link("lxc0", "").away("lxc0", true), []string{"docker0", "lxc0"}},
		{"virtual machines", node().link("virbr0", "bridge").address("virbr0", "192.168.122.1/24", "global").link("vnet0", "tun").master("vnet0", "virbr0"), []string{"docker0", "virbr0"}},
		{"a bridge to the wire", node().link("br0", "bridge").address("br0", "10.1.0.1/24", "global").link("eth1", "").master("eth1", "br0"), []string{"docker0"}},
		{"a bridge to another host", node().link("br0", "bridge").address("br0", "10.1.0.1/24", "global").link("vx", "vxlan").master("vx", "br0"), []string{"docker0"}},
		{"overlays and dummies", node().link("flannel.1", "vxlan").address("flannel.1", "10.2.0.0/32", "global").link("d", "dummy").address("d", "10.3.0.1/32", "global"), []string{"docker0"}},
		{"policy routing into a container", node().routeIn(snapshot.Route{Family: "ip", Table: 7, Type: "unicast", Dst: "0.0.0.0/0", Gateway: "172.17.0.9", Links: []uint32{3}}), []string{"docker0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, l := range Of(tt.doc.Document).containerLinks(netfilter.IP) {
				got = append(got, l.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestQuestionBIsBounded: what was not asked about depends, and is not left out.
func TestQuestionBIsBounded(t *testing.T) {
	s := node()
	for i := range mostLinks + 10 {
		name := fmt.Sprintf("cali%d", i)
		s.link(name, "").away(name, true).route(name, fmt.Sprintf("10.65.%d.%d/32", i/250, i%250), "")
	}
	b := Of(s.Document).askB()
	last := b[len(b)-1]
	if len(b) != mostLinks+1 || last.Reset != "depends" || len(last.DependsOn) != 1 {
		t.Errorf("%d answers, the last %+v", len(b), last)
	}
}

func TestDoubt(t *testing.T) {
	s := node().nat(dockerMasquerade).table(netfilter.IP, "filter")
	drop := &netfilter.Chain{Name: "INPUT", Base: &netfilter.Base{Type: "filter", Hook: "input", Policy: "drop"}}
	s.IPTables.Tables[1].Chains = append(s.IPTables.Tables[1].Chains, drop)
	if a := Of(s.Document).Answers(); len(a) != 1 || a[0].Reset != "no" {
		t.Fatalf("%+v", a)
	}
	s.Collectors[3].Status = snapshot.StatusUnreadable
	if a := Of(s.Document).Answers()[0]; a.Reset != "depends" || !slices.Contains(a.DependsOn, "nftables could not be read") {
		t.Errorf("%+v", a)
	}
	s.Collectors = s.Collectors[:3]
	if a := Of(s.Document).Answers()[0]; a.Reset != "depends" {
		t.Errorf("%+v", a)
	}
}

func TestConntrackUsed(t *testing.T) {
	idle := func(lines ...string) small {
		s := node().table(netfilter.IP, "filter", lines...)
		s.Conntrack.Count = snapshot.Known[uint64](0)
		return s
	}
	loaded := idle()
	loaded.NFTables.HookOrder = snapshot.Known([]snapshot.HookEntry{{Family: "ip", Hook: "prerouting", Priority: -200, Function: "ipv4_conntrack_in"}})
	unread := idle()
	unread.Conntrack.Count = snapshot.Unreadable[uint64]("denied", "")
	absent := idle()
	absent.Conntrack.Count = snapshot.Absent[uint64]()
	tests := []struct {
		name string
		doc  small
		want string
	}{
		{"entries", node(), "used"},
		{"nothing", idle(), "idle"},
		{"not loaded", absent, "idle"},
		{"count unread", unread, "unknown"},
		{"hooks", loaded, "used"},
		{"a plain rule", idle("POSTROUTING -s 10.0.0.0/8 -p tcp -m tcp --dport 80 -m comment --comment \"conntrack state\" -j ACCEPT"), "idle"},
		{"a state", idle("POSTROUTING -m state --state NEW -j ACCEPT"), "used"},
		{"a jump to it", idle("POSTROUTING -j A", "A -m limit --limit 5/min -j ACCEPT"), "idle"},
		{"a match nobody knows", idle("POSTROUTING -m ndpi --proto http -j ACCEPT"), "used"},
		{"a target nobody knows", idle("POSTROUTING -j FULLCONENAT"), "used"},
		{"connsecmark", idle("POSTROUTING -j CONNSECMARK --restore"), "used"},
		{"masquerading", idle().nat(dockerMasquerade), "used"},
		{"IPVS", idle().live("net.ipv4.vs.conntrack", "1"), "used"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Of(tt.doc.Document).conntrackUsed()
			got := map[bool]string{true: "used", false: "idle"}[f.Value]
			if !f.Known {
				got = "unknown"
			}
			if got != tt.want {
				t.Errorf("%s (%s), want %s", got, f.Why, tt.want)
			}
		})
	}
}

func TestForwarding(t *testing.T) {
	unread := node().live("net.ipv4.ip_forward", "0")
	unread.Sysctl.Live["net.ipv4.conf.eth0.forwarding"] = snapshot.Unreadable[string]("denied", "")
	tests := []struct {
		name string
		fam  netfilter.Family
		doc  small
		want string
	}{
		{"on", netfilter.IP, node(), "true true"},
		{"off", netfilter.IP, node().live("net.ipv4.ip_forward", "0").live("net.ipv4.conf.eth0.forwarding", "0"), "true false"},
		{"one interface", netfilter.IP, node().live("net.ipv4.ip_forward", "0").live("net.ipv4.conf.docker0.forwarding", "1"), "true true"},
		{"default and lo say nothing", netfilter.IP, node().live("net.ipv4.ip_forward", "0").live("net.ipv4.conf.default.forwarding", "1").live("net.ipv4.conf.lo.forwarding", "1"), "true false"},
		{"one interface unread", netfilter.IP, unread, "false false"},
		{"IPv6 goes by all", netfilter.IP6, node().live("net.ipv6.conf.eth0.forwarding", "1"), "true false"},
		{"IPv6 forced", netfilter.IP6, node().live("net.ipv6.conf.eth0.force_forwarding", "1"), "true true"},
		{"not collected", netfilter.IP, small{&snapshot.Document{}}, "false false"},
	}
	for _, tt := range tests {
		if f := forwardingFacts(tt.doc.Document)[tt.fam]; fmt.Sprint(f.Known, f.Value) != tt.want {
			t.Errorf("%s: %+v, want %s", tt.name, f, tt.want)
		}
	}
}

func TestDeltas(t *testing.T) {
	counters := func(invalid, resets uint64) snapshot.Counters {
		return snapshot.Counters{Stats: snapshot.Known(map[string]uint64{"invalid": invalid}), TCP: snapshot.Known(map[string]uint64{"Tcp.OutRsts": resets})}
	}
	tests := []struct {
		name            string
		first           [2]uint64
		second          *[2]uint64
		invalid, resets int
	}{
		{"since boot", [2]uint64{7, 9}, nil, 7, 9},
		{"a rise", [2]uint64{7, 9}, &[2]uint64{10, 9}, 3, 0},
		{"32 bits wrap", [2]uint64{1<<32 - 2, 1 << 40}, &[2]uint64{3, 1<<40 + 1}, 5, 1},
		{"a sum of two CPUs wraps", [2]uint64{1<<33 - 4, 0}, &[2]uint64{1<<32 + 1, 0}, 5, 0},
		{"counted anew", [2]uint64{900, 1 << 40}, &[2]uint64{4, 6}, 4, 6},
		{"hostile", [2]uint64{0, 0}, &[2]uint64{1<<64 - 1, 1<<64 - 1}, 1 << 53, 1 << 53},
	}
	for _, tt := range tests {
		ct := snapshot.Conntrack{First: counters(tt.first[0], tt.first[1])}
		if tt.second != nil {
			second := counters(tt.second[0], tt.second[1])
			ct.Second = &second
		}
		if d := deltas(ct); d.Value["invalid"] != tt.invalid || d.Value["Tcp.OutRsts"] != tt.resets {
			t.Errorf("%s: %v", tt.name, d)
		}
	}
	other := counters(1, 2)
	other.Stats = snapshot.Known(map[string]uint64{"drop": 99})
	if d := deltas(snapshot.Conntrack{First: counters(1, 1), Second: &other}); len(d.Value) != 1 || !d.Known {
		t.Errorf("a counter that one reading lacks: %v", d)
	}
	other.Stats = snapshot.Unreadable[map[string]uint64]("denied", "")
	if d := deltas(snapshot.Conntrack{First: counters(1, 1), Second: &other}); d.Known {
		t.Errorf("unread: %v", d)
	}
}

func TestKernelFix(t *testing.T) {
	tests := []struct{ release, vendor, want string }{
		{"5.10.0-28-amd64", "debian", "none"},
		{"5.15.90", "mainline", "none"}, // has cf97769c761a, and is INVALID all the same
		{"6.0.19", "mainline", "none"},
		{"6.1.0-18-amd64", "debian", "partial"},
		{"6.12.0-55.el10.x86_64", "el10", "partial"},
		{"5.14.0-362.el9.x86_64", "el9", "unknown"},
		{"4.18.0-553.el8_10.x86_64", "el8", "unknown"},
		{"5.15.167", "openwrt", "unknown"},
		{"what", "mainline", "unknown"},
	}
	for _, tt := range tests {
		doc := &snapshot.Document{}
		doc.Kernel.Release, doc.Kernel.Vendor = snapshot.Known(tt.release), tt.vendor
		if fix, why := kernelFix(doc); fix != tt.want || why == "" {
			t.Errorf("%s %s: %s (%s), want %s", tt.vendor, tt.release, fix, why, tt.want)
		}
	}
}

func TestContainerFacts(t *testing.T) {
	s := node().link("v0", "").away("v0", true).away("eth0", true)
	list := s.Topology.Namespaces.Or(nil)
	list[0].Sysctl = map[string]snapshot.Value[string]{keyLiberal: snapshot.Known("1\n")}
	list = append(list, snapshot.Namespace{ID: 5, Names: []string{"/run/netns/x"}, Sysctl: list[0].Sysctl})
	s.Topology.Namespaces = snapshot.Known(list)
	f := Of(s.Document).containerFacts()
	if len(f) != 1 || f[0].Liberal.Value != 1 || f[0].Name != "pid 7 (app)" {
		t.Errorf("%+v, want the container alone: neither the node's own host nor a namespace that nothing leads to", f)
	}
}

// TestOpaqueHooks: programs that no ruleset shows are named, and never count.
func TestOpaqueHooks(t *testing.T) {
	s := node().nat(dockerMasquerade).change("eth0", func(l *snapshot.Link) { l.XDP, l.TCPrograms = 7, []string{"clsact"} })
	s.NFTables.HookOrder = snapshot.Known([]snapshot.HookEntry{{Family: "ip", Hook: "input", Function: "nf_hook_run_bpf"}})
	a := Of(s.Document).Answers()[0]
	text := strings.Join(a.DependsOn, "; ")
	if a.Reset != "yes" || !strings.Contains(text, "xdp on eth0") || !strings.Contains(text, "tc on eth0") || !strings.Contains(text, "BPF program at the ip input hook") {
		t.Errorf("%+v", a)
	}
}

// TestLongWalksAreBounded: chains that all jump to all, and a hundred thousand rules.
func TestLongWalksAreBounded(t *testing.T) {
	var lines []string
	for i := range 2000 {
		lines = append(lines, fmt.Sprintf("C%d -j C%d", i, (i*7+1)%2000), fmt.Sprintf("POSTROUTING -j C%d", i), fmt.Sprintf("POSTROUTING -s 10.%d.%d.1/32 -j SNAT --to-source 192.0.2.10", i/250, i%250))
	}
	n := Of(node().nat(lines...).Document)
	if s := n.snats[0]; s.count != 2000 || len(s.rules) != listedSNAT || !s.egress {
		t.Errorf("%d rules, %d listed", s.count, len(s.rules))
	}
	if ops := xtables.Ops(n.ruleset.Tables[0], n.ruleset.Tables[0].Chains[0].Rules[0]); len(ops) == 0 {
		t.Error("no steps")
	}
}
