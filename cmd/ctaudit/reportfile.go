package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/report"
)

// eachHost reads a JSON report and hands over one host after the other: a fleet's may be larger than memory. It returns the
// report without its hosts.
func eachHost(r io.Reader, do func(*report.Host) error) (*report.Report, error) {
	part := &bounded{Reader: r}
	f := &reportFile{dec: json.NewDecoder(part), part: part, do: do}
	if err := f.document(); err != nil {
		return nil, err
	}
	switch {
	case f.head.Version != report.Version:
		return nil, fmt.Errorf("it is no report of version %d", report.Version)
	case f.lists != 1:
		return nil, errors.New("it has no list of hosts")
	case len(f.head.Controls) == 0: // nothing that hosts could lack
		return nil, errors.New("it has no controls")
	}
	return &f.head, nil
}

// bounded is read part by part, each of which is held whole and must not be larger than a journal's line.
type bounded struct {
	io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("a part of it is larger than %d MiB", journal.MaxLine>>20)
	}
	n, err := b.Reader.Read(p)
	b.left -= n
	return n, err
}

func (b *bounded) next() { b.left = journal.MaxLine }

type reportFile struct {
	dec   *json.Decoder
	part  *bounded
	do    func(*report.Host) error
	head  report.Report
	lists int // of hosts
}

func (f *reportFile) document() error {
	f.part.next()
	if err := f.delim('{'); err != nil {
		return err
	}
	for f.dec.More() {
		f.part.next()
		key, err := f.dec.Token()
		if err != nil {
			return err
		}
		if err := f.member(key); err != nil {
			return err
		}
	}
	return f.delim('}')
}

func (f *reportFile) member(key json.Token) error {
	switch key {
	case "version":
		return f.dec.Decode(&f.head.Version)
	case "shard":
		return f.dec.Decode(&f.head.Shard)
	case "controls":
		return f.dec.Decode(&f.head.Controls)
	case "hosts":
		f.lists++
		return f.hosts()
	}
	var skipped json.RawMessage
	return f.dec.Decode(&skipped)
}

func (f *reportFile) hosts() error {
	if err := f.delim('['); err != nil {
		return err
	}
	for n := 1; f.dec.More(); n++ {
		f.part.next()
		var h report.Host
		if err := f.dec.Decode(&h); err != nil {
			return fmt.Errorf("host %d, at byte %d: %w", n, f.dec.InputOffset(), err)
		}
		if err := f.do(&h); err != nil {
			return err
		}
	}
	return f.delim(']')
}

func (f *reportFile) delim(want json.Delim) error {
	got, err := f.dec.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v should be", got, want)
	}
	return err
}
