package xtables

import (
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// conntrack reads the conntrack and state matches into one step, because the kernel lets the state decide alone for a
// packet without an entry. Source: net/netfilter/xt_conntrack.c, conntrack_mt().
func (p *parser) conntrack() bool {
	var x netfilter.XtState
	for i := range p.nopts {
		o := &p.opts[i]
		switch o.name {
		case "--ctstate", "--state":
			states, ok := stateBits(o.arg)
			if !ok || o.args != 1 || x.HasState {
				return false
			}
			x.HasState, x.States, x.Invert = true, states, o.invert
		case "--ctproto", "--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst", "--ctorigsrcport",
			"--ctorigdstport", "--ctreplsrcport", "--ctrepldstport", "--ctstatus", "--ctexpire", "--ctdir":
			if name := o.name[2:]; !slices.Contains(x.Others, name) {
				x.Others = append(x.Others, name)
			}
		default:
			return false
		}
	}
	p.ops = append(p.ops, x)
	return p.nopts > 0
}

func stateBits(list string) (bits uint32, ok bool) {
	for name := range strings.SplitSeq(list, ",") {
		switch name {
		case "INVALID":
			bits |= netfilter.StateInvalid
		case "NEW":
			bits |= netfilter.StateNew
		case "ESTABLISHED":
			bits |= netfilter.StateEstablished
		case "RELATED":
			bits |= netfilter.StateRelated
		case "UNTRACKED":
			bits |= netfilter.StateUntracked
		case "SNAT":
			bits |= netfilter.StateSNAT
		case "DNAT":
			bits |= netfilter.StateDNAT
		default:
			return 0, false
		}
	}
	return bits, true
}
