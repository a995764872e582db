// Package sshhost reads a node over SSH, with what the node has: a POSIX shell, or a ctaudit of its own.
//
// The connection is made by golang.org/x/crypto/ssh, and configured as the system's ssh would be: `ssh -G` says what holds for a
// host. Hosts whose configuration needs what is not built in (ProxyCommand, PKCS#11, FIDO tokens without an agent, ...) go
// through the system's ssh one by one. Host keys are always checked; logins are by public key alone.
package sshhost

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ctaudit/ctaudit/internal/host/served"
)

// Target is one node: where it is, and as whom to go there. What is left empty comes from the user's ssh configuration, and
// then from ssh's defaults.
type Target struct {
	Name     string        // how the inventory calls it; errors begin with it
	Address  string        // a host name, an address, or an alias of the ssh configuration; empty: Name
	Port     int           // 1 to 65535
	User     string        // the login
	KeyFiles []string      // private keys to try, before the agent's
	Options  []string      // ssh_config options "Keyword=value", as behind ssh -o; they win over the configuration
	Become   Become        // how to become another user after the login
	Timeout  time.Duration // of the TCP connection, in place of Options.Dial
}

// Become is a change of user after the login, never with a password.
type Become struct {
	Method string // sudo, doas or su; empty: stay who logged in
	User   string // empty: root
}

// HostKeyPolicy says what to do with host keys.
type HostKeyPolicy string

// Strict refuses a host that known_hosts does not have. AcceptNew notes such a host there. Both refuse a key that differs
// from the noted one, and a revoked one.
const (
	Strict    HostKeyPolicy = "strict"
	AcceptNew HostKeyPolicy = "accept-new"
)

// Reader is how a node is read.
type Reader string

// The readers. Auto uses the node's own ctaudit where it is compatible, and the probe otherwise. Probe is a POSIX sh script
// on standard input. Push sends a static collector and removes it afterwards.
const (
	Auto  Reader = "auto"
	Probe Reader = "probe"
	Push  Reader = "push"
)

// Options are the same for all targets of a run.
type Options struct {
	HostKeyPolicy HostKeyPolicy // empty: Strict
	ConfigFile    string        // as ssh -F; empty: the user's
	System        bool          // go through the system's ssh for every host
	Reader        Reader        // empty: Auto
	Dial          time.Duration // TCP connection, 0: 10 s, or ConnectTimeout where that is configured
	Login         time.Duration // key exchange and authentication, 0: 20 s
	Read          time.Duration // the whole reading, 0: 2 min; the time between two samples comes on top
	Retries       int           // more attempts at dialling, with jitter
	MaxOutput     int64         // bytes from one host once decompressed, 0: 256 MiB
	// Collector is what Push sends: the program for a machine as `uname -m` calls it, and its SHA-256 in hexadecimal digits;
	// nil: served.Collector.
	Collector func(machine string) (program []byte, sum string, err error)
	// Log takes one line about each host that goes another way than usual (fleet ping -v prints them); nil: nobody asks.
	Log func(target, line string)
}

const (
	defaultDial      = 10 * time.Second
	defaultLogin     = 20 * time.Second
	defaultRead      = 2 * time.Minute
	defaultMaxOutput = 256 << 20
)

func (o Options) complete() (Options, error) {
	if o.HostKeyPolicy == "" {
		o.HostKeyPolicy = Strict
	}
	if o.Reader == "" {
		o.Reader = Auto
	}
	if o.Login <= 0 {
		o.Login = defaultLogin
	}
	if o.Read <= 0 {
		o.Read = defaultRead
	}
	if o.MaxOutput <= 0 {
		o.MaxOutput = defaultMaxOutput
	}
	if o.Collector == nil {
		o.Collector = served.Collector
	}
	if o.HostKeyPolicy != Strict && o.HostKeyPolicy != AcceptNew {
		return o, fmt.Errorf("host key policy %q: there are %s and %s", o.HostKeyPolicy, Strict, AcceptNew)
	}
	if o.Reader != Auto && o.Reader != Probe && o.Reader != Push {
		return o, fmt.Errorf("reader %q: there are %s, %s and %s", o.Reader, Auto, Probe, Push)
	}
	return o, nil
}

// Stage is how far a reading came.
type Stage string

// The stages, in their order.
const (
	StageConfig  Stage = "configuration"
	StageResolve Stage = "resolve"
	StageDial    Stage = "dial"
	StageHostKey Stage = "host key"
	StageLogin   Stage = "login"
	StageBecome  Stage = "become"
	StageShell   Stage = "shell"
	StageRead    Stage = "read"
)

// Error is why a node could not be read. Its text begins with the target's name, once.
type Error struct {
	Target string
	Stage  Stage
	Err    error
	Hint   string // what to do, empty when there is nothing to say
	again  bool   // dialling once more may help
}

// Error says what went wrong where; the stage only where the cause does not tell.
func (e *Error) Error() string { return e.Target + ": " + string(e.Stage) + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// address is what ssh would be called with.
func (t Target) address() string {
	if t.Address != "" {
		return t.Address
	}
	return t.Name
}

// hop checks the target. Names reach command lines and the commands of ssh configurations, so what a shell would take for
// more than a name is refused (as OpenSSH does, ssh.c, valid_hostname and valid_ruser).
func (t Target) hop() (hop, error) {
	h := hop{name: t.address(), port: t.Port, user: t.User, options: t.Options}
	if err := checkName(h.name, "'`\"$\\;&<>|(){}@,/"); err != nil {
		return h, fmt.Errorf("address %s: %w", printable(h.name, 60), err)
	}
	if h.user != "" {
		if err := checkName(h.user, "'`\";&<>|(){}"); err != nil || strings.HasSuffix(h.user, `\`) {
			return h, fmt.Errorf("user %s: not a name", printable(h.user, 60))
		}
	}
	if t.Port < 0 || t.Port > 65535 {
		return h, fmt.Errorf("port %d: not between 1 and 65535", t.Port)
	}
	for _, o := range t.Options {
		if strings.ContainsAny(o, "\r\n\x00") {
			return h, fmt.Errorf("option %s: more than one line", printable(o, 60))
		}
	}
	return h, nil
}

func checkName(name, not string) error {
	switch {
	case name == "":
		return errors.New("empty")
	case name[0] == '-':
		return errors.New("begins with a dash")
	case strings.ContainsAny(name, not) || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("not a name")
	}
	return nil
}

// command is what the login shell is asked to run: a POSIX shell that reads from standard input. The words mean the same to
// every login shell, fish and csh included.
func (b Become) command() (string, error) {
	user := b.User
	if user == "" {
		user = "root"
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`).MatchString(user) {
		return "", fmt.Errorf("become user %s: not a name", printable(user, 60))
	}
	switch b.Method {
	case "":
		return "sh -s", nil
	case "sudo", "doas":
		if b.User == "" {
			return b.Method + " -n sh -s", nil
		}
		return b.Method + " -n -u " + user + " sh -s", nil
	case "su":
		// su would ask anybody but root for a password, and take the script for it.
		return `sh -c 'test "$(id -u)" = 0 || { echo "su: only root may become another user without a password" >&2; exit 77; }; ` +
			`exec su -s /bin/sh -c "sh -s" ` + user + `'`, nil
	}
	return "", fmt.Errorf("become method %s: there are sudo, doas and su", printable(b.Method, 60))
}
