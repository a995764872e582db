package xtables

// protocolNumber returns the number of an IP protocol by number or by the names that iptables-save prints: its own
// (xtables_chain_protos) and those of /etc/protocols as distributions ship it. 0 stands for all.
func protocolNumber(s string) (uint64, bool) {
	switch s {
	case "tcp":
		return 6, true
	case "udp":
		return 17, true
	case "all", "ip":
		return 0, true
	case "icmp":
		return 1, true
	case "ipv6-icmp", "icmpv6", "icmp6":
		return 58, true
	case "sctp":
		return 132, true
	}
	if n, ok := number(s, 16); ok {
		return n, true
	}
	if n, ok := tunnelProtocol(s); ok {
		return n, true
	}
	return rareProtocol(s)
}

func tunnelProtocol(s string) (uint64, bool) {
	switch s {
	case "igmp":
		return 2, true
	case "ipencap", "ipv4":
		return 4, true
	case "dccp":
		return 33, true
	case "ipv6":
		return 41, true
	case "ipv6-route":
		return 43, true
	case "ipv6-frag":
		return 44, true
	case "gre":
		return 47, true
	case "esp", "ipsec-esp":
		return 50, true
	case "ah", "ipsec-ah":
		return 51, true
	case "ipv6-nonxt":
		return 59, true
	case "ipv6-opts":
		return 60, true
	case "ospf", "ospfigp":
		return 89, true
	case "ipip":
		return 94, true
	case "pim":
		return 103, true
	case "ipcomp":
		return 108, true
	case "vrrp", "carp":
		return 112, true
	case "l2tp":
		return 115, true
	case "mobility-header", "ipv6-mh", "mh":
		return 135, true
	case "udplite":
		return 136, true
	}
	return 0, false
}

func rareProtocol(s string) (uint64, bool) {
	names := [...]struct {
		name string
		n    uint64
	}{
		{"ggp", 3},
		{"st", 5},
		{"egp", 8},
		{"igp", 9},
		{"pup", 12},
		{"hmp", 20},
		{"xns-idp", 22},
		{"rdp", 27},
		{"iso-tp4", 29},
		{"xtp", 36},
		{"ddp", 37},
		{"idpr-cmtp", 38},
		{"idrp", 45},
		{"rsvp", 46},
		{"skip", 57},
		{"rspf", 73},
		{"vmtp", 81},
		{"eigrp", 88},
		{"ax.25", 93},
		{"etherip", 97},
		{"encap", 98},
		{"isis", 124},
		{"fc", 133},
		{"mpls-in-ip", 137},
		{"manet", 138},
		{"hip", 139},
		{"shim6", 140},
		{"wesp", 141},
		{"rohc", 142},
		{"ethernet", 143},
		{"mptcp", 262},
	}
	for _, p := range names {
		if p.name == s {
			return p.n, true
		}
	}
	return 0, false
}
