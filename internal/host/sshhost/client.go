package sshhost

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
)

// Client is what all hosts of a run share: the answers of ssh -G, keys, agents, known_hosts and connections to jump hosts.
type Client struct {
	opts     Options
	resolver *resolver
	keys     keyring
	agents   agents
	jumps    jumps
	programs programs
	room     chan struct{} // for heavy answers

	mu     sync.Mutex
	last   *asked
	dbs    map[string]*knownHosts
	said   map[string]bool
	script func(req host.Request, nonce string) []byte
	read   func(r io.Reader, req host.Request, nonce string, limit int64) (*host.Evidence, error) // nil: the plan's
}

// New makes a client. It opens nothing yet.
func New(opts Options) (*Client, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts:     opts,
		resolver: newResolver(opts.ConfigFile),
		keys:     keyring{files: map[string]*keyFile{}},
		agents:   agents{open: map[string]*agentConn{}},
		jumps:    jumps{open: map[string]*jumpConn{}},
		programs: programs{known: map[string]*program{}},
		room:     make(chan struct{}, heavyAnswers),
		dbs:      map[string]*knownHosts{},
		said:     map[string]bool{},
		script:   probe.Script,
	}
	if opts.System && c.resolver.ssh == "" {
		return nil, errors.New("no ssh program in PATH")
	}
	return c, nil
}

// Close ends what hosts shared. No Fetch may be under way.
func (c *Client) Close() error {
	c.jumps.close()
	c.agents.close()
	return nil
}

// known parses a list of known_hosts files once.
func (c *Client) known(files []string) (*knownHosts, error) {
	key := strings.Join(files, "\x00")
	c.mu.Lock()
	defer c.mu.Unlock()
	if db := c.dbs[key]; db != nil {
		return db, nil
	}
	db, err := readKnownHosts(files)
	if err == nil {
		c.dbs[key] = db
	}
	return db, err
}

// say logs a line once in a run, whatever host it came up with first.
func (c *Client) say(target, line string) {
	c.mu.Lock()
	again := c.said[line]
	c.said[line] = true
	c.mu.Unlock()
	if !again {
		c.log(target, line)
	}
}

func (c *Client) log(target, line string) {
	if c.opts.Log != nil {
		c.opts.Log(target, line)
	}
}

// Host is the target as a host to read. Its Fetch connects, asks once, and hangs up; an error is an [*Error], or the
// context's. Sinks are not served.
func (c *Client) Host(t Target) host.Host { return &node{c, t} }

type node struct {
	client *Client
	target Target
}

// Sinkless says that dumps come whole.
func (*node) Sinkless() {}

// Fetch reads the node.
func (n *node) Fetch(ctx context.Context, req host.Request) (*host.Evidence, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ev, err := n.client.fetch(ctx, n.target, req)
	if err != nil {
		return nil, finish(ctx, n.target, err)
	}
	return ev, nil
}

// finish turns what went wrong into what callers are told.
func finish(ctx context.Context, t Target, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e = &Error{Stage: StageRead, Err: err}
	}
	told := *e
	if ctx.Err() != nil {
		told.Err, told.Hint = ctx.Err(), "" // what the connection made of its sudden end says nothing
	}
	told.Target = printable(t.Name, 200)
	if told.Target == "" {
		told.Target = printable(t.Address, 200)
	}
	return &told
}

func configError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Error{Stage: StageConfig, Err: err}
}

// route is how a host will be reached.
type route struct {
	hop     hop
	cfg     *config
	command string
	system  string // why through the system's ssh; "": natively
	conn    *connection
}

// route finds out how to reach the host.
func (c *Client) route(ctx context.Context, t Target) (*route, error) {
	h, err := t.hop()
	if err != nil {
		return nil, configError(ctx, err)
	}
	r := &route{hop: h}
	if r.command, err = t.Become.command(); err != nil {
		return nil, configError(ctx, err)
	}
	if r.cfg, err = c.resolver.resolve(ctx, h); err != nil {
		return nil, configError(ctx, err)
	}
	if c.opts.System {
		r.system = "asked for"
	} else if r.system = systemReason(r.cfg); r.system == "" {
		r.system = cmp.Or(c.jumpsNeedSystem(ctx, r.cfg), c.keysNeedSystem(ctx, t, r.cfg))
	}
	if r.system != "" && c.resolver.ssh == "" {
		return nil, configError(ctx, fmt.Errorf("%s needs the ssh program, which is not in PATH", r.system))
	}
	return r, nil
}

// open starts the shell on the node.
func (c *Client) open(ctx context.Context, t Target, r *route) (*remote, error) {
	if r.system != "" {
		if r.system != "asked for" {
			c.log(t.Name, "goes through the system's ssh: "+r.system)
		}
		return c.openSystem(ctx, t, r)
	}
	conn, err := c.connect(ctx, t, r.cfg)
	if err != nil {
		return nil, err
	}
	r.conn = conn
	return openSession(ctx, conn, r.command, c.opts.Login)
}

func (c *Client) fetch(ctx context.Context, t Target, req host.Request) (*host.Evidence, error) {
	r, err := c.route(ctx, t)
	if err != nil {
		return nil, err
	}
	asked, err := c.asked(req)
	if err != nil {
		return nil, configError(ctx, err)
	}
	sh, err := c.open(ctx, t, r)
	if err != nil {
		return nil, err
	}
	defer sh.close()
	limit := c.opts.Read + req.Sample
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w after %s", errTimeout, limit))
	defer cancel()
	defer context.AfterFunc(ctx, sh.close)()
	talk := &talk{client: c, sh: sh, nonce: newNonce(), become: t.Become, user: r.cfg.one("user")}
	return talk.evidence(ctx, asked)
}

// newNonce is 32 hexadecimal digits that nothing on the node can foresee.
func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
