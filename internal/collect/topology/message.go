package topology

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message is one netlink message of a dump, without its header.
type message struct {
	kind uint16
	body []byte
}

// dump is a netlink dump as the kernel sent it.
type dump struct {
	messages []message
	// torn: the kernel marked it as changed while it was being read (NLM_F_DUMP_INTR).
	torn bool
}

// parseDump splits a dump into its messages: nlmsghdr (16 bytes: length, type, flags, sequence, port), body, padding to
// 4 bytes. Source: include/uapi/linux/netlink.h, Linux 6.18. An NLMSG_ERROR with a code other than 0 is an error.
func parseDump(b []byte) (dump, error) {
	var d dump
	for n := 1; len(b) > 0; n++ {
		if len(b) < unix.NLMSG_HDRLEN {
			return d, fmt.Errorf("message %d: header cut after %d bytes", n, len(b))
		}
		length := binary.NativeEndian.Uint32(b)
		if length < unix.NLMSG_HDRLEN || uint64(length) > uint64(len(b)) {
			return d, fmt.Errorf("message %d: length %d with %d bytes left", n, length, len(b))
		}
		m := message{kind: binary.NativeEndian.Uint16(b[4:]), body: b[unix.NLMSG_HDRLEN:length]}
		d.torn = d.torn || binary.NativeEndian.Uint16(b[6:])&unix.NLM_F_DUMP_INTR != 0
		if err := m.failure(); err != nil {
			return d, fmt.Errorf("message %d: %w", n, err)
		}
		if m.kind >= unix.NLMSG_MIN_TYPE {
			d.messages = append(d.messages, m)
		}
		b = b[min(uint64(len(b)), (uint64(length)+3)&^3):]
	}
	return d, nil
}

// failure is the error that an NLMSG_ERROR or NLMSG_DONE message carries: a negative errno, 0 for none.
func (m message) failure() error {
	if m.kind != unix.NLMSG_ERROR && m.kind != unix.NLMSG_DONE || len(m.body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.body)); code < 0 && code > -4096 {
		return unix.Errno(-code)
	}
	return nil
}

var errShort = errors.New("shorter than its fixed part")

// attributes decodes what follows a message's fixed part of size bytes. Every attribute goes to f; a payload of the wrong
// size is an error.
func (m message) attributes(size int, f func(*netlink.AttributeDecoder)) error {
	if len(m.body) < size {
		return errShort
	}
	ad, err := netlink.NewAttributeDecoder(m.body[size:])
	if err != nil {
		return err
	}
	for ad.Next() {
		f(ad)
	}
	return ad.Err()
}

// parseAll runs parse over a dump's messages of one type; parse returns false for a message that is not for us.
func parseAll[T any](d dump, kind uint16, parse func(message) (T, bool, error)) ([]T, error) {
	all := []T{}
	for i, m := range d.messages {
		if m.kind != kind {
			continue
		}
		v, ours, err := parse(m)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		if ours {
			all = append(all, v)
		}
	}
	return all, nil
}

// address decodes an address attribute of 4 or 16 bytes into a.
func address(ad *netlink.AttributeDecoder, a *netip.Addr) {
	ad.Do(func(b []byte) error {
		var ok bool
		if *a, ok = netip.AddrFromSlice(b); !ok {
			return fmt.Errorf("address of %d bytes", len(b))
		}
		return nil
	})
}

// prefix joins an address and a length; an address that was not sent is the family's zero address.
func prefix(family uint8, a netip.Addr, bits uint8) (netip.Prefix, error) {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
		if family == unix.AF_INET6 {
			a = netip.IPv6Unspecified()
		}
	}
	p := netip.PrefixFrom(a, int(bits))
	if !p.IsValid() || a.Is4() != (family == unix.AF_INET) {
		return p, fmt.Errorf("%s/%d in family %d", a, bits, family)
	}
	return p, nil
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
