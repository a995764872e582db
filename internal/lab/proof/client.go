package proof

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/lab"
)

// client is a real TCP socket of the kernel, non-blocking, in the client's namespace.
type client struct {
	fd   int
	left int // octets still to be written
	buf  []byte
}

// receiveBuffer keeps the client's window small and steady.
const receiveBuffer = 32 << 10

// connect begins a connection; the handshake is the peer's business.
func connect(ns *lab.Netns, to netip.AddrPort) (c *client, port uint16, err error) {
	domain := unix.AF_INET
	var address unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port())}
	if to.Addr().Is6() {
		domain, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	} else {
		address = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	c = &client{fd: -1, buf: make([]byte, 256<<10)}
	err = ns.Do(func() (err error) {
		c.fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("client socket: %w", err)
	}
	// Reno is in every kernel and paces nothing; close sends a RST, and leaves no TIME_WAIT behind.
	err = errors.Join(
		unix.SetsockoptString(c.fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno"),
		unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer),
		unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
	)
	if err == nil {
		err = unix.Connect(c.fd, address)
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		c.close()
		return nil, 0, fmt.Errorf("client connect: %w", err)
	}
	port, err = c.port()
	return c, port, err
}

func (c *client) port() (uint16, error) {
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return 0, fmt.Errorf("client socket: %w", err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port), nil
	case *unix.SockaddrInet6:
		return uint16(a.Port), nil
	}
	return 0, errors.New("client socket: no port")
}

// write gives the kernel as much as it takes of what is left.
func (c *client) write() error {
	for c.left > 0 {
		n, err := unix.Write(c.fd, c.buf[:min(c.left, len(c.buf))])
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("client write: %w", err)
		}
		c.left -= n
	}
	return nil
}

// read throws away what came.
func (c *client) read() error {
	for {
		n, err := unix.Read(c.fd, c.buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return fmt.Errorf("client read: %w", err)
		case n == 0:
			return errors.New("client read: end of stream")
		}
	}
}

// failure is the socket's pending error, 0 when there is none.
func (c *client) failure() (unix.Errno, error) {
	n, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return 0, fmt.Errorf("client socket: %w", err)
	}
	return unix.Errno(n), nil
}

func (c *client) close() { unix.Close(c.fd) }
