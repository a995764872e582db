package nftables

import (
	"strconv"
	"strings"
	"sync"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// order is how a value stands in a register.
type order uint8

const (
	networkOrder order = iota // most significant byte first
	hostEndian                // the machine's own order
	leftAligned               // a string, padded with NUL
)

// keyField is what a meta, ct, rt or socket key loads.
type keyField struct {
	field nf.Field
	size  int
	order order
}

// metaKey maps enum nft_meta_keys (include/uapi/linux/netfilter/nf_tables.h, Linux 6.18); sizes and byte orders are those
// of nft_meta_get_eval, net/netfilter/nft_meta.c.
func metaKey(k uint32) (keyField, bool) {
	table := [...]keyField{
		{nf.Length, 4, hostEndian},
		{nf.EthProto, 2, networkOrder},
		{nf.Priority, 4, hostEndian},
		{nf.Mark, 4, hostEndian},
		{nf.IIF, 4, hostEndian},
		{nf.OIF, 4, hostEndian},
		{nf.IIFName, 16, leftAligned},
		{nf.OIFName, 16, leftAligned},
		{nf.IIFType, 2, hostEndian},
		{nf.OIFType, 2, hostEndian},
		{nf.SKUID, 4, hostEndian},
		{nf.SKGID, 4, hostEndian},
		{"meta.nftrace", 1, hostEndian},
		{"meta.rtclassid", 4, hostEndian},
		{"meta.secmark", 4, hostEndian},
		{nf.NFProto, 1, hostEndian},
		{nf.L4Proto, 1, hostEndian},
		{"meta.ibrname", 16, leftAligned},
		{"meta.obrname", 16, leftAligned},
		{nf.PktType, 1, hostEndian},
		{"meta.cpu", 4, hostEndian},
		{nf.IIFGroup, 4, hostEndian},
		{nf.OIFGroup, 4, hostEndian},
		{nf.CGroup, 4, hostEndian},
		{"meta.random", 4, hostEndian},
		{"meta.ipsec", 1, hostEndian},
		{nf.IIFKind, 16, leftAligned},
		{nf.OIFKind, 16, leftAligned},
		{"meta.ibrpvid", 2, hostEndian},
		{"meta.ibrvproto", 2, networkOrder},
		{"meta.time", 8, hostEndian},
		{"meta.day", 1, hostEndian},
		{"meta.hour", 4, hostEndian},
		{"meta.sdif", 4, hostEndian},
		{"meta.sdifname", 16, leftAligned},
		{"meta.broute", 1, hostEndian},
		{"meta.ibrhwaddr", 6, networkOrder},
	}
	if int(k) >= len(table) {
		return keyField{}, false
	}
	return table[k], true
}

// ctKey maps enum nft_ct_keys; sizes and orders are those of nft_ct_get_eval, net/netfilter/nft_ct.c. family is that of the
// table, which decides the size of the addresses.
func ctKey(k uint32, family nf.Family) (keyField, bool) {
	saddr, daddr := keyField{"ct.saddr", 16, networkOrder}, keyField{"ct.daddr", 16, networkOrder}
	switch family {
	case nf.IP:
		saddr, daddr = keyField{"ct.ip.saddr", 4, networkOrder}, keyField{"ct.ip.daddr", 4, networkOrder}
	case nf.IP6:
		saddr.field, daddr.field = "ct.ip6.saddr", "ct.ip6.daddr"
	}
	table := [...]keyField{
		{nf.CTState, 4, hostEndian},
		{"ct.direction", 1, hostEndian},
		{"ct.status", 4, hostEndian},
		{"ct.mark", 4, hostEndian},
		{"ct.secmark", 4, hostEndian},
		{"ct.expiration", 4, hostEndian},
		{"ct.helper", 16, leftAligned},
		{"ct.l3proto", 1, hostEndian},
		saddr, daddr,
		{"ct.protocol", 1, hostEndian},
		{"ct.proto-src", 2, networkOrder},
		{"ct.proto-dst", 2, networkOrder},
		{"ct.label", 16, networkOrder},
		{"ct.packets", 8, hostEndian},
		{"ct.bytes", 8, hostEndian},
		{"ct.avgpkt", 8, hostEndian},
		{"ct.zone", 2, hostEndian},
		{"ct.event", 4, hostEndian},
		{"ct.ip.saddr", 4, networkOrder},
		{"ct.ip.daddr", 4, networkOrder},
		{"ct.ip6.saddr", 16, networkOrder},
		{"ct.ip6.daddr", 16, networkOrder},
		{"ct.id", 4, hostEndian},
	}
	if int(k) >= len(table) {
		return keyField{}, false
	}
	return table[k], true
}

// ctDirection puts the direction into a ct field's name: ct.original.saddr.
func ctDirection(f nf.Field, dir []byte) nf.Field {
	words := [...]string{"original", "reply"}
	if len(dir) == 0 || int(dir[0]) >= len(words) {
		return f
	}
	return nf.Field("ct." + words[dir[0]] + strings.TrimPrefix(string(f), "ct"))
}

// rtKey and socketKey map enum nft_rt_keys and enum nft_socket_keys.
func rtKey(k uint32) (keyField, bool) {
	table := [...]keyField{{"rt.classid", 4, hostEndian}, {"rt.ip.nexthop", 4, networkOrder}, {"rt.ip6.nexthop", 16, networkOrder}, {"rt.mtu", 2, hostEndian}, {"rt.ipsec", 1, hostEndian}}
	if int(k) >= len(table) {
		return keyField{}, false
	}
	return table[k], true
}

func socketKey(k, level uint32) (keyField, bool) {
	table := [...]keyField{
		{"socket.transparent", 1, hostEndian},
		{"socket.mark", 4, hostEndian},
		{"socket.wildcard", 1, hostEndian},
		{nf.Field("socket.cgroupv2.level." + strconv.Itoa(int(level))), 8, hostEndian},
	}
	if int(k) >= len(table) {
		return keyField{}, false
	}
	return table[k], true
}

// fibField names a fib lookup by its keys and its result: fib.daddr.type, fib.saddr.iif.oif. With the present flag the
// result is 1 for found and 0 for not. Flags and results: enum nft_fib_flags and nft_fib_result.
func fibField(flags, result uint32) (keyField, bool) {
	words := [...]string{"saddr", "daddr", "mark", "iif", "oif"}
	out := "fib"
	for i, w := range words {
		if flags&(1<<i) != 0 {
			out += "." + w
		}
	}
	results := [...]keyField{{".oif", 4, hostEndian}, {".oifname", 16, leftAligned}, {".type", 4, hostEndian}}
	if flags>>6 != 0 || result < 1 || result > 3 {
		return keyField{}, false
	}
	k := results[result-1]
	k.field = nf.Field(out) + k.field
	if flags&32 != 0 {
		k.field, k.size, k.order = k.field+".present", 4, hostEndian // a whole register: nft_fib_store_result
	}
	return k, true
}

// bitField is a part of a field that has a name of its own, after a mask.
type bitField struct {
	of    nf.Field
	mask  uint64
	shift int
	field nf.Field
}

// bitFields are the named parts of header fields: RFC 2474 and 3168 (dscp, ecn), 791, 8200, 9293, IEEE 802.1Q.
var bitFields = sync.OnceValue(func() []bitField {
	return []bitField{
		{nf.TOS, 0xfc, 2, nf.DSCP},
		{nf.TOS, 0x03, 0, "ip.ecn"},
		{"ip6.version-class", 0x0fc0, 6, nf.DSCP},
		{"ip6.class-flowlabel", 0x300000, 20, "ip6.ecn"},
		{"ip6.class-flowlabel", 0x0fffff, 0, "ip6.flowlabel"},
		{"ip6.version-class", 0xf000, 12, "ip6.version"},
		{"ip.version-hdrlength", 0xf0, 4, "ip.version"},
		{"ip.version-hdrlength", 0x0f, 0, "ip.hdrlength"},
		{"tcp.doff-reserved", 0xf0, 4, "tcp.doff"},
		{"tcp.doff-reserved", 0x0f, 0, "tcp.reserved"},
		{"vlan.tci", 0x0fff, 0, "vlan.id"},
		{"vlan.tci", 0xe000, 13, "vlan.pcp"},
		{"vlan.tci", 0x1000, 12, "vlan.dei"},
		{"dccp.x-type", 0x1e, 1, "dccp.type"},
	}
})
