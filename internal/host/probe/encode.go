package probe

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"

	"github.com/mdlayher/netlink"
)

var native = binary.NativeEndian

// message is a message of rtnetlink that is being written behind others: a header, a fixed part of a multiple of four bytes,
// attributes, each filled up to four bytes (Linux 6.18: include/uapi/linux/netlink.h, struct nlmsghdr and nlattr).
type message struct {
	b       []byte
	start   int
	tooLong bool
}

var errTooLong = errors.New("too long for an attribute")

func begin(b []byte, typ uint16, fixed []byte) message {
	m := message{b: b, start: len(b)}
	m.b = native.AppendUint32(m.b, 0)
	m.b = native.AppendUint16(m.b, typ)
	m.b = native.AppendUint16(m.b, uint16(netlink.Multi))
	m.b = native.AppendUint64(m.b, 0) // sequence, port
	m.b = append(m.b, fixed...)
	return m
}

// end is what the message was appended to.
func (m *message) end() ([]byte, error) {
	if m.tooLong {
		return nil, errTooLong
	}
	native.PutUint32(m.b[m.start:], uint32(len(m.b)-m.start))
	return m.b, nil
}

// open begins an attribute, which close ends.
func (m *message) open(typ uint16) (start int) {
	start = len(m.b)
	m.b = native.AppendUint16(m.b, 0)
	m.b = native.AppendUint16(m.b, typ)
	return start
}

func (m *message) close(start int) {
	n := len(m.b) - start
	m.tooLong = m.tooLong || n > math.MaxUint16
	native.PutUint16(m.b[start:], uint16(n))
	for ; n%4 != 0; n++ {
		m.b = append(m.b, 0)
	}
}

// text is a string, with the NUL that ends it.
func (m *message) text(typ uint16, s string) {
	start := m.open(typ)
	m.b = append(append(m.b, s...), 0)
	m.close(start)
}

func (m *message) uint32(typ uint16, v uint32) {
	start := m.open(typ)
	m.b = native.AppendUint32(m.b, v)
	m.close(start)
}

func (m *message) uint8(typ uint16, v uint8) {
	start := m.open(typ)
	m.b = append(m.b, v)
	m.close(start)
}

func (m *message) addr(typ uint16, a netip.Addr) {
	start := m.open(typ)
	m.b = appendAddr(m.b, a)
	m.close(start)
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		four := a.As4()
		return append(b, four[:]...)
	}
	sixteen := a.As16()
	return append(b, sixteen[:]...)
}
