package facts

import (
	"net/netip"
	"strings"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// translation says what a source NAT rule translates to. own: the address of the link that the packet leaves by, or what
// cannot be told; to: the addresses named, as far as they are this node's. Neither: what is sent to the addresses named
// reaches no TCP here, so nothing answers it.
func (n *Node) translation(at natAt) (own bool, to []netip.Prefix) {
	if at.stmt.Name == "masquerade" {
		return true, nil
	}
	ranges, ok := targets(at)
	if !ok {
		return true, n.usableAddrs(at.flow.fam)
	}
	for _, r := range ranges {
		if !n.spend(2 * len(n.local)) {
			return true, nil
		}
		for _, l := range n.local {
			if isFamily(at.flow.fam, l.Addr()) && r.meets(l) {
				to = append(to, r.of(l))
			}
		}
	}
	n.spend(prefixCost * len(to))
	return false, to
}

// addrRange is all addresses from one to another, both included.
type addrRange struct{ from, to netip.Addr }

func (r addrRange) meets(p netip.Prefix) bool {
	return p.Contains(r.from) || p.Contains(r.to) || r.from.Compare(p.Addr()) <= 0 && p.Addr().Compare(r.to) <= 0
}

// of is the smaller of the range, when it is a single address, and a prefix that it meets.
func (r addrRange) of(p netip.Prefix) netip.Prefix {
	if r.from == r.to {
		return netip.PrefixFrom(r.from, r.from.BitLen())
	}
	return p
}

// targets reads the addresses of a snat or netmap statement in either language: "--to-source 192.0.2.1-192.0.2.9:1-99",
// "--to 192.0.2.0/24", "to ip 192.0.2.1:99 random", "to ip prefix 192.0.2.0-192.0.2.255". ok is false when an address
// is not written there: it comes from a map or from the packet.
func targets(at natAt) (out []addrRange, ok bool) {
	words := strings.Fields(at.stmt.Args)
	if at.table.Family == netfilter.INET && len(words) > 1 && netfilter.Family(words[1]) == otherFamily(at.flow.fam) {
		return nil, true // net/netfilter/nft_nat.c, nft_nat_inet_eval(): nothing is done to the other family
	}
	for i, word := range words {
		switch word {
		case "ip", "ip6":
			if i != 1 || at.table.Family != netfilter.INET {
				return nil, false
			}
		case "--to-source", "--to", "to", "prefix":
		case "--random", "--random-fully", "--persistent", "--nodst", "random", "fully-random", "persistent":
		default:
			list := rangesOf(at.flow.fam, word)
			if len(list) == 0 {
				return nil, false
			}
			out = append(out, list...)
		}
	}
	return out, len(out) > 0
}

// rangesOf reads "ADDR", "ADDR-ADDR", "NET/BITS" with ":PORT" or ":PORT-PORT" behind. An IPv6 address with a port and
// without brackets can be read in two ways; both count.
func rangesOf(fam netfilter.Family, word string) []addrRange {
	var out []addrRange
	forms := []string{word}
	if i := strings.LastIndex(word, "]:"); i > 0 {
		forms = []string{word[:i]}
	} else if i := strings.LastIndexByte(word, ':'); i > 0 {
		forms = append(forms, word[:i])
	}
	for _, form := range forms {
		if r, ok := rangeOf(strings.NewReplacer("[", "", "]", "").Replace(form)); ok && isFamily(fam, r.from) {
			out = append(out, r)
		}
	}
	return out
}

func rangeOf(s string) (addrRange, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		i := netfilter.Prefix(p)
		if p.Addr().Is4() {
			return addrRange{i.From.IP4(), i.To.IP4()}, true
		}
		return addrRange{i.From.IP6(), i.To.IP6()}, true
	}
	first, last, isRange := strings.Cut(s, "-")
	from, err := netip.ParseAddr(first)
	if err != nil {
		return addrRange{}, false
	}
	if !isRange {
		return addrRange{from, from}, true
	}
	to, err := netip.ParseAddr(last)
	return addrRange{from, to}, err == nil && from.Is4() == to.Is4()
}
