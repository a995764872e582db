package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// errChanged is what a dump ends with when the kernel's tables changed while it ran (NLM_F_DUMP_INTR).
var errChanged = errors.New("changed while reading")

// native reads netlink's headers, which are in the byte order of the machine.
var native = binary.NativeEndian

const (
	nlHeader = unix.SizeofNlMsghdr
	// nlRoom is what every read offers. The kernel fills at most 32 KiB at a time, except for single messages that are
	// larger (Linux 6.18, net/netlink/af_netlink.c netlink_recvmsg and netlink_dump).
	nlRoom = 64 << 10
	// nlWait bounds one read; a dump is made while it is read, so only a kernel in trouble needs it.
	nlWait = 10
)

// request is one question to the kernel.
type request struct {
	typ   uint16
	flags uint16
	body  []byte
}

func (r request) encode(seq uint32) []byte {
	b := make([]byte, nlHeader, nlHeader+len(r.body))
	native.PutUint32(b, uint32(nlHeader+len(r.body)))
	native.PutUint16(b[4:], r.typ)
	native.PutUint16(b[6:], r.flags|unix.NLM_F_REQUEST)
	native.PutUint32(b[8:], seq)
	return append(b, r.body...)
}

// nlSocket is a netlink socket in the namespace of the thread that opened it. It asks only for what exists: it joins no
// group, and sends no message that creates, changes, deletes or resets.
type nlSocket struct {
	fd  int
	seq uint32
}

func dialNetlink(protocol int) (*nlSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, err
	}
	wait := unix.Timeval{Sec: nlWait}
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	if err == nil {
		// Connected to the kernel (port 0), the socket refuses what other processes send to it.
		err = unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &nlSocket{fd: fd}, nil
}

func (s *nlSocket) close() { unix.Close(s.fd) }

// dumpTo is where a dump goes: limit caps the size of out, and all messages must begin like expect (see expected).
type dumpTo struct {
	out    *spool
	limit  int64
	expect []byte
}

// dump asks and appends the messages of the answer, without the closing NLMSG_DONE. It stops once out holds more than
// limit bytes, cuts there between two messages and returns true; the socket is then of no further use.
func (s *nlSocket) dump(ctx context.Context, r request, to dumpTo) (cut bool, err error) {
	out, limit := to.out, to.limit
	s.seq++
	if _, err := unix.Write(s.fd, r.encode(s.seq)); err != nil {
		return false, err
	}
	changed := false
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		got, err := s.receive(out)
		if err != nil {
			return false, err
		}
		w := walkMessages(got, s.seq, r.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP)
		changed = changed || w.changed
		out.cut(out.size - len(got) + w.kept)
		switch {
		case w.err != nil:
			return false, w.err
		case to.expect != nil && !expected(got[:w.kept], to.expect):
			return false, errUnfiltered
		case w.done && changed:
			return false, errChanged
		case w.done:
			return false, nil
		case int64(out.size) > limit:
			over := out.size - w.kept // what the earlier reads left
			out.cut(over + fitting(got[:w.kept], int(limit)-over))
			return true, nil
		}
	}
}

// receive reads one datagram to the end of out.
func (s *nlSocket) receive(out *spool) ([]byte, error) {
	p, err := out.space(nlRoom)
	if err != nil {
		return nil, err
	}
	for {
		n, _, err := unix.Recvfrom(s.fd, p, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil, fmt.Errorf("no answer from the kernel within %d s", nlWait)
		case err == unix.ENOBUFS:
			return nil, errChanged
		case err != nil:
			return nil, err
		case n > len(p):
			return nil, fmt.Errorf("netlink message of %d bytes is too long", n)
		}
		out.grow(n)
		return p[:n], nil
	}
}

// walked is what one datagram held.
type walked struct {
	kept    int // bytes of messages, all before the end of the dump
	done    bool
	changed bool
	err     error
}

// walkMessages checks the messages of a datagram (include/uapi/linux/netlink.h): all for our request, none cut.
func walkMessages(b []byte, seq uint32, multi bool) walked {
	var w walked
	for rest := b; len(rest) > 0; {
		if len(rest) < nlHeader {
			w.err = errors.New("netlink message is cut")
			return w
		}
		size := int(native.Uint32(rest))
		if size < nlHeader || size > len(rest) {
			w.err = fmt.Errorf("netlink message of %d bytes in %d", size, len(rest))
			return w
		}
		if native.Uint32(rest[8:]) != seq {
			w.err = errors.New("netlink answer to another request")
			return w
		}
		w.changed = w.changed || native.Uint16(rest[6:])&unix.NLM_F_DUMP_INTR != 0
		switch native.Uint16(rest[4:]) {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			w.done, w.err = true, messageError(rest[nlHeader:size])
			return w
		case unix.NLMSG_OVERRUN:
			w.err = errChanged
			return w
		}
		step := min((size+3)&^3, len(rest))
		w.kept += step
		rest = rest[step:]
	}
	w.done = !multi
	return w
}

// messageError is the error code, negative, that NLMSG_ERROR and NLMSG_DONE begin with.
func messageError(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if code := int32(native.Uint32(body)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}

// fitting is the length of the whole messages among the first limit bytes.
func fitting(b []byte, limit int) int {
	end := 0
	for end+nlHeader <= len(b) {
		size := (int(native.Uint32(b[end:])) + 3) &^ 3
		if size < nlHeader || end+size > limit || end+size > len(b) {
			break
		}
		end += size
	}
	return end
}

// eachMessage calls f for every message of a dump with its type and what follows its header.
func eachMessage(b []byte, f func(typ uint16, body []byte) error) error {
	for len(b) > 0 {
		if len(b) < nlHeader {
			return errors.New("netlink message is cut")
		}
		size := int(native.Uint32(b))
		if size < nlHeader || size > len(b) {
			return fmt.Errorf("netlink message of %d bytes in %d", size, len(b))
		}
		if err := f(native.Uint16(b[4:]), b[nlHeader:size]); err != nil {
			return err
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}
