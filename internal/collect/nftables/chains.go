package nftables

import (
	"fmt"
	"slices"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// hookName names a hook number of a family: enum nf_inet_hooks, nf_dev_hooks, nf_br_hook_priorities' hooks, and arp's.
func hookName(fam nf.Family, n uint32) (nf.Hook, bool) {
	hooks := []nf.Hook{nf.Prerouting, nf.Input, nf.Forward, nf.Output, nf.Postrouting}
	switch fam {
	case nf.INET:
		hooks = append(hooks, nf.Ingress)
	case nf.ARP:
		hooks = []nf.Hook{nf.Input, nf.Output, nf.Forward}
	case nf.Netdev:
		hooks = []nf.Hook{nf.Ingress, nf.Egress}
	}
	if int(n) >= len(hooks) {
		return nf.Hook(fmt.Sprintf("hook %d", n)), false
	}
	return hooks[n], true
}

// addChain: NAME 3, HOOK 4 (HOOKNUM 1, PRIORITY 2, DEV 3, DEVS 4), POLICY 5, TYPE 7, COUNTERS 8, FLAGS 10.
func (p *parser) addChain(t *tableInfo, a *attrs) {
	c := &nf.Chain{Name: p.shared.text(a.at[3]), Rules: []*nf.Rule{}}
	if t.chains[c.Name] != nil {
		return
	}
	t.chains[c.Name] = c
	t.table.Chains = append(t.table.Chains, c)
	if !a.has(4) {
		return
	}
	var h, counters attrs
	if !h.parse(a.at[4]) || !h.has(1) || !h.has(2) {
		t.why = append(t.why, fmt.Sprintf("the hook of chain %s is garbled", c.Name))
		return
	}
	c.Base = &nf.Base{Type: nf.ChainType(valid(a.at[7])), Priority: int32(h.u32(2)), Devices: chainDevices(&h), Policy: nf.Accept}
	var known bool
	if c.Base.Hook, known = hookName(t.key.family, h.u32(1)); !known {
		t.why = append(t.why, fmt.Sprintf("chain %s is at an unknown hook", c.Name))
	}
	if a.has(5) && a.u32(5) == 0 {
		c.Base.Policy = nf.Drop
	}
	if a.has(8) && counters.parse(a.at[8]) { // NFTA_COUNTER_BYTES 1, PACKETS 2
		c.Base.Counters = &nf.Counters{Packets: counters.u64(2), Bytes: counters.u64(1)}
	}
}

// chainDevices reads NFTA_HOOK_DEVS (4), or NFTA_HOOK_DEV (3) of kernels that know one device only.
func chainDevices(h *attrs) []string {
	if list := devices(h.at[4]); list != nil || !h.has(3) {
		return list
	}
	return []string{valid(h.at[3])}
}

// devices reads a list of NFTA_DEVICE_NAME (1) and NFTA_DEVICE_PREFIX (2, since 6.16).
func devices(list []byte) (out []string) {
	for {
		t, v, rest, ok, _ := nextAttr(list)
		if !ok {
			slices.Sort(out)
			return out
		}
		name := valid(v)
		if t == 2 {
			name += "*"
		}
		out, list = append(out, name), rest
	}
}

// addRule: TABLE 1, CHAIN 2, HANDLE 3, EXPRESSIONS 4, COMPAT 5, USERDATA 7.
func (p *parser) addRule(t *tableInfo, a *attrs) string {
	c := p.chain(t, a.at[2])
	if c == nil {
		why := fmt.Sprintf("chain %s is in no list of chains: the ruleset changed while it was read", valid(a.at[2]))
		t.ruleWhy = append(t.ruleWhy, why)
		return fmt.Sprintf("table %s %s: %s", t.key.family, t.key.name, why)
	}
	r := p.shared.rule()
	r.Number, r.Handle = len(c.Rules)+1, a.u64(3)
	r.Comment = comment(a.at[7])
	c.Rules = append(c.Rules, r)
	w := &p.walker
	w.family, w.sets = t.key.family, t.sets
	expressions := a.at[4]
	why := w.walk(expressions)
	if why != "" {
		t.ruleWhy = append(t.ruleWhy, fmt.Sprintf("rule %d of chain %s: %s", r.Number, c.Name, why))
	}
	p.write(t, r)
	return why
}

func (p *parser) chain(t *tableInfo, name []byte) *nf.Chain {
	name = trimNUL(name)
	if p.lastChain == nil || p.lastChain.Name != string(name) {
		p.lastChain = t.chains[p.shared.text(name)]
	}
	return p.lastChain
}

// comment reads a rule's user data: type, length and value of one byte each (libnftnl's udata); type 0 is the comment.
func comment(b []byte) string {
	for len(b) >= 2 {
		typ, n := b[0], int(b[1])
		if 2+n > len(b) {
			return ""
		}
		if typ == 0 {
			return valid(b[2 : 2+n])
		}
		b = b[2+n:]
	}
	return ""
}
