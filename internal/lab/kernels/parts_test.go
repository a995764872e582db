package kernels

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/archive"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// busybox reads the archive, as another implementation of the format.
func TestNewcIsCpio(t *testing.T) {
	labtest.Require(t, "busybox")
	want := map[string]string{"a": "1", "b/c/d": "four", "b/e": "", "f": strings.Repeat("x", 4097)}
	files := map[string][]byte{}
	for name, content := range want {
		files[name] = []byte(content)
	}
	cmd := exec.Command("busybox", "cpio", "-i", "-d", "-m")
	cmd.Dir, cmd.Stdin = t.TempDir(), bytes.NewReader(newc(files))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	for name, content := range want {
		if got, err := os.ReadFile(filepath.Join(cmd.Dir, name)); err != nil || string(got) != content {
			t.Errorf("%s: %q, %v; want %q", name, got, err, content)
		}
	}
	if st, err := os.Stat(filepath.Join(cmd.Dir, "proc")); err != nil || !st.IsDir() {
		t.Errorf("no folder for what init mounts: %v", err)
	}
}

// module is an ELF object that has nothing but a section .modinfo.
func module(info string) []byte {
	names := "\x00.modinfo\x00.shstrtab\x00"
	var b bytes.Buffer
	le := func(width int, values ...uint64) {
		for _, v := range values {
			for i := range width {
				b.WriteByte(byte(v >> (8 * i)))
			}
		}
	}
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	le(2, 1, 62)                                 // relocatable, x86-64
	le(4, 1)                                     // version
	le(8, 0, 0, uint64(64+len(info)+len(names))) // no entry, no segments, where the sections are described
	le(4, 0)
	le(2, 64, 0, 0, 64, 3, 2)
	b.WriteString(info + names)
	section := func(name, kind uint32, offset, size int) {
		le(4, uint64(name), uint64(kind))
		le(8, 0, 0, uint64(offset), uint64(size))
		le(4, 0, 0)
		le(8, 1, 0)
	}
	section(0, 0, 0, 0)
	section(1, 1, 64, len(info))
	section(10, 3, 64+len(info), len(names))
	return b.Bytes()
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	image := &Image{Builtin: map[string]bool{"ipv6": true}, Modules: map[string][]byte{
		"nft_masq":     module("license=GPL\x00depends=nf_tables,nf-nat,ipv6\x00name=nft_masq\x00"),
		"nf_tables":    module("depends=nfnetlink\x00"),
		"nf_nat":       module("depends=nf_conntrack\x00"),
		"nf_conntrack": module("depends=\x00"),
		"nfnetlink":    module("depends=\x00"),
		"orphan":       module("depends=gone\x00"),
		"torn":         []byte("\x7fELF"),
	}}
	order, content, err := image.load(context.Background(), []string{"nf_nat", "nft_masq", "ipv6"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"nf_conntrack", "nf_nat", "nfnetlink", "nf_tables", "nft_masq"}; !slices.Equal(order, want) || len(content) != len(want) {
		t.Errorf("order %v, want %v", order, want)
	}
	for _, name := range []string{"orphan", "torn", "none"} {
		if _, _, err := image.load(context.Background(), []string{name}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("module %s: error %v", name, err)
		}
	}
}

// TestDamagedResults: what a machine sent is whole or an error, wherever it was cut off.
func TestDamagedResults(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "release"), []byte("1.2.3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sent, err := exec.Command("tar", "-C", dir, "-cz", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (map[string][]byte, error) {
		name := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return results(name)
	}
	if files, err := read(sent); err != nil || string(files["release"]) != "1.2.3\n" {
		t.Errorf("%q, %v", files, err)
	}
	for n := range len(sent) {
		if files, err := read(sent[:n]); err == nil {
			t.Errorf("%d of %d octets: %q and no error", n, len(sent), files)
		}
	}
}

// TestUnreachableArchive: a proxy that nobody runs stands for an archive that cannot be reached.
func TestUnreachableArchive(t *testing.T) {
	labtest.Require(t, "apt")
	for _, name := range []string{"http_proxy", "https_proxy"} {
		t.Setenv(name, "http://127.0.0.1:9")
	}
	dir := t.TempDir()
	if _, err := Fetch(context.Background(), All()[0], dir); !errors.Is(err, archive.ErrNone) {
		t.Errorf("error %v, want %v", err, archive.ErrNone)
	}
	if debs, err := filepath.Glob(filepath.Join(dir, "*", "complete")); err != nil || len(debs) > 0 {
		t.Errorf("a download that failed is taken for whole: %v, %v", debs, err)
	}
}
