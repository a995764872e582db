package oracle

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/lab"
)

// refusedLine finds the line numbers in what the tools say about a document: nft "/dev/stdin:12:3-9: Error", iptables-nft
// "line 12: RULE_APPEND failed", iptables-legacy "line 12 failed" and "Error occurred at line: 12".
var refusedLine = regexp.MustCompile(`(?m)/dev/stdin:(\d+):\d+-\d+: Error|line:? (\d+)(?: failed|: RULE_APPEND failed|$)`)

// Load loads the case's documents, without the rules that their tool refuses: random rules contradict themselves at
// times. The case returned is what was loaded.
func (c Case) Load(n *lab.Netns) (Case, error) {
	if err := c.settings(n); err != nil {
		return c, err
	}
	return c.load(func(d Document) error { return n.Load(d.Backend, d.Family, d.Text) })
}

func (c Case) load(put func(Document) error) (Case, error) {
	loaded := Case{Seed: c.Seed, Family: c.Family, Reflect: c.Reflect}
	for _, d := range c.Documents {
		var err error
		for range 12 {
			if err = put(d); err == nil {
				break
			}
			text, cut := withoutRefused(d.Text, err.Error())
			if !cut {
				break
			}
			d.Text = text
		}
		if err != nil {
			return c, fmt.Errorf("seed %d: %w\n%s", c.Seed, err, d.Text)
		}
		loaded.Documents = append(loaded.Documents, d)
	}
	return loaded, nil
}

// Exactly loads the case's documents as they stand.
func (c Case) Exactly(n *lab.Netns) error {
	if err := c.settings(n); err != nil {
		return err
	}
	for _, d := range c.Documents {
		if err := n.Load(d.Backend, d.Family, d.Text); err != nil {
			return err
		}
	}
	return nil
}

func (c Case) settings(n *lab.Netns) error {
	if !c.Reflect {
		return nil
	}
	return errors.Join(n.Sysctl("net.ipv4.fwmark_reflect", "1"), n.Sysctl("net.ipv6.fwmark_reflect", "1"))
}

// withoutRefused cuts the rules out that the tool's message names. Only rules are cut, so that no chain is lost.
func withoutRefused(document, message string) (string, bool) {
	lines := strings.Split(document, "\n")
	var numbers []int
	for _, m := range refusedLine.FindAllStringSubmatch(message, -1) {
		if n, err := strconv.Atoi(m[1] + m[2]); err == nil && n >= 1 && n <= len(lines) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	cut := false
	for _, n := range slices.Backward(slices.Compact(numbers)) {
		line := lines[n-1]
		if strings.HasPrefix(line, "-A ") || strings.HasPrefix(line, "\t\t") && !strings.HasPrefix(line, "\t\ttype ") {
			lines = slices.Delete(lines, n-1, n)
			cut = true
		}
	}
	return strings.Join(lines, "\n"), cut
}
