package nftables

import (
	"bytes"
	"encoding/binary"
)

// Netlink attributes and messages: include/uapi/linux/netlink.h and include/net/netlink.h, Linux 6.18. mdlayher/netlink's
// AttributeDecoder copies and allocates for each attribute; a ruleset has three million of them, so they are read in place.

const (
	nlaHeader   = 4
	nlaTypeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
	maxAttr     = 24     // no message or expression read here has a higher attribute than 23
)

// attrs are one level's attributes by type, in place. A type that is not there is nil. more is the highest type seen.
type attrs struct {
	at   [maxAttr][]byte
	more uint16
}

// nextAttr splits the first attribute off b. It returns ok false at the end, and bad when b is cut or garbled.
func nextAttr(b []byte) (typ uint16, v, rest []byte, ok, bad bool) {
	if len(b) < nlaHeader {
		return 0, nil, nil, false, len(b) > 0
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < nlaHeader || n > len(b) {
		return 0, nil, nil, false, true
	}
	typ = binary.NativeEndian.Uint16(b[2:]) & nlaTypeMask
	return typ, b[nlaHeader:n:n], b[min(align4(n), len(b)):], true, false
}

// parse reads one level of attributes. It returns false when the bytes are garbled.
func (a *attrs) parse(b []byte) bool {
	*a = attrs{}
	for {
		typ, v, rest, ok, bad := nextAttr(b)
		if !ok {
			return !bad
		}
		if typ < maxAttr {
			a.at[typ] = v
		}
		a.more = max(a.more, typ)
		b = rest
	}
}

func (a *attrs) has(typ int) bool { return a.at[typ] != nil }

func trimNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// u32 returns a number in network byte order; 0 when the attribute is missing or short.
func (a *attrs) u32(typ int) uint32 { return be32(a.at[typ]) }

func be32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (a *attrs) u64(typ int) uint64 {
	if len(a.at[typ]) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(a.at[typ])
}

func (a *attrs) u16(typ int) uint16 {
	if len(a.at[typ]) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(a.at[typ])
}

func (a *attrs) u8(typ int) uint8 {
	if len(a.at[typ]) < 1 {
		return 0
	}
	return a.at[typ][0]
}

func align4(n int) int { return (n + 3) &^ 3 }

// message is one nfnetlink message: struct nlmsghdr and struct nfgenmsg (include/uapi/linux/netfilter/nfnetlink.h).
type message struct {
	kind    uint16 // subsystem << 8 | message, or NLMSG_OVERRUN
	family  uint8
	request bool // NLM_F_REQUEST: a question that the host put before its answers
	body    []byte
}

const (
	nlmsgHeader = 16
	nfgenHeader = 4
	nlmsgError  = 2
	nlmsgDone   = 3
	// nlmsgOverrun (NLMSG_OVERRUN) stands in a dump of elements for those that the host left out of a set.
	nlmsgOverrun = 4
	flagRequest  = 1
	// flagInterrupted is NLM_F_DUMP_INTR: the ruleset changed while the kernel was dumping it.
	flagInterrupted = 0x10
)

// reader walks over a dump's messages.
type reader struct {
	b           []byte
	errno       int32 // of an error message in the dump, positive
	interrupted bool
	garbled     bool
}

// next returns the next nfnetlink message; control messages are noted and passed over.
func (r *reader) next() (m message, ok bool) {
	for len(r.b) > 0 {
		if len(r.b) < nlmsgHeader {
			r.garbled = true
			return m, false
		}
		n := binary.NativeEndian.Uint32(r.b)
		if n < nlmsgHeader || uint64(n) > uint64(len(r.b)) {
			r.garbled = true
			return m, false
		}
		msg := r.b[:n]
		r.b = r.b[min(align4(int(n)), len(r.b)):]
		m.kind = binary.NativeEndian.Uint16(msg[4:])
		flags := binary.NativeEndian.Uint16(msg[6:])
		if m.request = flags&flagRequest != 0; flags&flagInterrupted != 0 && !m.request {
			r.interrupted = true
		}
		if m.kind == nlmsgError && n >= nlmsgHeader+4 {
			if e := int32(binary.NativeEndian.Uint32(msg[nlmsgHeader:])); e != 0 {
				r.errno = -e
			}
			continue
		}
		if m.kind <= nlmsgDone {
			continue
		}
		if n < nlmsgHeader+nfgenHeader {
			r.garbled = true
			continue
		}
		m.family, m.body = msg[nlmsgHeader], msg[nlmsgHeader+nfgenHeader:]
		return m, true
	}
	return m, false
}
