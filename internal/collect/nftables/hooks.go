package nftables

import (
	"fmt"

	"github.com/ctaudit/ctaudit/internal/host"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// NFNL_SUBSYS_HOOK << 8 | NFNL_MSG_HOOK_GET: include/uapi/linux/netfilter/nfnetlink_hook.h, Linux 6.18.
const (
	subsysHook    = 12 << 8
	msgHookGet    = 0
	hookInfoChain = 1 // NFNL_HOOK_TYPE_NFTABLES
)

// hookOrder reads the functions registered at each hook, in running order: the dump has them in that order, hook by hook.
func hookOrder(a *host.Answer) (snapshot.Value[[]snapshot.HookEntry], []snapshot.Missing) {
	type value = snapshot.Value[[]snapshot.HookEntry]
	if a.Absent || a.Err == host.NoNetlink { // as on a kernel that cannot say
		return snapshot.Absent[[]snapshot.HookEntry](), nil
	}
	why := a.Err
	var out []snapshot.HookEntry
	device := ""
	r := &reader{b: a.Data}
	for why == "" {
		m, ok := r.next()
		if !ok {
			break
		}
		if m.kind != subsysHook|msgHookGet {
			continue
		}
		if m.request { // the question names the device, the answers do not
			device = requestDevice(m)
			continue
		}
		e, ok := hookEntry(m, device)
		if !ok {
			why = "a message is garbled"
			break
		}
		out = append(out, e)
	}
	switch {
	case why != "":
	case r.garbled || a.Truncated:
		why = "the dump is cut or garbled"
	case r.errno != 0:
		why = fmt.Sprintf("the kernel answered with error %d", r.errno)
	default:
		return snapshot.Known(out), nil
	}
	hint := hintFor(a)
	var v value = snapshot.Unreadable[[]snapshot.HookEntry](why, hint)
	return v, []snapshot.Missing{{What: "netfilter hook order", Why: why, Hint: hint}}
}

func requestDevice(m message) string {
	var a attrs
	a.parse(m.body)
	return valid(a.at[3])
}

// hookEntry: NFNLA_HOOK_HOOKNUM 1, PRIORITY 2, DEV 3, FUNCTION_NAME 4, MODULE_NAME 5, CHAIN_INFO 6.
func hookEntry(m message, device string) (e snapshot.HookEntry, ok bool) {
	var a attrs
	if !a.parse(m.body) || !a.has(1) || !a.has(2) {
		return e, false
	}
	e = snapshot.HookEntry{Family: family(m.family), Priority: int32(a.u32(2)), Device: device, Function: valid(a.at[4]), Module: valid(a.at[5])}
	if a.has(3) {
		e.Device = valid(a.at[3])
	}
	e.Hook, _ = hookName(e.Family, a.u32(1))
	if a.has(6) {
		e.Table, e.Chain, e.TableFamily = chainInfo(a.at[6])
	}
	return e, true
}

// chainInfo: NFNLA_HOOK_INFO_DESC 1, TYPE 2; in the description NFNLA_CHAIN_TABLE 1, FAMILY 2, NAME 3.
func chainInfo(b []byte) (table, chain string, fam nf.Family) {
	var info, desc attrs
	if !info.parse(b) || info.u32(2) != hookInfoChain || !desc.parse(info.at[1]) {
		return "", "", ""
	}
	return valid(desc.at[1]), valid(desc.at[3]), family(desc.u8(2))
}
