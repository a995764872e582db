package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/report/schematest"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func requireTwin(t *testing.T) {
	t.Helper()
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
}

// scenarioNode is a node with an uplink and a pod, of both families.
func scenarioNode(t *testing.T) *lab.Netns {
	t.Helper()
	node, provider, pod := labtest.NewNetns(t), labtest.NewNetns(t), labtest.NewNetns(t)
	err := lab.Veth(lab.End{NS: node, Name: "eth0", Addresses: []string{"192.0.2.10/24", "2001:db8:1::10/64"}}, lab.End{NS: provider, Name: "p0"})
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Veth(lab.End{NS: node, Name: "pod0", Addresses: []string{"10.88.0.1/16", "fd88::1/64"}}, lab.End{NS: pod, Name: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]string{{"default", "192.0.2.1"}, {"::/0", "2001:db8:1::1"}} {
		if err := node.Route(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if err := node.Sysctl(key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	return node
}

// load puts a scenario's rules into the node and returns what it wants to be foretold.
func load(t *testing.T, node *lab.Netns, ar *txtar.Archive) (want string) {
	t.Helper()
	for _, f := range ar.Files {
		backend, family, _ := strings.Cut(f.Name, ".")
		var err error
		switch backend {
		case "legacy":
			err = node.Load(netfilter.Legacy, netfilter.Family(family), string(f.Data))
		case "nft":
			err = node.Load(netfilter.IPTablesNFT, netfilter.Family(family), string(f.Data))
		case "nftables":
			err = node.Load(netfilter.NFTables, "", string(f.Data))
		case "settings":
			for line := range strings.Lines(string(f.Data)) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				if err = node.Sysctl(key, value); err != nil {
					break
				}
			}
		case "want":
			want = string(f.Data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return want
}

// read is a node as our collectors see it.
func readNode(t *testing.T, node *lab.Netns) *snapshot.Document {
	t.Helper()
	doc, _, err := collect.Run(context.Background(), host.Local(host.LocalOptions{Namespace: node.Path()}), registry.All(), collect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return stored(t, doc)
}

// stored writes a snapshot and reads it again: the twin has nothing else.
func stored(t *testing.T, doc *snapshot.Document) *snapshot.Document {
	t.Helper()
	var b bytes.Buffer
	if err := snapshot.Encode(&b, doc); err != nil {
		t.Fatal(err)
	}
	doc, err := snapshot.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func confirm(t *testing.T, doc *snapshot.Document) *twin.Result {
	t.Helper()
	node := facts.Of(doc)
	j := judgedOf(doc, node)
	j.answers = append(slices.Clone(node.Ask(packetpath.A)), node.Ask(packetpath.B)...)
	r, err := j.confirm(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// foretoldText is a line for each question with the fates foretold.
func foretoldText(r *twin.Result) string {
	var b strings.Builder
	for _, q := range r.Questions {
		var fates []string
		for _, c := range q.Classes {
			fates = append(fates, c.Predicted)
		}
		slices.Sort(fates)
		fmt.Fprintf(&b, "%s %s %s %s\n", q.Question, q.Family, q.Interface, strings.Join(slices.Compact(fates), " "))
	}
	return b.String()
}

// What is foretold of a node is what the kernel does to its twin, which is made from the snapshot alone.
func TestTwinOfScenarios(t *testing.T) {
	requireTwin(t)
	files, err := filepath.Glob("testdata/twin/*.txtar")
	if err != nil || len(files) < 17 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			node := scenarioNode(t)
			want := load(t, node, ar)
			r := confirm(t, readNode(t, node))
			if got := foretoldText(r); got != want {
				t.Errorf("foretold:\n%swant:\n%s", got, want)
			}
			if r.Agreement != twin.Agrees || len(r.NotBuilt) > 0 {
				t.Error(twinText(&twin.Document{Nodes: []twin.Result{*r}}))
			}
		})
	}
}

// The snapshots of shapes that programs make: Docker, kube-proxy, Calico, firewalld, podman, ufw.
func TestTwinOfSnapshots(t *testing.T) {
	requireTwin(t)
	files, err := filepath.Glob("../../internal/facts/testdata/*.json")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d snapshots, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			r := confirm(t, readSnapshot(t, file))
			text := twinText(&twin.Document{Nodes: []twin.Result{*r}})
			for _, g := range r.NotBuilt {
				if !g.Harmless {
					t.Errorf("not rebuilt: %s", g)
				}
			}
			if r.Agreement != twin.Agrees {
				t.Error(text)
			}
		})
	}
}

func TestProveSnapshotCommand(t *testing.T) {
	requireTwin(t)
	var doc, talk bytes.Buffer
	args := []string{"prove", "-f", "json", "--question", "A", "--snapshot", "../../internal/facts/testdata/dualstack.json", "--snapshot", "../../internal/facts/testdata/ufw.json"}
	if err := run(context.Background(), args, nil, streams{nil, &doc, &talk}); err != nil {
		t.Fatal(err)
	}
	schematest.Validate(t, twin.Schema(), doc.Bytes())
	var d twin.Document
	if err := json.Unmarshal(doc.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Nodes) != 2 || d.Tool != toolName() || d.Version != twin.Version || d.Nodes[0].Host != "dualstack" || talk.Len() > 0 {
		t.Errorf("%+v %s", d, talk.String())
	}
	for _, n := range d.Nodes {
		for _, q := range n.Questions {
			if q.Question != "A" || q.Agreement != twin.Agrees {
				t.Errorf("%+v", q)
			}
		}
	}
}

// Of chains of equal priority the one registered last runs first. Where the kernel told its order, the twin has it, whatever the
// order of the tables.
func TestTwinKeepsTheHookOrder(t *testing.T) {
	requireTwin(t)
	node := scenarioNode(t)
	rules := `table inet a { chain c { type filter hook input priority 0; meta l4proto tcp reject with tcp reset; }; }
table inet b { chain c { type filter hook input priority 0; meta l4proto tcp drop; }; }
`
	if err := node.Load(netfilter.NFTables, "", rules); err != nil {
		t.Fatal(err)
	}
	for first, fate := range map[string]string{"a": "reset", "b": "dropped"} {
		doc := readNode(t, node)
		entries := []snapshot.HookEntry{}
		for _, family := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
			for _, table := range []string{first, map[string]string{"a": "b", "b": "a"}[first]} {
				entries = append(entries, snapshot.HookEntry{
					Family: family, Hook: netfilter.Input, Function: "nft_do_chain_inet", Table: table, Chain: "c", TableFamily: netfilter.INET,
				})
			}
		}
		doc.NFTables.HookOrder = snapshot.Known(entries)
		r := confirm(t, doc)
		want := fmt.Sprintf("A ip eth0 %s\n", fate)
		if r.Agreement != twin.Agrees || !strings.Contains(foretoldText(r), want) {
			t.Errorf("%s first: want %q and agreement:\n%s", first, want, twinText(&twin.Document{Nodes: []twin.Result{*r}}))
		}
	}
}
