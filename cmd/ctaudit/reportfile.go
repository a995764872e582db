package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ctaudit/ctaudit/internal/report"
)

// eachHost reads a JSON report and hands over one host after the other: a fleet's may be larger than memory. It returns the
// report without its hosts.
func eachHost(r io.Reader, do func(*report.Host) error) (*report.Report, error) {
	f := &reportFile{dec: json.NewDecoder(r), do: do}
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

type reportFile struct {
	dec   *json.Decoder
	do    func(*report.Host) error
	head  report.Report
	lists int // of hosts
}

func (f *reportFile) document() error {
	if err := f.delim('{'); err != nil {
		return err
	}
	for f.dec.More() {
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
	for f.dec.More() {
		var h report.Host
		if err := f.dec.Decode(&h); err != nil {
			return err
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
