// Package oracle writes random rulesets and random packets for holding the packet-path evaluator against a real kernel.
//
// A case is one or more documents for the backends' own restore tools, and a set of segments for [lab.Bench]. The test in
// this package loads the documents, reads the namespace back with our own collectors, evaluates once, and compares the
// fate of every segment with what the kernel did. A generator proves nothing about what it never writes: whoever adds a
// branch to the model adds the rule that reaches it here.
//
// Everything is drawn from one seed, so that a failure can be replayed:
//
//	go test ./internal/lab/oracle -run Random -oracle.duration=10m -oracle.seed=1000
//	go test ./internal/lab/oracle -run Random/B -oracle.seed=1383 -oracle.only
//
// What fails is shrunk and printed as txtar: put it into internal/packetpath/testdata/cases as kernel-NAME.txtar, and it is
// replayed in the kernel here and on paper there. "make oracle" runs for long and says which statements of the evaluator
// were reached; "make mutants" proves that mistakes in it are seen (testdata/mutants.txtar); "make nft-versions" has the nft of
// every Debian release read the rulesets, over netlink and as text.
package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Document is one input for [lab.Netns.Load].
type Document struct {
	Backend netfilter.Backend
	Family  netfilter.Family // of an iptables document
	Text    string
}

// Case is one generated ruleset, possibly of several backends at once, and the family its packets have.
type Case struct {
	Seed      uint64
	Family    netfilter.Family
	Reflect   bool // fwmark_reflect: the RST carries the mark of the segment that it answers
	Documents []Document
}

// String is the reproducer: what to feed to which tool.
func (c Case) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %s packets, fwmark_reflect %v\n", c.Seed, c.Family, c.Reflect)
	for _, d := range c.Documents {
		fmt.Fprintf(&b, "--- %s %s\n%s", d.Backend, d.Family, d.Text)
	}
	return b.String()
}

// generator draws rules for one document.
type generator struct {
	*rand.Rand
	family   netfilter.Family
	universe Universe
	inet     bool // the nft table at hand is of the inet family
}

// Generate draws a case. Backends are taken in turn from the seed: each alone, then two at once.
func Generate(seed uint64, universe Universe) Case {
	g := &generator{Rand: NewRand(seed), family: universe.Family, universe: universe}
	c := Case{Seed: seed, Family: universe.Family, Reflect: seed%5 == 1}
	mixes := [][]netfilter.Backend{
		{netfilter.Legacy},
		{netfilter.NFTables},
		{netfilter.IPTablesNFT},
		{netfilter.NFTables},
		{netfilter.Legacy},
		{netfilter.Legacy, netfilter.NFTables},
		{netfilter.IPTablesNFT, netfilter.NFTables},
	}
	for _, backend := range mixes[seed%uint64(len(mixes))] {
		d := Document{Backend: backend, Family: universe.Family}
		if backend == netfilter.NFTables {
			d.Text = g.nftDocument()
		} else {
			d.Text = g.xtDocument()
		}
		c.Documents = append(c.Documents, d)
	}
	return c
}

// NewRand is the seed's own source.
func NewRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x637461756469740a)) }

// one draws one of the words.
func (g *generator) one(words ...string) string { return words[g.IntN(len(words))] }

// chance is true n times out of a hundred.
func (g *generator) chance(n int) bool { return g.IntN(100) < n }

// some draws between low and high distinct words, in their order.
func (g *generator) some(low, high int, words ...string) []string {
	n := min(low+g.IntN(high-low+1), len(words))
	taken := map[int]bool{}
	for _, i := range g.Perm(len(words))[:n] {
		taken[i] = true
	}
	var out []string
	for i, w := range words {
		if taken[i] {
			out = append(out, w)
		}
	}
	return out
}

// v4 chooses by family.
func (g *generator) v4(ip, ip6 string) string {
	if g.family == netfilter.IP6 {
		return ip6
	}
	return ip
}
