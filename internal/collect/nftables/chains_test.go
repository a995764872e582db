package nftables

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

const everyFamily = `
table ip dormant {
 flags dormant
 chain input { type filter hook input priority -5; policy drop; }
}
table ip t {
 chain o { type route hook output priority mangle; }
 chain n {
  type nat hook postrouting priority srcnat
  ct original saddr 10.0.0.1 drop
  ip saddr 10.0.0.0/8 masquerade random
  oifname "x" ip protocol tcp snat to 192.0.2.1-192.0.2.9:1000-2000 persistent
 }
 chain d {
  type nat hook prerouting priority dstnat
  tcp dport 80 dnat to 10.0.0.1:8080
  tcp dport 81 redirect to :82
  dnat to tcp dport map { 90 : 10.0.0.2 }
 }
}
table ip6 t {
 chain r {
  type filter hook prerouting priority raw; policy accept
  tcp dport 22 reject
  ip6 nexthdr tcp tcp dport 23 drop
 }
}
table inet t {
 chain i {
  type filter hook ingress device "lo" priority 0
  ip saddr 10.0.0.1 drop
 }
 chain b {
  jump {
   ct state invalid drop
  }
 }
 chain p { type filter hook prerouting priority -199; policy drop; }
}
table netdev t {
 chain i {
  type filter hook ingress devices = { lo, veth0 } priority -500
  ip saddr 10.0.0.1 tcp dport 1 drop
  meta protocol ip6 ip6 saddr ::1 drop
 }
}
table bridge t {
 chain f {
  type filter hook forward priority 0
  ip saddr 10.0.0.1 drop
  ether type arp arp operation request drop
  vlan id 5 ip saddr 10.0.0.2 drop
 }
}
table arp t {
 chain i {
  type filter hook input priority 0; policy drop
  arp saddr ip 10.0.0.1 drop
 }
}
`

// numbered takes the number out of the kernel's own chain names, which it counts for all namespaces together.
func numbered(s string) string {
	return regexp.MustCompile(`__chain\d+`).ReplaceAllString(s, "__chain")
}

// TestFamilies reads chains and rules of every family back from the kernel.
func TestFamilies(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "ip")
	ns := labtest.NewNetns(t)
	if err := ns.Run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"); err != nil {
		t.Fatal(err)
	}
	if _, err := ns.Pipe(everyFamily, "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	s, missing := collected(t, ns)
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	var got []string
	for _, tb := range s.Tables {
		head := string(tb.Family) + " " + tb.Name
		if tb.Dormant {
			head += " dormant"
		}
		if tb.Backend != nf.NFTables || tb.Incomplete != "" {
			t.Errorf("%s: backend %s, incomplete %q", head, tb.Backend, tb.Incomplete)
		}
		for _, c := range tb.Chains {
			got = append(got, numbered(head+" "+c.Name+" "+compact(t, c.Base)))
			for _, r := range c.Rules {
				got = append(got, numbered("  "+r.Text), numbered("    "+compact(t, r.Ops)))
			}
		}
	}
	want := lines(t, "testdata/families.golden")
	if *update {
		text := ""
		for _, l := range got {
			text += l + "\n"
		}
		golden(t, "testdata/families.golden", text)
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n, ok := s.Generation.Get(); !ok || n == 0 {
		t.Errorf("generation %d, known %v", n, ok)
	}
}
