package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// source says where snapshots come from: this node, another network namespace of it, or files written earlier.
type source struct {
	snapshots []string
	netns     string
	hostName  string
	sample    time.Duration
	keep      bool // the evidence is wanted whole, for a recording
	prove     bool // this node's kernel is asked, too
}

func (s *source) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.snapshots, "snapshot", nil, "audit a `file` written by ctaudit collect (or --record) instead of this node; repeatable, - for stdin")
	s.liveFlags(f)
}

func (s *source) liveFlags(f *pflag.FlagSet) {
	f.StringVar(&s.netns, "netns", "", "read another network namespace of this machine: a `name`, a path or a process id")
	f.StringVar(&s.hostName, "host-name", "", "report the node under this `name` (default: its own)")
	f.DurationVar(&s.sample, "sample", 0, "read counters twice, this far apart, for rates (0: once)")
}

func (s *source) check() error {
	if s.sample < 0 || s.sample > time.Hour {
		return fmt.Errorf("--sample %s: want between 0 and 1h", s.sample)
	}
	if len(s.snapshots) > 0 && (s.netns != "" || s.sample != 0) {
		return errors.New("--snapshot reads files: it does not go with --netns or --sample")
	}
	if len(s.snapshots) > 0 && s.prove {
		return withHint(errors.New("--prove asks this node's kernel: it does not go with --snapshot"), "to rebuild the node of a snapshot: ctaudit prove --snapshot FILE")
	}
	if len(s.snapshots) > 1 && s.hostName != "" {
		return errors.New("--host-name names one node: it does not go with several snapshots")
	}
	return nil
}

// each hands over one document after the other; several are never held at once.
func (s *source) each(ctx context.Context, stdin io.Reader, do func(*snapshot.Document) error) error {
	if err := s.check(); err != nil {
		return err
	}
	if len(s.snapshots) == 0 {
		doc, _, err := s.live(ctx)
		if err != nil {
			return err
		}
		return do(doc)
	}
	for _, path := range s.snapshots {
		doc, err := s.open(ctx, path, stdin)
		if err != nil {
			return err
		}
		if err := do(doc); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) live(ctx context.Context) (*snapshot.Document, *host.Evidence, error) {
	return s.collect(ctx, host.Local(host.LocalOptions{Namespace: s.netns}))
}

func (s *source) collect(ctx context.Context, h host.Host) (*snapshot.Document, *host.Evidence, error) {
	doc, ev, err := collect.Run(ctx, h, registry.All(), collect.Options{HostName: s.hostName, Sample: s.sample, Keep: s.keep, Tool: toolName()})
	return doc, ev, err
}

// recordingTitle begins every recording, whatever its version.
const recordingTitle = "ctaudit recording"

// open reads a snapshot, or a recording, told apart by how they begin.
func (s *source) open(ctx context.Context, path string, stdin io.Reader) (*snapshot.Document, error) {
	done := make(chan opened, 1)
	go func() {
		doc, err := s.read(ctx, path, stdin)
		done <- opened{doc, err}
	}()
	select {
	case o := <-done:
		return o.doc, o.err
	case <-ctx.Done(): // a pipe that nobody writes to is given up, reader and all
		return nil, ctx.Err()
	}
}

type opened struct {
	doc *snapshot.Document
	err error
}

func (s *source) read(ctx context.Context, path string, stdin io.Reader) (*snapshot.Document, error) {
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, withHint(fmt.Errorf("read snapshot: %w", err), "write one with: ctaudit collect > "+path)
		}
		defer f.Close()
		r = f
	}
	doc, err := s.decode(ctx, bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", printable(path), err)
	}
	if s.hostName != "" {
		doc.Host = s.hostName
	}
	return doc, nil
}

func (s *source) decode(ctx context.Context, r *bufio.Reader) (*snapshot.Document, error) {
	start, _ := r.Peek(len(recordingTitle))
	if string(start) == recordingTitle {
		rec, err := host.OpenRecording(r)
		if err != nil {
			return nil, err
		}
		doc, _, err := s.collect(ctx, rec)
		return doc, err
	}
	return snapshot.Decode(r)
}
