package lab

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Wire is a packet socket on an interface: it writes frames to the wire and sees those that come in; a tap also sees those that
// go out.
type Wire struct {
	fd       int
	Hardware net.HardwareAddr // of the interface that the socket is bound to
}

// OpenWire opens a packet socket (AF_PACKET) on an interface of the namespace. The caller closes it.
func (n *Netns) OpenWire(link string) (*Wire, error) { return n.open(link, true) }

// OpenTap is OpenWire for a socket that sees both directions.
func (n *Netns) OpenTap(link string) (*Wire, error) { return n.open(link, false) }

func (n *Netns) open(link string, incoming bool) (*Wire, error) {
	hardware, index, err := n.Hardware(link)
	if err != nil {
		return nil, err
	}
	w := &Wire{fd: -1, Hardware: hardware}
	err = n.Do(func() (err error) {
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err := w.bind(index, incoming); err != nil {
		w.Close()
		return nil, fmt.Errorf("packet socket on %s: %w", link, err)
	}
	return w, nil
}

// receiveBuffer holds the answers to a few thousand probes while the sender is still sending. Root of a user namespace gets
// no more than net.core.rmem_max.
const receiveBuffer = 8 << 20

func (w *Wire) buffer() error {
	err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	return err
}

func (w *Wire) bind(index int, incoming bool) error {
	all, ignore := uint16(unix.ETH_P_ALL), 0
	if incoming {
		ignore = 1
	}
	return errors.Join(
		unix.SetsockoptInt(w.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, ignore),
		w.buffer(),
		unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: index}),
	)
}

// Close closes the socket.
func (w *Wire) Close() error { return unix.Close(w.fd) }

// Send writes one frame, Ethernet header included. It waits while the send queue is full.
func (w *Wire) Send(frame []byte) error {
	for {
		_, err := unix.Write(w.fd, frame)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
			time.Sleep(100 * time.Microsecond)
		default:
			return fmt.Errorf("send frame: %w", err)
		}
	}
}

// Receive returns the next frame that came in, or nil when none came until the timeout. A timeout of 0 does not wait.
func (w *Wire) Receive(timeout time.Duration) ([]byte, error) {
	buf := make([]byte, 2048)
	for deadline := time.Now().Add(timeout); ; {
		n, err := unix.Read(w.fd, buf)
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("receive frame: %w", err)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, nil
		}
		poll := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, int(left/time.Millisecond)+1); err != nil && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("poll: %w", err)
		}
	}
}
