package kernels

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// modules are those that the proof and the scan need; they need others in turn.
func modules() []string {
	return []string{
		"virtio_pci", "virtio_net", "veth", "bridge", "af_packet", "crc32c_generic",
		"nf_conntrack", "nf_conntrack_netlink", "nf_tables", "nft_ct", "nft_nat", "nft_masq", "nft_chain_nat",
	}
}

//go:embed testdata/init.sh
var initScript []byte

// Program is a static program for the machine, and its name there.
type Program struct{ Name, Path string }

// initramfs is the machine's whole file system, a newc archive.
func initramfs(ctx context.Context, image *Image, programs []Program) ([]byte, error) {
	files := map[string][]byte{"init": initScript, "lib/modules/" + image.Release + "/modules.builtin": image.builtin}
	names, content, err := image.load(ctx, image.present(modules()))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		files["modules/"+name+".ko"] = content[name]
	}
	files["modules/order"] = []byte(strings.Join(names, "\n") + "\n")
	if err := tools(ctx, files); err != nil {
		return nil, err
	}
	for _, p := range programs {
		if files["bin/"+p.Name], err = os.ReadFile(p.Path); err != nil {
			return nil, err
		}
	}
	return newc(files), nil
}

// present leaves out what newer kernels have no module for: crc32c, which conntrack needs, is a library there.
func (i *Image) present(wanted []string) []string {
	return slices.DeleteFunc(wanted, func(name string) bool { return name == "crc32c_generic" && i.Modules[name] == nil })
}

// tools puts busybox and nft, with its libraries, among the files.
func tools(ctx context.Context, files map[string][]byte) error {
	for _, name := range []string{"busybox", "nft"} {
		program, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		if files["bin/"+name], err = os.ReadFile(program); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, "ldd", program).Output()
		if err != nil && name == "nft" {
			return fmt.Errorf("ldd %s: %w", program, err)
		}
		for _, word := range strings.Fields(string(out)) {
			if !path.IsAbs(word) {
				continue
			}
			if files[strings.TrimPrefix(path.Clean(word), "/")], err = os.ReadFile(word); err != nil {
				return err
			}
		}
	}
	return nil
}

// newc writes a cpio archive as the kernel reads it: every file executable, folders before what is in them.
// Source: Documentation/driver-api/early-userspace/buffer-format.rst.
func newc(files map[string][]byte) []byte {
	folders := map[string]bool{}
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "run", "etc", "out"} {
		folders[dir] = true
	}
	var b bytes.Buffer
	entry := func(name string, mode int, content []byte) {
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
		b.Write(make([]byte, -b.Len()&3))
		b.Write(content)
		b.Write(make([]byte, -b.Len()&3))
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		entry(name, 0o040755, nil)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		entry(name, 0o100755, files[name])
	}
	entry("TRAILER!!!", 0, nil)
	return b.Bytes()
}
