package nftables

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// NFTA_LIST_ELEM and the attributes of an expression (enum nft_expr_attributes).
const (
	listElem = 1
	exprName = 1
	exprData = 2
)

// maxExprs bounds a rule (the kernel's NFT_RULE_MAXEXPRS is 128).
const maxExprs = 128

// walker runs over one rule's expressions as the kernel would, keeping track of what each register holds, and collects the
// operations they add up to. Nothing is dropped: what it does not understand becomes an [nf.Ext] at its place, and makes
// the registers that it may have written unknown.
type walker struct {
	shared *shared
	family nf.Family
	sets   map[string]*setInfo // of the rule's table
	ctx    knowledge
	regs   registers
	items  []item
	// xt is set when an xtables compat expression is among the rule's.
	xt       bool
	counters *nf.Counters
	a, b     attrs // scratch, like the next two
	tail     words
	written  []byte

	// Of the text reader, for the rule that is read: its JSON, and what the register of a line is used for behind it.
	parser    *parser
	json      []byte
	plainKeys bool // the rule's anonymous sets hold no ranges
	wanted    string
	nameless  bool // nft printed no more of an extension than its name
	octets    bool // nft prints values byte by byte (text_values.go)
}

func (w *walker) reset() {
	w.ctx = knowledge{l4: -1}
	switch w.family {
	case nf.IP, nf.IP6, nf.ARP:
		w.ctx.l3 = w.family
	}
	w.regs = registers{}
	w.items, w.xt, w.counters = w.items[:0], false, nil
}

// walk reads NFTA_RULE_EXPRESSIONS. It returns a reason when the bytes are garbled; what was read up to there stays, with
// an opaque match behind it.
func (w *walker) walk(list []byte) string {
	w.reset()
	for n := 0; ; n++ {
		typ, elem, rest, ok, bad := nextAttr(list)
		switch {
		case bad || n > maxExprs:
			w.add(nf.Ext{Name: "garbled", Args: "0x" + hex.EncodeToString(list[:min(len(list), 64)])})
			return "a rule's expressions are garbled"
		case !ok:
			return ""
		}
		list = rest
		if typ != listElem || !w.a.parse(elem) || !w.a.has(exprName) {
			w.unknown("garbled", elem)
			return "a rule's expressions are garbled"
		}
		w.expr(trimNUL(w.a.at[exprName]), w.a.at[exprData])
	}
}

// expr dispatches on the expression's name. Each handler returns false when it does not understand what is there.
func (w *walker) expr(exprName, data []byte) {
	known := w.b.parse(data) && w.handle(exprName, data)
	if !known {
		w.unknown(valid(exprName), data)
	}
}

func (w *walker) handle(exprName, data []byte) bool {
	switch string(exprName) {
	case "meta":
		return w.meta()
	case "payload":
		return w.payload()
	case "cmp":
		return w.cmp()
	case "immediate":
		return w.immediate()
	case "counter":
		return w.counter()
	case "bitwise":
		return w.bitwise()
	case "lookup":
		return w.lookup()
	case "ct":
		return w.ct()
	case "range":
		return w.ranged()
	case "byteorder":
		return w.byteorder()
	case "match", "target":
		return w.compat(string(exprName))
	case "fib", "rt", "socket", "numgen", "hash", "exthdr", "osf":
		return w.loads(string(exprName))
	}
	return w.statement(string(exprName), data)
}

// unknown keeps an expression by name and bytes. It may be a match, a statement or decide the packet's fate: to the model
// an Ext whose name nobody knows is all three.
func (w *walker) unknown(name string, data []byte) {
	e := nf.Ext{Name: name, Args: opaqueText(data)}
	w.regs.forget(e)
	w.add(e)
}

// maxOpaque is how many bytes of an expression that is not understood are kept; longer ones end in a digest of the whole,
// so that two different ones never read alike.
const maxOpaque = 64

func opaqueText(b []byte) string {
	if len(b) <= maxOpaque {
		return "0x" + hex.EncodeToString(b)
	}
	return fmt.Sprintf("0x%x-sha256-%x", b[:maxOpaque/2], sha256.Sum256(b))
}

func (w *walker) add(op nf.Op) { w.items = append(w.items, item{op: op}) }

func (w *walker) stmt(name, args string) bool {
	w.add(w.shared.stmt(nf.Stmt{Name: name, Args: args}))
	return true
}

func (w *walker) ext(name, args string, invert bool) bool {
	w.add(nf.Ext{Name: name, Args: args, Invert: invert})
	return true
}

// nested returns the bytes of NFTA_DATA_VALUE inside an attribute of type struct nft_data.
func nested(b []byte, typ uint16) []byte {
	for {
		t, v, rest, ok, _ := nextAttr(b)
		if !ok {
			return nil
		}
		if t == typ {
			return v
		}
		b = rest
	}
}

const (
	dataValue   = 1 // NFTA_DATA_VALUE
	dataVerdict = 2 // NFTA_DATA_VERDICT
)

func valid(b []byte) string { return strings.ToValidUTF8(string(trimNUL(b)), "\ufffd") }

// only reports whether no attribute above the highest one that this reader knows is there: a newer kernel's attribute may
// change what the others mean.
func (a *attrs) only(highest uint16) bool { return a.more <= highest }
