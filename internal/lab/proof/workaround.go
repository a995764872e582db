package proof

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// NoWorkaround is the name of the router as it is.
const NoWorkaround = "none"

// Workaround is what is done to the router against the resets: the sysctl, and drops of INVALID segments (native nf_tables).
type Workaround struct {
	Name  string
	About string

	liberal bool
	drops   []drop
}

// drop is where INVALID segments are dropped.
type drop struct {
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
}

// Workarounds are the columns of the table.
func Workarounds() []Workaround {
	input := drop{nftables.ChainHookInput, nftables.ChainPriorityFilter}
	forward := drop{nftables.ChainHookForward, nftables.ChainPriorityFilter}
	mangle := drop{nftables.ChainHookPrerouting, nftables.ChainPriorityMangle}
	return []Workaround{
		{Name: NoWorkaround, About: "the router as it is"},
		{Name: "be_liberal", About: "nf_conntrack_tcp_be_liberal=1", liberal: true},
		{Name: "INPUT", About: "INVALID dropped in INPUT", drops: []drop{input}},
		{Name: "FORWARD", About: "INVALID dropped in FORWARD", drops: []drop{forward}},
		{Name: "mangle", About: "INVALID dropped in PREROUTING, priority mangle", drops: []drop{mangle}},
		{Name: "both", About: "be_liberal=1 and INVALID dropped in INPUT", liberal: true, drops: []drop{input}},
	}
}

func (w Workaround) wanted(names []string) bool {
	return len(names) == 0 || slices.Contains(names, w.Name)
}

// apply replaces the workaround before.
func (s *scene) apply(w Workaround) error {
	liberal := "0"
	if w.liberal {
		liberal = "1"
	}
	return errors.Join(s.nat.Router.Sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", liberal), s.rules(w.drops))
}

// rules replaces the table "inet workaround". To delete it, it must be there: it is added first.
func (s *scene) rules(drops []drop) error {
	conn, err := nftables.New(nftables.WithNetNSFd(s.nat.Router.FD()))
	if err != nil {
		return fmt.Errorf("open nf_tables: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: "workaround"}
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	for i, d := range drops {
		chain := conn.AddChain(&nftables.Chain{
			Name: fmt.Sprintf("drop%d", i), Table: table, Type: nftables.ChainTypeFilter, Hooknum: d.hook, Priority: d.priority,
		})
		conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: dropInvalid()})
	}
	return conn.Flush()
}

// dropInvalid is "ct state invalid drop".
func dropInvalid() []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitINVALID), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}
