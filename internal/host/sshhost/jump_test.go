package sshhost_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
)

// TestJumpHosts goes through two, each with a key and a known_hosts of its own.
func TestJumpHosts(t *testing.T) {
	first, second, node := sshd(t, sshtest.Options{}), sshd(t, sshtest.Options{}), sshd(t, sshtest.Options{})
	// The node is known under its name; only the second jump host may be asked for the first's port.
	block := func(name string, s *sshtest.Server, more string) string {
		return fmt.Sprintf("Host %s\nHostName 127.0.0.1\nPort %d\nIdentityFile %s\nHostKeyAlias %s\n%s\n", name, s.Port, s.Key.Path, name, more)
	}
	known := ""
	for name, s := range map[string]*sshtest.Server{"first": first, "second": second, "node": node} {
		known += name + " " + sshtest.Public(s.HostKey) + "\n"
	}
	conf := func(known string, nodeJump string) string {
		return sshtest.Config(t, "/nonexistent", known, block("first", first, ""), block("second", second, ""), block("node", node, nodeJump))
	}
	at := sshhost.Target{Name: "the node", Address: "node"}
	c := client(t, sshhost.Options{ConfigFile: conf(known, "ProxyJump first,second")})
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { root(t, c, at) })
	}
	all.Wait()
	for i, s := range []*sshtest.Server{first, second, node} {
		log, err := os.ReadFile(s.Log)
		if n := strings.Count(string(log), "Accepted publickey"); err != nil || n != []int{1, 1, 6}[i] {
			t.Errorf("server %d took %d logins (%v)", i, n, err)
		}
	}
	root(t, client(t, sshhost.Options{ConfigFile: conf(known, ""), System: true}), withJump(at, "first"))
	root(t, client(t, sshhost.Options{ConfigFile: conf(known, "")}), withJump(at, "second"))

	unknown := strings.ReplaceAll(known, "second", "third")
	refused(t, client(t, sshhost.Options{ConfigFile: conf(unknown, "ProxyJump first,second")}), at, sshhost.StageHostKey, "the node: host key: through second: ", "not known")
	loop := sshtest.Config(t, node.Key.Path, "", "Host a\nProxyJump b\nHost b\nProxyJump a")
	refused(t, client(t, sshhost.Options{ConfigFile: loop, Login: time.Second}), sshhost.Target{Name: "a"}, sshhost.StageConfig, "lead back")
	closed := sshtest.FreePort(t)
	dead := client(t, sshhost.Options{ConfigFile: conf(known, ""), Retries: 0})
	tt := withJump(sshhost.Target{Name: "x", Address: "127.0.0.1", Port: closed}, "first")
	refused(t, dead, tt, sshhost.StageDial, "through first: ", "refused")
}

func withJump(t sshhost.Target, jump string) sshhost.Target {
	t.Options = append(t.Options, "ProxyJump="+jump)
	return t
}

// TestSystem is what the system's ssh does for hosts that need it.
func TestSystem(t *testing.T) {
	s := sshd(t, sshtest.Options{})
	var mu sync.Mutex
	var lines []string
	note := func(target, line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, target+": "+line)
	}
	proxy := "ProxyCommand busybox nc %h %p"
	root(t, client(t, sshhost.Options{ConfigFile: s.Config(t, proxy), Log: note}), target(s))
	if len(lines) != 1 || lines[0] != "node: goes through the system's ssh: ProxyCommand" {
		t.Errorf("have %q", lines)
	}
	lines = nil
	behind := fmt.Sprintf("Host gate\nHostName 127.0.0.1\nPort %d\nProxyCommand busybox nc %%h %%p\n", s.Port)
	root(t, client(t, sshhost.Options{ConfigFile: s.Config(t, behind), Log: note}), withJump(target(s), "gate"))
	if len(lines) != 1 || lines[0] != "node: goes through the system's ssh: ProxyCommand of the jump host gate" {
		t.Errorf("have %q", lines)
	}
	strange := sshtest.KnownHost(s.Addr(), s.Key.Signer)
	refused(t, client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s.Key.Path, "", proxy, "StrictHostKeyChecking no")}), target(s), sshhost.StageHostKey, "host key is known")
	refused(t, client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s.Key.Path, strange, proxy), HostKeyPolicy: sshhost.AcceptNew}), target(s), sshhost.StageHostKey, "Offending")
	root(t, client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s.Key.Path, "", proxy), HostKeyPolicy: sshhost.AcceptNew}), target(s))
	key := sshtest.NewKey(t, t.TempDir()+"/k")
	refused(t, client(t, sshhost.Options{ConfigFile: sshtest.Config(t, key.Path, s.KnownHost()), System: true}), target(s), sshhost.StageLogin, "Permission denied")
	gone := sshhost.Target{Name: "gone", Address: "127.0.0.1", Port: sshtest.FreePort(t)}
	refused(t, client(t, sshhost.Options{ConfigFile: s.Config(t), System: true}), gone, sshhost.StageDial, "refused")
	hang := client(t, sshhost.Options{ConfigFile: s.Config(t, "ProxyCommand sleep 100"), Login: time.Second, Dial: time.Second})
	refused(t, hang, target(s), sshhost.StageDial, "timed out")
}
