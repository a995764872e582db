package main

import (
	"flag"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

var shapesNft = flag.String("shapes.nft", "", "the nft that reads the recorded shapes (an absolute path; default: the one in PATH)")

// What Docker, kube-proxy, firewalld, netavark and the others write reads the same over netlink and as a shell on the node shows it:
// every shape's twin is read both ways, and no rule of it is left unread.
func TestShapesReadTheSameAsText(t *testing.T) {
	requireTwin(t)
	fixtures, err := filepath.Glob("../../internal/facts/testdata/*.json")
	if err != nil || len(fixtures) < 12 {
		t.Fatalf("%v, %v", fixtures, err)
	}
	native := 0
	for _, path := range fixtures {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			wire, text := readTwin(t, path)
			for _, table := range text.Tables {
				if table.Backend == netfilter.NFTables {
					native++
				}
				noneUnread(t, table)
			}
			counters := cmp.Options{cmpopts.IgnoreFields(netfilter.Base{}, "Counters"), cmpopts.IgnoreFields(netfilter.Rule{}, "Counters")}
			if diff := cmp.Diff(wire, text, counters); diff != "" {
				t.Errorf("-netlink +text:\n%s", diff)
			}
		})
	}
	if native < 4 {
		t.Errorf("only %d native tables were read", native)
	}
}

// opaqueRule is a rule of which nft does not print everything.
var opaqueRule = regexp.MustCompile(`unread|--opaque-revision-`)

func noneUnread(t *testing.T, table *netfilter.Table) {
	t.Helper()
	if table.Incomplete != "" {
		t.Errorf("%s %s: %s", table.Family, table.Name, table.Incomplete)
	}
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			if opaqueRule.MatchString(r.Text) {
				t.Errorf("%s %s %s: not read: %s", table.Family, table.Name, c.Name, r.Text)
			}
		}
	}
}

// readTwin rebuilds a snapshot's node and reads it over netlink and through a shell.
func readTwin(t *testing.T, path string) (wire, text *netfilter.Ruleset) {
	t.Helper()
	built, err := twin.Build(t.Context(), twinNode(readSnapshot(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	defer built.Close()
	local := host.Local(host.LocalOptions{Namespace: built.Path()})
	shell := local
	if *shapesNft != "" {
		shell = hosttest.WithProgram(shell, "nft", *shapesNft)
	}
	var read []*netfilter.Ruleset
	for _, h := range []host.Host{local, hosttest.Shell(shell)} {
		back, _, err := collect.Run(t.Context(), h, registry.All(), collect.Options{Only: []string{"iptables", "nftables"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range back.Collectors {
			if len(c.Missing) > 0 && (c.Name == "iptables" || c.Name == "nftables") {
				t.Errorf("missing of %s: %v", c.Name, c.Missing)
			}
		}
		read = append(read, back.Ruleset())
	}
	return read[0], read[1]
}
