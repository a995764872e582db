package oracle_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
)

// translating are rules that change where a connection goes, or what it is to conntrack: the probe cannot be followed.
var translating = regexp.MustCompile(`\*nat|type nat|TPROXY|tproxy|--zone|SYNPROXY|TTL|HL --hl|ttl set|hoplimit set`)

// The other states that a packet can be asked about, "ctaudit trace --state": each ruleset is loaded on a bench of its own,
// for these packets leave entries. Forwarded packets are seen to come through.
func TestStatesAgreeWithTheKernel(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	for _, state := range []string{"new", "established", "untracked"} {
		t.Run(state, func(t *testing.T) {
			us, err := universes(true)
			if err != nil {
				t.Fatal(err)
			}
			through := 0
			deadline := time.Now().Add(*duration / 6)
			for s := *seed; time.Now().Before(deadline); s++ {
				u := us[s/7%2]
				c := oracle.Generate(s, u)
				if translating.MatchString(c.String()) {
					continue
				}
				n, err := stateful(state, c, u)
				if through += n; err != nil {
					t.Fatalf("replay with -oracle.seed=%d: %v\n%s", s, err, c)
				}
			}
			t.Logf("%d segments came through", through)
			if through == 0 && *duration > 5*time.Second {
				t.Error("nothing came through")
			}
		})
	}
}

// stateful loads the case, makes conntrack see the probes in the state, and compares. It returns how many came through.
func stateful(state string, c oracle.Case, u oracle.Universe) (through int, err error) {
	b, err := freshBench()
	if err != nil {
		return 0, err
	}
	defer b.Close()
	probes := slices.DeleteFunc(u.Probes(oracle.NewRand(c.Seed), 64), func(p lab.Probe) bool { return p.Port != 0 })
	for i := range probes {
		probes[i].Flags = map[string]uint8{"new": lab.SYN, "established": lab.ACK, "untracked": lab.ACK}[state]
	}
	if err := prepareState(state, b.Bench, probes); err != nil {
		return 0, err
	}
	loaded, err := c.Load(b.Node)
	if err != nil {
		return 0, nil
	}
	x := exchanged{loaded: loaded, universe: u, probes: probes}
	var came []bool
	if state == "untracked" {
		x.fates, err = put(b.Bench, u, probes)
	} else {
		x.fates, came, err = b.Range.ExchangeOneWay(probes, 10*time.Second)
	}
	if err != nil {
		return 0, err
	}
	if x.doc, err = b.read(); err != nil {
		return 0, err
	}
	return compareState(state, &x, came, *facts.Of(x.doc).Evaluated())
}

// prepareState makes the entries, or the rule, that the state takes.
func prepareState(state string, b *lab.Bench, probes []lab.Probe) error {
	rule := "priority 999; ct state new counter" // something must ask for conntrack
	if state == "untracked" {
		rule = "priority -201; tcp flags ! rst notrack" // the answer to the packet is not asked about
	}
	err := b.Node.Load(netfilter.NFTables, netfilter.INET, "table inet helper { chain c { type filter hook prerouting "+rule+"; }; }")
	if err != nil || state != "established" {
		return err
	}
	var there, back []lab.Probe
	for _, p := range probes {
		there = append(there, lab.Probe{Port: p.Port, Segment: lab.Segment{Src: p.Src, Dst: p.Dst, Flags: lab.SYN, Seq: p.Seq - 1}})
		back = append(back, lab.Probe{Port: 1 - p.Port, Segment: lab.Segment{
			Src: p.Dst, Dst: p.Src, Flags: lab.SYN | lab.ACK, Seq: p.Segment.Ack - 1, Ack: p.Seq,
		}})
	}
	for _, round := range [][]lab.Probe{there, back} {
		_, through, err := b.Range.ExchangeOneWay(round, 10*time.Second)
		if err != nil {
			return err
		}
		if slices.Contains(through, false) {
			return errors.New("a handshake did not come through")
		}
	}
	return nil
}

// compareState asks about all probes at once.
func compareState(state string, x *exchanged, came []bool, n packetpath.Node) (through int, err error) {
	n.Ruleset = &netfilter.Ruleset{Tables: slices.DeleteFunc(slices.Clone(n.Ruleset.Tables), func(t *netfilter.Table) bool { return t.Name == "helper" })}
	q := question(nil, 0, x.universe)
	q.Question, q.State, q.Flags = packetpath.Custom, state, []uint8{x.probes[0].Flags}
	a, err := packetpath.Evaluate(&n, q)
	if err != nil {
		return 0, err
	}
	asked := replay.Asked{Query: q}
	for i, p := range x.probes {
		packet := replay.Packet{Segment: segment(nil, p), Fate: replay.Fate(x.fates[i].String())}
		asked.Packets = append(asked.Packets, packet)
		if came == nil { // answered by a RST, as an INVALID one
			through++
			err = new(replay.Tally).Compare(&a, []replay.Packet{packet})
		} else if came[i] {
			through++
		}
		if came != nil && !slices.ContainsFunc(a.Outcomes, func(o packetpath.Outcome) bool {
			return o.Holds(packet.Segment) && agrees(&o, x.fates[i], came[i])
		}) {
			err = fmt.Errorf("%s: the kernel: %s, came through: %v; foretold:\n%s", p.Segment, x.fates[i], came[i], replay.Explain(&a, packet.Segment))
		}
		if err != nil {
			return through, err
		}
	}
	if came != nil && through > 0 {
		return through, nil // a fate that a recording has no word for
	}
	return through, recorded.add(&replay.Case{Name: state + x.loaded.String(), Node: &n, Asked: []replay.Asked{asked}})
}

// agrees holds one outcome against what was seen. A segment that was let through is answered by nobody.
func agrees(o *packetpath.Outcome, f lab.Fate, came bool) bool {
	switch {
	case o.Fate == "depends" || slices.Contains(o.Assuming, replay.AnOrder):
		return true
	case o.Fate == "delivered":
		return came && f == lab.Silence
	case o.Fate == "dropped":
		return !came && f == lab.Silence
	case o.Fate == "rejected-icmp":
		return !came && f != lab.Reset
	}
	return !came && f == lab.Reset
}

// The RST that rejects a packet with an entry is RELATED to it, one that rejects it in front of conntrack is of the connection
// where there is one, and both are not INVALID.
func TestRejectedStates(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	us, err := universes(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range us {
		for _, state := range []string{"new", "established", "untracked"} {
			for _, place := range []string{"forward priority 0", "prerouting priority -300"} {
				for _, of := range []string{"invalid", "related", "established", "untracked"} {
					c := oracle.Case{Seed: 1, Family: u.Family, Documents: []oracle.Document{{Backend: netfilter.NFTables, Text: fmt.Sprintf(
						"table inet t {\n\tchain a { type filter hook %s; meta l4proto tcp reject with tcp reset; }\n"+
							"\tchain b { type filter hook output priority 0; ct state %s drop; }\n}\n", place, of)}}}
					if _, err := stateful(state, c, u); err != nil {
						t.Errorf("%s, %s, drop of %s: %v", state, place, of, err)
					}
				}
			}
		}
	}
}
