package nftables

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// rule reads one rule of the JSON from its block.
func (r *textReader) rule(j *textRule) {
	p := r.parser
	t := p.info[j.table]
	c := t.chains[j.chain]
	if c == nil {
		t.ruleWhy = append(t.ruleWhy, fmt.Sprintf("nft's JSON has a rule of chain %s and no such chain", j.chain))
		return
	}
	out := p.shared.rule()
	out.Number, out.Handle, out.Comment = len(c.Rules)+1, j.handle, valid([]byte(j.comment))
	c.Rules = append(c.Rules, out)
	w := &p.walker
	w.family, w.sets, w.parser = t.key.family, t.sets, p
	w.reset()
	w.json, w.nameless = r.json[j.from:j.to], false
	// A range of everything is a set of one start; nft writes it as a range or a prefix.
	w.plainKeys = !bytes.Contains(w.json, []byte(`"range"`)) && !bytes.Contains(w.json, []byte(`"prefix"`))
	b := r.index.rules[ruleKey{chainKey{j.table, j.chain}, j.handle}]
	switch {
	case b == nil:
		w.unread("", "")
		t.ruleWhy = append(t.ruleWhy, fmt.Sprintf("nft did not print the expressions of rule %d of chain %s", out.Number, c.Name))
		p.lack(host.DumpNFRules, "nft did not print every rule's expressions", hintPush)
	case bytes.Contains(w.json, []byte(`\n`)), bytes.Contains(w.json, []byte(`\u000a`)):
		w.unread("", "") // a line break in a rule's strings would be one in the block
	default:
		w.block(b.body)
	}
	if b != nil {
		b.used = true
	}
	if p.write(t, out); w.nameless && t.standard() && !slices.Contains(t.ruleWhy, snapshot.ToolOnly) {
		t.ruleWhy = append(t.ruleWhy, snapshot.ToolOnly)
	}
}

// block walks over a rule's lines.
func (w *walker) block(body []byte) {
	var lines []string
	for len(body) > 0 {
		var line []byte
		if line, body = nextLine(body); len(bytes.TrimSpace(line)) > 0 && !bytes.HasPrefix(line, []byte("  userdata = {")) {
			lines = append(lines, string(line))
		}
	}
	for i, line := range lines {
		inner, ok := strings.CutPrefix(line, "  [ ")
		inner, closed := strings.CutSuffix(inner, " ]")
		if !ok || !closed || i >= maxExprs {
			w.unread("line", line)
			continue
		}
		w.wanted = wanted(inner, lines[i+1:])
		if !w.line(inner) {
			word, _, _ := strings.Cut(inner, " ")
			w.unread(word, inner)
		}
	}
}

// unread keeps an expression that is not understood. It may be a match, a statement, and decide the packet's fate. Two of
// them that read alike may differ in what nft does not print, so each has a number of its own.
func (w *walker) unread(word, text string) {
	number := fmt.Sprintf("#%d", w.another())
	text = strings.ToValidUTF8(text[:min(len(text), 4*maxOpaque)], "\ufffd")
	e := nf.Ext{Name: "unread", Args: strings.TrimSpace(text + " " + number)}
	w.regs.forget(e)
	w.add(e)
	if !onlyMatches(word) {
		w.stmt("unread", number)
	}
}

// onlyMatches reports whether an expression can do no more than fill registers and end the rule.
func onlyMatches(word string) bool {
	names := []string{"meta", "ct", "exthdr", "socket", "osf", "xfrm", "tunnel", "rt", "fib", "cmp", "range", "bitwise", "byteorder"}
	return slices.Contains(names, word)
}

func (w *walker) another() int {
	w.parser.unread++
	return w.parser.unread
}

// expression runs an expression as if it had come over the wire.
func (w *walker) expression(name string, b *builder) bool {
	return b != nil && w.b.parse(b.b) && w.handle([]byte(name), b.b)
}

// line reads one expression: its name, and what libnftnl prints of each attribute. Whatever else stands there makes
// it unread.
func (w *walker) line(text string) bool {
	c := w.cursor(text)
	name := c.take()
	switch name {
	case "log":
		return w.expression(name, logLine(strings.TrimPrefix(text, "log")))
	case "cmp":
		return w.cmpLine(c)
	case "range":
		return w.rangeLine(c)
	case "bitwise":
		return w.bitwiseLine(c)
	case "immediate":
		return w.immediateLine(c)
	case "lookup":
		return w.lookupLine(c)
	case "dynset":
		return w.dynsetLine(text)
	case "match", "target":
		return w.compatLine(name, c)
	case "exthdr":
		return w.exthdrLine(c)
	}
	var b *builder
	switch name {
	case "meta":
		b = metaLine(c)
	case "ct":
		b = ctLine(c)
	case "payload":
		b = payloadLine(c)
	case "byteorder":
		b = byteorderLine(c)
	case "fib":
		b = fibLine(c)
	case "rt":
		b = keyLine(c, 2, 1, "classid", "nexthop4", "nexthop6", "tcpmss", "ipsec")
	case "socket":
		b = keyLine(c, 1, 2, "transparent", "mark", "wildcard")
	case "numgen":
		b = numgenLine(c)
	case "hash":
		b = hashLine(c)
	case "redir", "nat", "masq", "queue", "dup", "fwd", "tproxy":
		b = registersLine(name, c)
	default:
		b = statementLine(name, c)
	}
	return b != nil && c.done() && w.expression(name, b)
}

func (w *walker) cursor(text string) *cursor {
	return &cursor{words: strings.Fields(text), octets: w.octets}
}

// compatLine reads an xtables extension, of which nft prints the name only.
func (w *walker) compatLine(kind string, c *cursor) bool {
	if !c.is("name") {
		return false
	}
	name := c.take()
	if !c.is("rev") {
		return false
	}
	rev := c.number()
	if !c.done() {
		return false
	}
	w.xt = true
	if kind == "match" && name == "comment" { // it says nothing about the packet (net/netfilter/xt_comment.c)
		return true
	}
	w.nameless = true
	if name == "CT" { // it may be NOTRACK by its other name, and no table of targets may take it for the plain one
		name = "CT-unread"
	}
	options := fmt.Sprintf("--opaque-revision-%d unread-%d", rev, w.another())
	w.items = append(w.items, item{compat: compat{kind, w.parser.shared.text([]byte(name)), options}})
	return true
}

// cmpLine reads "cmp eq reg 1 0x00000006".
func (w *walker) cmpLine(c *cursor) bool {
	op := c.oneOf("eq", "neq", "lt", "lte", "gt", "gte")
	reg := c.reg()
	data := c.hexValue()
	if op < 0 || !c.done() {
		return false
	}
	l := w.regs.get(reg)
	data, ok := w.sized(l, data)
	if !ok {
		return false
	}
	w.compare(l, uint32(op), data)
	return true
}

// sized cuts the words that nft printed to the bytes that were compared: as many as were loaded; only names are compared in
// part.
func (w *walker) sized(l *load, data []byte) ([]byte, bool) {
	switch {
	case len(data) == 0:
		return nil, false
	case w.octets:
		return data, true
	case l.order == leftAligned && l.simple():
		return w.nameBytes(l, data)
	case l.size == 0 || len(l.slices) == 0:
		return data, true
	case len(data) != align4(l.size):
		return nil, false
	}
	for _, b := range data[l.size:] {
		if b != 0 {
			return nil, false
		}
	}
	return data[:l.size], true
}

// nameBytes tells a whole name from the beginning of one ("eth*"): a whole one is compared with a NUL behind it at least.
// Where both would fill as many words, the JSON has the name as it was written.
func (w *walker) nameBytes(l *load, data []byte) ([]byte, bool) {
	name := bytes.TrimRight(data, "\x00")
	switch {
	case len(name) == 0 || len(data) > l.size || bytes.IndexByte(name, 0) >= 0:
		return nil, false
	case len(name) == len(data):
		return name, true
	case len(data)-len(name) >= 4:
		return append(name[:len(name):len(name)], 0), true
	}
	whole := bytes.Contains(w.json, []byte(`"`+string(name)+`"`))
	begins := bytes.Contains(w.json, []byte(`"`+string(name)+`*"`))
	if whole == begins {
		return nil, false
	}
	if begins {
		return name, true
	}
	return append(name[:len(name):len(name)], 0), true
}

// rangeLine reads "range eq reg 1 FROM TO", as many groups each.
func (w *walker) rangeLine(c *cursor) bool {
	op := c.oneOf("eq", "neq")
	reg := c.reg()
	groups := c.groups("0x")
	n := len(groups) / 2
	first, last := c.value(groups[:n]), c.value(groups[n:])
	if op < 0 || !c.done() || len(first) != len(last) {
		return false
	}
	l := w.regs.get(reg)
	from, ok := w.sized(l, first)
	to, fits := w.sized(l, last)
	if !ok || !fits || l.order == leftAligned {
		return false
	}
	w.inRange(l, op == 1, from, to)
	return true
}

// bitwiseLine reads "bitwise reg 1 = ( reg 1 & MASK ) ^ XOR" and "bitwise reg 1 = ( reg 1 << 0x00000008 )".
func (w *walker) bitwiseLine(c *cursor) bool {
	dreg := c.reg()
	if !c.is("=", "(") {
		return false
	}
	src := w.regs.get(c.reg())
	switch op := c.take(); op {
	case "&":
		mask := c.hexValue()
		if !c.is(")", "^") {
			return false
		}
		xor := c.hexValue()
		size := src.size
		if size == 0 || w.octets {
			size = len(mask)
		}
		if !c.done() || len(mask) == 0 || len(mask) != align4(size) && !w.octets || len(xor) != len(mask) {
			return false
		}
		w.regs.put(dreg, src.masked(mask[:size], xor[:size]))
		return true
	case "<<", ">>":
		by := c.hexValue()
		if len(by) != 4 || !c.is(")") || !c.done() {
			return false
		}
		w.regs.put(dreg, w.shifted(src, op == ">>", by))
		return true
	}
	return false
}

// immediateLine reads "immediate reg 0 drop" and "immediate reg 1 0x00000016".
func (w *walker) immediateLine(c *cursor) bool {
	reg := c.reg()
	if reg == regVerdict {
		v, ok := c.verdict()
		if !ok || !c.done() {
			return false
		}
		w.add(w.shared.verdict(v))
		return true
	}
	data := c.hexValue()
	if len(data) == 0 || !c.done() {
		return false
	}
	if size := wantedSize(w.wanted); size > 0 && size < len(data) && !w.octets {
		data = data[:size]
	}
	w.regs.put(reg, &load{imm: data, size: len(data)})
	return true
}

// lookupLine reads "lookup reg 1 set NAME [dreg 0] 0x1".
func (w *walker) lookupLine(c *cursor) bool {
	sreg := c.reg()
	if !c.is("set") {
		return false
	}
	b := &builder{}
	name := c.take()
	b.text(1, name)
	b.u32(2, sreg)
	dreg, toReg := uint32(0), c.is("dreg")
	if toReg {
		dreg = uint32(c.number())
		b.u32(3, dreg)
	}
	b.u32(5, uint32(c.hex()))
	if !c.done() {
		return false
	}
	w.settle(w.sets[name], sreg, toReg && dreg == regVerdict)
	return w.expression("lookup", b)
}

// dynsetLine reads "dynset update reg_key 1 set NAME [sreg_data 2] timeout 5000ms [expr [ limit ... ]]". A set that rules
// add to has no constant content.
func (w *walker) dynsetLine(text string) bool {
	text, expr, nested := strings.Cut(text, " expr [ ")
	c := w.cursor(text)
	c.must("dynset")
	op := c.oneOf("add", "update", "delete")
	if op < 0 || !c.is("reg_key") {
		return false
	}
	sreg := uint32(c.number())
	if !c.is("set") {
		return false
	}
	name, key := c.take(), "?"
	if s := w.sets[name]; s != nil {
		s.set.Dynamic = true
		w.settle(s, sreg, false)
		if start, ok := word(sreg); ok {
			key = w.concatText(start, s.keyLen)
		}
	}
	args := [...]string{"add", "update", "delete"}[op] + " @" + name + " { " + key
	data := ""
	if c.is("sreg_data") {
		data = " : " + w.regs.get(uint32(c.number())).describe()
	}
	if c.is("timeout") {
		args += " timeout " + c.take()
	}
	if nested {
		args += " expr [ " + expr
	}
	return c.done() && w.ext("dynset", args+data+" }", false)
}
