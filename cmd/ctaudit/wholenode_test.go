package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// wholeNode is a node with everything that a machine has of its own: network, processes, and a root file system, in which what
// anybody writes, removes or changes is found. An overlay lies over the machine's files, so that its upper folder holds exactly
// what is not as it was; what is in memory on a real machine is in memory here, and is listed besides. sshd is process 1.
type wholeNode struct {
	*testNode
	root   string   // of the node's files, as seen from outside
	upper  *os.File // the overlay's own folder
	hosts  string   // inventory: the hosts "root" and "op", both this node
	config string   // of ssh
	log    *syslogd
}

// wholeAddress is where the node is reached, from the other side of its uplink.
const wholeAddress = "198.51.100.1"

// ownMounts are the file systems in memory.
func ownMounts() []string {
	return []string{"/dev", "/dev/shm", "/run", "/tmp", "/var/tmp", "/root", "/home"}
}

// nodeScript builds the node below "$1", waits for a line, and becomes it. "$2" is the network namespace of its container, which
// ends the node, should nobody else.
const nodeScript = `
nsenter --net="$2" sh -c 'sleep 300; kill 1' </dev/null >/dev/null 2>&1 &
mount --make-rprivate /
mount -t tmpfs -o mode=755 node "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" node "$1/root"
cd "$1/root"
for m in run root home; do mount -t tmpfs -o mode=755 node $m; done
for m in tmp var/tmp; do mount -t tmpfs -o mode=1777 node $m; done
mount -t tmpfs -o mode=755 node dev
mkdir -m 1777 dev/shm
mount -t tmpfs -o mode=1777 node dev/shm
mkdir dev/pts
mount -t devpts -o newinstance,ptmxmode=666 node dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for f in null zero full random urandom tty; do : >dev/$f; mount --bind /dev/$f dev/$f; done
mount -t proc proc proc
mount -t sysfs sysfs sys
echo ready
read -r _
pivot_root . mnt
umount -l /mnt
exec </dev/null >/dev/null 2>&1 /usr/sbin/sshd -D
`

func newWholeNode(t *testing.T) *wholeNode {
	t.Helper()
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy", "sshd", "sudo", "overlay", "ip")
	n := &wholeNode{testNode: newTestNode(t)}
	for _, backend := range []netfilter.Backend{netfilter.NFTables, netfilter.IPTablesNFT, netfilter.Legacy} {
		n.load(backend, scenarioNamed(t, "exposed")) // so that each backend's programs run
	}
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", nodeScript, "sh", dir, n.client.Path())
	in, err := cmd.StdinPipe()
	n.must(err)
	out, err := cmd.StdoutPipe()
	n.must(err)
	cmd.Stderr = os.Stderr
	n.must(n.router.Start(cmd))
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the node is not made: %v %q", err, line)
	}
	n.root = fmt.Sprintf("/proc/%d/root", cmd.Process.Pid)
	n.upper, err = os.Open(n.root + dir + "/upper")
	n.must(err)
	t.Cleanup(func() { n.upper.Close() })
	n.furnish(n.root + dir + "/root")
	_, err = io.WriteString(in, "\n")
	n.must(err)
	n.log.path = n.root + "/dev/log"
	n.eventually("a login", func() bool {
		_, err := n.server.Output("ssh", "-F", n.config, "root@"+wholeAddress, "true")
		return err == nil
	})
	return n
}

// furnish puts accounts, keys and logs where a machine has them.
func (n *wholeNode) furnish(root string) {
	n.t.Helper()
	dir := n.t.TempDir()
	key, hostKey := sshtest.NewKey(n.t, filepath.Join(dir, "id")), sshtest.NewKey(n.t, filepath.Join(dir, "host"))
	private, err := os.ReadFile(hostKey.Path)
	n.must(err)
	write := func(path, text string, mode fs.FileMode, owner int) {
		path = root + path
		n.must(os.MkdirAll(filepath.Dir(path), 0o755))
		n.must(os.WriteFile(path, []byte(text), mode))
		n.must(os.Chmod(path, mode))
		n.must(os.Chown(path, owner, owner))
	}
	more := func(path, text string, mode fs.FileMode) {
		was, err := os.ReadFile(root + path)
		n.must(err)
		write(path, string(was)+text, mode, 0)
	}
	write("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\nop:x:4242:4242::/home/op:/bin/bash\n", 0o644, 0)
	more("/etc/group", "op:x:4242:\n", 0o644)
	more("/etc/shadow", "op:*:20000::::::\n", 0o600)
	write("/etc/sudoers.d/audit", probe.Sudoers("op", "")+"\n", 0o440, 0)
	pam, err := os.ReadFile(root + "/etc/pam.d/sshd")
	n.must(err)
	write("/etc/pam.d/sshd", regexp.MustCompile(`(?m)^.*pam_motd.*$`).ReplaceAllString(string(pam), ""), 0o644, 0)
	write("/etc/ssh/key", string(private), 0o600, 0)
	write("/etc/ssh/sshd_config", "HostKey /etc/ssh/key\nUsePAM yes\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\n", 0o644, 0)
	for home, owner := range map[string]int{"/root": 0, "/home/op": 4242} {
		write(home+"/.ssh/authorized_keys", key.Public()+"\n", 0o600, owner)
		write(home+"/.ssh/known_hosts", "", 0o600, owner)
		write(home+"/.bash_history", "uptime\n", 0o600, owner)
		n.must(os.Chown(root+home, owner, owner))
		n.must(os.Chown(root+home+"/.ssh", owner, owner))
	}
	for _, name := range []string{"/var/log/wtmp", "/var/log/btmp", "/var/log/lastlog", "/run/utmp", "/var/log/auth.log"} {
		write(name, "", 0o660, 0)
	}
	n.must(os.Mkdir(root+"/run/sshd", 0o755))
	n.log = newSyslogd(n.t, root+"/dev/log")

	n.config = sshtest.Config(n.t, key.Path, wholeAddress+" "+sshtest.Public(hostKey.Signer)+"\n")
	n.hosts = filepath.Join(dir, "hosts")
	n.must(os.WriteFile(n.hosts, []byte("[all:vars]\nansible_host="+wholeAddress+"\n[all]\nroot ansible_user=root\nop ansible_user=op\n"), 0o600))
}

// files lists everything that differs from the machine's files, and everything in memory, by path: type, mode, owner, size,
// number, links, the times of content and of anything else, and the content.
func (n *wholeNode) files() map[string]string {
	n.t.Helper()
	out := map[string]string{}
	n.list(out, fmt.Sprintf("/proc/self/fd/%d/.", n.upper.Fd()), "")
	for _, m := range ownMounts() {
		n.list(out, n.root+m+"/.", m)
	}
	return out
}

func (n *wholeNode) list(out map[string]string, from, as string) {
	n.t.Helper()
	var top unix.Stat_t
	n.must(unix.Lstat(from, &top))
	n.must(filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it ends before our eyes, or has to be seen by what is left
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return nil
		}
		if st.Dev != top.Dev {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		name := as + strings.TrimSuffix(strings.TrimPrefix(path, strings.TrimSuffix(from, "/.")), "/.")
		out[name] = fmt.Sprintf("%o %d:%d %d bytes, %d, %d links, %v, %v, %s", st.Mode, st.Uid, st.Gid, st.Size, st.Ino, st.Nlink,
			st.Mtim, st.Ctim, content(path, d, &st))
		return nil
	}))
}

// fileTimes are those in what files says.
var fileTimes = regexp.MustCompile(`\{[0-9 ]+\}`)

// content is a digest of a file, or where a link leads.
func content(path string, d fs.DirEntry, st *unix.Stat_t) string {
	switch d.Type() {
	case 0:
		if st.Size > 1<<20 {
			return "" // that it was changed is seen by its times
		}
		text, err := os.ReadFile(path)
		return fmt.Sprintf("%x %v", sha256.Sum256(text), err)
	case fs.ModeSymlink:
		to, err := os.Readlink(path)
		return fmt.Sprintf("-> %s %v", to, err)
	}
	return ""
}

// processes lists who runs on the node: number, start, name.
func (n *wholeNode) processes() []string {
	n.t.Helper()
	names, err := filepath.Glob(n.root + "/proc/[0-9]*/stat")
	n.must(err)
	var out []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		open, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
		fields := strings.Fields(string(text[end+1:]))
		out = append(out, fmt.Sprintf("%s%s since %s", text[:open], text[open:end+1], fields[19]))
	}
	slices.Sort(out)
	return out
}

// quiet is the trace when only sshd and the container run.
func (n *wholeNode) quiet() trace {
	n.t.Helper()
	n.eventually("the end of all sessions", func() bool { return len(n.processes()) == 3 })
	n.eventually("the end of duplicate address detection", func() bool {
		text, err := n.router.Output("ip", "addr")
		return err == nil && !strings.Contains(string(text), "tentative")
	})
	return n.trace()
}

// syslogd takes what the node's programs log.
type syslogd struct {
	t    *testing.T
	path string
	conn *net.UnixConn

	mu    sync.Mutex
	lines []string
	seen  chan struct{}
}

const logMark = "that was all"

func newSyslogd(t *testing.T, path string) *syslogd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	l := &syslogd{t: t, path: path, conn: conn, seen: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() { defer close(ended); l.receive() }()
	t.Cleanup(func() { conn.Close(); <-ended })
	return l
}

func (l *syslogd) receive() {
	for b := make([]byte, 64<<10); ; {
		n, err := l.conn.Read(b)
		if err != nil {
			return
		}
		if string(b[:n]) == logMark {
			l.seen <- struct{}{}
			continue
		}
		l.mu.Lock()
		l.lines = append(l.lines, string(b[:n]))
		l.mu.Unlock()
	}
}

var logHead = regexp.MustCompile(`^<[0-9]+>(\w{3} +[0-9]+ [0-9:]+ )?`)

// take returns what was logged since the last call, without times and numbers, how often each.
func (l *syslogd) take() map[string]int {
	l.t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: l.path, Net: "unixgram"})
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(logMark)); err != nil {
		l.t.Fatal(err)
	}
	<-l.seen
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for _, line := range l.lines {
		out[numbers.ReplaceAllString(logHead.ReplaceAllString(line, ""), "N")]++
	}
	l.lines = nil
	return out
}

// ssh runs a command on the node, as people do.
func (n *wholeNode) ssh(user, command string) func() error {
	return func() error {
		_, err := n.server.Output("ssh", "-F", n.config, user+"@"+wholeAddress, command)
		return err
	}
}

// ctaudit prepares the program on the other side of the uplink, for one of the two hosts.
func (n *wholeNode) ctaudit(host string, args ...string) (cmd *exec.Cmd, errs *bytes.Buffer) {
	cmd = exec.Command(binary(n.t), append(args, "-i", n.hosts, "--limit", host, "--ssh-config", n.config, "-f", "json")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.t.TempDir()}
	errs = &bytes.Buffer{}
	cmd.Stderr = errs
	return cmd, errs
}

// audit is an audit that ends with the exit code.
func (n *wholeNode) audit(code int, host string, args ...string) func() error {
	return n.ends(code, host, append([]string{"fleet"}, args...)...)
}

func (n *wholeNode) ping(host string, args ...string) func() error {
	return n.ends(0, host, append([]string{"fleet", "ping"}, args...)...)
}

func (n *wholeNode) ends(code int, host string, args ...string) func() error {
	return func() error {
		cmd, errs := n.ctaudit(host, args...)
		n.must(n.server.Start(cmd))
		if err := cmd.Wait(); exitOf(err) != code {
			return fmt.Errorf("%v, want exit code %d: %s", err, code, errs)
		}
		return nil
	}
}

// ownCtaudit puts this program on the node.
func (n *wholeNode) ownCtaudit() {
	n.t.Helper()
	text, err := os.ReadFile(binary(n.t))
	n.must(err)
	n.must(os.WriteFile(n.root+"/usr/local/bin/ctaudit", text, 0o755))
	n.must(n.ssh("op", "ctaudit evidence --protocol")())
}
