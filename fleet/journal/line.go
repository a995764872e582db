package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// A line ends with the CRC-32C of what stands in front of it, as the last member of its object.
const (
	sumKey  = `,"sum":"`
	sumEnd  = `"}`
	sumSize = len(sumKey) + 8 + len(sumEnd)
)

// reportKey stands in front of an entry's report. Inside a JSON string its quotes would be escaped, so that the first one is it.
const reportKey = `,"report":`

func checksum(b []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// seal turns an object without its closing brace into a line.
func seal(open []byte) []byte {
	sum := checksum(open)
	line := append(open, sumKey...)
	line = append(line, sum...)
	return append(line, sumEnd+"\n"...)
}

// unseal returns the object of a line without its closing brace, or why the line cannot be used.
func unseal(line []byte) ([]byte, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	at := len(line) - sumSize
	if at < 1 || !bytes.HasPrefix(line[at:], []byte(sumKey)) || !bytes.HasSuffix(line, []byte(sumEnd)) {
		return nil, errors.New("no checksum")
	}
	if string(line[at+len(sumKey):len(line)-len(sumEnd)]) != checksum(line[:at]) {
		return nil, errors.New("wrong checksum")
	}
	return line[:at], nil
}

func headerLine(h Header) ([]byte, error) {
	h.Journal = Version
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return seal(b[:len(b)-1]), nil
}

// meta is an entry without its report.
type meta struct {
	Host    string `json:"host"`
	Attempt int    `json:"attempt"`
	Outcome string `json:"outcome"`
	Where   string `json:"where,omitempty"`
}

// entryLine puts the report in as it is: encoding it again would cost more than the rest of a host's line.
func entryLine(e Entry) ([]byte, error) {
	if bytes.IndexByte(e.Report, '\n') >= 0 || len(e.Report) == 0 {
		return nil, fmt.Errorf("entry of %q: a report is one line of JSON", e.Host)
	}
	b, err := json.Marshal(meta{e.Host, e.Attempt, e.Outcome, e.Where})
	if err != nil {
		return nil, err
	}
	line := make([]byte, 0, len(b)+len(reportKey)+len(e.Report)+sumSize+1)
	line = append(append(line, b[:len(b)-1]...), reportKey...)
	return seal(append(line, e.Report...)), nil
}

// parseEntry reads what unseal returned. The report is part of b.
func parseEntry(b []byte) (Entry, error) {
	front, report, ok := bytes.Cut(b, []byte(reportKey))
	var m meta
	if !ok || json.Unmarshal(append(bytes.Clone(front), '}'), &m) != nil || m.Host == "" || m.Attempt < 1 {
		return Entry{}, errors.New("no entry of a host")
	}
	return Entry{Host: m.Host, Attempt: m.Attempt, Outcome: m.Outcome, Where: m.Where, Report: report}, nil
}

// isHeader tells a header from an entry.
func isHeader(line []byte) bool { return bytes.HasPrefix(line, []byte(`{"journal":`)) }

func parseHeader(line []byte) (Header, error) {
	var h Header
	open, err := unseal(line)
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(append(bytes.Clone(open), '}'), &h); err != nil {
		return h, err
	}
	if h.Journal != Version {
		return h, fmt.Errorf("version %d: this ctaudit reads version %d", h.Journal, Version)
	}
	return h, nil
}

// hostIn guesses whose a damaged line is.
func hostIn(line []byte) string {
	rest, ok := bytes.CutPrefix(line, []byte(`{"host":`))
	if !ok {
		return ""
	}
	var name string
	if json.NewDecoder(bytes.NewReader(rest)).Decode(&name) != nil {
		return ""
	}
	return name
}
