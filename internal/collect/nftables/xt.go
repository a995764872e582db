package nftables

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"unsafe"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// xtables extensions inside nf_tables (nft_compat): iptables-nft writes the matches and targets that nft has no words for
// as the very structures of the old interface. They are decoded here into the words of iptables-save, one decoder for each
// extension and revision, each beside its header: include/uapi/linux/netfilter/xt_NAME.h, Linux 6.18, numbers in the
// machine's byte order unless said otherwise. google/nftables/xt decodes five of them into types without text, and its
// conntrack leaves the port ranges out, so these are our own.

// info is an extension's structure; reads beyond its end give zeros and are noted.
type info struct {
	b     []byte
	short bool
}

func (i *info) bytes(off, n int) []byte {
	if off+n > len(i.b) {
		i.short = true
		return make([]byte, n)
	}
	return i.b[off : off+n]
}

func (i *info) u8(off int) uint8       { return i.bytes(off, 1)[0] }
func (i *info) u16(off int) uint16     { return binary.NativeEndian.Uint16(i.bytes(off, 2)) }
func (i *info) u32(off int) uint32     { return binary.NativeEndian.Uint32(i.bytes(off, 4)) }
func (i *info) be16(off int) uint16    { return binary.BigEndian.Uint16(i.bytes(off, 2)) }
func (i *info) text(off, n int) string { return string(trimNUL(i.bytes(off, n))) }

// decoder turns a structure into options as iptables-save prints them; ok false: not understood.
type decoder func(i *info, rev uint32, fam nf.Family) (options string, ok bool)

// matches and targets are the extensions that are understood, by name.
var xtMatches = sync.OnceValue(func() map[string]decoder {
	return map[string]decoder{
		"conntrack": matchConntrack, "state": matchState, "tcp": matchTCP, "udp": matchUDP, "multiport": matchMultiport, "mark": matchMark,
		"connmark": matchMark, "addrtype": matchAddrtype, "iprange": matchIPRange, "comment": matchComment, "limit": matchLimit,
		"pkttype": matchPkttype, "length": matchLength, "mac": matchMAC, "statistic": matchStatistic, "icmp": matchICMP, "icmp6": matchICMP6,
		"physdev": matchPhysdev, "devgroup": matchDevgroup, "rpfilter": matchRpfilter, "helper": matchHelper, "ttl": matchTTL, "hl": matchTTL,
	}
})

var xtTargets = sync.OnceValue(func() map[string]decoder {
	return map[string]decoder{
		"REJECT": targetReject, "MARK": targetMark, "CONNMARK": targetConnmark, "CT": targetCT, "NOTRACK": targetNone, "NFQUEUE": targetNfqueue,
		"LOG": targetLog, "NFLOG": targetNflog, "MASQUERADE": targetNAT("--to-ports"), "SNAT": targetNAT("--to-source"),
		"DNAT": targetNAT("--to-destination"), "REDIRECT": targetNAT("--to-ports"), "TCPMSS": targetTCPMSS, "CLASSIFY": targetClassify, "TRACE": targetNone,
	}
})

// compat: NFTA_MATCH_NAME 1, REV 2, INFO 3, and the same for targets (include/uapi/linux/netfilter/nf_tables_compat.h).
func (w *walker) compat(kind string) bool {
	a := &w.b
	if !a.only(3) || !a.has(1) {
		return false
	}
	name, rev, b := w.shared.text(a.at[1]), a.u32(2), a.at[3]
	table := w.shared.matches
	if kind == "target" {
		table = w.shared.targets
	}
	w.xt = true
	i := &info{b: b}
	d := table[name]
	options, ok := "", false
	if d != nil {
		options, ok = d(i, rev, w.family)
	}
	if !ok || i.short {
		options = fmt.Sprintf("--opaque-revision-%d %s", rev, opaqueText(b))
	}
	w.items = append(w.items, item{compat: compat{kind, name, options}})
	return true
}

// not writes the inversion in front of an option.
func not(invert bool) string {
	if invert {
		return "! "
	}
	return ""
}

// words joins options with spaces.
type words []string

func (w *words) add(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

func (w words) String() string {
	var b bytes.Buffer
	for i, s := range w {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s)
	}
	return b.String()
}

// xtQuote quotes a string as iptables-save does: only where it holds something other than letters,
// digits, underscores and dashes (xtables_save_string).
func xtQuote(s string) string {
	plain := s != ""
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			plain = false
		}
	}
	if plain {
		return s
	}
	out := append(make([]byte, 0, len(s)+8), '"')
	for _, c := range []byte(s) {
		if c == '"' || c == '\\' || c == '\'' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	out = append(out, '"')
	return unsafe.String(unsafe.SliceData(out), len(out)) // nobody else has them
}

// bitList names the bits of a mask, in the order given; rest holds bits without a name.
func bitList(v uint32, names []bitName) (out string, rest uint32) {
	for _, n := range names {
		if v&n.bit == 0 {
			continue
		}
		if v &^= n.bit; out != "" {
			out += ","
		}
		out += n.name
	}
	return out, v
}

type bitName struct {
	bit  uint32
	name string
}
