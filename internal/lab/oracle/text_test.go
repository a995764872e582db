package oracle_test

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

var textCases = flag.Uint64("oracle.text", 20, "how many rulesets both readers must agree on, for each question")

var textNft = flag.String("oracle.nft", "", "the nft that the text reader reads with (an absolute path; default: the one in PATH, which loads the rules in any case)")

// readText is the node as a shell on it shows it.
func readText(b *lab.Bench) (*snapshot.Document, error) {
	local := host.Local(host.LocalOptions{Namespace: b.Node.Path()})
	if *textNft != "" {
		local = hosttest.WithProgram(local, "nft", *textNft)
	}
	local = hosttest.Shell(local)
	doc, _, err := collect.Run(context.Background(), local, registry.All(), collect.Options{
		Only: []string{"sysctl", "iptables", "nftables", "topology"},
	})
	return doc, err
}

// unsaid is what nft's output lacks: the counters of policies, and whether a set that no rule changes has the flag dynamic.
func unsaid() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreFields(netfilter.Base{}, "Counters"),
		cmpopts.IgnoreFields(netfilter.Rule{}, "Counters"), // the neighbours talk between two readings
		cmpopts.IgnoreFields(netfilter.Set{}, "Dynamic"),
		cmp.Transformer("element", func(e netfilter.Ext) string {
			if e.Name == "dynset" { // the wire's form of its statements is bytes
				e.Args = regexp.MustCompile(` expr .*`).ReplaceAllString(e.Args, "")
			}
			return fmt.Sprintf("%+v", struct{ netfilter.Ext }{e})
		}),
	}
}

// Both readers, netlink and text, must give the same ruleset, and what is read as text no verdict that the kernel contradicts.
func TestTextGivesTheSameRuleset(t *testing.T) {
	bothQuestions(t, func(t *testing.T, us [2]oracle.Universe) {
		more := func(s uint64) bool { return s < *seed+*textCases }
		campaign{run: drawn(us, (*tally).bothWays), replay: "-oracle.text=1", more: more}.soak(t).report(t)
	})
}

func (t *tally) bothWays(b *workbench, c oracle.Case, u oracle.Universe) error {
	t.cases++
	loaded, err := b.load(c)
	if err != nil {
		t.refused++
		return nil
	}
	x := exchanged{loaded: loaded, universe: u, probes: u.Probes(oracle.NewRand(c.Seed), *packets)}
	if err := x.run(b); err != nil {
		return fmt.Errorf("%w\n%s", err, loaded)
	}
	text, err := readText(b.Bench)
	if err != nil {
		return err
	}
	if part(text) {
		t.part++
		return nil
	}
	mine := text.Ruleset()
	t.opaque += withoutOpaque(x.doc.Ruleset(), mine)
	if d := cmp.Diff(x.doc.Ruleset(), mine, unsaid()); d != "" {
		return fmt.Errorf("the text's ruleset differs (-netlink +text):\n%s\nmissing: %v\n%s", d, missing(text), loaded)
	}
	if err := t.compare(b.Bench, &x, facts.Of(text)); err != nil {
		return fmt.Errorf("read as text: %w\n%s", err, loaded)
	}
	return nil
}

// part reports whether the text reader says itself that something is missing: nft 1.0.6 prints garbage for a table's flags.
func part(doc *snapshot.Document) bool {
	incomplete := func(t *netfilter.Table) bool { return t.Incomplete != "" }
	return len(missing(doc)) > 0 || slices.ContainsFunc(doc.Ruleset().Tables, incomplete)
}

// partial finds the rules that nft does not print whole.
var partial = regexp.MustCompile(`--opaque-revision-|unread|synproxy mss`)

// withoutOpaque puts netlink's rules in the place of those that the text reader calls opaque, and counts them: xtables
// extensions in rules that nft added to an iptables table, of which nft prints the name. SYNPROXY's options are not printed.
func withoutOpaque(wire, text *netfilter.Ruleset) (n int) {
	for i, t := range text.Tables {
		for j, c := range t.Chains {
			for k, r := range c.Rules {
				if !partial.MatchString(r.Text) {
					continue
				}
				if i < len(wire.Tables) && j < len(wire.Tables[i].Chains) && k < len(wire.Tables[i].Chains[j].Rules) {
					c.Rules[k] = wire.Tables[i].Chains[j].Rules[k]
					n++
				}
			}
		}
	}
	return n
}
