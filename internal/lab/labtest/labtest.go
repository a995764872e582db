// Package labtest says what a test needs from the machine, and gives it namespaces that end with it.
package labtest

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/lab"
)

// requireEnv lists features, separated by commas or spaces, whose lack is a failure and not a skip; "all" means every
// one. CI sets it, so that a skip cannot go unnoticed.
const requireEnv = "CTAUDIT_REQUIRE"

// probe finds out whether the machine has a feature; its error is the plain reason why not.
type probe func() error

func probes() map[string]probe {
	return map[string]probe{
		"root":            root,
		"netns":           inNetns(),
		"nft":             inNetns("nft", "list", "tables"),
		"iptables":        programs("iptables-nft-restore", "iptables-nft-save", "ip6tables-nft-restore", "ip6tables-nft-save"),
		"iptables-legacy": programs("iptables-legacy-restore", "iptables-legacy-save", "ip6tables-legacy-restore", "ip6tables-legacy-save"),
		"ip":              programs("ip"),
		"tc":              programs("tc"),
		"conntrack":       programs("conntrack"),
		"ipset":           programs("ipset"),
		"docker":          programs("docker", "dockerd"),
		"firewalld":       programs("firewalld", "firewall-cmd"),
		"ufw":             programs("ufw"),
		"busybox":         programs("busybox"),
		"systemd-analyze": programs("systemd-analyze"),
		"setpriv":         programs("setpriv"),
		"xmllint":         programs("xmllint"),
		"sshd":            programs("sshd", "ssh", "ssh-agent", "ssh-add", "ssh-keygen", "unshare"),
		"ssh":             programs("ssh"),
		"overlay":         overlay,
		"ansible":         programs("ansible", "ansible-inventory", "/usr/bin/python3"),
		"sudo":            programs("sudo"),
		"doas":            programs("doas"),
		"fish":            programs("fish"),
		"shellcheck":      programs("shellcheck"),
		"qemu":            programs("qemu-system-x86_64", "apt-get", "apt-cache", "dpkg-deb", "xz", "busybox", "nft", "ldd"),
		"apt":             programs("apt-get", "apt-cache"),
		"afpacket":        afpacket,
		"br_netfilter":    netnsFile("/proc/sys/net/bridge/bridge-nf-call-iptables"),
		"ipvs":            netnsFile("/proc/sys/net/ipv4/vs/conntrack"),
	}
}

// Require skips the test with the reason when the machine lacks one of the features, or fails it when CTAUDIT_REQUIRE
// names that feature. An unknown feature is a mistake in the test and always fails.
func Require(t testing.TB, features ...string) {
	t.Helper()
	known := probes()
	for _, feature := range features {
		check, ok := known[feature]
		if !ok {
			t.Fatalf("labtest: unknown feature %q", feature)
		}
		err := check()
		switch {
		case err == nil:
		case required(os.Getenv(requireEnv), feature):
			t.Fatalf("%s is required by %s: %v", feature, requireEnv, err)
		default:
			t.Skipf("needs %s: %v", feature, err)
		}
	}
}

// NewNetns makes a network namespace that goes away with the test. It requires root and netns itself.
func NewNetns(t testing.TB) *lab.Netns {
	t.Helper()
	Require(t, "root", "netns")
	n, err := lab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func required(list, feature string) bool {
	words := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	return slices.Contains(words, feature) || slices.Contains(words, "all")
}

func root() error {
	if uid := os.Geteuid(); uid != 0 {
		return fmt.Errorf("running as user %d, not as root", uid)
	}
	return nil
}

func programs(names ...string) probe {
	return func() error {
		for _, name := range names {
			if _, err := exec.LookPath(name); err != nil {
				return fmt.Errorf("no %s in PATH", name)
			}
		}
		return nil
	}
}

// inNetns probes by making a namespace and running a program (if any) in it.
func inNetns(argv ...string) probe {
	return func() error {
		n, err := lab.New()
		if err != nil {
			return err
		}
		defer n.Close()
		if len(argv) == 0 {
			return nil
		}
		return n.Run(argv...)
	}
}

func netnsFile(path string) probe {
	return func() error {
		n, err := lab.New()
		if err != nil {
			return err
		}
		defer n.Close()
		return n.Do(func() error {
			_, err := os.Stat(path)
			return err
		})
	}
}

func afpacket() error {
	n, err := lab.New()
	if err != nil {
		return err
	}
	defer n.Close()
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("AF_PACKET socket: %w", err)
		}
		return unix.Close(fd)
	})
}

// overlay lays one file system over another, in a mount namespace that ends with the attempt.
func overlay() error {
	const script = `mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w /mnt/m && mount -t overlay -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w none /mnt/m`
	out, err := exec.Command("unshare", "--mount", "sh", "-c", script).CombinedOutput()
	if err != nil {
		return fmt.Errorf("no overlay file system: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
