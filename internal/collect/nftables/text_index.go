package nftables

import (
	"bytes"
	"strconv"
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// textIndex is what --debug=netlink printed, block by block: "FAMILY TABLE @SET" and a line for each element, "FAMILY TABLE
// CHAIN HANDLE [POSITION]" and a line for each expression (netlink_dump_set and netlink_dump_rule, nftables 1.0.6). nft
// prints a block again when the ruleset changed while it read: the last one counts.
type textIndex struct {
	sets  []*textBlock // in the order of the dump
	rules map[ruleKey]*textBlock
}

type ruleKey struct {
	chainKey
	handle uint64
}

// textBlock is one set or rule.
type textBlock struct {
	table tableKey
	name  string
	body  []byte
	used  bool
}

func (x *textIndex) read(out []byte) {
	x.rules = map[ruleKey]*textBlock{}
	sets := map[chainKey]*textBlock{}
	names := map[string]string{}
	for len(out) > 0 {
		line, rest := nextLine(out)
		body := rest[:blockEnd(rest)]
		out = rest[len(body):]
		f := strings.Fields(string(line))
		if len(f) < 3 || len(f) > 5 {
			continue // no block that the JSON could know: rules that lack theirs show it
		}
		for i := range 3 { // a hundred thousand rules have few tables and chains
			f[i] = intern(names, f[i])
		}
		b := &textBlock{table: tableKey{nf.Family(f[0]), f[1]}, body: body}
		if name, ok := strings.CutPrefix(f[2], "@"); ok {
			b.name = name
			key := chainKey{b.table, name}
			if old := sets[key]; old != nil {
				old.body = body
				continue
			}
			sets[key] = b
			x.sets = append(x.sets, b)
			continue
		}
		if handle, err := strconv.ParseUint(f[min(3, len(f)-1)], 10, 64); err == nil && len(f) > 3 {
			x.rules[ruleKey{chainKey{b.table, f[2]}, handle}] = b
		}
	}
}

// intern returns the one copy of a name.
func intern(names map[string]string, s string) string {
	if t, ok := names[s]; ok {
		return t
	}
	s = strings.Clone(s) // not the whole line
	if len(names) < 1<<16 {
		names[s] = s
	}
	return s
}

func nextLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// blockEnd is where the lines end that belong to a block: they are indented, or empty.
func blockEnd(b []byte) int {
	at := 0
	for at < len(b) && (b[at] == ' ' || b[at] == '\t' || b[at] == '\n') {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return len(b)
		}
		at += n + 1
	}
	return at
}
