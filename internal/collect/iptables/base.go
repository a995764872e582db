package iptables

import "github.com/ctaudit/ctaudit/internal/netfilter"

// baseOf returns where a built-in chain is registered, without its policy; false when iptables has no such chain.
// Source: include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities (ip6: the same numbers), and
// net/ipv4/netfilter/iptable_*.c, Linux 6.18; iptables-nft registers the same ones but for security, which it puts at 150
// (iptables/nft.c, xtables_ipv4; seen with 1.8.9).
func baseOf(src source, table, chain string) (netfilter.Base, bool) {
	b := netfilter.Base{Type: netfilter.FilterChain}
	hook, ok := hookOf(chain)
	b.Hook = hook
	switch table {
	case "filter", "security":
		if table == "security" {
			b.Priority = map[bool]int32{false: 50, true: 150}[src.backend == netfilter.IPTablesNFT]
		}
		return b, ok && (hook == netfilter.Input || hook == netfilter.Forward || hook == netfilter.Output)
	case "mangle":
		b.Priority = -150
		if hook == netfilter.Output {
			b.Type = netfilter.RouteChain
		}
		return b, ok
	case "raw":
		b.Priority = -300
		if src.rawFirst && src.backend == netfilter.Legacy {
			b.Priority = -450
		}
		return b, ok && (hook == netfilter.Prerouting || hook == netfilter.Output)
	case "nat":
		b.Type, b.Priority = netfilter.NATChain, -100
		if hook == netfilter.Input || hook == netfilter.Postrouting {
			b.Priority = 100
		}
		return b, ok && hook != netfilter.Forward
	}
	return b, false
}

func hookOf(chain string) (netfilter.Hook, bool) {
	switch chain {
	case "PREROUTING":
		return netfilter.Prerouting, true
	case "INPUT":
		return netfilter.Input, true
	case "FORWARD":
		return netfilter.Forward, true
	case "OUTPUT":
		return netfilter.Output, true
	case "POSTROUTING":
		return netfilter.Postrouting, true
	}
	return "", false
}
