package kernels

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/ctaudit/ctaudit/internal/lab/archive"
)

// Qemu is the emulator.
const Qemu = "qemu-system-x86_64"

// limit is for one machine from power on to power off; a kernel takes half a minute, on a machine that is very busy ten times that.
const limit = 10 * time.Minute

// Boot starts the kernel with the programs, runs the init script and returns the files that it left, by name. Two CPUs: the
// proof pins its questions to one each. All is emulated in software, so that it is the same on every machine. When the context
// ends, or this process, so does the machine.
func Boot(ctx context.Context, image *Image, programs []Program) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "ctaudit-kernel-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	initrd, err := initramfs(ctx, image, programs)
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(file("kernel"), image.Kernel, 0o644), os.WriteFile(file("initrd"), initrd, 0o644)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the machine was not done after %s", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, Qemu,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "768",
		"-kernel", file("kernel"), "-initrd", file("initrd"), "-append", "console=ttyS0 panic=-1 loglevel=4 no_timer_check",
		"-serial", "file:"+file("console"), "-serial", "file:"+file("out"),
		"-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,romfile=",
	)
	runtime.LockOSThread() // the signal comes when the thread ends that started the machine
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	_, err = archive.Run(cmd)
	runtime.UnlockOSThread()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	files, unread := results(file("out"))
	if err = errors.Join(err, unread); err != nil {
		console, _ := os.ReadFile(file("console"))
		return nil, fmt.Errorf("boot %s: %w; the end of its console:\n%s", image.Release, err, console[max(0, len(console)-4000):])
	}
	return files, nil
}

// maxFile is more than any file that the machine leaves, octets.
const maxFile = 64 << 20

// results reads the archive that the machine sent; gzip's checksum covers it.
func results(name string) (map[string][]byte, error) {
	sent, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(sent))
	if err != nil {
		return nil, fmt.Errorf("the machine sent %d octets: %w", len(sent), err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, unzipped)
			return files, err
		}
		if err != nil {
			return nil, fmt.Errorf("the machine sent %d octets: %w", len(sent), err)
		}
		if header.Typeflag == tar.TypeReg {
			if files[path.Base(header.Name)], err = io.ReadAll(io.LimitReader(archive, maxFile)); err != nil {
				return nil, err
			}
		}
	}
}
