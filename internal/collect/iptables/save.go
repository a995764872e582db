package iptables

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/netfilter/xtables"
)

// source says where a dump comes from.
type source struct {
	backend netfilter.Backend
	family  netfilter.Family
	// rawFirst: the legacy raw table runs before defragmentation (module parameter raw_before_defrag).
	rawFirst bool
}

// save is what one dump of iptables-save holds.
type save struct {
	Tables []*netfilter.Table
	// Tool is the program's line about itself, "iptables-save v1.8.9"; NFT that it printed nf_tables' rules. Both are
	// zero for a dump of no tables.
	Tool string
	NFT  bool
	// Trouble says what is wrong with the dump outside of its tables; what is wrong in a table is its Incomplete.
	Trouble string
}

// incompatible is the Incomplete of a table that iptables-nft-save itself gave up on.
const incompatible = "iptables-nft-save cannot show it: it holds what iptables has no words for"

// maxQuoted bounds a quoted value that runs over several lines. The longest that a kernel stores and that may hold a
// newline is a comment: 256 bytes (XT_MAX_COMMENT_LEN), escaped at most twice as long.
const maxQuoted = 1024

// parseSave reads a dump of iptables-save or ip6tables-save, with or without -c. It never fails: what is wrong stands in
// the table's Incomplete or in Trouble. Rule texts are parts of data, which nobody may write to afterwards.
func parseSave(data []byte, src source) *save {
	p := saveParser{source: src, text: unsafe.String(unsafe.SliceData(data), len(data))}
	for p.at < len(p.text) {
		p.read(p.nextLine())
	}
	if p.table != nil {
		p.broken("the dump ends without COMMIT")
		p.endTable()
	}
	return &p.save
}

type saveParser struct {
	source
	save
	text   string
	at     int  // where the next line begins
	line   int  // the number of the current line's first line
	lines  int  // lines read
	joined bool // the current line is several
	table  *netfilter.Table
	chains map[string]int   // places in table.Chains
	chain  *netfilter.Chain // that the last rules belong to
	place  int              // its place
	slab
}

// nextLine returns the next line without its newline. A line that ends inside quotes goes on in the next one: a comment
// may hold a newline, and what stands behind it must not be taken for a rule.
func (p *saveParser) nextLine() string {
	from := p.at
	p.line, p.joined = p.lines+1, false
	end := p.lineEnd()
	behind, first := p.at, end
	for at := from; ; {
		open := openQuote(p.text[at:end])
		if open < 0 {
			return p.text[from:end]
		}
		closing := closingQuote(p.text[:min(len(p.text), first+maxQuoted)], at+open)
		if closing < 0 {
			p.at, p.lines = behind, p.line
			p.broken("quoted text does not end")
			return p.text[from:first]
		}
		for p.at <= closing {
			end = p.lineEnd()
		}
		at, p.joined = closing+1, true
	}
}

// lineEnd moves behind the next newline and returns its place.
func (p *saveParser) lineEnd() int {
	p.lines++
	end := strings.IndexByte(p.text[p.at:], '\n')
	if end < 0 {
		p.at = len(p.text)
		return p.at
	}
	p.at += end + 1
	return p.at - 1
}

// openQuote returns the place of the quote that the line ends inside of, -1 when it ends outside. Quotes open at the
// beginning of a word only.
func openQuote(line string) int {
	for at := 0; ; {
		i := strings.IndexByte(line[at:], '"')
		if i < 0 {
			return -1
		}
		if i += at; i > 0 && line[i-1] != ' ' {
			at = i + 1
			continue
		}
		end := xtables.ClosingQuote(line, i)
		if end < 0 {
			return i
		}
		at = end + 1
	}
}

// closingQuote returns the place of the quote that closes the one at open and ends a word, or -1.
func closingQuote(s string, open int) int {
	end := xtables.ClosingQuote(s, open)
	if end < 0 || end+1 < len(s) && s[end+1] != ' ' && s[end+1] != '\n' {
		return -1
	}
	return end
}

// maxLine bounds a line of a dump. The kernel gives a rule 64 KiB at most (struct ipt_entry, next_offset), of which nothing
// prints longer than it is for more than a few bytes, and iptables-restore takes lines of 10 KiB: longer ones are no rules.
const maxLine = 64 << 10

func (p *saveParser) read(line string) {
	switch {
	case line == "":
	case len(line) > maxLine:
		p.broken(fmt.Sprintf("longer than %d bytes", maxLine))
	case strings.IndexByte(line, 0) > 0:
		p.broken("a NUL byte")
	case line[0] == '[' || strings.HasPrefix(line, "-A "):
		p.rule(line)
	case line[0] == ':':
		p.declare(line[1:])
	case line[0] == '#':
		p.remark(line)
	case line[0] == '*':
		p.begin(strings.TrimRight(line[1:], " \r"))
	case strings.TrimRight(line, " \r") == "COMMIT" && p.table != nil:
		p.endTable()
	default:
		p.broken("not a line of iptables-save")
	}
}

// broken notes the first thing that is wrong, in the table or outside.
func (p *saveParser) broken(why string) {
	why = fmt.Sprintf("line %d: %s", p.line, why)
	switch {
	case p.table == nil && p.Trouble == "":
		p.Trouble = why
	case p.table != nil && p.table.Incomplete == "":
		p.table.Incomplete = why
	}
}

// remark reads a comment line: who printed the dump, and the tables that iptables-nft-save could not show.
func (p *saveParser) remark(line string) {
	if tool, ok := strings.CutPrefix(line, "# Generated by "); ok {
		tool, _, _ = strings.Cut(tool, " on ")
		p.Tool, p.NFT = tool, p.NFT || strings.Contains(tool, "(nf_tables)")
		return
	}
	name, ok := strings.CutPrefix(line, "# Table `")
	if name, rest, quoted := strings.Cut(name, "'"); ok && quoted && tableName(name) && strings.Contains(rest, "incompatible") {
		p.NFT = true
		t := p.tableNamed(name)
		t.Incomplete = incompatible
	}
}

// tableNamed returns the table of that name, added to the dump if it is new.
func (p *saveParser) tableNamed(name string) *netfilter.Table {
	for _, t := range p.Tables {
		if t.Name == name {
			return t
		}
	}
	t := &netfilter.Table{Backend: p.backend, Family: p.family, Name: name, Chains: []*netfilter.Chain{}}
	p.Tables = append(p.Tables, t)
	return t
}

// begin starts a table. One that was announced as incompatible stays incomplete: iptables-nft-save then prints the
// built-in chains that it would expect, not those that are there.
func (p *saveParser) begin(name string) {
	if p.table != nil {
		p.broken("the table has no COMMIT")
		p.endTable()
	}
	if !tableName(name) {
		p.broken("not a table's name")
		return
	}
	p.table = p.tableNamed(name)
	if len(p.table.Chains) > 0 {
		p.broken("a second table of this name")
	}
	p.chains, p.chain, p.place = make(map[string]int, 16), nil, -1
}

// tableName tells a table's name from garbage: of what garbage calls a table, nothing must reach the report.
func tableName(s string) bool {
	const longest = 31 // XT_TABLE_MAXNAMELEN without its NUL, include/uapi/linux/netfilter/x_tables.h
	return s != "" && len(s) <= longest && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

func (p *saveParser) endTable() {
	p.endChain()
	p.table, p.chains = nil, nil
}

// declare reads ":CHAIN POLICY [packets:bytes]"; a policy of "-" is a user's chain.
func (p *saveParser) declare(line string) {
	name, rest, _ := strings.Cut(line, " ")
	policy, counters, _ := strings.Cut(rest, " ")
	if p.table == nil {
		p.broken("a chain outside of a table")
		return
	}
	if _, twice := p.chains[name]; twice {
		p.broken("chain " + name + " is declared twice")
		return
	}
	c := &netfilter.Chain{Name: name, Rules: []*netfilter.Rule{}}
	if policy != "-" {
		c.Base = p.base(name, policy)
		if n, _, ok := parseCounters(counters); ok && c.Base != nil {
			c.Base.Counters = &n
		}
	}
	p.chains[name] = len(p.table.Chains)
	p.table.Chains = append(p.table.Chains, c)
}

func (p *saveParser) base(chain, policy string) *netfilter.Base {
	b, ok := baseOf(p.source, p.table.Name, chain)
	switch policy {
	case "ACCEPT":
		b.Policy = netfilter.Accept
	case "DROP":
		b.Policy = netfilter.Drop
	default:
		ok = false
	}
	if !ok {
		p.broken(fmt.Sprintf("chain %s with policy %s is none that iptables has in this table", chain, policy))
		return nil
	}
	return &b
}

// rule reads "[packets:bytes] -A CHAIN RULE".
func (p *saveParser) rule(line string) {
	n, rest, counted := parseCounters(line)
	rest, ok := strings.CutPrefix(rest, "-A ")
	if !ok || p.table == nil {
		p.broken("not a rule of a table")
		return
	}
	name, text, _ := strings.Cut(rest, " ")
	if p.chain == nil || p.chain.Name != name {
		p.endChain()
		if !p.enter(name) {
			p.broken("a rule for chain " + name + ", which is not declared")
			return
		}
	}
	r := p.newRule()
	r.Number, r.Line, r.Text = len(p.chain.Rules)+p.run(), p.line, strings.TrimRight(text, " \r")
	r.Comment = xtables.Comment(r.Text)
	if p.joined {
		p.checkJoined(r.Text)
	}
	if counted {
		r.Counters = p.newCounters(n)
	}
}

// enter makes the chain the current one. The tools print rules in the order of the declarations, so the chain is mostly
// one of the next: that spares a search in a map of thirty thousand.
func (p *saveParser) enter(name string) bool {
	for i := p.place + 1; i < len(p.table.Chains) && i < p.place+8; i++ {
		if p.table.Chains[i].Name == name {
			p.chain, p.place = p.table.Chains[i], i
			return true
		}
	}
	i, ok := p.chains[name]
	if ok {
		p.chain, p.place = p.table.Chains[i], i
	}
	return ok
}

// checkJoined doubts a rule of several lines that makes no sense: rules may have been swallowed.
func (p *saveParser) checkJoined(text string) {
	if _, err := xtables.Parse(p.family, text); err != nil {
		p.broken("a quoted text runs over lines, and the rule does not parse")
	}
}

// endChain hands the rules read in a row to their chain.
func (p *saveParser) endChain() {
	if p.chain != nil {
		p.chain.Rules = p.flush(p.chain.Rules)
		p.chain = nil
	}
}

// parseCounters reads "[packets:bytes] " in front of the rest; without it all is the rest.
func parseCounters(s string) (n netfilter.Counters, rest string, ok bool) {
	if s == "" || s[0] != '[' {
		return n, s, false
	}
	packets, i := digits(s, 1)
	if i == 1 || i >= len(s) || s[i] != ':' {
		return n, s, false
	}
	bytes, j := digits(s, i+1)
	if j == i+1 || j >= len(s) || s[j] != ']' {
		return n, s, false
	}
	return netfilter.Counters{Packets: packets, Bytes: bytes}, strings.TrimLeft(s[j+1:], " "), true
}

// digits reads a number from s[i:], at most 20 digits, and returns the place behind it.
func digits(s string, i int) (n uint64, end int) {
	for end = i; end < len(s) && end-i < 20 && s[end] >= '0' && s[end] <= '9'; end++ {
		n = n*10 + uint64(s[end]-'0')
	}
	return n, end
}
