package render

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// File writes a file whole or not at all: readers see the old content until everything is written, and after an error
// nothing is left behind. What exists and is no regular file (a pipe, /dev/stdout) is written to directly.
func File(path string, write func(io.Writer) error) error {
	p, err := Begin(path)
	if err != nil {
		return err
	}
	return p.End(write(p))
}

// Pending is a file that is being written; see [File].
type Pending struct {
	*bufio.Writer
	path    string
	pending *renameio.PendingFile // nil: direct
	direct  *os.File
}

// Begin begins a file. End has to be called, whatever comes.
func Begin(path string) (*Pending, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("write %w", err)
		}
		return &Pending{Writer: bufio.NewWriter(f), path: path, direct: f}, nil
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // replace what the link points to, not the link
	}
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, Cause(err, path))
	}
	return &Pending{Writer: bufio.NewWriter(f), path: path, pending: f}, nil
}

// End puts the file into its place, or removes it when the writing failed.
func (p *Pending) End(failed error) error {
	if failed == nil {
		failed = p.Flush()
	}
	switch {
	case p.direct != nil:
		failed = errors.Join(failed, p.direct.Close())
	case failed != nil:
		_ = p.pending.Cleanup()
	default:
		if failed = p.pending.CloseAtomicallyReplace(); failed != nil {
			_ = p.pending.Cleanup()
		}
	}
	if failed != nil {
		return fmt.Errorf("write %s: %w", p.path, Cause(failed, p.path))
	}
	return nil
}

// Cause leaves out of an error the name of the temporary file that stands for path, and the operation: only who wrote it knows it.
func Cause(err error, path string) error {
	var at *fs.PathError
	if errors.As(err, &at) && (at.Path == path || strings.HasPrefix(filepath.Base(at.Path), "."+filepath.Base(path))) {
		return at.Err
	}
	return err
}
