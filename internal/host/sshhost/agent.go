package sshhost

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const fromAgent = "agent"

type randReader = io.Reader

// agents are the connections to agents, by their sockets. An agent is asked for its keys once in a run.
type agents struct {
	mu     sync.Mutex
	open   map[string]*agentConn
	closed bool
}

type agentConn struct {
	ready chan struct{}
	conn  net.Conn
	keys  []identity
	why   string
}

// agentSigner is a key of an agent. The library's own does not tell certificates from keys.
type agentSigner struct {
	ssh.AlgorithmSigner
	key ssh.PublicKey
}

func (s *agentSigner) PublicKey() ssh.PublicKey { return s.key }

// agentSocket is the socket of the host's agent; empty: none.
func agentSocket(cfg *config) string {
	switch socket := cfg.one("identityagent"); {
	case socket == "none":
		return ""
	case socket == "" || socket == "SSH_AUTH_SOCK":
		return os.Getenv("SSH_AUTH_SOCK")
	case strings.HasPrefix(socket, "$"):
		return os.Getenv(strings.Trim(socket, "${}"))
	default:
		if path, err := cfg.expand(socket); err == nil {
			return path
		}
		return socket
	}
}

// agentKeys are the keys of the host's agent; why says why there are none.
func (c *Client) agentKeys(ctx context.Context, cfg *config) (keys []identity, why string) {
	socket := agentSocket(cfg)
	if socket == "" {
		return nil, "no agent (SSH_AUTH_SOCK is not set)"
	}
	c.agents.mu.Lock()
	a := c.agents.open[socket]
	if a == nil {
		a = &agentConn{ready: make(chan struct{})}
		c.agents.open[socket] = a
		go c.agents.connect(a, socket)
	}
	c.agents.mu.Unlock()
	select {
	case <-a.ready:
		return a.keys, a.why
	case <-ctx.Done():
		return nil, "the agent does not answer"
	}
}

func (s *agents) connect(a *agentConn, socket string) {
	defer close(a.ready)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		a.why = "agent: " + printable(err.Error(), 200)
		return
	}
	s.mu.Lock()
	a.conn = conn
	if s.closed {
		conn.Close()
	}
	s.mu.Unlock()
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		a.why = "agent: " + printable(err.Error(), 200)
		return
	}
	for _, signer := range signers {
		key, err := ssh.ParsePublicKey(signer.PublicKey().Marshal())
		as, ok := signer.(ssh.AlgorithmSigner)
		if err == nil && ok {
			a.keys = append(a.keys, identity{&agentSigner{as, key}, fromAgent})
		}
	}
	if len(a.keys) == 0 {
		a.why = "the agent has no keys"
	}
}

func (s *agents) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, a := range s.open {
		if a.conn != nil {
			a.conn.Close()
		}
	}
}
