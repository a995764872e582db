package nftables

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// statement reads the expressions that do something. Attribute numbers as in expr_load.go.
func (w *walker) statement(name string, data []byte) bool {
	a := &w.b
	switch name {
	case "notrack":
		return len(data) == 0 && w.stmt("notrack", "")
	case "limit":
		return w.limit()
	case "log":
		return w.log()
	case "reject":
		return w.reject()
	case "queue":
		return w.queue()
	case "nat", "masq", "redir":
		return w.nat(name)
	case "dynset":
		return w.dynset()
	case "objref":
		return w.objref()
	case "quota": // BYTES 1, FLAGS 2 (1: over), PAD 3, CONSUMED 4
		return a.only(4) && w.ext("quota", over(a.u32(2))+strconv.FormatUint(a.u64(1), 10)+" bytes", false)
	case "connlimit": // COUNT 1, FLAGS 2 (1: over)
		return a.only(2) && w.ext("ct count", over(a.u32(2))+strconv.Itoa(int(a.u32(1))), false)
	case "last": // SET 1, MSECS 2
		return w.stmt("last", "")
	case "flow_offload": // TABLE_NAME 1
		return a.only(1) && w.stmt("flow", "add @"+w.shared.text(a.at[1]))
	case "synproxy": // MSS 1, WSCALE 2, FLAGS 3
		args := fmt.Sprintf("mss %d wscale %d", a.u16(1), a.u8(2))
		if a.has(3) { // nft prints none
			args += fmt.Sprintf(" flags %#x", a.u32(3))
		}
		return a.only(3) && w.stmt("synproxy", args)
	case "dup": // SREG_ADDR 1, SREG_DEV 2
		return a.only(2) && w.stmt("dup", w.regText("to", 1)+w.regText(" device", 2))
	case "fwd": // SREG_DEV 1, SREG_ADDR 2, NFPROTO 3
		return a.only(3) && w.stmt("fwd", w.regText("to", 1)+w.regText(" via", 2))
	case "tproxy": // FAMILY 1, REG_ADDR 2, REG_PORT 3
		return a.only(3) && w.stmt("tproxy", "to "+w.address(2, 2)+w.port(3, 3))
	}
	return false
}

// over is the word for the flag that turns "until" into "over".
func over(flags uint32) string {
	if flags&1 != 0 {
		return "over "
	}
	return ""
}

func (w *walker) regText(word string, attr int) string {
	if !w.b.has(attr) {
		return ""
	}
	return word + " " + w.regs.get(w.b.u32(attr)).describe()
}

// counter: BYTES 1, PACKETS 2.
func (w *walker) counter() bool {
	if w.counters == nil {
		w.counters = w.shared.counter(w.b.u64(2), w.b.u64(1))
	}
	return w.stmt("counter", "")
}

// limit: RATE 1, UNIT 2 (seconds), BURST 3, TYPE 4 (1: bytes), FLAGS 5 (1: over).
func (w *walker) limit() bool {
	a := &w.b
	units := map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}
	unit, ok := units[a.u64(2)]
	if !ok || !a.only(5) || a.u32(4) > 1 {
		return false
	}
	what := [...]string{" packets", " bytes"}[a.u32(4)]
	args := fmt.Sprintf("rate %s%d", over(a.u32(5)), a.u64(1))
	if a.u32(4) == 1 {
		args += " bytes"
	}
	args += "/" + unit
	if burst := a.u32(3); burst != 0 && (a.u32(4) == 1 || burst != 5) {
		args += fmt.Sprintf(" burst %d%s", burst, what)
	}
	w.items = append(w.items, item{op: nf.Ext{Name: "limit", Args: args}, xt: w.xtLimit(unit)})
	return true
}

// xtLimit is a limit in iptables' words, "" when it has none.
func (w *walker) xtLimit(unit string) string {
	a := &w.b
	short := map[string]string{"second": "sec", "minute": "min", "hour": "hour", "day": "day"}[unit]
	if a.u32(4) != 0 || a.u32(5) != 0 || short == "" {
		return ""
	}
	return "-m limit " + limitText(a.u64(1), short, a.u32(3))
}

// log: GROUP 1, PREFIX 2, SNAPLEN 3, QTHRESHOLD 4, LEVEL 5, FLAGS 6.
func (w *walker) log() bool {
	a := &w.b
	if !a.only(6) {
		return false
	}
	var out []string
	if a.has(2) {
		out = append(out, "prefix "+quote(valid(a.at[2])))
	}
	levels := [...]string{"emerg", "alert", "crit", "err", "", "notice", "info", "debug", "audit"}
	if l := a.u32(5); a.has(5) && l < uint32(len(levels)) && levels[l] != "" {
		out = append(out, "level "+levels[l])
	}
	for _, f := range []struct {
		attr int
		word string
	}{{1, "group"}, {3, "snaplen"}, {4, "queue-threshold"}} {
		n := uint32(a.u16(f.attr))
		if f.attr == 3 {
			n = a.u32(3)
		}
		if a.has(f.attr) && (f.attr == 1 || n != 0) {
			out = append(out, f.word+" "+strconv.Itoa(int(n)))
		}
	}
	if flags := logFlags(a.u32(6)); flags != "" {
		out = append(out, flags)
	}
	w.items = append(w.items, item{op: w.shared.stmt(nf.Stmt{Name: "log", Args: strings.Join(out, " ")}), xt: w.xtLog()})
	return true
}

// xtLog is a log to a group in iptables' words: its NFLOG target is nft's own expression.
func (w *walker) xtLog() string {
	a := &w.b
	if !a.has(1) || a.has(5) || a.has(6) {
		return ""
	}
	return strings.TrimSpace("-j NFLOG " + nflogText(a.u16(1), a.u32(3), a.u16(4), valid(a.at[2])))
}

// logFlags names NF_LOG_* (include/uapi/linux/netfilter/nf_log.h): 1 TCP sequence, 2 TCP options, 4 IP options, 8 uid, 32
// MAC header.
func logFlags(f uint32) string {
	if f&0x2f == 0x2f {
		return "flags all"
	}
	tcp := [...]string{"", "flags tcp sequence", "flags tcp options", "flags tcp sequence,options"}[f&3]
	return strings.TrimSpace(tcp + " " + strings.Join(otherLogFlags(f), " "))
}

func otherLogFlags(f uint32) (out []string) {
	for _, w := range []struct {
		bit  uint32
		word string
	}{{4, "flags ip options"}, {8, "flags skuid"}, {32, "flags ether"}} {
		if f&w.bit != 0 {
			out = append(out, w.word)
		}
	}
	return out
}

// reject: TYPE 1 (0 ICMP unreachable, 1 TCP reset, 2 either ICMP), CODE 2.
func (w *walker) reject() bool {
	a := &w.b
	if !a.only(2) {
		return false
	}
	with, code := "", a.u8(2)
	switch t := a.u32(1); {
	case t == 1:
		with = "tcp-reset"
	case t == 2:
		with = "icmpx-" + codeName(code, []string{"no-route", "port-unreachable", "host-unreachable", "admin-prohibited"})
	case t == 0 && w.ctx.l3 == nf.IP6:
		with = "icmpv6-" + codeName(code, []string{"no-route", "admin-prohibited", "", "addr-unreachable", "port-unreachable", "policy-fail", "reject-route"})
	case t == 0:
		with = "icmp-" + codeName(code, []string{
			"net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable",
			"", "", "", "", "", "net-prohibited", "host-prohibited", "", "", "admin-prohibited",
		})
	default:
		return false
	}
	w.add(w.shared.verdict(nf.Verdict{Kind: nf.Reject, With: with}))
	return true
}

func codeName(code uint8, names []string) string {
	if int(code) < len(names) && names[code] != "" {
		return names[code]
	}
	return strconv.Itoa(int(code))
}

// queue: NUM 1, TOTAL 2, FLAGS 3 (1 bypass, 2 by CPU), SREG_QNUM 4.
func (w *walker) queue() bool {
	a := &w.b
	if !a.only(4) {
		return false
	}
	v := nf.Verdict{Kind: nf.Queue, Queue: strconv.Itoa(int(a.u16(1))), Bypass: a.u16(3)&1 != 0}
	if n := int(a.u16(2)); n > 1 {
		v.Queue += "-" + strconv.Itoa(int(a.u16(1))+n-1)
	}
	if a.has(4) {
		v.Queue = w.regs.get(a.u32(4)).describe()
	}
	w.add(w.shared.verdict(v))
	return true
}

// nat: TYPE 1, FAMILY 2, REG_ADDR_MIN 3, REG_ADDR_MAX 4, REG_PROTO_MIN 5, REG_PROTO_MAX 6, FLAGS 7. masq: FLAGS 1,
// REG_PROTO_MIN 2, REG_PROTO_MAX 3. redir: REG_PROTO_MIN 1, REG_PROTO_MAX 2, FLAGS 3.
func (w *walker) nat(expr string) bool {
	a := &w.b
	name, args, flags := "masquerade", w.port(2, 3), a.u32(1)
	switch expr {
	case "redir":
		name, args, flags = "redirect", w.port(1, 2), a.u32(3)
	case "nat":
		name, flags = "snat", a.u32(7)
		if a.u32(1) == 1 {
			name = "dnat"
		}
		if flags&(1<<6) != 0 { // NF_NAT_RANGE_NETMAP
			args = "prefix "
		}
		args = map[nf.Family]string{nf.INET: "ip" + map[uint32]string{10: "6"}[a.u32(2)] + " "}[w.family] + args
		args = strings.TrimSuffix(args, w.port(2, 3)) + w.address(3, 4) + w.port(5, 6)
	}
	if args != "" {
		args = "to " + args
	}
	for _, f := range []struct {
		bit  uint32
		word string
	}{{1 << 2, "random"}, {1 << 4, "fully-random"}, {1 << 3, "persistent"}} {
		if flags&f.bit != 0 {
			args = strings.TrimSpace(args + " " + f.word)
		}
	}
	return a.only(7) && w.stmt(name, args)
}

// address and port write what two registers hold as an end of a NAT range.
func (w *walker) address(from, to int) string {
	if !w.b.has(from) {
		return ""
	}
	a := addressText(w.regs.get(w.b.u32(from)))
	if b := addressText(w.regs.get(w.b.u32(to))); w.b.has(to) && b != a {
		return a + "-" + b
	}
	return a
}

func addressText(l *load) string {
	if a, ok := netip.AddrFromSlice(l.imm); ok {
		return a.String()
	}
	return l.describe()
}

func (w *walker) port(from, to int) string {
	if !w.b.has(from) {
		return ""
	}
	a := portText(w.regs.get(w.b.u32(from)))
	if b := portText(w.regs.get(w.b.u32(to))); w.b.has(to) && b != a {
		a += "-" + b
	}
	return ":" + a
}

func portText(l *load) string {
	if len(l.imm) >= 2 {
		return strconv.Itoa(int(l.imm[0])<<8 | int(l.imm[1]))
	}
	return l.describe()
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
