package nftables

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

// sign is what a line says of the form in which values are printed (text_values.go). nft's version does not tell: 1.1.3 runs
// with either library, and only 1.1.7 needs one that prints octets (it uses LIBNFTNL_19, which came with them).
type sign int

const (
	silent  sign = iota
	inWords      // it can only be words
	inBytes      // it can only be octets
	either       // it has a value, which means one thing in one form and another in the other
	neither      // no form that is known
)

// enoughSigns bounds how far signs are looked for.
const enoughSigns = 64

// checkForm finds out the form of values; when nothing in the output shows it, or it shows both, everything is missing.
func (r *textReader) checkForm() {
	var seen [neither + 1]int
	count := func(s sign) bool {
		seen[s]++
		return seen[inWords]+seen[inBytes]+seen[either] < enoughSigns && seen[neither] == 0
	}
	r.eachSign(count)
	words, octets := seen[inWords] > 0, seen[inBytes] > 0 || r.newer
	switch {
	case seen[neither] > 0 || words && octets:
		r.parser.lack(host.DumpNFTables, "nft's library prints registers in a form that is not understood", hintPush)
	case !words && !octets && seen[either] > 0:
		r.parser.lack(host.DumpNFTables, "nothing shows in which order nft's library prints registers", hintPush)
	}
	r.parser.walker.octets = octets && !words
}

// eachSign looks at one line after another while next is true.
func (r *textReader) eachSign(next func(sign) bool) {
	for _, b := range r.index.sets {
		for line := range bytes.Lines(b.body) {
			if s := elementSign(strings.TrimRight(string(line), "\n")); s != silent && !next(s) {
				return
			}
		}
	}
	for i := range r.rules {
		j := &r.rules[i]
		b := r.index.rules[ruleKey{chainKey{j.table, j.chain}, j.handle}]
		if b == nil {
			continue
		}
		prev := ""
		for l := range bytes.Lines(b.body) {
			line := strings.TrimRight(string(l), "\n")
			if s := exprSign(line, prev, r.json[j.from:j.to]); s != silent && !next(s) {
				return
			}
			prev = line
		}
	}
}

// elementSign: in words, "[end]" closes an element.
func elementSign(line string) sign {
	if !strings.HasPrefix(line, "\telement ") {
		return silent
	}
	text, _, _ := strings.Cut(line, " userdata ")
	if strings.HasSuffix(strings.TrimRight(text, " "), "[end]") {
		return inWords
	}
	for _, w := range strings.Fields(text)[1:] {
		if isShortGroup(w) {
			return inBytes
		}
		if !isHexWord(w) {
			break
		}
	}
	return either
}

// exprSign: a group of fewer than 4 bytes is octets; a value that was filled up behind a shorter load is words; and what the
// rule's JSON has in one order only tells the rest.
func exprSign(line, prev string, json []byte) sign {
	groups := valueGroups(line)
	short := false
	for _, g := range groups {
		if short = short || isShortGroup(g); !short && !isHexWord(g) {
			return neither
		}
	}
	switch {
	case len(groups) == 0:
		return silent
	case short:
		return inBytes
	}
	var data []byte
	for _, g := range groups {
		data = appendWord(data, g)
	}
	load := loadedBefore(prev, line)
	if n := loadSize(load); n > 0 && n < 4 {
		if filled := zeros(data[n:4]) && !zeros(data[:n]); filled {
			return inWords
		}
	}
	turned := swapped(data)
	if bytes.Equal(data, turned) {
		return silent
	}
	here, there := shows(json, load, data), shows(json, load, turned)
	switch {
	case here && !there:
		return inWords
	case there && !here:
		return inBytes
	}
	return either
}

func zeros(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// valueGroups are the groups of an expression that holds a register's content, without 0x; of a range's ends, or a mask and what
// is xored, the first one's.
func valueGroups(line string) (out []string) {
	inner, ok := strings.CutPrefix(line, "  [ ")
	name, _, _ := strings.Cut(inner, " ")
	known := slices.Contains([]string{"cmp", "range", "bitwise", "immediate"}, name)
	if !ok || !known || strings.Contains(line, " -> ") { // a chain may have any name
		return nil
	}
	for _, w := range strings.Fields(inner) {
		if s, ok := strings.CutPrefix(w, "0x"); ok {
			out = append(out, s)
		}
	}
	if name == "range" || name == "bitwise" && strings.Contains(line, " ^ ") {
		out = out[:len(out)/2]
	}
	return out
}

// loadedBefore returns what prev loads into the register that line compares or masks: "payload load 2b @ transport header + 2".
func loadedBefore(prev, line string) string {
	load, reg, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(prev, "  [ "), " ]"), " => reg ")
	reg, _, _ = strings.Cut(reg, " ")
	if !ok || !strings.Contains(line, " reg "+reg+" 0x") && !strings.Contains(line, "( reg "+reg+" ") {
		return ""
	}
	return load
}

// loadSize is how many bytes a load has, 0 where that is not known.
func loadSize(load string) int {
	switch load {
	case "meta load l4proto", "meta load nfproto", "meta load pkttype", "ct load l3protocol", "ct load protocol":
		return 1
	case "meta load protocol", "meta load iiftype", "meta load oiftype", "ct load proto_src", "ct load proto_dst":
		return 2
	}
	if rest, ok := strings.CutPrefix(load, "payload load "); ok {
		c := &cursor{words: strings.Fields(rest)}
		return int(c.bytes())
	}
	return 0
}

// swapped has each word's bytes the other way round.
func swapped(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i+4 <= len(data); i += 4 {
		out = binary.BigEndian.AppendUint32(out, binary.LittleEndian.Uint32(data[i:]))
	}
	return out
}

// shows reports whether a rule's JSON has a value in memory as nft would write it there for what was loaded.
func shows(json []byte, load string, data []byte) bool {
	has := func(format string, a ...any) bool { return bytes.Contains(json, fmt.Appendf(nil, format, a...)) }
	n := binary.LittleEndian.Uint32(data)
	switch load {
	case "ct load src", "ct load dst", "ct load src_ip", "ct load dst_ip", "ct load src_ip6", "ct load dst_ip6":
		return hasAddress(json, data)
	case "meta load mark", "ct load mark", "meta load skuid", "meta load skgid":
		return has(`"right": %d}`, n) || has(`, %d]`, n)
	case "ct load state":
		return hasStates(json, n)
	case "meta load iifname", "meta load oifname", "meta load iifkind", "meta load oifkind":
		name := bytes.TrimRight(data, "\x00")
		return len(name) > 0 && (has(`"%s"`, name) || has(`"%s*"`, name))
	}
	return strings.HasPrefix(load, "payload load ") && strings.Contains(load, " @ network header ") && hasAddress(json, data)
}

func hasAddress(json, data []byte) bool {
	a, ok := netip.AddrFromSlice(data)
	return ok && bytes.Contains(json, []byte(`"`+a.String()+`"`))
}

// hasStates reports whether n is a set of conntrack states, and each of them named.
func hasStates(json []byte, n uint32) bool {
	for bit, name := range map[uint32]string{1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"} {
		if n&bit != 0 && !bytes.Contains(json, []byte(`"`+name+`"`)) {
			return false
		}
		n &^= bit
	}
	return n == 0
}
