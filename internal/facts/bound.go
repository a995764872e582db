package facts

import (
	"fmt"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
)

// What a node says of itself is not vouched for, and it may be made to be expensive. Work that grows with the product of two of its
// lists is counted, and lists that somebody multiplies later are cut; what is beyond is unknown, and says so. The evaluator has
// bounds of its own.
const (
	// workBudget is for everything beside the evaluator, in comparisons of some nanoseconds.
	workBudget = 100_000_000
	parseCost  = 200 // of a rule's text
	prefixCost = 16  // of an interval turned into a prefix

	mostUplinks    = 512      // asked question A, of a family
	mostLinks      = 256      // asked question B, of a family: a node has a few bridges, or a veth a pod
	mostSides      = 1024     // from which a backend's reply is asked to come
	mostReplies    = 8192     // links times sides, of a family
	mostContainers = 5000     // named
	mostSysctls    = 5000     // live keys, those of single interfaces apart
	mostPersisted  = 5000     // assignments
	mostMentions   = 200      // of be_liberal in scripts
	mostMissing    = 200      // of one collector
	mostKept       = 400      // drops that policies see
	mostShadows    = 500      // of all exposures together
	keptAnswers    = 32 << 20 // bytes that answers may hold with all of their outcomes
)

// tooLarge is why nothing is known of a node that is beyond workBudget.
const tooLarge = "the node is too large to be judged within the budget"

// spend takes from what there is; false when there is nothing left, and then every answer is unknown.
func (n *Node) spend(work int) bool {
	if n.work -= work; n.work < 0 && n.unread.why == "" {
		n.unread = gap{why: tooLarge}
	}
	return n.work >= 0
}

// keep lets an answer stay in memory, with all of its outcomes while there is room. Where many rules drop INVALID packets and do
// not help, one of each kind and cause is enough.
func (n *Node) keep(a packetpath.Answer) packetpath.Answer {
	a.Shadowed = n.kinds.brief(a.Shadowed)
	n.unlisted = n.unlisted || a.Unlisted
	if n.room -= a.Size(); n.room < 0 {
		a.Fold()
	}
	return a
}

// beyond is the answer to all questions of a kind that are not asked any more.
func beyond(q packetpath.Question, fam netfilter.Family, first *link, what string) packetpath.Answer {
	return packetpath.Answer{
		Question: q, Family: fam, Interface: first.Name, Verdict: packetpath.Depends, Reset: packetpath.ResetDepends,
		DependsOn: []string{what},
	}
}

func notAsked(what string, all, asked int) string {
	return fmt.Sprintf("the %d %s beyond the first %d, which were not asked about", all-asked, what, asked)
}
