package topology

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// parseRule reads an RTM_NEWRULE: struct fib_rule_hdr (family, dst_len, src_len, tos, table, 2 reserved, action, flags;
// the layout of rtmsg) and FRA_* attributes. Rules of multicast routing are not ours.
// Source: include/uapi/linux/fib_rules.h and net/core/fib_rules.c, fib_nl_fill_rule(), Linux 6.18.
func parseRule(m message) (snapshot.PolicyRule, bool, error) {
	var r snapshot.PolicyRule
	var src, dst netip.Addr
	var mark, mask uint32
	var l3mdev uint8
	err := m.attributes(unix.SizeofRtMsg, func(ad *netlink.AttributeDecoder) {
		if !internet(m.body[0]) {
			return
		}
		switch ad.Type() {
		case unix.FRA_SRC:
			address(ad, &src)
		case unix.FRA_DST:
			address(ad, &dst)
		case unix.FRA_PRIORITY:
			r.Priority = ad.Uint32()
		case unix.FRA_TABLE:
			r.Table = ad.Uint32()
		case unix.FRA_FWMARK:
			mark = ad.Uint32()
		case unix.FRA_FWMASK:
			mask = ad.Uint32()
		case unix.FRA_IIFNAME:
			r.In = ad.String()
		case unix.FRA_L3MDEV:
			l3mdev = ad.Uint8()
		}
	})
	if err != nil || !internet(m.body[0]) {
		return r, false, err
	}
	if r.Src, err = selector(m.body[0], src, m.body[2]); err != nil {
		return r, false, err
	}
	if r.Dst, err = selector(m.body[0], dst, m.body[1]); err != nil {
		return r, false, err
	}
	if mark != 0 || mask != 0 {
		r.Mark = fmt.Sprintf("%#x/%#x", mark, mask)
	}
	if r.Table == 0 {
		r.Table = uint32(m.body[4])
	}
	r.Family, r.Action = familyName(m.body[0]), ruleAction(m.body[7], l3mdev)
	r.Invert = binary.NativeEndian.Uint32(m.body[8:])&unix.FIB_RULE_INVERT != 0
	return r, true, nil
}

// selector is a rule's source or destination; empty when it selects everything.
func selector(family uint8, a netip.Addr, bits uint8) (string, error) {
	if !a.IsValid() && bits == 0 {
		return "", nil
	}
	p, err := prefix(family, a, bits)
	return p.String(), err
}

// ruleAction names an FR_ACT_* as the ip tool does. A lookup in the table of the packet's VRF is "l3mdev": its table is 0.
func ruleAction(n, l3mdev uint8) string {
	switch n {
	case unix.FR_ACT_TO_TBL:
		if l3mdev != 0 {
			return "l3mdev"
		}
		return "lookup"
	case unix.FR_ACT_GOTO:
		return "goto"
	case unix.FR_ACT_NOP:
		return "nop"
	case unix.FR_ACT_BLACKHOLE:
		return "blackhole"
	case unix.FR_ACT_UNREACHABLE:
		return "unreachable"
	case unix.FR_ACT_PROHIBIT:
		return "prohibit"
	}
	return number(uint32(n))
}

func sortRules(rules []snapshot.PolicyRule) {
	slices.SortStableFunc(rules, func(a, b snapshot.PolicyRule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority))
	})
}
