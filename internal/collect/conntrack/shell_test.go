package conntrack

import (
	"testing"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// A shell has /proc only, which has every counter that netlink has.
func TestShellLosesNothing(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	ns := labtest.NewNetns(t)
	if _, err := ns.Pipe("table ip t { chain in { type filter hook input priority 0; ct state invalid drop; }; }", "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	local := host.Local(host.LocalOptions{Namespace: ns.Path()})
	doc, _, err := collect.Run(t.Context(), hosttest.Shell(local), []collect.Collector{New()}, collect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := doc.Conntrack.First
	if m := doc.Collectors[0].Missing; len(m) != 0 || c.Source != sourceProc {
		t.Errorf("missing %v, source %q", m, c.Source)
	}
	whole, _ := collected(fetch(t, ns, 0))
	for name := range whole.First.Stats.Or(nil) {
		if _, ok := c.Stats.Or(nil)[name]; !ok {
			t.Errorf("a shell does not say %s", name)
		}
	}
}

// Without the netlink and without the table, nothing is missing: the kernel tracks no connections.
func TestShellWithoutConntrack(t *testing.T) {
	answers := map[string]*host.Answer{}
	for _, n := range New().Needs() {
		answers[n.Key()] = &host.Answer{Absent: true}
	}
	answers[sampled(host.Netlink, host.DumpCTStats).Key()] = &host.Answer{Err: host.NoNetlink}
	c, missing := collected(&host.Evidence{Answers: answers})
	if len(missing) != 0 || !c.First.Stats.IsAbsent() {
		t.Errorf("missing %v, stats %v", missing, c.First.Stats)
	}
	// The table is there and its statistics are not (CONFIG_NF_CONNTRACK_PROCFS off): that is something missing.
	answers[sampled(host.File, pathCount).Key()] = &host.Answer{Data: []byte("5\n")}
	if c, missing := collected(&host.Evidence{Answers: answers}); len(missing) == 0 || !c.First.Stats.IsUnreadable() {
		t.Errorf("missing %v, stats %v", missing, c.First.Stats)
	}
}
