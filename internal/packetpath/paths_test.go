package packetpath

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// base is a base chain with rules of one step list each.
func base(name string, hook nf.Hook, prio int32, rules ...nf.Ops) *nf.Chain {
	c := &nf.Chain{Name: name, Base: &nf.Base{Type: nf.FilterChain, Hook: hook, Priority: prio, Policy: nf.Accept}}
	for i, ops := range rules {
		c.Rules = append(c.Rules, &nf.Rule{Number: i + 1, Text: fmt.Sprintf("%s %d", name, i+1), Ops: ops})
	}
	return c
}

func nftTable(fam nf.Family, chains ...*nf.Chain) *nf.Table {
	return &nf.Table{Backend: nf.NFTables, Family: fam, Name: "t", Chains: chains}
}

var (
	drop    = nf.Verdict{Kind: nf.Drop}
	accept  = nf.Verdict{Kind: nf.Accept}
	reset1  = nf.Verdict{Kind: nf.Reject, With: "tcp-reset"}
	invalid = state1(1, true)
	notrack = nf.Stmt{Name: "notrack"}
)

func onDev(c *nf.Chain, devices ...string) *nf.Chain {
	c.Base.Devices = devices
	return c
}

// TestPath: where a chain stands, and what that does to the packet or its RST.
func TestPath(t *testing.T) {
	nat := base("n", nf.Prerouting, -100, nf.Ops{drop})
	nat.Base.Type = nf.NATChain
	dormant := nftTable(nf.INET, base("c", nf.Input, 0, nf.Ops{invalid, drop}))
	dormant.Dormant = true
	rstFlag := nf.Num(4)
	isRST := nf.Match{Fields: []nf.Operand{{Field: nf.TCPFlags, Mask: &rstFlag}}, In: []nf.Interval{nf.Nums(4, 4)}}
	for _, c := range []struct {
		name  string
		table *nf.Table
		q     Question
		want  Verdict
		reset Reset
	}{
		{"inet prerouting", nftTable(nf.INET, base("c", nf.Prerouting, -150, nf.Ops{invalid, drop})), A, Dropped, ResetNo},
		{"the same for B", nftTable(nf.INET, base("c", nf.Prerouting, -150, nf.Ops{invalid, drop})), B, Dropped, ResetNo},
		{"input for B", nftTable(nf.INET, base("c", nf.Input, 0, nf.Ops{invalid, drop})), B, NotDropped, ResetYes},
		{"forward for A", nftTable(nf.INET, base("c", nf.Forward, 0, nf.Ops{invalid, drop})), A, NotDropped, ResetYes},
		{"ip6 table", nftTable(nf.IP6, base("c", nf.Input, 0, nf.Ops{drop})), A, NotDropped, ResetYes},
		{"nat chain", nftTable(nf.IP, nat), A, NotDropped, ResetYes},
		{"dormant", dormant, A, NotDropped, ResetYes},
		{"netdev ingress", nftTable(nf.Netdev, onDev(base("c", nf.Ingress, 0, nf.Ops{drop}), "eth0")), A, Dropped, ResetNo},
		{"netdev ingress elsewhere", nftTable(nf.Netdev, onDev(base("c", nf.Ingress, 0, nf.Ops{drop}), "eth1")), A, NotDropped, ResetYes},
		{"inet ingress", nftTable(nf.INET, onDev(base("c", nf.Ingress, 0, nf.Ops{invalid, drop}), "eth0")), A, Dropped, ResetNo},
		{"netdev egress takes the RST", nftTable(nf.Netdev, onDev(base("c", nf.Egress, 0, nf.Ops{isRST, drop}), "eth0")), A, Dropped, ResetNo},
		{"output takes the RST", nftTable(nf.IP, base("c", nf.Output, 0, nf.Ops{isRST, drop})), A, Dropped, ResetNo},
		{"output, INVALID", nftTable(nf.IP, base("c", nf.Output, 0, nf.Ops{invalid, drop})), A, Dropped, ResetNo},
		{"postrouting, INVALID", nftTable(nf.IP, base("c", nf.Postrouting, 0, nf.Ops{invalid, drop})), A, Dropped, ResetNo},
		{"output for B", nftTable(nf.IP, base("c", nf.Output, 0, nf.Ops{drop})), B, NotDropped, ResetYes},
		{"forward takes the pod's RST", nftTable(nf.IP, base("c", nf.Forward, 0, nf.Ops{isRST, drop})), B, Dropped, ResetNo},
		{"forward by the pod's interface", nftTable(nf.IP, base("c", nf.Forward, 0, nf.Ops{nf.Match{Fields: one(nf.IIFName), In: []nf.Interval{nf.Names("cali+")}}, drop})), B, Dropped, ResetNo},
		{"reset, then dropped behind it", nftTable(nf.IP, base("a", nf.Input, 0, nf.Ops{reset1}), base("b", nf.Input, 10, nf.Ops{drop})), A, NotDropped, ResetYes},
		{"dropped before the reset", nftTable(nf.IP, base("a", nf.Input, 0, nf.Ops{reset1}), base("b", nf.Input, -10, nf.Ops{invalid, drop})), A, Dropped, ResetNo},
		{"accept ends its own chain only", nftTable(nf.IP, base("a", nf.Input, -10, nf.Ops{accept}), base("b", nf.Input, 10, nf.Ops{invalid, drop})), A, Dropped, ResetNo},
		{"notrack late", nftTable(nf.IP, base("a", nf.Prerouting, -150, nf.Ops{notrack}), base("b", nf.Input, 0, nf.Ops{invalid, drop})), A, NotDropped, ResetYes},
		{"notrack and the RST", nftTable(nf.IP, base("a", nf.Prerouting, -300, nf.Ops{notrack}), base("b", nf.Output, 0, nf.Ops{invalid, drop})), A, Dropped, ResetNo},
		{"a netdev reject; short frames may be silent", nftTable(nf.Netdev, onDev(base("c", nf.Ingress, 0, nf.Ops{reset1}), "eth0")), A, Depends, ResetSome},
		{"fwd", nftTable(nf.Netdev, onDev(base("c", nf.Ingress, 0, nf.Ops{nf.Stmt{Name: "fwd", Args: "to eth1"}}), "eth0")), A, Depends, ResetDepends},
		{"dup", nftTable(nf.Netdev, onDev(base("c", nf.Ingress, 0, nf.Ops{nf.Stmt{Name: "dup", Args: "to eth1"}}), "eth0")), A, NotDropped, ResetYes},
		{"synproxy", nftTable(nf.IP, base("c", nf.Input, 0, nf.Ops{nf.Stmt{Name: "synproxy"}})), A, Dropped, ResetNo},
		{"tproxy without a listener goes on", nftTable(nf.IP, base("c", nf.Prerouting, -150, nf.Ops{nf.Stmt{Name: "tproxy"}})), A, NotDropped, ResetYes},
		{"ties that matter", nftTable(nf.IP, base("a", nf.Input, 0, nf.Ops{reset1}), base("b", nf.Input, 0, nf.Ops{drop})), A, Depends, ResetDepends},
		{"ties that do not", nftTable(nf.IP, base("a", nf.Input, 0, nf.Ops{accept}), base("b", nf.Input, 0, nf.Ops{drop})), A, Dropped, ResetNo},
		{"a missing chain", nftTable(nf.IP, base("a", nf.Input, 0, nf.Ops{nf.Verdict{Kind: nf.Jump, Chain: "gone"}})), A, Depends, ResetDepends},
		{"a chain that jumps to itself", nftTable(nf.IP, base("a", nf.Input, 0, nf.Ops{nf.Verdict{Kind: nf.Jump, Chain: "a"}})), A, Depends, ResetDepends},
		{"the same behind a drop", nftTable(nf.IP, base("x", nf.Input, -1, nf.Ops{drop}), base("a", nf.Input, 0, nf.Ops{nf.Verdict{Kind: nf.Goto, Chain: "a"}})), A, Dropped, ResetNo},
	} {
		a, err := Evaluate(testNode(c.table), Query{Question: c.q, Family: nf.IP, In: "eth0", Out: "cali1"})
		if err != nil || a.Verdict != c.want || a.Reset != c.reset {
			t.Errorf("%s: %s, reset %s %v %v, want %s %s", c.name, a.Verdict, a.Reset, a.DependsOn, err, c.want, c.reset)
		}
	}
}

func TestHookOrderSettlesTies(t *testing.T) {
	n := testNode(nftTable(nf.IP, base("a", nf.Input, 0, nf.Ops{reset1}), base("b", nf.Input, 0, nf.Ops{drop})))
	for order, want := range map[string]Verdict{"ab": NotDropped, "ba": Dropped} {
		n.HookOrder = nil
		for _, name := range order {
			n.HookOrder = append(n.HookOrder, HookPlace{Family: nf.IP, Hook: nf.Input, Table: "t", Chain: string(name), TableFamily: nf.IP})
		}
		if a, err := Evaluate(n, askA); err != nil || a.Verdict != want {
			t.Errorf("%s: %s %v, want %s", order, a.Verdict, err, want)
		}
	}
}

func TestMarkOfTheRST(t *testing.T) {
	set := nf.Assign{Field: nf.Mark, Xor: nf.Num(9)}
	n := testNode(nftTable(nf.IP, base("a", nf.Input, 0, nf.Ops{set}), base("b", nf.Output, 0, nf.Ops{m(nf.Mark, 9, 9), drop})))
	for reflect, want := range map[bool]Verdict{false: NotDropped, true: Dropped} {
		n.FwmarkReflect = map[nf.Family]bool{nf.IP: reflect}
		if a, err := Evaluate(n, askA); err != nil || a.Verdict != want || a.ByReset != reflect {
			t.Errorf("reflect %v: %s %v, want %s", reflect, a.Verdict, err, want)
		}
	}
}

// TestIncompleteTable: what was not read may do anything at its own place, and nothing before it.
func TestIncompleteTable(t *testing.T) {
	unread := &nf.Table{Backend: nf.Legacy, Family: nf.IP, Name: "filter", Incomplete: "permission denied"}
	mangle := nftTable(nf.IP, base("c", nf.Prerouting, -150, nf.Ops{invalid, drop}))
	late := nftTable(nf.IP, base("c", nf.Input, 10, nf.Ops{invalid, drop}))
	unreadNative := &nf.Table{Backend: nf.NFTables, Family: nf.INET, Name: "x", Incomplete: "cut"}
	unreadNAT := &nf.Table{Backend: nf.Legacy, Family: nf.IP, Name: "nat", Incomplete: "cut"}
	for name, c := range map[string]struct {
		tables []*nf.Table
		want   Verdict
	}{
		"alone":               {[]*nf.Table{unread}, Depends},
		"drop before it":      {[]*nf.Table{unread, mangle}, Dropped},
		"drop behind it":      {[]*nf.Table{unread, late}, Depends}, // it may send the reset first
		"native, anywhere":    {[]*nf.Table{unreadNative, mangle}, Depends},
		"nat cannot":          {[]*nf.Table{unreadNAT}, NotDropped},
		"of the other family": {[]*nf.Table{{Backend: nf.Legacy, Family: nf.IP6, Name: "filter", Incomplete: "cut"}}, NotDropped},
	} {
		a, err := Evaluate(testNode(c.tables...), askA)
		if err != nil || a.Verdict != c.want {
			t.Errorf("%s: %s %v %v, want %s", name, a.Verdict, a.DependsOn, err, c.want)
		}
	}
}

// TestOpaqueHooks: a program that may drop is named, protects nothing, and takes no answer back.
func TestOpaqueHooks(t *testing.T) {
	n := testNode()
	n.OpaqueHooks = []OpaqueHook{{Name: "xdp on eth0", Interface: "eth0"}, {Name: "xdp on eth1", Interface: "eth1"}}
	a, err := Evaluate(n, askA)
	if err != nil || a.Verdict != NotDropped || a.Reset != ResetYes || !slices.Equal(a.DependsOn, []string{"xdp on eth0 may drop"}) {
		t.Errorf("%+v %v", a, err)
	}
}

// TestCustom: the packet that a user describes.
func TestCustom(t *testing.T) {
	rules := "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m conntrack --ctstate INVALID -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n" +
		"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A INPUT -m conntrack --ctstate INVALID -j DROP\n-A INPUT -p tcp -m tcp --dport 8080 -j REJECT --reject-with tcp-reset\n"
	port := func(state string, p uint16) Query {
		return Query{
			Question: Custom, Family: nf.IP, In: "eth0", Src: host(netip.MustParseAddr("203.0.113.9")), Dst: host(netip.MustParseAddr("198.51.100.1")),
			Sport: []PortRange{{443, 443}}, Dport: []PortRange{{p, p}}, Flags: []uint8{16}, State: state,
		}
	}
	for _, c := range []struct {
		q     Query
		want  Verdict
		reset Reset
	}{
		{port("invalid", 31000), Dropped, ResetNo},
		{port("", 31000), Dropped, ResetNo},
		{port("established", 31000), NotDropped, ResetNo},
		{port("established", 22), Dropped, ResetNo}, // raw runs before conntrack
		{port("new", 31000), NotDropped, ResetDepends},
		{port("new", 8080), NotDropped, ResetYes},
		{port("untracked", 31000), NotDropped, ResetYes},
	} {
		a := ask(t, rules, c.q)
		if a.Verdict != c.want || a.Reset != c.reset || len(a.Path) == 0 && a.Verdict != NotDropped {
			t.Errorf("%s dport %v: %s %s %v, want %s %s", c.q.State, c.q.Dport, a.Verdict, a.Reset, a.Path, c.want, c.reset)
		}
	}
	if _, err := Evaluate(testNode(), Query{Question: Custom, Family: nf.IP, In: "eth0", State: "assured"}); err == nil {
		t.Error("no error for a state that is none")
	}
}

// TestPathSteps: the way hook by hook, skipped nat chains included.
func TestPathSteps(t *testing.T) {
	a := ask(t, "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n", askA)
	var got []string
	for _, s := range a.Path {
		got = append(got, fmt.Sprintf("%s %s/%s %s %s", s.Packet, s.Table, s.Chain, s.Hook, s.Verdict))
	}
	want := []string{
		"packet mangle/PREROUTING prerouting continue", "packet nat/PREROUTING prerouting skipped", "packet mangle/INPUT input continue",
		"packet filter/INPUT input accept", "reset filter/OUTPUT output continue",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if a.DecidedBy == nil || a.DecidedBy.Text != "-p tcp -j ACCEPT" {
		t.Errorf("decided by %+v", a.DecidedBy)
	}
}

// TestHostile: deep jumps, doubling jumps, many undecided conditions: a bounded time and no verdict that is not sound.
func TestHostile(t *testing.T) {
	chains := func(n int, rule string) string {
		var b strings.Builder
		b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
		for i := range n {
			fmt.Fprintf(&b, ":C%d - [0:0]\n", i)
		}
		b.WriteString("-A INPUT -j C0\n")
		for i := range n - 1 {
			fmt.Fprintf(&b, strings.ReplaceAll(rule, "FROM", "%[1]d"), i, i+1)
		}
		fmt.Fprintf(&b, "-A C%d -m conntrack --ctstate INVALID -j DROP\n", n-1)
		return b.String()
	}
	many := "*filter\n:INPUT ACCEPT [0:0]\n"
	for i := range 200 {
		many += fmt.Sprintf("-A INPUT -m set --match-set s%d src -p tcp -m tcp --dport %d:65535 -j ACCEPT\n", i, 1024+i)
	}
	many += "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
	for name, c := range map[string]struct {
		text string
		want Verdict
	}{
		"deep":      {chains(10_000, "-A CFROM -j C%[2]d\n"), Dropped},
		"doubling":  {strings.ReplaceAll(chains(64, "-A CFROM -j C%[2]d\n-A CFROM -j C%[2]d\n"), "--ctstate INVALID", "--ctstate NEW"), Depends},
		"splitting": {chains(64, "-A CFROM -s 10.0.0.0/8 -j C%[2]d\n-A CFROM -p tcp -m tcp --dport 4000:5000 -j C%[2]d\n"), Partly},
		"sets":      {many, Depends},
	} {
		start := time.Now()
		a := ask(t, c.text, askA)
		if took := time.Since(start); a.Verdict != c.want || took > 20*time.Second {
			t.Errorf("%s: %s in %s %.200v", name, a.Verdict, took, a.DependsOn)
		} else {
			t.Logf("%s: %s in %s", name, a.Verdict, took)
		}
	}
}
