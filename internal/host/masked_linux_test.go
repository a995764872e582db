package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMasked: a file that is not there is the kernel's word only where the file system is the kernel's.
func TestMasked(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "over"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		name, root string
		magic      int64
		why        string
	}{
		"absent in /proc/sys": {"/proc/sys/net/no_such_key", "/proc", unix.PROC_SUPER_MAGIC, ""},
		"absent folder":       {"/proc/sys/no/such/key", "/proc", unix.PROC_SUPER_MAGIC, ""},
		"absent in /proc/net": {"/proc/net/no_such_file", "/proc", unix.PROC_SUPER_MAGIC, ""},
		"absent in /sys":      {"/sys/module/no_such_module/x", "/sys", unix.SYSFS_MAGIC, ""},
		"not mounted":         {root + "/sys/net/key", root, unix.PROC_SUPER_MAGIC, root + " is not mounted"},
		"mounted over":        {root + "/over/key", root, unix.PROC_SUPER_MAGIC, "something else is mounted over " + root + "/over"},
		"no root at all":      {root + "/no/sys/key", root + "/no", unix.PROC_SUPER_MAGIC, root + "/no: no such file or directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if why := masked(tt.name, tt.root, tt.magic); why != tt.why {
				t.Errorf("masked(%q) = %q, want %q", tt.name, why, tt.why)
			}
		})
	}
}

// TestAbsentIsProven: files and globs that the kernel does not have stay absent.
func TestAbsentIsProven(t *testing.T) {
	for _, a := range []*Answer{
		readFile("/proc/sys/net/ipv4/no_such_key", 1<<10), readFile("/proc/net/no_such_file", 1<<10),
		readGlob("/proc/sys/net/ipv4/netfilter/ip_conntrack_*", 1<<10), readFile("/etc/no_such_file", 1<<10),
	} {
		if !a.Absent || a.Err != "" {
			t.Errorf("%+v, want absent", a)
		}
	}
}

func TestOrMaskedKeepsWhatWasRead(t *testing.T) {
	a := &Answer{Data: []byte("1\n")}
	if got := orMasked("/proc/sys/net/ipv4/ip_forward", a); got != a {
		t.Errorf("a value became %+v", got)
	}
	if got := orMasked("/proc/nothing", &Answer{Absent: true}); strings.Contains(got.Err, Hidden) {
		t.Errorf("a file that /proc does not have is %+v", got)
	}
}
