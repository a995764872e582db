package host

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// threadNetns is the namespace of the thread that asks; /proc/self would be the main thread's.
const threadNetns = "/proc/thread-self/ns/net"

// netns is an open network namespace. A nil netns is the one that the process is in already.
type netns struct {
	fd    int
	inode uint64
}

// namespacePath resolves what a user writes: a process id, a path, or the name that "ip netns" knows it by.
func namespacePath(name string) string {
	switch {
	case strings.ContainsRune(name, '/'):
		return name
	case strings.Trim(name, "0123456789") == "":
		return "/proc/" + name + "/ns/net"
	}
	return "/run/netns/" + name
}

// openNetns opens the namespace; it is nil when name is empty or leads to the current one, which needs no entering.
func openNetns(name string) (*netns, error) {
	if name == "" {
		return nil, nil
	}
	ns, err := openNetnsFile(namespacePath(name))
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	if own, err := netnsInode(threadNetns); err == nil && own == ns.inode {
		ns.close()
		return nil, nil
	}
	if err := ns.do(func() {}); err != nil {
		ns.close()
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	return ns, nil
}

// openNetnsFile opens a file of nsfs, and refuses any other, such as the empty file that stands in /run/netns where the
// mount did not reach.
func openNetnsFile(path string) (*netns, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	ns := &netns{fd: fd}
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err = unix.Fstatfs(fd, &fs); err == nil && fs.Type != unix.NSFS_MAGIC {
		err = unix.EINVAL
	}
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err != nil {
		ns.close()
		return nil, err
	}
	ns.inode = st.Ino
	return ns, nil
}

func netnsInode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

func (n *netns) close() {
	if n != nil {
		unix.Close(n.fd)
	}
}

// do runs work on a thread that is in the namespace, and returns when it ends.
func (n *netns) do(work func()) error {
	if n == nil {
		work()
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- n.onThread(work) }()
	return <-done
}

// onThread enters the namespace, works and leaves it again. A thread that cannot leave stays locked, so that the runtime
// ends it with the goroutine. The main thread is never moved: /proc/self, and what others see of this process, is its.
func (n *netns) onThread(work func()) error {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		defer runtime.UnlockOSThread()
		return n.do(work)
	}
	home, err := unix.Open(threadNetns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open %s: %w", threadNetns, err)
	}
	defer unix.Close(home)
	if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter: %w", err)
	}
	work()
	if unix.Setns(home, unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return nil
}
