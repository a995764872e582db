package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// maxBanner bounds what a server may say before the login, in bytes.
const maxBanner = 64 << 10

// connection is a host that let us in.
type connection struct {
	ssh.Conn
	hostKey ssh.PublicKey
	login   *login
	kex     ssh.NegotiatedAlgorithms
}

// connect dials the host, through its jump hosts if there are any, checks its key and logs in. The connection's own requests
// and channels are refused.
func (c *Client) connect(ctx context.Context, t Target, cfg *config) (*connection, error) {
	var conn *connection
	err := c.repeat(ctx, cfg, func(ctx context.Context) (err error) {
		conn, err = c.once(ctx, t, cfg)
		return err
	})
	return conn, err
}

func (c *Client) once(ctx context.Context, t Target, cfg *config) (*connection, error) {
	raw, err := c.reach(ctx, t, cfg)
	if err != nil {
		return nil, err
	}
	return c.handshake(ctx, raw, t, cfg)
}

// reach opens a way to the host's port.
func (c *Client) reach(ctx context.Context, t Target, cfg *config) (net.Conn, error) {
	if jump := cfg.set("proxyjump"); jump != "" {
		return c.jump(ctx, t, cfg, jump)
	}
	return c.dial(ctx, t, cfg)
}

// handshake does the key exchange and the login within their time.
func (c *Client) handshake(ctx context.Context, raw net.Conn, t Target, cfg *config) (*connection, error) {
	limited, cancel := context.WithTimeout(ctx, c.opts.Login)
	defer cancel()
	w := newWire(raw)
	stop := context.AfterFunc(limited, func() { raw.Close() })
	defer stop()
	keys, l, conf, err := c.prepare(limited, t, cfg)
	if err != nil {
		raw.Close()
		return nil, err
	}
	conf.BannerCallback = l.listen(raw)
	inner, channels, requests, err := ssh.NewClientConn(w, cfg.address(), conf)
	if err == nil && !stop() {
		inner.Close() // the time was over just now
		err = limited.Err()
	}
	if err != nil {
		raw.Close()
		return nil, c.handshakeError(limited, w, keys, l, cfg, err)
	}
	go ssh.DiscardRequests(requests)
	go refuse(channels)
	conn := &connection{Conn: inner, hostKey: keys.seen, login: l}
	if a, ok := inner.(ssh.AlgorithmsConnMetadata); ok {
		conn.kex = a.Algorithms()
	}
	return conn, nil
}

func refuse(channels <-chan ssh.NewChannel) {
	for ch := range channels {
		_ = ch.Reject(ssh.Prohibited, "")
	}
}

// prepare gathers what the handshake needs.
func (c *Client) prepare(ctx context.Context, t Target, cfg *config) (*hostKeys, *login, *ssh.ClientConfig, error) {
	keys, err := c.hostKeys(t, cfg)
	if err != nil {
		return nil, nil, nil, &Error{Stage: StageHostKey, Err: err}
	}
	ids, err := c.identities(ctx, t, cfg)
	if err != nil {
		return nil, nil, nil, &Error{Stage: StageConfig, Err: err}
	}
	if ctx.Err() != nil && ids.agent != "" { // nobody has waited for the server
		return nil, nil, nil, &Error{Stage: StageLogin, Err: fmt.Errorf("%w: %s", errTimeout, ids.agent)}
	}
	l := &login{ctx: ctx, ids: ids}
	if cfg.explicit("pubkeyacceptedalgorithms") {
		l.allowed = cfg.list("pubkeyacceptedalgorithms")
	}
	conf := &ssh.ClientConfig{
		User:              cfg.one("user"),
		HostKeyCallback:   keys.check,
		HostKeyAlgorithms: keys.algorithms(),
		ClientVersion:     "SSH-2.0-ctaudit",
	}
	conf.Config, _ = transport(cfg)
	conf.Auth = []ssh.AuthMethod{ssh.PublicKeysCallback(l.signers)}
	return keys, l, conf, nil
}

// listen is the ssh.BannerCallback. A banner without end is hung up on, and no error of ours: the library would leave off in the
// middle of the stream, and its reader, which waits for somebody to take what it has read, would stay for ever.
func (l *login) listen(raw net.Conn) ssh.BannerCallback {
	return func(message string) error {
		if l.heard += len(message) + 1; l.heard > maxBanner {
			raw.Close()
		}
		return nil
	}
}

var errBanner = errors.New("the server's banner does not end")

// hostKeys looks the host up in the files that its configuration names.
func (c *Client) hostKeys(t Target, cfg *config) (*hostKeys, error) {
	user, global := cfg.paths("userknownhostsfile"), cfg.paths("globalknownhostsfile")
	db, err := c.known(append(append([]string{}, user...), global...))
	if err != nil {
		return nil, fmt.Errorf("known_hosts: %w", err)
	}
	h := &hostKeys{policy: c.opts.HostKeyPolicy, cfg: cfg, db: db}
	if v := cfg.one("stricthostkeychecking"); v == "no" || v == "false" || v == "off" {
		c.say(t.Name, "StrictHostKeyChecking "+v+" is not followed: host keys are always checked")
	}
	if len(user) == 0 && h.policy == AcceptNew {
		c.say(t.Name, "UserKnownHostsFile none: the keys of new hosts are accepted, and noted nowhere")
	}
	revoked, err := cfg.files("revokedhostkeys")
	if err != nil {
		return nil, err
	}
	if len(revoked) > 0 {
		if h.banned, err = readRevoked(revoked[0]); err != nil {
			return nil, err
		}
	}
	h.accept = func(key ssh.PublicKey) error { return h.note(user, key) }
	h.lookup()
	return h, nil
}

// handshakeError finds out what went wrong, and in which stage.
func (c *Client) handshakeError(ctx context.Context, w *wire, keys *hostKeys, l *login, cfg *config, err error) error {
	first := w.first()
	hung := errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	late := ctx.Err() != nil
	switch {
	case keys.bad != nil:
		return keys.bad
	case late && first == "":
		return &Error{Stage: StageLogin, Err: fmt.Errorf("%w: nothing came from %s in %s", errTimeout, printable(cfg.address(), 120), c.opts.Login)}
	case !strings.Contains(first, "SSH-") && first != "":
		return &Error{Stage: StageLogin, Err: fmt.Errorf("%s is no SSH server: it says %s", printable(cfg.address(), 120), quoted(first))}
	case hung && first == "":
		return &Error{Stage: StageDial, Err: fmt.Errorf("%s: %w", printable(cfg.address(), 120), errHungUp), again: true, Hint: "The server may have too many logins under way (MaxStartups); fewer --forks or more retries help."}
	case l.failed != nil:
		return &Error{Stage: StageLogin, Err: l.failed}
	case late:
		return &Error{Stage: StageLogin, Err: fmt.Errorf("%w after %s", errTimeout, c.opts.Login)}
	case l.heard > maxBanner:
		return &Error{Stage: StageLogin, Err: errBanner}
	case keys.seen == nil:
		return negotiationError(err, hung)
	}
	return loginError(l, cfg, err)
}

// negotiationError is a failure before the server showed its key.
func negotiationError(err error, hung bool) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "ssh: handshake failed: "), "ssh: ")
	e := &Error{Stage: StageLogin, Err: fmt.Errorf("key exchange: %s", printable(text, 300))}
	if hung {
		e.Err = errors.New("key exchange: the server hung up")
	}
	if strings.Contains(text, "no common algorithm") {
		e.Hint = "Name the algorithm in the ssh configuration if you accept it (KexAlgorithms, Ciphers, MACs, HostKeyAlgorithms), or use --system-ssh."
	}
	return e
}

// loginError says which keys were offered, or why there were none.
func loginError(l *login, cfg *config, err error) error {
	who := printable(cfg.one("user"), 60)
	e := &Error{Stage: StageLogin}
	var shown []string
	for _, id := range l.offered {
		shown = append(shown, fmt.Sprintf("%s (%s)", ssh.FingerprintSHA256(plain(id.signer.PublicKey())), id.from))
	}
	if len(shown) > 4 {
		shown = append(shown[:4], fmt.Sprintf("and %d more", len(shown)-4))
	}
	text := printable(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "ssh: handshake failed: "), "ssh: "), 200)
	switch {
	case len(shown) > 0 && strings.Contains(text, "unable to authenticate"):
		e.Err = fmt.Errorf("the server refuses %s with %s", who, strings.Join(shown, ", "))
		e.Hint = "Is the user right, and the key in its authorized_keys? (ssh-copy-id)"
	case len(shown) > 0 && strings.Contains(strings.ToLower(text), "too many authentication failures"):
		e.Err = fmt.Errorf("the server refuses %s after too many keys: %s", who, strings.Join(shown, ", "))
		e.Hint = "Set IdentityFile and IdentitiesOnly for this host."
	case len(shown) > 0:
		e.Err = fmt.Errorf("%s with %s: %s", who, strings.Join(shown, ", "), text)
	case len(l.ids.list) > 0:
		e.Err = fmt.Errorf("no key to offer for %s: PubkeyAcceptedAlgorithms allows none of %d", who, len(l.ids.list))
	default:
		e.Err = fmt.Errorf("no key to log in with as %s", who)
	}
	why := l.ids.why
	if len(shown) == 0 && l.ids.agent != "" {
		why = append(slices.Clone(why), l.ids.agent)
	}
	if len(why) > 0 {
		e.Err = fmt.Errorf("%w (%s)", e.Err, strings.Join(why, "; "))
		e.Hint = loginHint(why, e.Hint)
	}
	return e
}

func loginHint(why []string, hint string) string {
	for _, w := range why {
		if path, ok := strings.CutSuffix(w, " has a passphrase"); ok {
			return "Keys with a passphrase are used through the agent: ssh-add " + path
		}
	}
	return hint
}
