package kernel

import (
	"context"
	"math"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// TestThisNode compares what is read from files with what the system calls say.
func TestThisNode(t *testing.T) {
	ev, err := host.Local(host.LocalOptions{}).Fetch(context.Background(), host.Request{Needs: New().Needs()})
	if err != nil {
		t.Fatal(err)
	}
	var doc snapshot.Document
	missing := New().Collect(ev, &doc)
	t.Logf("missing: %v", missing)
	var uts unix.Utsname
	var info unix.Sysinfo_t
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	k := doc.Kernel
	if want := unix.ByteSliceToString(uts.Release[:]); k.Release.Or("") != want {
		t.Errorf("release = %v, uname says %q", k.Release, want)
	}
	if want := unix.ByteSliceToString(uts.Version[:]); k.Version.Or("") != want {
		t.Errorf("version = %v, uname says %q", k.Version, want)
	}
	if want := uint64(info.Totalram) * uint64(info.Unit) / 1024; k.MemoryKiB.Or(0) != want {
		t.Errorf("memory = %v KiB, sysinfo says %d", k.MemoryKiB, want)
	}
	if got := k.UptimeSeconds.Or(-100); math.Abs(got-float64(info.Uptime)) > 5 {
		t.Errorf("uptime = %v s, sysinfo says %d", got, info.Uptime)
	}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Count("\n"+string(cpuinfo), "\nprocessor\t"); want > 0 && k.CPUs.Or(0) != want {
		t.Errorf("CPUs = %v, /proc/cpuinfo lists %d", k.CPUs, want)
	}
	if k.Vendor == "" {
		t.Error("no vendor")
	}
}
