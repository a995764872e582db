package sshhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxJumps bounds a chain of jump hosts, which a configuration could make endless.
const maxJumps = 8

// jumpGrudge is how long a jump host that could not be reached counts as out of reach for the hosts behind it.
const jumpGrudge = 30 * time.Second

// jumps are the connections to jump hosts. Each is shared by all hosts behind it.
type jumps struct {
	mu   sync.Mutex
	open map[string]*jumpConn
}

// jumpConn is one, or the attempt at one.
type jumpConn struct {
	ready  chan struct{}
	client *ssh.Client
	err    error
	dead   chan struct{} // closed when the connection ended
}

// chainKey is the context's key for the jump hosts that are being connected to, the outermost first.
type chainKey struct{}

// jump reaches a host through the last of a chain "a,b,c", which itself is reached through the others, as ssh -J does.
func (c *Client) jump(ctx context.Context, t Target, cfg *config, chain string) (net.Conn, error) {
	h, err := lastHop(chain)
	if err != nil {
		return nil, &Error{Stage: StageConfig, Err: err}
	}
	j, err := c.jumpTo(ctx, h)
	if err != nil {
		return nil, through(h, err)
	}
	limit := c.dialTime(t, cfg)
	dialCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := j.client.DialContext(dialCtx, "tcp", cfg.address())
	if err != nil {
		return nil, through(h, c.jumpError(ctx, dialCtx, cfg, limit, err))
	}
	return newPumped(conn), nil
}

// through says which jump host an error is of.
func through(h hop, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	again := *e
	again.Err = fmt.Errorf("through %s: %w", printable(h.name, 120), e.Err)
	return &again
}

func (c *Client) jumpError(ctx, dialCtx context.Context, cfg *config, limit time.Duration, err error) error {
	var open *ssh.OpenChannelError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case dialCtx.Err() != nil:
		err = fmt.Errorf("%w after %s", errTimeout, limit)
	case errors.As(err, &open) && open.Reason == ssh.Prohibited:
		return &Error{Stage: StageDial, Err: fmt.Errorf("%s: the jump host does not forward", printable(cfg.address(), 120)), Hint: "AllowTcpForwarding must be yes (or local) in its sshd_config."}
	case errors.As(err, &open):
		err = errors.New(printable(open.Message, 200))
	}
	return &Error{Stage: StageDial, Err: fmt.Errorf("%s: %w", printable(cfg.address(), 120), err), again: true}
}

// lastHop splits the last host off a chain.
func lastHop(chain string) (hop, error) {
	rest, last, ok := cutLast(chain, ",")
	if !ok {
		rest, last = "", chain
	}
	h := hop{name: last, jump: rest}
	if strings.HasPrefix(last, "ssh://") {
		u, err := url.Parse(last)
		if err != nil {
			return h, fmt.Errorf("ProxyJump %s: no host", printable(chain, 120))
		}
		last = u.Host
		if name := u.User.Username(); name != "" {
			last = name + "@" + last
		}
	}
	if name, host, ok := cutLast(last, "@"); ok {
		h.user, last = name, host
	}
	h.name = last
	if host, port, err := net.SplitHostPort(last); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return h, fmt.Errorf("ProxyJump %s: bad port", printable(chain, 120))
		}
		h.name, h.port = host, int(n)
	}
	h.name = strings.Trim(h.name, "[]")
	if h.name == "" {
		return h, fmt.Errorf("ProxyJump %s: no host", printable(chain, 120))
	}
	return h, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

// jumpTo returns the connection to a jump host, and makes it when it is the first to ask.
func (c *Client) jumpTo(ctx context.Context, h hop) (*jumpConn, error) {
	key := strings.Join(append(c.resolver.args(h), h.name), "\x00")
	before, _ := ctx.Value(chainKey{}).([]string)
	if slices.Contains(before, key) || len(before) >= maxJumps {
		return nil, &Error{Stage: StageConfig, Err: errors.New("the jump hosts lead back to themselves")}
	}
	ctx = context.WithValue(ctx, chainKey{}, append(slices.Clone(before), key))
	for {
		c.jumps.mu.Lock()
		j := c.jumps.open[key]
		if j == nil {
			j = &jumpConn{ready: make(chan struct{}), dead: make(chan struct{})}
			c.jumps.open[key] = j
			c.jumps.mu.Unlock()
			c.openJump(ctx, j, h)
			switch {
			case j.err == nil:
				go c.watchJump(key, j)
			case ctx.Err() != nil:
				c.forget(key, j)
			default:
				time.AfterFunc(jumpGrudge, func() { c.forget(key, j) })
			}
			close(j.ready)
			return j, j.err
		}
		c.jumps.mu.Unlock()
		select {
		case <-j.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if j.err == nil || ctx.Err() == nil && !errors.Is(j.err, context.Canceled) && !errors.Is(j.err, context.DeadlineExceeded) {
			return j, j.err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// Whoever made it was interrupted; that says nothing about the jump host.
	}
}

func (c *Client) forget(key string, j *jumpConn) {
	c.jumps.mu.Lock()
	defer c.jumps.mu.Unlock()
	if c.jumps.open[key] == j {
		delete(c.jumps.open, key)
	}
}

// openJump connects. Errors of one jump host are the errors of every host behind it that waits for it.
func (c *Client) openJump(ctx context.Context, j *jumpConn, h hop) {
	cfg, err := c.resolver.resolve(ctx, h)
	if err != nil {
		j.err = configError(ctx, err)
		return
	}
	if why := systemReason(cfg); why != "" {
		j.err = &Error{Stage: StageConfig, Err: fmt.Errorf("the jump host needs the system's ssh (%s)", why), Hint: "Use --system-ssh for the hosts behind it."}
		return
	}
	conn, err := c.connect(ctx, Target{Name: h.name}, cfg)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		j.err = err
		return
	}
	channels, requests := make(chan ssh.NewChannel), make(chan *ssh.Request)
	close(channels)
	close(requests)
	j.client = ssh.NewClient(conn.Conn, channels, requests)
	go keepAlive(conn.Conn, cfg, j.dead)
}

func (c *Client) watchJump(key string, j *jumpConn) {
	_ = j.client.Wait()
	c.forget(key, j)
	close(j.dead)
}

// keepAlive asks for a sign of life as ServerAliveInterval wants it, and closes a connection that gives none.
func keepAlive(conn ssh.Conn, cfg *config, dead <-chan struct{}) {
	every := cfg.seconds("serveraliveinterval")
	if every == 0 {
		return
	}
	count := max(1, int(cfg.seconds("serveralivecountmax")/time.Second))
	answers := make(chan struct{}, 1)
	tick := time.NewTicker(every)
	defer tick.Stop()
	waiting := 0
	for {
		select {
		case <-dead:
			return
		case <-answers:
			waiting = 0
		case <-tick.C:
			if waiting >= count {
				conn.Close()
				return
			}
			if waiting++; waiting == 1 {
				go func() {
					if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err == nil {
						answers <- struct{}{}
					}
				}()
			}
		}
	}
}

func (s *jumps) close() {
	s.mu.Lock()
	all := make([]*jumpConn, 0, len(s.open))
	for _, j := range s.open {
		all = append(all, j)
	}
	s.mu.Unlock()
	for _, j := range all {
		<-j.ready
		if j.client != nil {
			j.client.Close()
			<-j.dead
		}
	}
}
