// Package sshhost reads a node over SSH, with what the node has: a POSIX shell, or a ctaudit of its own.
package sshhost

import "time"

// Target is one node: where it is, and as whom to go there. What is left empty comes from the user's ssh configuration, and
// then from ssh's defaults.
type Target struct {
	Name     string   // how the inventory calls it; errors begin with it
	Address  string   // a host name, an address, or an alias of the ssh configuration; empty: Name
	Port     int      // 1 to 65535
	User     string   // the login
	KeyFiles []string // private keys to try, before the agent's
	Options  []string // ssh_config options "Keyword=value", as behind ssh -o; they win over the configuration
	Become   Become   // how to become another user after the login
	Timeout  time.Duration
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
	Dial          time.Duration // TCP connection, 0: 10 s
	Login         time.Duration // key exchange and authentication, 0: 20 s
	Read          time.Duration // the whole reading, 0: 2 min
	Retries       int           // more attempts at dialling, with jitter
	MaxOutput     int64         // bytes from one host once decompressed, 0: 512 MiB
	// Log takes one line about each host that goes another way than usual (fleet ping -v prints them); nil: nobody asks.
	Log func(target, line string)
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
}

// Error says what went wrong where; the stage only where the cause does not tell.
func (e *Error) Error() string { return e.Target + ": " + string(e.Stage) + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }
