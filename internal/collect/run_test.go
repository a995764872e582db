package collect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// node answers from a map, and remembers what it was asked.
type node struct {
	answers map[string]*host.Answer
	asked   host.Request
	fetched int
	err     error
}

func (n *node) Fetch(_ context.Context, req host.Request) (*host.Evidence, error) {
	n.asked, n.fetched = req, n.fetched+1
	if n.err != nil {
		return nil, n.err
	}
	return &host.Evidence{Host: "node7", Taken: time.Unix(1700000000, 0), Answers: n.answers}, nil
}

// part is a collector made of functions.
type part struct {
	name    string
	needs   []host.Need
	collect func(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing
}

func (p part) Name() string       { return p.name }
func (p part) Needs() []host.Need { return p.needs }
func (p part) Collect(ev *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
	if p.collect == nil {
		return nil
	}
	return p.collect(ev, doc)
}

func file(path string) host.Need { return host.Need{Kind: host.File, Args: []string{path}} }

func run(t *testing.T, n *node, opts collect.Options, cs ...collect.Collector) *snapshot.Document {
	t.Helper()
	doc, ev, err := collect.Run(t.Context(), n, cs, opts)
	if err != nil {
		t.Fatal(err)
	}
	if ev == nil || doc.Version != snapshot.Version {
		t.Fatalf("evidence %v, version %d", ev, doc.Version)
	}
	return doc
}

func TestRunFetchesOnceAndMergesNeeds(t *testing.T) {
	small, big := file("/proc/net/snmp"), file("/proc/net/snmp")
	small.Limit, big.Limit, big.Sampled = 100, 4<<20, true
	n := &node{}
	doc := run(t, n, collect.Options{Sample: time.Second, Tool: "ctaudit 1", HostName: "renamed"},
		part{name: "kernel", needs: []host.Need{file("/a"), small}}, part{name: "conntrack", needs: []host.Need{big, file("/b")}})
	want := []host.Need{file("/a"), big, file("/b")}
	if diff := cmp.Diff(want, n.asked.Needs); diff != "" {
		t.Errorf("needs (-want +have):\n%s", diff)
	}
	if n.fetched != 1 || n.asked.Sample != time.Second {
		t.Errorf("fetched %d times, sample %s", n.fetched, n.asked.Sample)
	}
	if doc.Host != "renamed" || doc.Tool != "ctaudit 1" || !doc.Taken.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("document is of %q by %q at %s", doc.Host, doc.Tool, doc.Taken)
	}
	// A smaller cap never wins over the default of the kind.
	needs := collect.NeedsOf([]collect.Collector{part{name: "kernel", needs: []host.Need{small, file("/proc/net/snmp")}}})
	if len(needs) != 1 || needs[0].Cap() != file("").Cap() {
		t.Errorf("merged needs are %+v", needs)
	}
}

func TestRunRefuses(t *testing.T) {
	if _, _, err := collect.Run(t.Context(), &node{}, []collect.Collector{part{name: "kernel"}}, collect.Options{Only: []string{"kernel", "kernle"}}); err == nil || err.Error() != "collect kernle: no such collector" {
		t.Errorf("unknown collector: %v", err)
	}
	only := file("/a")
	only.Only = "/b"
	for name, other := range map[string]host.Need{
		"condition": only,
		"arguments": {Kind: host.File, Args: []string{"/a "}},
	} {
		first := file("/a")
		if name == "arguments" {
			first = host.Need{Kind: host.File, Args: []string{"/a", ""}}
		}
		cs := []collect.Collector{part{name: "kernel", needs: []host.Need{first}}, part{name: "sysctl", needs: []host.Need{other}}}
		if _, _, err := collect.Run(t.Context(), &node{}, cs, collect.Options{}); err == nil || !strings.Contains(err.Error(), "contradicts") {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone := errors.New("open network namespace x: no such file or directory")
	if _, _, err := collect.Run(t.Context(), &node{err: gone}, nil, collect.Options{}); !errors.Is(err, gone) {
		t.Errorf("fetch: %v", err)
	}
}

func TestRunStatus(t *testing.T) {
	missing := []snapshot.Missing{{What: "x", Why: "y"}}
	for name, tt := range map[string]struct {
		answers map[string]*host.Answer
		missing []snapshot.Missing
		want    snapshot.Status
	}{
		"all read":         {map[string]*host.Answer{"file /a": {Data: []byte("x")}, "file /b": {Data: []byte{}}}, nil, snapshot.StatusOK},
		"one absent":       {map[string]*host.Answer{"file /a": {Data: []byte("x")}, "file /b": {Absent: true}}, nil, snapshot.StatusOK},
		"all absent":       {map[string]*host.Answer{"file /a": {Absent: true}, "file /b": {Absent: true}}, nil, snapshot.StatusAbsent},
		"one unreadable":   {map[string]*host.Answer{"file /a": {Data: []byte("x")}, "file /b": {Err: "no"}}, missing, snapshot.StatusPartial},
		"all unreadable":   {map[string]*host.Answer{"file /a": {Err: "no"}, "file /b": {Err: "no"}}, missing, snapshot.StatusUnreadable},
		"nothing answered": {nil, missing, snapshot.StatusUnreadable},
		"part of a glob":   {map[string]*host.Answer{"file /a": {Err: "no", Files: map[string][]byte{"/a/b": nil}}}, missing, snapshot.StatusPartial},
	} {
		c := part{name: "kernel", needs: []host.Need{file("/a"), file("/b")}, collect: func(*host.Evidence, *snapshot.Document) []snapshot.Missing { return tt.missing }}
		doc := run(t, &node{answers: tt.answers}, collect.Options{}, c)
		want := []snapshot.Collector{{Name: "kernel", Status: tt.want, Missing: tt.missing}}
		if diff := cmp.Diff(want, doc.Collectors); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
}

func TestRunContainsPanics(t *testing.T) {
	broken := part{name: "iptables", collect: func(_ *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
		doc.IPTables.NFTRead = nil
		doc.IPTables.Tools = []snapshot.IPTablesTool{{Path: "half"}}
		doc.Kernel.Vendor = "stolen"
		var none []int
		_ = none[len(doc.IPTables.Tools)]
		return nil
	}}
	fine := part{name: "kernel", collect: func(_ *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
		doc.Kernel.Vendor = "debian"
		return nil
	}}
	doc := run(t, &node{}, collect.Options{}, broken, fine)
	if len(doc.IPTables.Tools) != 0 || doc.Kernel.Vendor != "debian" {
		t.Errorf("sections: %+v, vendor %q", doc.IPTables, doc.Kernel.Vendor)
	}
	got := doc.Collectors[0]
	if got.Status != snapshot.StatusUnreadable || len(got.Missing) != 1 {
		t.Fatalf("account: %+v", got)
	}
	if why := got.Missing[0].Why; !strings.HasPrefix(why, "internal error: runtime error: index out of range [1]") || !strings.Contains(why, "run_test.go:") {
		t.Errorf("why: %s", why)
	}
}

func TestRunKeepsCollectorsToTheirSections(t *testing.T) {
	thief := part{name: "sysctl", collect: func(_ *host.Evidence, doc *snapshot.Document) []snapshot.Missing {
		doc.Kernel.Vendor = "stolen"
		return nil
	}}
	doc := run(t, &node{}, collect.Options{}, thief, part{name: "flowers"})
	if doc.Kernel.Vendor != "" {
		t.Error("a collector wrote another's section")
	}
	if m := doc.Collectors[1].Missing; len(m) != 1 || m[0].Why != "the document has no such section" {
		t.Errorf("a collector without a section: %+v", m)
	}
}

func TestRunOnly(t *testing.T) {
	n := &node{answers: map[string]*host.Answer{"file /a": {Data: []byte("x")}}}
	doc := run(t, n, collect.Options{Only: []string{"kernel"}},
		part{name: "kernel", needs: []host.Need{file("/a")}}, part{name: "sysctl", needs: []host.Need{file("/b")}})
	want := []snapshot.Collector{
		{Name: "kernel", Status: snapshot.StatusOK},
		{Name: "sysctl", Status: snapshot.StatusUnreadable, Missing: []snapshot.Missing{{What: "sysctl", Why: "not asked for"}}},
	}
	if diff := cmp.Diff(want, doc.Collectors); diff != "" {
		t.Errorf("accounts (-want +have):\n%s", diff)
	}
	if len(n.asked.Needs) != 1 || doc.Host != "node7" {
		t.Errorf("asked for %+v of %s", n.asked.Needs, doc.Host)
	}
}
