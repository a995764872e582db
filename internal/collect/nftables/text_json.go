package nftables

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// textObject is one member of nft's list, libnftables-json(5): an object with one name, that of its kind.
type textObject struct {
	Family nf.Family      `json:"family"`
	Table  string         `json:"table"`
	Name   string         `json:"name"`
	Chain  string         `json:"chain"`
	Handle uint64         `json:"handle"`
	Flags  jsontext.Value `json:"flags"`

	Type   jsontext.Value `json:"type"`
	Hook   nf.Hook        `json:"hook"`
	Prio   *int32         `json:"prio"`
	Dev    jsontext.Value `json:"dev"`
	Policy string         `json:"policy"`

	Map     jsontext.Value `json:"map"`
	Comment string         `json:"comment"`
}

// textRule is a rule of the JSON: its place, and where its text is.
type textRule struct {
	table    tableKey
	chain    string
	handle   uint64
	comment  string
	from, to int // of the JSON
}

// readJSON streams the list: what is held is one object at a time. An error leaves what was read up to there.
func (r *textReader) readJSON() error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(r.json))
	for _, want := range []string{"{", `"nftables"`, "["} {
		if t, err := dec.ReadToken(); err != nil || t.Kind() != jsontext.Kind(want[0]) {
			return errors.Join(errors.New("no list"), err)
		}
	}
	for dec.PeekKind() == '{' {
		if err := r.object(dec); err != nil {
			return err
		}
	}
	for range 2 { // the list's end and the object's
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind it")
	}
	return nil
}

func (r *textReader) object(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	kind, err := dec.ReadToken()
	if err != nil || kind.Kind() != '"' {
		return errors.Join(errors.New("an object of no kind"), err)
	}
	name := kind.String()
	from := int(dec.InputOffset())
	var o textObject
	if name == "metainfo" {
		err = r.metainfo(dec)
	} else {
		err = json.UnmarshalDecode(dec, &o)
	}
	if err != nil {
		return err
	}
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '}' {
		return errors.Join(errors.New("an object of two kinds"), err)
	}
	return r.take(name, &o, from, int(dec.InputOffset()))
}

func (r *textReader) take(kind string, o *textObject, from, to int) error {
	p := r.parser
	if kind == "table" {
		return r.addTable(o)
	}
	if kind == "metainfo" {
		return nil
	}
	key := tableKey{o.Family, valid([]byte(o.Table))}
	t := p.info[key]
	if t == nil {
		return fmt.Errorf("%s %.80q of table %.80q, which is in no list of tables", kind, o.Name, o.Table)
	}
	switch kind {
	case "chain":
		r.addChain(t, o)
	case "rule":
		j := textRule{table: key, chain: p.shared.text([]byte(o.Chain)), handle: o.Handle, comment: o.Comment, from: from, to: to}
		r.rules = append(r.rules, j)
	case "set", "map":
		s := r.typed(o, kind == "map")
		t.sets[o.Name] = s
	case "flowtable":
		text := ""
		if o.Prio != nil {
			text = fmt.Sprintf("hook ingress priority %d; devices = { %s }", *o.Prio, strings.Join(deviceNames(o.Dev), ", "))
		}
		t.table.Objects = append(t.table.Objects, nf.Object{Kind: kind, Name: o.Name, Text: text})
	case "element": // of a set, printed with it
	default:
		t.table.Objects = append(t.table.Objects, nf.Object{Kind: kind, Name: o.Name})
	}
	return nil
}

// addTable adds a table. Where it has a flag, nft 1.0.6 prints whatever stands in memory that was freed, the version's name
// for one; when that is no string the JSON ends there.
func (r *textReader) addTable(o *textObject) error {
	key := tableKey{o.Family, o.Name}
	if r.parser.info[key] != nil || o.Name == "" {
		return fmt.Errorf("table %.80q twice or without a name", o.Name)
	}
	t := &nf.Table{Backend: nf.NFTables, Family: o.Family, Name: o.Name, Chains: []*nf.Chain{}}
	flags, err := stringList(o.Flags)
	if err != nil {
		return fmt.Errorf("flags of table %.80q: %w", o.Name, err)
	}
	t.Dormant = slices.Contains(flags, "dormant")
	info := &tableInfo{table: t, key: key, chains: map[string]*nf.Chain{}, sets: map[string]*setInfo{}}
	if o.Flags.Kind() == '"' && !r.flagsHold {
		t.Dormant = false
		info.why = append(info.why, "it has flags, and this nft does not say which: it may be dormant")
	}
	r.parser.tables = append(r.parser.tables, t)
	r.parser.info[key] = info
	return nil
}

func (r *textReader) addChain(t *tableInfo, o *textObject) {
	c := &nf.Chain{Name: r.parser.shared.text([]byte(o.Name)), Rules: []*nf.Rule{}}
	if t.chains[c.Name] != nil {
		t.why = append(t.why, fmt.Sprintf("chain %s is there twice", c.Name))
		return
	}
	t.chains[c.Name] = c
	t.table.Chains = append(t.table.Chains, c)
	if o.Hook == "" {
		return
	}
	typ, _ := stringList(o.Type)
	if o.Prio == nil || len(typ) != 1 || o.Policy != "" && o.Policy != string(nf.Accept) && o.Policy != string(nf.Drop) {
		t.why = append(t.why, fmt.Sprintf("the hook of chain %s is garbled", c.Name))
		return
	}
	c.Base = &nf.Base{Type: nf.ChainType(typ[0]), Hook: o.Hook, Priority: *o.Prio, Policy: nf.Accept, Devices: deviceNames(o.Dev)}
	if o.Policy == string(nf.Drop) {
		c.Base.Policy = nf.Drop
	}
	if !knownHook(t.key.family, o.Hook) {
		t.why = append(t.why, fmt.Sprintf("chain %s is at an unknown hook", c.Name))
	}
	if o.Hook != nf.Ingress && o.Hook != nf.Egress || len(c.Base.Devices) > 0 {
		return
	}
	list, listed := r.devices[chainKey{t.key, o.Name}]
	if c.Base.Devices = list; !listed {
		t.why = append(t.why, fmt.Sprintf("nft does not say at which devices chain %s is", c.Name))
	}
}

func knownHook(fam nf.Family, h nf.Hook) bool {
	for n := range uint32(8) {
		if name, ok := hookName(fam, n); ok && name == h {
			return true
		}
	}
	return false
}

func deviceNames(v jsontext.Value) []string {
	out, _ := stringList(v)
	slices.Sort(out)
	return out
}

// stringList reads what is one string or a list of them.
func stringList(v jsontext.Value) (out []string, err error) {
	switch v.Kind() {
	case 0, 'n':
		return nil, nil
	case '"':
		out = []string{""}
		return out, json.Unmarshal(v, &out[0])
	}
	return out, json.Unmarshal(v, &out)
}
