package packetpath

import "github.com/ctaudit/ctaudit/internal/netfilter"

// ctState is what conntrack has attached to the packet at this point of its way.
type ctState uint8

const (
	ctInvalid       ctState = iota // nothing attached
	ctHollow                       // of the RST that rejects an untracked packet: RELATED to no entry, which reads as INVALID
	ctUntracked                    // notrack
	ctTemplate                     // a template (xtables CT, nft ct zone set): reads as NEW until conntrack takes it off
	ctTemplateReply                // of the RST that rejects a packet with a template: reads as RELATED until then
	ctNew
	ctEstablished
	ctRelated
)

// bits is the state as a ct state match sees it. Source: include/uapi/linux/netfilter/nf_conntrack_common.h,
// NF_CT_STATE_BIT and its neighbours; xt_conntrack.h has the same numbers.
func (s ctState) bits() uint32 {
	switch s {
	case ctUntracked:
		return netfilter.StateUntracked
	case ctTemplate, ctNew:
		return netfilter.StateNew
	case ctEstablished:
		return netfilter.StateEstablished
	case ctRelated, ctTemplateReply:
		return netfilter.StateRelated
	}
	return netfilter.StateInvalid
}

// entry reports whether there is something attached whose other keys can be read.
func (s ctState) entry() bool { return s >= ctTemplate }

// tracked reports whether what is attached is a connection's, and no template.
func (s ctState) tracked() bool { return s > ctTemplateReply }

// certainty is what kind of assumption a class rests on.
type certainty uint8

const (
	pure   certainty = iota // the same for the same packet wherever it is asked: correlated by text
	fresh                   // undecided each time anew
	chance                  // differs from packet to packet: both answers really occur
)

// assumption is one undecided predicate that a class takes to be true or false.
type assumption struct {
	text  string
	holds bool
	kind  certainty
	prev  *assumption
	n     int    // length of the list that ends here
	hash  uint64 // of the list
}

// maxAssumptions is how many assumptions a class carries; beyond it they are no longer told apart.
const maxAssumptions = 12

// state is what the ruleset can write to, besides the region: two classes with the same state go the same way.
type state struct {
	mark, markKnown uint32
	ct              ctState
	written         uint32 // dimensions (1 << dim) whose value the ruleset has overwritten; writtenAddr for addresses and ports
	assume          *assumption
	wide            bool // more assumptions than are kept
}

const (
	writtenOther = 1 << 31 // meta.priority and other fields that are no dimension
	writtenFlags = 1 << 30
)

// rewritten are the writes that change where the packet goes or whether it provokes a RST.
const rewritten = 1<<dSaddr | 1<<dDaddr | 1<<dSport | 1<<dDport | writtenFlags

// class is a set of packets at one point of their way.
type class struct {
	*region
	state
	accept  *acceptance // what let it through so far
	steps   *stepNode
	notrack ruleID // what untracked it
	skip    ruleID // the last rule that returned it early
}

// acceptance is a rule or policy that let a class through, and how much it says (higher: more).
type acceptance struct {
	rule  ruleID
	score int
}

// ruleID names a rule, or with rule nil the chain's policy.
type ruleID struct {
	table *netfilter.Table
	chain *netfilter.Chain
	rule  *crule
}

type stepNode struct {
	step step
	prev *stepNode
}

// step is one base chain that a class crossed.
type step struct {
	base    *baseChain
	packet  string
	verdict string
	by      ruleID
}

// known says whether the class already assumes the text, and with which polarity.
func (s *state) known(text string) (holds, known bool) {
	for a := s.assume; a != nil; a = a.prev {
		if a.kind == pure && a.text == text {
			return a.holds, true
		}
	}
	return false, false
}

// with adds an assumption, or widens when there are too many.
func (s state) with(text string, holds bool, kind certainty) state {
	n := 1
	if s.assume != nil {
		n = s.assume.n + 1
	}
	if n > maxAssumptions {
		s.wide = s.wide || kind != chance
		return s
	}
	a := &assumption{text: text, holds: holds, kind: kind, prev: s.assume, n: n}
	a.hash = a.sum()
	s.assume = a
	return s
}

// sum is FNV-1a over the texts of the list. It tells lists apart for display only, so that no more depends on it.
func (a *assumption) sum() uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	if a.prev != nil {
		h = a.prev.hash
	}
	for i := range len(a.text) {
		h = (h ^ uint64(a.text[i])) * prime
	}
	if a.holds {
		h++
	}
	return (h ^ 0xff) * prime
}

// certain reports whether packets of the class surely exist: it rests on no undecided predicate.
func (s *state) certain() bool {
	if s.wide {
		return false
	}
	for a := s.assume; a != nil; a = a.prev {
		if a.kind != chance {
			return false
		}
	}
	return true
}
