// Package lab makes throw-away network namespaces, wires them together, loads rulesets into them and puts packets on
// their wires. It is the ground on which readers and the evaluator are held against a real kernel.
//
// A namespace made here has no name in the file system: it lives as long as the file descriptor that holds it, so a
// panic, a kill or a lost machine leaves nothing behind. Nothing here touches the namespace that the process started in.
package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Netns is one network namespace, held open by a file descriptor.
type Netns struct {
	handle netns.NsHandle
	links  *netlink.Handle
	lock   *os.File // the memory file that iptables-legacy locks in place of /run/xtables.lock
	close  sync.Once
}

// New makes an empty namespace with its loopback up. It needs CAP_SYS_ADMIN.
func New() (*Netns, error) {
	n := &Netns{handle: netns.None()}
	err := onThread(func() (err error) {
		n.handle, err = netns.New()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("unshare network namespace: %w", err)
	}
	if err := n.prepare(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Netns) prepare() error {
	fd, err := unix.MemfdCreate("xtables.lock", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	n.lock = os.NewFile(uintptr(fd), "xtables.lock")
	if n.links, err = netlink.NewHandleAt(n.handle, unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("rtnetlink socket: %w", err)
	}
	return n.Up("lo")
}

// Close lets go of the namespace; the kernel removes it, with all in it, when nobody else holds it.
func (n *Netns) Close() {
	n.close.Do(func() {
		if n.links != nil {
			n.links.Close()
		}
		if n.lock != nil {
			n.lock.Close()
		}
		n.handle.Close()
	})
}

// Path names the namespace for other programs ("nsenter --net=PATH") and for host readers, while n is open.
func (n *Netns) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.handle)) }

// FD is the descriptor that holds the namespace. It belongs to n.
func (n *Netns) FD() int { return int(n.handle) }

// Inode is the namespace's identity, the number in "net:[4026531840]".
func (n *Netns) Inode() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(n.handle), &st); err != nil {
		return 0, fmt.Errorf("stat namespace: %w", err)
	}
	return st.Ino, nil
}

// Do runs f on a thread inside the namespace. What f opens (sockets, /proc/thread-self/net) and starts (processes)
// belongs there; goroutines that f starts do not. /proc/sys/net follows the thread, /proc/net does not.
func (n *Netns) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return f()
	})
}

// Command prepares a program for [Netns.Start]. It shares this process's environment, with an xtables lock of its own.
func (n *Netns) Command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.ExtraFiles = []*os.File{n.lock} // descriptor 3 in the child
	cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE=/proc/self/fd/3", "LC_ALL=C")
	return cmd
}

// Start starts the program inside the namespace. The caller waits for it.
func (n *Netns) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Run runs a program inside the namespace; its output is part of the error.
func (n *Netns) Run(argv ...string) error {
	_, err := n.Output(argv...)
	return err
}

// Output runs a program inside the namespace and returns its standard output.
func (n *Netns) Output(argv ...string) ([]byte, error) { return n.Pipe("", argv...) }

// Pipe runs a program inside the namespace with stdin as its input and returns its standard output.
func (n *Netns) Pipe(stdin string, argv ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := n.Command(argv...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return stdout.Bytes(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// onThread runs f on an operating system thread of its own and brings the thread home to its namespace afterwards. It
// keeps off the main thread: /proc/self/net shows the main thread's namespace to the whole process.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // holding the main thread here makes the inner call get another
			runtime.UnlockOSThread()
			return
		}
		done <- visit(f)
	}()
	return <-done
}

// visit unlocks the thread only when it is back in its namespace; otherwise the runtime ends it with the goroutine.
func visit(f func() error) error {
	home, err := netns.Get()
	if err != nil {
		return fmt.Errorf("own namespace: %w", err)
	}
	defer home.Close()
	defer func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// Sysctl writes a kernel parameter of the namespace by its dotted name: Sysctl("net.ipv4.ip_forward", "1"). A dot in an
// interface's name is written as a slash, as in sysctl.d.
func (n *Netns) Sysctl(key, value string) error {
	path := "/proc/sys/" + strings.NewReplacer(".", "/", "/", ".").Replace(key)
	if !strings.HasPrefix(key, "net.") {
		return errors.New("sysctl " + key + ": not a network key, it would change the machine")
	}
	return n.Do(func() error { return os.WriteFile(path, []byte(value), 0) })
}
