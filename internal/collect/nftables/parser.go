package nftables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// Message types: NFNL_SUBSYS_NFTABLES << 8 | enum nf_tables_msg_types.
const (
	subsysNFTables  = 10 << 8
	msgNewTable     = 0
	msgNewChain     = 3
	msgNewRule      = 6
	msgNewSet       = 9
	msgNewElement   = 12
	msgNewGen       = 15
	msgNewObject    = 18
	msgNewFlowtable = 22
)

// tableDormant is NFT_TABLE_F_DORMANT (enum nft_table_flags).
const tableDormant = 1

// parser gathers one ruleset from its dumps.
type parser struct {
	shared    *shared
	dataTypes []dataType
	tables    []*nf.Table
	info      map[tableKey]*tableInfo
	missing   []snapshot.Missing
	lacking   map[string]string // dump -> why it is not whole
	walker    walker
	a         attrs
	buffer    []byte     // a rule's text
	overran   bool       // the host said which sets it cut
	last      *tableInfo // of the last message: dumps come table by table
	lastChain *nf.Chain
	unread    int // expressions that were not understood, of the text reader
}

type tableKey struct {
	family nf.Family
	name   string
}

// tableInfo is a table while it is read.
type tableInfo struct {
	table   *nf.Table
	key     tableKey
	chains  map[string]*nf.Chain
	sets    map[string]*setInfo
	why     []string
	ruleWhy []string // the same, of the rules

	isStandard ownership
	text       nf.TextHints
}

func newParser() *parser {
	s := newShared()
	p := &parser{shared: s, dataTypes: dataTypes(), info: map[tableKey]*tableInfo{}, lacking: map[string]string{}}
	p.walker.shared = s
	return p
}

// family names NFPROTO_* numbers (include/uapi/linux/netfilter.h).
func family(n uint8) nf.Family {
	switch n {
	case 1:
		return nf.INET
	case 2:
		return nf.IP
	case 3:
		return nf.ARP
	case 5:
		return nf.Netdev
	case 7:
		return nf.Bridge
	case 10:
		return nf.IP6
	}
	return nf.Family(fmt.Sprintf("family %d", n))
}

// message reads one message of a dump. It returns why the dump is not whole, or "".
func (p *parser) message(dump string, m message) string {
	if m.kind == nlmsgOverrun && dump == host.DumpNFElements {
		return p.overrun(m)
	}
	if m.kind&^0xff != subsysNFTables || m.request {
		return ""
	}
	a := &p.a
	if !a.parse(m.body) {
		return "a message is garbled"
	}
	fam := family(m.family)
	if m.kind&0xff == msgNewTable && dump == host.DumpNFTables {
		p.addTable(fam, a)
		return ""
	}
	if m.kind&0xff != messageOf(dump) {
		return ""
	}
	t := p.table(fam, a.at[1])
	if t == nil {
		return fmt.Sprintf("table %s %s is in no list of tables: the ruleset changed while it was read", fam, valid(a.at[1]))
	}
	switch dump {
	case host.DumpNFChains:
		p.addChain(t, a)
	case host.DumpNFSets:
		s := p.parseSet(a)
		t.sets[s.set.Name] = s
		t.table.Sets = append(t.table.Sets, s.set)
	case host.DumpNFElements:
		return p.elements(t, a)
	case host.DumpNFObjects:
		t.table.Objects = append(t.table.Objects, nf.Object{Kind: objectKind(a.u32(3)), Name: valid(a.at[2])})
	case host.DumpNFFlowtables:
		t.table.Objects = append(t.table.Objects, p.flowtable(a))
	case host.DumpNFRules:
		return p.addRule(t, a)
	}
	return ""
}

// messageOf returns the message that a dump consists of.
func messageOf(dump string) uint16 {
	switch dump {
	case host.DumpNFChains:
		return msgNewChain
	case host.DumpNFSets:
		return msgNewSet
	case host.DumpNFElements:
		return msgNewElement
	case host.DumpNFObjects:
		return msgNewObject
	case host.DumpNFFlowtables:
		return msgNewFlowtable
	}
	return msgNewRule
}

// overrun marks the set that the host cut: TABLE 1, SET 2.
func (p *parser) overrun(m message) string {
	var a attrs
	if !a.parse(m.body) {
		return "a message is garbled"
	}
	t := p.info[tableKey{family(m.family), valid(a.at[1])}]
	if t == nil || t.sets[valid(a.at[2])] == nil {
		return "elements of an unknown set were left out"
	}
	p.overran = true
	p.partSet(t, t.sets[valid(a.at[2])], "it has more elements than are read")
	return ""
}

// partSet marks a set as not read whole.
func (p *parser) partSet(t *tableInfo, s *setInfo, why string) {
	s.set.Incomplete = why
	p.missing = append(p.missing, snapshot.Missing{What: fmt.Sprintf("set %s of table %s %s", s.set.Name, t.key.family, t.key.name), Why: why})
}

// addTable: NAME 1, FLAGS 2.
func (p *parser) addTable(fam nf.Family, a *attrs) {
	t := &nf.Table{Backend: nf.NFTables, Family: fam, Name: p.shared.text(a.at[1]), Dormant: a.u32(2)&tableDormant != 0, Chains: []*nf.Chain{}}
	key := tableKey{fam, t.Name}
	if p.info[key] != nil {
		return
	}
	p.tables = append(p.tables, t)
	p.info[key] = &tableInfo{table: t, key: key, chains: map[string]*nf.Chain{}, sets: map[string]*setInfo{}}
}

func (p *parser) table(fam nf.Family, name []byte) *tableInfo {
	name = trimNUL(name)
	if p.last != nil && p.last.key.family == fam && p.last.key.name == string(name) {
		return p.last
	}
	p.last, p.lastChain = p.info[tableKey{fam, p.shared.text(name)}], nil
	return p.last
}

// elements: TABLE 1, SET 2, ELEMENTS 3.
func (p *parser) elements(t *tableInfo, a *attrs) string {
	s := t.sets[p.shared.text(a.at[2])]
	if s == nil {
		return fmt.Sprintf("set %s of table %s is in no list of sets: the ruleset changed while it was read", valid(a.at[2]), t.key.name)
	}
	if s.set.Incomplete != "" {
		return ""
	}
	list := a.at[3]
	if why := p.addElements(s, list); why != "" {
		p.partSet(t, s, why)
	}
	return ""
}

// flowtable: NAME 2, HOOK 3 (NUM 1, PRIORITY 2, DEVS 3), FLAGS 7.
func (p *parser) flowtable(a *attrs) nf.Object {
	o := nf.Object{Kind: "flowtable", Name: valid(a.at[2])}
	var h attrs
	if h.parse(a.at[3]) {
		o.Text = fmt.Sprintf("hook ingress priority %d; devices = { %s }", int32(h.u32(2)), strings.Join(devices(h.at[3]), ", "))
	}
	return o
}

// finish joins intervals, sorts what a dump leaves in the order of a hash, names the backends, and marks what is not whole.
func (p *parser) finish() {
	for _, t := range p.tables {
		info := p.info[tableKey{t.Family, t.Name}]
		for _, s := range info.sets {
			s.finish()
			if p.lacking[host.DumpNFElements] != "" && s.set.Incomplete == "" {
				s.set.Incomplete = p.lacking[host.DumpNFElements]
			}
		}
		info.why = append(info.why, info.ruleWhy...)
		for _, d := range []string{host.DumpNFTables, host.DumpNFChains, host.DumpNFRules, host.DumpNFSets} {
			if why := p.lacking[d]; why != "" {
				info.why = append(info.why, what(d)+": "+why)
			}
		}
		t.Incomplete = strings.Join(info.why, "; ")
		p.name(info)
		slices.SortStableFunc(t.Objects, func(a, b nf.Object) int { return strings.Compare(a.Kind+" "+a.Name, b.Kind+" "+b.Name) })
	}
	p.missing = append(p.missing, p.setMissing()...)
}

// setMissing reports the sets that could not be read for their types.
func (p *parser) setMissing() (out []snapshot.Missing) {
	for _, t := range p.tables {
		for _, s := range t.Sets {
			if strings.Contains(s.Incomplete, "not understood") {
				out = append(out, snapshot.Missing{What: fmt.Sprintf("set %s of table %s %s", s.Name, t.Family, t.Name), Why: s.Incomplete})
			}
		}
	}
	return out
}

func compareElements(a, b nf.Element) int {
	for i := range min(len(a.Key), len(b.Key)) {
		if c := a.Key[i].From.Cmp(b.Key[i].From); c != 0 {
			return c
		}
		if c := a.Key[i].To.Cmp(b.Key[i].To); c != 0 {
			return c
		}
	}
	return len(a.Key) - len(b.Key)
}
