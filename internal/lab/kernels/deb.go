package kernels

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/lab/archive"
)

// unpack reads the kernel and its modules out of the packages.
func unpack(ctx context.Context, debs []string) (*Image, error) {
	image := &Image{Modules: map[string][]byte{}, Builtin: map[string]bool{}}
	for _, deb := range debs {
		content, err := archive.Run(exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb))
		if err != nil {
			return nil, err
		}
		if err := image.add(bytes.NewReader(content)); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Base(deb), err)
		}
	}
	if image.Release == "" || len(image.Modules) == 0 || len(image.Builtin) == 0 {
		return nil, fmt.Errorf("%d packages without a kernel or without modules", len(debs))
	}
	return image, nil
}

func (i *Image) add(r io.Reader) error {
	for files := tar.NewReader(r); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Base(header.Name)
		if name == "vmlinuz" { // beside its modules, in newer packages
			name += "-" + path.Base(path.Dir(header.Name))
		}
		if err := i.file(name, files); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

// file takes what a machine needs; modules stay compressed until they are asked for.
func (i *Image) file(name string, r io.Reader) (err error) {
	stem, suffix, _ := strings.Cut(name, ".ko")
	release, isKernel := strings.CutPrefix(name, "vmlinuz-")
	switch {
	case isKernel:
		i.Release = release
		i.Kernel, err = io.ReadAll(r)
	case name == "modules.builtin":
		i.builtin, err = io.ReadAll(r)
		for _, line := range strings.Fields(string(i.builtin)) {
			i.Builtin[moduleName(strings.TrimSuffix(path.Base(line), ".ko"))] = true
		}
	case stem != name && (suffix == "" || suffix == ".xz"):
		i.Modules[moduleName(stem)], err = io.ReadAll(r)
	}
	return err
}

// moduleName is a module's one name; its file may have dashes where the kernel has underscores.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// module returns a module as the kernel loads it.
func (i *Image) module(ctx context.Context, name string) ([]byte, error) {
	content := i.Modules[name]
	if !bytes.HasPrefix(content, []byte("\xfd7zXZ\x00")) {
		return content, nil
	}
	cmd := exec.CommandContext(ctx, "xz", "--decompress", "--stdout")
	cmd.Stdin = bytes.NewReader(content)
	return archive.Run(cmd)
}

// load returns the modules in the order in which they can be loaded, everything that they need before them.
func (i *Image) load(ctx context.Context, wanted []string) (names []string, content map[string][]byte, err error) {
	content = map[string][]byte{}
	var visit func(name string) error
	visit = func(name string) error {
		if i.Builtin[name] || content[name] != nil {
			return nil
		}
		if i.Modules[name] == nil {
			return fmt.Errorf("module %s: not in the kernel's packages", name)
		}
		b, err := i.module(ctx, name)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		content[name] = b
		needs, err := needed(b)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return fmt.Errorf("%s needs %w", name, err)
			}
		}
		names = append(names, name)
		return nil
	}
	for _, name := range wanted {
		if err := visit(name); err != nil {
			return nil, nil, err
		}
	}
	return names, content, nil
}

// needed reads what a module depends on out of its section .modinfo: "depends=a,b". Source: scripts/mod/modpost.c,
// add_depends, 5.10 to 7.3.
func needed(module []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, field := range bytes.Split(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok {
			names = append(names, strings.FieldsFunc(moduleName(string(list)), func(r rune) bool { return r == ',' })...)
		}
	}
	slices.Sort(names)
	return names, nil
}
