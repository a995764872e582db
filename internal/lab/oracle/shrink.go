package oracle

import (
	"slices"
	"strings"
)

// Shrink takes documents, chains and rules out of a case for as long as the rest still fails, and returns what is left: no
// single one of them can be taken out of it. still must be true of the case itself.
func Shrink(c Case, still func(Case) bool) Case {
	if !still(c) {
		return c
	}
	for {
		smaller, ok := shrinkOnce(c, still)
		if !ok {
			return c
		}
		c = smaller
	}
}

// shrinkOnce tries ever smaller runs of parts: half of them at first, single ones at last.
func shrinkOnce(c Case, still func(Case) bool) (Case, bool) {
	for i := range c.Documents {
		if len(c.Documents) == 1 {
			break
		}
		less := c
		less.Documents = slices.Delete(slices.Clone(c.Documents), i, i+1)
		if still(less) {
			return less, true
		}
	}
	smaller := false
	for i := range c.Documents {
		for run := len(parts(c.Documents[i].Text))/2 + 1; run >= 1; run /= 2 {
			for from := 0; ; {
				text, ok := without(c.Documents[i].Text, from, run)
				if !ok {
					break
				}
				less := c
				less.Documents = slices.Clone(c.Documents)
				less.Documents[i].Text = text
				if still(less) {
					c, smaller = less, true
					continue
				}
				from += run
			}
		}
	}
	return c, smaller
}

// span is the lines [from, to) of a document that can be taken out together.
type span struct{ from, to int }

// parts lists what can be taken out of a document: rules, sets, and whole chains and tables.
func parts(text string) []span {
	var out []span
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "table ") && strings.HasSuffix(line, "{"):
			out = append(out, block(lines, i, "}"))
		case strings.HasPrefix(line, "*"):
			out = append(out, block(lines, i, "COMMIT"))
		case strings.HasPrefix(line, "\tchain "):
			out = append(out, block(lines, i, "\t}"))
		case strings.HasPrefix(line, "-A "), strings.HasPrefix(line, "\tset "), strings.HasPrefix(line, "\tmap "),
			strings.HasPrefix(line, "\t\t") && !strings.HasPrefix(line, "\t\ttype "),
			strings.HasPrefix(line, ":") && strings.Contains(line, " - ["), strings.HasPrefix(line, "table "):
			out = append(out, span{i, i + 1})
		}
	}
	return out
}

// block is the lines from one to the first that ends it.
func block(lines []string, from int, end string) span {
	for i := from; i < len(lines); i++ {
		if lines[i] == end {
			return span{from, i + 1}
		}
	}
	return span{from, len(lines)}
}

// without takes a run of parts out of a document; false when there are none from there on.
func without(text string, from, run int) (string, bool) {
	all := parts(text)
	if from >= len(all) {
		return "", false
	}
	lines := strings.Split(text, "\n")
	gone := make([]bool, len(lines))
	for _, p := range all[from:min(from+run, len(all))] {
		for i := p.from; i < p.to; i++ {
			gone[i] = true
		}
	}
	var left []string
	for i, line := range lines {
		if !gone[i] {
			left = append(left, line)
		}
	}
	return strings.Join(left, "\n"), true
}
