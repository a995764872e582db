package nftables

import (
	"context"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// evidence reads a namespace's ruleset as the program does.
func evidence(t testing.TB, ns *lab.Netns) *host.Evidence {
	t.Helper()
	ev, err := host.Local(host.LocalOptions{Namespace: ns.Path()}).Fetch(context.Background(), host.Request{Needs: New().Needs()})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func collected(t testing.TB, ns *lab.Netns) (*snapshot.NFTables, []snapshot.Missing) {
	t.Helper()
	var doc snapshot.Document
	missing := New().Collect(evidence(t, ns), &doc)
	return &doc.NFTables, missing
}

// loaded loads an nft document into a namespace and reads it back.
func loaded(t testing.TB, document string) (*snapshot.NFTables, *lab.Netns) {
	t.Helper()
	labtest.Require(t, "root", "netns", "nft")
	ns := labtest.NewNetns(t)
	if _, err := ns.Pipe(document, "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	s, missing := collected(t, ns)
	if len(missing) > 0 {
		t.Fatalf("missing: %v", missing)
	}
	return s, ns
}

func table(t testing.TB, s *snapshot.NFTables, family nf.Family, name string) *nf.Table {
	t.Helper()
	for _, tb := range s.Tables {
		if tb.Family == family && tb.Name == name {
			return tb
		}
	}
	t.Fatalf("no table %s %s", family, name)
	return nil
}
