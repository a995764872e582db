package nftables

import (
	"fmt"
	"slices"
	"testing"

	google "github.com/google/nftables"

	"github.com/ctaudit/ctaudit/internal/lab"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// secondOpinion is a ruleset of everything that google/nftables decodes rightly: tables, base chains, sets and how many
// rules there are. Rules themselves are ours to walk (package doc).
const secondOpinion = `
table inet one {
	set hosts { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7, 203.0.113.1-203.0.113.9 } }
	set ports { type inet_service; elements = { 22, 80, 443 } }
	map marks { type inet_service : mark; elements = { 80 : 1, 443 : 2 } }
	chain in { type filter hook input priority -5; policy drop; ip saddr @hosts accept; tcp dport @ports accept; }
	chain fwd4 { type filter hook forward priority filter; jump other; }
	chain other { ct state invalid drop; return; }
}
table ip two {
	chain pre { type nat hook prerouting priority dstnat; }
	chain post { type nat hook postrouting priority srcnat; masquerade; }
}
table ip6 three {
	chain out { type route hook output priority mangle; meta mark set 1; }
}
table ip asleep {
	flags dormant
	chain in { type filter hook input priority 0; }
}
`

func TestSecondOpinion(t *testing.T) {
	s, ns := loaded(t, secondOpinion)
	conn, err := google.New(google.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := ourView(s), theirView(t, conn)
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) {
		t.Errorf("we read\n%q\ngoogle/nftables reads\n%q", ours, theirs)
	}
	if len(ours) != 14 {
		t.Errorf("%d things were compared, not the 14 that are there", len(ours))
	}
	if masqueraded(t, ns) != 1 {
		t.Error("the rule that google/nftables wrote does not read back as masquerade")
	}
}

func ourView(s *snapshot.NFTables) []string {
	var out []string
	for _, tb := range s.Tables {
		out = append(out, fmt.Sprintf("table %s %s", tb.Family, tb.Name))
		for _, c := range tb.Chains {
			base := ""
			if c.Base != nil {
				base = fmt.Sprintf(" %s %s %d %s", c.Base.Type, c.Base.Hook, c.Base.Priority, c.Base.Policy)
			}
			out = append(out, fmt.Sprintf("chain %s %s%s: %d rules", tb.Name, c.Name, base, len(c.Rules)))
		}
		for _, set := range tb.Sets {
			out = append(out, fmt.Sprintf("set %s %s map %v", tb.Name, set.Name, set.Map))
		}
	}
	return out
}

func theirView(t *testing.T, conn *google.Conn) []string {
	t.Helper()
	tables, err := conn.ListTables()
	must(t, err)
	var out []string
	for _, tb := range tables {
		out = append(out, fmt.Sprintf("table %s %s", googleFamilies[tb.Family], tb.Name))
		sets, err := conn.GetSets(tb)
		must(t, err)
		for _, set := range sets {
			out = append(out, fmt.Sprintf("set %s %s map %v", tb.Name, set.Name, set.IsMap))
		}
	}
	chains, err := conn.ListChains()
	must(t, err)
	for _, c := range chains {
		rules, err := conn.GetRules(c.Table, c)
		must(t, err)
		base := ""
		if c.Hooknum != nil {
			policy := nf.Accept
			if c.Policy != nil && *c.Policy == google.ChainPolicyDrop {
				policy = nf.Drop
			}
			base = fmt.Sprintf(" %s %s %d %s", c.Type, googleHooks[*c.Hooknum], *c.Priority, policy)
		}
		out = append(out, fmt.Sprintf("chain %s %s%s: %d rules", c.Table.Name, c.Name, base, len(rules)))
	}
	return out
}

var (
	googleFamilies = map[google.TableFamily]nf.Family{
		google.TableFamilyINet: nf.INET, google.TableFamilyIPv4: nf.IP, google.TableFamilyIPv6: nf.IP6,
	}
	googleHooks = map[google.ChainHook]nf.Hook{
		*google.ChainHookPrerouting: nf.Prerouting, *google.ChainHookInput: nf.Input, *google.ChainHookForward: nf.Forward,
		*google.ChainHookOutput: nf.Output, *google.ChainHookPostrouting: nf.Postrouting,
	}
)

// masqueraded counts the masquerading rules of a namespace in which google/nftables wrote one.
func masqueraded(t *testing.T, ns *lab.Netns) int {
	t.Helper()
	must(t, ns.Run("nft", "flush", "ruleset"))
	must(t, ns.Masquerade("lo"))
	s, _ := collected(t, ns)
	n := 0
	for _, r := range table(t, s, nf.INET, "masquerade").Chain("postrouting").Rules {
		if r.Text == `oifname "lo" masquerade` {
			n++
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
