package packetpath

import (
	"testing"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// ask evaluates a question about iptables-save text.
func ask(t *testing.T, text string, q Query) Answer {
	t.Helper()
	a, err := Evaluate(testNode(parseSave(text, nf.Legacy, nf.IP)...), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var askA = Query{Question: A, Family: nf.IP, In: "eth0"}

// TestXtablesWithoutEntry: what matches when no conntrack entry is attached, as "-A INPUT MATCH -j DROP".
func TestXtablesWithoutEntry(t *testing.T) {
	for match, want := range map[string]Verdict{
		"-m conntrack --ctstate INVALID":                                                Dropped,
		"-m conntrack --ctstate INVALID,NEW":                                            Dropped,
		"-m state --state INVALID":                                                      Dropped,
		"-m conntrack --ctstate NEW":                                                    NotDropped,
		"-m conntrack --ctstate RELATED,ESTABLISHED":                                    NotDropped,
		"-m conntrack --ctstate UNTRACKED":                                              NotDropped,
		"-m conntrack --ctstate SNAT":                                                   NotDropped,
		"-m conntrack --ctstate DNAT":                                                   NotDropped,
		"-m conntrack ! --ctstate INVALID":                                              NotDropped,
		"-m conntrack ! --ctstate DNAT":                                                 Dropped,
		"-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT":                             Dropped,
		"-m conntrack --ctstate INVALID --ctdir REPLY":                                  Dropped,
		"-m conntrack --ctstate INVALID --ctstatus ASSURED":                             Dropped,
		"-m conntrack --ctstate INVALID ! --ctorigdst 10.0.0.0/8":                       Dropped,
		"-m conntrack --ctstate INVALID --ctproto 17":                                   Dropped,
		"-m conntrack --ctstate ESTABLISHED --ctdir ORIGINAL":                           NotDropped,
		"-m conntrack --ctdir ORIGINAL":                                                 NotDropped,
		"-m conntrack ! --ctstatus CONFIRMED":                                           NotDropped,
		"-m connmark --mark 0x0":                                                        NotDropped,
		"-m connmark ! --mark 0x1":                                                      NotDropped,
		"-m connbytes --connbytes 0 --connbytes-mode bytes --connbytes-dir both":        NotDropped,
		"-m helper --helper ftp":                                                        NotDropped,
		"-m helper ! --helper ftp":                                                      Dropped,
		"-m connlabel --label 1":                                                        NotDropped,
		"-m connlabel ! --label 1":                                                      Dropped,
		"-p tcp -m connlimit --connlimit-above 3 --connlimit-mask 32 --connlimit-saddr": Depends,
		"-m limit --limit 5/sec":                                                        Partly,
		"-m statistic --mode random --probability 0.50000000000":                        Partly,
		"-m statistic --mode nth --every 2 --packet 0":                                  Partly,
		"-m quota --quota 1000":                                                         Partly,
		"-m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 5 --hashlimit-name x":    Partly,
		"-m recent --rcheck --name x --mask 255.255.255.255 --rsource":                  Partly,
		"-m recent --set --name x --mask 255.255.255.255 --rsource":                     Dropped,
		"-m time --timestart 01:00:00 --timestop 02:00:00":                              Partly,
		"-m cpu --cpu 0":                                                                Partly,
		"-m u32 --u32 \"0x0=0x0\"":                                                      Depends,
		"-m string --string \"x\" --algo bm":                                            Depends,
		"-m set --match-set blocked src":                                                Depends,
		"-m bpf --bytecode \"1,6 0 0 65535\"":                                           Depends,
		"-m nonsense --what":                                                            Depends,
		"-m socket":                                                                     NotDropped,
		"-m socket --nowildcard":                                                        Depends,
		"-m addrtype --dst-type LOCAL":                                                  Dropped,
		"-m addrtype --dst-type LOCAL --limit-iface-in":                                 Dropped,
		"-m addrtype ! --dst-type LOCAL":                                                NotDropped,
		"-m addrtype --src-type LOCAL":                                                  NotDropped,
		"-f":                                                                            NotDropped,
		"! -f":                                                                          Dropped,
		"-i eth0":                                                                       Dropped,
		"-i eth+":                                                                       Dropped,
		"! -i eth+":                                                                     NotDropped,
		"-i docker0":                                                                    NotDropped,
		"! -i docker0":                                                                  Dropped,
		"-p udp":                                                                        NotDropped,
		"! -p udp":                                                                      Dropped,
		"-s 10.0.0.0/8":                                                                 Partly,
		"-d 172.17.0.0/16":                                                              NotDropped,
		"-d 198.51.100.1/32":                                                            Dropped,
		"-p tcp -m tcp --dport 1024:65535":                                              Dropped,
		"-p tcp -m tcp ! --dport 22":                                                    Dropped,
		"-p tcp -m multiport --dports 1024:40000,40001:65535":                           Dropped,
		"-p tcp -m tcp --tcp-flags ACK ACK":                                             Dropped,
		"-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN":                                 NotDropped,
		"-p tcp -m tcp --tcp-flags PSH PSH":                                             Partly,
		"-m mark --mark 0x0":                                                            Dropped,
		"-m mark ! --mark 0x0/0xff":                                                     NotDropped,
		"-m pkttype --pkt-type unicast":                                                 Dropped,
		"-m pkttype --pkt-type multicast":                                               NotDropped,
		"-m length --length 0:39":                                                       NotDropped,
		"-m length --length 40:65535":                                                   Dropped,
		"-m ttl --ttl-lt 5":                                                             Partly,
		"-m devgroup --src-group 0x0":                                                   Dropped,
		"-m iprange --src-range 1.0.0.0-223.255.255.255":                                Dropped,
		"-m physdev --physdev-in eth1":                                                  NotDropped,
		"-m physdev ! --physdev-in eth1":                                                Dropped,
		"-m policy --dir in --pol none":                                                 Dropped,
		"-m policy --dir in --pol ipsec":                                                NotDropped,
		"-m rpfilter --invert":                                                          NotDropped,
		"-m conntrack --ctstate INVALID -m comment --comment \"-j ACCEPT of INVALID\"":     Dropped,
		"-m conntrack --ctstate INVALID -m conntrack ! --ctstate INVALID":                  NotDropped,
		"-m conntrack --ctstate INVALID -m limit --limit 1/sec":                            Partly,
		"-m conntrack --ctstate INVALID -m mark --mark 0x1":                                NotDropped,
		"-m conntrack --ctstate INVALID -m tcp -p tcp --tcp-flags RST RST":                 Depends,
		"-p tcp -m conntrack --ctstate INVALID -m tcp --tcp-flags RST RST":                 NotDropped,
		"-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG ACK -m conntrack --ctstate NEW": NotDropped,
	} {
		a := ask(t, "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT "+match+" -j DROP\n", askA)
		if a.Verdict != want {
			t.Errorf("%s: %s %s %v, want %s", match, a.Verdict, a.Reset, a.DependsOn, want)
		}
	}
}

// m is a native rule's match.
func m(f nf.Field, from, to uint64) nf.Match {
	return nf.Match{Fields: one(f), In: []nf.Interval{nf.Nums(from, to)}}
}

func not(x nf.Match) nf.Match {
	x.Invert = true
	return x
}

// state is "ct state LIST" (any) or, inverted, "ct state ! LIST".
func state1(bits uint64, any bool) nf.Match {
	mask := nf.Num(bits)
	return nf.Match{Fields: []nf.Operand{{Field: nf.CTState, Mask: &mask}}, In: []nf.Interval{nf.Nums(0, 0)}, Invert: any}
}

// native builds a native table with one INPUT chain and one rule of these steps.
func native(ops ...nf.Op) *nf.Table {
	return &nf.Table{Backend: nf.NFTables, Family: nf.INET, Name: "t", Chains: []*nf.Chain{{
		Name:  "in",
		Base:  &nf.Base{Type: nf.FilterChain, Hook: nf.Input, Policy: nf.Accept},
		Rules: []*nf.Rule{{Number: 1, Text: "rule", Ops: ops}},
	}}}
}

func TestNativeWithoutEntry(t *testing.T) {
	drop := nf.Verdict{Kind: nf.Drop}
	states := &nf.Set{Name: "s", Elements: []nf.Element{{Key: []nf.Interval{nf.Nums(1, 1)}}, {Key: []nf.Interval{nf.Nums(8, 8)}}}}
	verdicts := &nf.Set{Name: "v", Map: true, Verdicts: true, Elements: []nf.Element{
		{Key: []nf.Interval{nf.Nums(2, 2)}, Verdict: &nf.Verdict{Kind: nf.Accept}}, {Key: []nf.Interval{nf.Nums(1, 1)}, Verdict: &drop},
	}}
	pairs := &nf.Set{Name: "p", Elements: []nf.Element{{Key: []nf.Interval{nf.Nums(1, 1), nf.Nums(0, 65535)}}}}
	dynamic, unread := &nf.Set{Name: "d", Dynamic: true}, &nf.Set{Name: "u", Incomplete: "too many"}
	in := func(set string, fields ...nf.Field) nf.Match {
		x := nf.Match{Set: set}
		for _, f := range fields {
			x.Fields = append(x.Fields, nf.Operand{Field: f})
		}
		return x
	}
	mark := nf.Assign{Field: nf.Mark, Xor: nf.Num(7)}
	for name, c := range map[string]struct {
		ops  []nf.Op
		want Verdict
	}{
		"ct state invalid":               {[]nf.Op{state1(1, true), drop}, Dropped},
		"ct state == invalid":            {[]nf.Op{m(nf.CTState, 1, 1), drop}, Dropped},
		"ct state != invalid":            {[]nf.Op{not(m(nf.CTState, 1, 1)), drop}, NotDropped},
		"ct state ! established,related": {[]nf.Op{state1(6, false), drop}, Dropped},
		"ct state != established":        {[]nf.Op{not(m(nf.CTState, 2, 2)), drop}, Dropped},
		"ct state untracked":             {[]nf.Op{state1(64, true), drop}, NotDropped},
		"ct state { invalid, new }":      {[]nf.Op{in("s", nf.CTState), drop}, Dropped},
		"ct state vmap":                  {[]nf.Op{nf.VMap{Fields: one(nf.CTState), Set: "v"}}, Dropped},
		"ct state . tcp dport @p":        {[]nf.Op{in("p", nf.CTState, nf.Dport), drop}, Dropped},
		"ct mark 0":                      {[]nf.Op{m("ct.mark", 0, 0), drop}, NotDropped},
		"ct mark != 1":                   {[]nf.Op{not(m("ct.mark", 1, 1)), drop}, NotDropped},
		"ct direction original":          {[]nf.Op{m("ct.direction", 0, 0), drop}, NotDropped},
		"ct status != dnat":              {[]nf.Op{not(m("ct.status", 32, 32)), drop}, NotDropped},
		"ct mark . dport @p":             {[]nf.Op{in("p", "ct.mark", nf.Dport), drop}, NotDropped},
		"ct mark . dport != @p":          {[]nf.Op{nf.Match{Fields: in("p", "ct.mark", nf.Dport).Fields, Set: "p", Invert: true}, drop}, NotDropped},
		"ct mark vmap":                   {[]nf.Op{nf.VMap{Fields: one("ct.mark"), Set: "v"}}, NotDropped},
		"ct mark set 1 drop":             {[]nf.Op{nf.Assign{Field: "ct.mark", Xor: nf.Num(1)}, drop}, Dropped},
		"meta mark set ct mark drop":     {[]nf.Op{nf.Assign{Field: nf.Mark, From: "ct.mark"}, drop}, NotDropped},
		"ct count over 3 drop":           {[]nf.Op{nf.Ext{Name: "ct count", Args: "over 3"}, drop}, Depends},
		"limit drop":                     {[]nf.Op{nf.Ext{Name: "limit", Args: "rate 1/second"}, drop}, Partly},
		"numgen drop":                    {[]nf.Op{nf.Ext{Name: "numgen", Args: "random mod 2 0x0"}, drop}, Partly},
		"dynamic set drop":               {[]nf.Op{in("d", nf.IPSaddr), drop}, Partly},
		"unread set drop":                {[]nf.Op{in("u", nf.IPSaddr), drop}, Depends},
		"missing set drop":               {[]nf.Op{in("x", nf.IPSaddr), drop}, Depends},
		"notrack ct state invalid":       {[]nf.Op{nf.Stmt{Name: "notrack"}, state1(1, true), drop}, NotDropped},
		"notrack ct state untracked":     {[]nf.Op{nf.Stmt{Name: "notrack"}, state1(64, true), drop}, Dropped},
		"mark set, mark match":           {[]nf.Op{mark, m(nf.Mark, 7, 7), drop}, Dropped},
		"flow add drop":                  {[]nf.Op{nf.Stmt{Name: "flow", Args: "add @ft"}, drop}, NotDropped},
		"ct zone set, state invalid":     {[]nf.Op{nf.Assign{Field: "ct.zone", Xor: nf.Num(1)}, state1(1, true), drop}, NotDropped},
		"fib daddr type local":           {[]nf.Op{m(nf.FIBDaddrType, 2, 2), drop}, Dropped},
		"fib daddr . iif type local":     {[]nf.Op{m("fib.daddr.iif.type", 2, 2), drop}, Dropped},
		"fib saddr . iif oif missing":    {[]nf.Op{m("fib.saddr.iif.oif.present", 0, 0), drop}, NotDropped},
		"meta skuid 0":                   {[]nf.Op{m(nf.SKUID, 0, 0), drop}, NotDropped},
		"socket transparent 0":           {[]nf.Op{m("socket.transparent", 0, 0), drop}, NotDropped},
		"meta nfproto ipv6":              {[]nf.Op{m(nf.NFProto, 10, 10), drop}, NotDropped},
		"ip6 saddr any":                  {[]nf.Op{m(nf.IP6Saddr, 0, 5), drop}, NotDropped},
		"ip6 saddr != x":                 {[]nf.Op{not(m(nf.IP6Saddr, 0, 5)), drop}, NotDropped},
		"iifkind on hardware":            {[]nf.Op{not(m(nf.IIFKind, 0, 0)), drop}, NotDropped},
		"oifname empty in INPUT":         {[]nf.Op{nf.Match{Fields: one(nf.OIFName), In: []nf.Interval{nf.Names("eth0")}, Invert: true}, drop}, Dropped},
		"unknown expression":             {[]nf.Op{nf.Ext{Name: "osf", Args: "x"}, drop}, Depends},
		"unknown statement":              {[]nf.Op{nf.Stmt{Name: "quux"}}, Depends},
		"saddr rewritten":                {[]nf.Op{nf.Assign{Field: nf.IPDaddr, Xor: nf.Num(1)}}, Depends},
		"ttl set, ttl match":             {[]nf.Op{nf.Assign{Field: nf.TTL, Xor: nf.Num(1)}, m(nf.TTL, 1, 1), drop}, Depends},
	} {
		tab := native(c.ops...)
		tab.Sets = []*nf.Set{states, verdicts, pairs, dynamic, unread}
		a, err := Evaluate(testNode(tab), askA)
		if err != nil || a.Verdict != c.want {
			t.Errorf("%s: %s %s %v %v, want %s", name, a.Verdict, a.Reset, a.DependsOn, err, c.want)
		}
	}
}
