package nftables

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// ipt gathers a rule in iptables' language: what stands in the rule's head, the matches in their order, and the target.
type ipt struct {
	family nf.Family
	head   [6]string // -s -d -i -o -p -f, iptables-save's order
	tail   words     // the walker's, to be used again
	target string
	l4     uint64
	module string    // the protocol match that is being gathered, "tcp" or "udp"
	proto  [3]string // its options: source port, destination port, flags, in iptables' order
}

// iptables writes the walker's items as iptables-save would. ok is false when a step is none of iptables'.
func (w *walker) iptables(comment string) (text string, ok bool) {
	t := &ipt{family: w.family, tail: w.tail[:0]}
	defer func() { w.tail = t.tail }()
	for n := range w.items {
		if t.target != "" || !t.item(&w.items[n]) {
			return "", false
		}
	}
	t.flush()
	if comment != "" {
		t.tail = append(t.tail, "-m comment --comment", xtQuote(comment))
	}
	w.written = w.written[:0]
	for _, part := range [...]words{t.head[:], t.tail, {t.target}} {
		for _, s := range part {
			if s != "" {
				w.written = append(append(w.written, s...), ' ')
			}
		}
	}
	return strings.ToValidUTF8(string(bytes.TrimSuffix(w.written, []byte{' '})), "\ufffd"), true
}

func (t *ipt) item(it *item) bool {
	switch {
	case it.compat.kind == "target":
		t.target = it.compat.text()
		return true
	case it.compat.kind != "":
		t.flush()
		t.tail = append(t.tail, "-m", it.compat.name, it.compat.options)
		return true
	case it.xt != "":
		return t.extension(it.xt)
	}
	switch op := it.op.(type) {
	case nf.Stmt:
		return op.Name == "counter"
	case nf.Verdict:
		return t.verdict(op)
	case nf.Match:
		return len(op.Fields) == 1 && len(op.In) == 1 && t.match(op, it.spell)
	case nf.Assign: // MARK in newer versions
		if op.Field == nf.Mark && op.From == "" && op.Map == "" {
			t.target = fmt.Sprintf("-j MARK --set-xmark 0x%x/0x%x", op.Xor.Lo, ^uint32(op.And.Lo))
			return true
		}
		if op.Field == "meta.nftrace" && op.Xor == nf.Num(1) && op.From == "" && op.Map == "" {
			t.target = "-j TRACE"
			return true
		}
	}
	return false
}

func (t *ipt) extension(text string) bool {
	if strings.HasPrefix(text, "-j ") {
		t.target = text
		return true
	}
	t.flush()
	t.tail = append(t.tail, text)
	return true
}

func (t *ipt) verdict(v nf.Verdict) bool {
	switch v.Kind {
	case nf.Accept, nf.Drop, nf.Return:
		t.target = "-j " + strings.ToUpper(string(v.Kind))
	case nf.Jump:
		t.target = "-j " + v.Chain
	case nf.Goto:
		t.target = "-g " + v.Chain
	default:
		return false
	}
	return true
}

// match writes a comparison. Each place in the head can be taken once.
func (t *ipt) match(m nf.Match, spell nf.Field) bool {
	f, in, inv := m.Fields[0], m.In[0], not(m.Invert)
	switch f.Field {
	case nf.IPSaddr, nf.IP6Saddr:
		return t.address(0, inv+"-s ", f, in)
	case nf.IPDaddr, nf.IP6Daddr:
		return t.address(1, inv+"-d ", f, in)
	case nf.IIFName:
		return t.name(2, inv+"-i ", in)
	case nf.OIFName:
		return t.name(3, inv+"-o ", in)
	case nf.L4Proto:
		if !m.Invert {
			t.l4 = in.From.Lo
		}
		return f.Mask == nil && in.From == in.To && t.put(4, inv+"-p "+xtProtocol(in.From.Lo))
	case nf.FragOff:
		plain := f.Mask != nil && *f.Mask == nf.Num(0x1fff) && in == nf.Exactly(nf.Value{}) && f.Xor == nil
		return plain && t.put(5, not(!m.Invert)+"-f")
	case nf.Sport:
		return f.Mask == nil && t.ports(0, inv+"--sport ", in)
	case nf.Dport:
		return f.Mask == nil && t.ports(1, inv+"--dport ", in)
	case nf.TCPFlags:
		return t.l4 == 6 && in.From == in.To && t.protocol("tcp", 2, inv+"--tcp-flags "+tcpMask(f)+" "+tcpFlags(uint8(in.From.Lo)))
	case nf.Mark:
		return f.Xor == nil && in.From == in.To && t.extension("-m mark "+inv+"--mark "+markText(uint32(in.From.Lo), maskOf(f)))
	case "icmp.type", "icmpv6.type":
		module := map[nf.Field]string{"icmp.type": "icmp", "icmpv6.type": "icmp6"}[f.Field]
		return f.Mask == nil && in.From == in.To && t.extension(fmt.Sprintf("-m %s %s--%s-type %d", module, inv, f.Field[:len(f.Field)-5], in.From.Lo))
	}
	return false
}

func (t *ipt) put(place int, text string) bool {
	free := t.head[place] == ""
	t.head[place] = text
	return free
}

// address writes an address, a prefix, or an address with any other mask.
func (t *ipt) address(place int, option string, f nf.Operand, in nf.Interval) bool {
	v4 := t.family == nf.IP
	if (f.Field == nf.IPSaddr || f.Field == nf.IPDaddr) != v4 || f.Xor != nil {
		return false
	}
	addr := func(v nf.Value) netip.Addr {
		if v4 {
			return v.IP4()
		}
		return v.IP6()
	}
	if f.Mask != nil {
		return in.From == in.To && t.put(place, option+addr(in.From).String()+"/"+addr(*f.Mask).String())
	}
	for bits := addr(in.From).BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(addr(in.From), bits)
		if nf.Prefix(p) == in {
			return t.put(place, option+p.String())
		}
	}
	return false
}

// name writes an interface: a name, or the pattern that iptables writes with a plus.
func (t *ipt) name(place int, option string, in nf.Interval) bool {
	name := in.From.Ifname()
	if in == nf.Exactly(nf.Name(name)) {
		return !strings.HasSuffix(name, "+") && t.put(place, option+name)
	}
	return in == nf.Names(name+"*") && t.put(place, option+name+"+")
}

func (t *ipt) ports(place int, option string, in nf.Interval) bool {
	module := map[uint64]string{6: "tcp", 17: "udp"}[t.l4]
	return module != "" && t.protocol(module, place, option+span(uint16(in.From.Lo), uint16(in.To.Lo)))
}

// protocol gathers an option of -m tcp or -m udp; options that follow each other belong to one match.
func (t *ipt) protocol(module string, place int, option string) bool {
	if t.module != module || t.proto[place] != "" {
		t.flush()
	}
	t.module, t.proto[place] = module, option
	return true
}

// flush ends the protocol match that is being gathered.
func (t *ipt) flush() {
	if t.module == "" {
		return
	}
	t.tail = append(t.tail, "-m "+t.module)
	for _, o := range t.proto {
		if o != "" {
			t.tail = append(t.tail, o)
		}
	}
	t.module, t.proto = "", [3]string{}
}

func tcpMask(f nf.Operand) string {
	if f.Mask == nil {
		return tcpFlags(0xff)
	}
	return tcpFlags(uint8(f.Mask.Lo))
}

func maskOf(f nf.Operand) uint32 {
	if f.Mask == nil {
		return 0xffffffff
	}
	return uint32(f.Mask.Lo)
}

// xtProtocol names the protocols that iptables names by itself (xtables_chain_protos in libxtables/xtables.c), others by
// number.
func xtProtocol(n uint64) string {
	names := map[uint64]string{1: "icmp", 6: "tcp", 17: "udp", 50: "esp", 51: "ah", 58: "ipv6-icmp", 132: "sctp", 136: "udplite"}
	if s := names[n]; s != "" {
		return s
	}
	return fmt.Sprint(n)
}
