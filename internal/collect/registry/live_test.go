package registry_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// A live run of all collectors on this node ends in a document of its own making, with an account of each.
func TestRunHere(t *testing.T) {
	if _, err := os.Stat("/proc/self/ns/net"); err != nil {
		t.Skip("not Linux")
	}
	doc, _, err := collect.Run(t.Context(), host.Local(host.LocalOptions{}), registry.All(), collect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Collectors) != len(registry.All()) {
		t.Fatalf("%d accounts", len(doc.Collectors))
	}
	for _, c := range doc.Collectors {
		for _, m := range c.Missing {
			if strings.Contains(m.Why, "internal error") {
				t.Errorf("%s: %s: %s", c.Name, m.What, m.Why)
			}
		}
		t.Logf("%-10s %s %v", c.Name, c.Status, c.Missing)
	}
}

// dockerRules are what Docker 20 loads on a node with one published port, by iptables-nft.
const dockerRules = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
`

// load gives the namespace rules of each backend that is named.
func load(t testing.TB, ns *lab.Netns, backends ...string) {
	t.Helper()
	for _, b := range backends {
		var err error
		switch b {
		case "nft":
			_, err = ns.Pipe("table inet own { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { type filter hook prerouting priority -150; ct state invalid drop; }; }", "nft", "-f", "-")
		default:
			_, err = ns.Pipe(dockerRules, b+"-restore")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An audit leaves the namespace as it was: no table of any backend more or less, the same rules, the same generation of
// nf_tables, the same parameters, the same links.
func TestRunChangesNothing(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy", "ip")
	for name, backends := range map[string][]string{
		"empty": nil, "native": {"nft"}, "iptables-nft": {"iptables-nft"}, "legacy": {"iptables-legacy"},
		"all": {"nft", "iptables-nft", "iptables-legacy"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := labtest.NewNetns(t)
			load(t, ns, backends...)
			before := stateOf(t, ns)
			doc, ev, err := collect.Run(t.Context(), host.Local(host.LocalOptions{Namespace: ns.Path()}), registry.All(), collect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if after := stateOf(t, ns); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			for _, c := range doc.Collectors {
				for _, m := range c.Missing {
					t.Errorf("%s: %s: %s", c.Name, m.What, m.Why)
				}
			}
			if len(ev.Answers) != len(collect.NeedsOf(registry.All())) {
				t.Errorf("%d answers", len(ev.Answers))
			}
		})
	}
}

func stateOf(t *testing.T, ns *lab.Netns) string {
	t.Helper()
	var all strings.Builder
	for _, argv := range [][]string{
		{"cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"},
		{"nft", "-a", "list", "ruleset"},
		{"ip", "-o", "link"},
		{"ip", "netns", "list-id"},
		{"sh", "-c", "grep -rs . /proc/sys/net/netfilter /proc/sys/net/ipv4 /proc/sys/net/ipv6 || true"},
	} {
		out, err := ns.Output(argv...)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "/ipv4/neigh/") && !strings.Contains(line, "nf_conntrack_count") {
				all.WriteString(line)
			}
		}
	}
	return all.String()
}

// BenchmarkRun is the reading part of a scan of an ordinary Docker node.
func BenchmarkRun(b *testing.B) {
	labtest.Require(b, "root", "netns", "iptables")
	ns := labtest.NewNetns(b)
	load(b, ns, "iptables-nft")
	h := host.Local(host.LocalOptions{Namespace: ns.Path()})
	for name, run := range map[string]func() error{
		"fetch": func() error {
			_, err := h.Fetch(b.Context(), host.Request{Needs: collect.NeedsOf(registry.All())})
			return err
		},
		"whole": func() error {
			_, _, err := collect.Run(b.Context(), h, registry.All(), collect.Options{})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A document made from a recording is the one that was made on the node.
func TestRecordingGivesTheSameDocument(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy")
	ns := labtest.NewNetns(t)
	load(t, ns, "nft", "iptables-nft", "iptables-legacy")
	opts := collect.Options{Tool: "ctaudit test", Sample: 1, Keep: true}
	live, ev, err := collect.Run(t.Context(), host.Local(host.LocalOptions{Namespace: ns.Path()}), registry.All(), opts)
	if err != nil {
		t.Fatal(err)
	}
	played, _, err := collect.Run(t.Context(), hosttest.Playback(t, ev), registry.All(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(encode(t, live), encode(t, played)); diff != "" {
		t.Errorf("(-live +played):\n%s", diff)
	}
}

func encode(t testing.TB, doc *snapshot.Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := snapshot.Encode(&b, doc); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tampered answers as the node did, except for one answer.
type tampered struct {
	ev     *host.Evidence
	key    string
	answer *host.Answer
}

func (h tampered) Fetch(context.Context, host.Request) (*host.Evidence, error) {
	ev := *h.ev
	ev.Answers = maps.Clone(h.ev.Answers)
	ev.Answers[h.key] = h.answer
	return &ev, nil
}

// Whatever a node answers, no collector panics, and the document can be written.
func FuzzCollectors(f *testing.F) {
	labtest.Require(f, "root", "netns", "nft", "iptables", "iptables-legacy")
	ns := labtest.NewNetns(f)
	load(f, ns, "nft", "iptables-nft", "iptables-legacy")
	ev, err := host.Local(host.LocalOptions{Namespace: ns.Path()}).Fetch(f.Context(), host.Request{Needs: collect.NeedsOf(registry.All())})
	if err != nil {
		f.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(ev.Answers))
	for i, k := range keys {
		f.Add(uint8(i), ev.Answers[k].Data)
		for _, p := range slices.Sorted(maps.Keys(ev.Answers[k].Files)) {
			f.Add(uint8(i), ev.Answers[k].Files[p])
			break
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, data []byte) {
		key := keys[int(i)%len(keys)]
		answer := &host.Answer{Data: data}
		if files := ev.Answers[key].Files; strings.HasPrefix(key, "glob ") {
			answer = &host.Answer{Files: map[string][]byte{strings.ReplaceAll(key[len("glob "):], "*", "x"): data}}
			for p := range files {
				answer.Files[p] = data
			}
		}
		doc, _, err := collect.Run(t.Context(), tampered{ev, key, answer}, registry.All(), collect.Options{Tool: "ctaudit test"})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range doc.Collectors {
			for _, m := range c.Missing {
				if strings.Contains(m.Why, "internal error") {
					t.Fatalf("%s with %q: %s", c.Name, key, m.Why)
				}
			}
		}
		encode(t, doc)
	})
}
