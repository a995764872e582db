package sshhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/sethvargo/go-retry"
)

// retryPause is the first pause between attempts at dialling; each next one is twice as long, up to maxRetryPause.
const (
	retryPause    = 200 * time.Millisecond
	maxRetryPause = 5 * time.Second
)

var (
	errTimeout = errors.New("timed out")
	errHungUp  = errors.New("the server hung up before it said anything")
)

// wire is a connection that remembers how it began. The library reads the server's first line byte by byte, which would be
// as many system calls.
type wire struct {
	net.Conn
	in    *bufio.Reader
	began [120]byte
	n     atomic.Int32
}

func newWire(conn net.Conn) *wire { return &wire{Conn: conn, in: bufio.NewReaderSize(conn, 4096)} }

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if have := int(w.n.Load()); have < len(w.began) && n > 0 {
		w.n.Add(int32(copy(w.began[have:], p[:n])))
	}
	return n, err
}

// first is what the other side said first.
func (w *wire) first() string { return string(w.began[:w.n.Load()]) }

// repeat tries again, with growing pauses and jitter, while the error is one of dialling. It never repeats what the server
// has seen a login of.
func (c *Client) repeat(ctx context.Context, cfg *config, try func(context.Context) error) error {
	tries := c.opts.Retries
	if n := int(cfg.seconds("connectionattempts")/time.Second) - 1; n > tries {
		tries = n
	}
	if tries <= 0 {
		return try(ctx)
	}
	b := retry.WithCappedDuration(maxRetryPause, retry.NewExponential(retryPause))
	b = retry.WithMaxRetries(uint64(tries), retry.WithJitterPercent(30, b))
	return retry.Do(ctx, b, func(ctx context.Context) error {
		err := try(ctx)
		var e *Error
		if ctx.Err() == nil && errors.As(err, &e) && e.again {
			return retry.RetryableError(err)
		}
		return err
	})
}

// dialTime is how long a connection may take.
func (c *Client) dialTime(t Target, cfg *config) time.Duration {
	switch {
	case t.Timeout > 0:
		return t.Timeout
	case c.opts.Dial > 0:
		return c.opts.Dial
	case cfg.seconds("connecttimeout") > 0:
		return cfg.seconds("connecttimeout")
	}
	return defaultDial
}

// dial opens the TCP connection.
func (c *Client) dial(ctx context.Context, t Target, cfg *config) (net.Conn, error) {
	d := net.Dialer{KeepAlive: 30 * time.Second}
	network := "tcp"
	switch cfg.one("addressfamily") {
	case "inet":
		network = "tcp4"
	case "inet6":
		network = "tcp6"
	}
	if bind := cfg.set("bindaddress"); bind != "" {
		local, err := net.ResolveTCPAddr(network, net.JoinHostPort(bind, "0"))
		if err != nil {
			return nil, &Error{Stage: StageConfig, Err: fmt.Errorf("BindAddress: %w", err)}
		}
		d.LocalAddr = local
	}
	limit := c.dialTime(t, cfg)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := d.DialContext(ctx, network, cfg.address())
	if err != nil {
		return nil, dialError(ctx, cfg, limit, err)
	}
	return conn, nil
}

// dialError tells names that do not resolve from hosts that do not answer.
func dialError(ctx context.Context, cfg *config, limit time.Duration, err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		again := dns.IsTemporary || dns.IsTimeout
		return &Error{Stage: StageResolve, Err: fmt.Errorf("%s: %s", printable(dns.Name, 120), printable(dns.Err, 120)), again: again}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w after %s", errTimeout, limit)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return &Error{Stage: StageDial, Err: fmt.Errorf("%s: %w", printable(cfg.address(), 120), err), again: true}
}

// pumped is a connection through a jump host. The library's channels wait for the jump host's word before a read ends, so
// the reads are done by a goroutine of their own, and Close lets go at once.
type pumped struct {
	net.Conn
	out *io.PipeReader
}

func newPumped(conn net.Conn) *pumped {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, conn)
		w.CloseWithError(orEOF(err))
	}()
	return &pumped{Conn: conn, out: r}
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

func (p *pumped) Read(b []byte) (int, error) { return p.out.Read(b) }

func (p *pumped) Close() error {
	p.out.CloseWithError(net.ErrClosed)
	return p.Conn.Close()
}
