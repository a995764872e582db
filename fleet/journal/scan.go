package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
)

// scan reads the whole journal once and notes where each host's last entry stands.
func (j *Journal) scan() error {
	r := bufio.NewReaderSize(io.NewSectionReader(j.file, 0, 1<<62), 1<<18)
	for number := 1; ; number++ {
		line, size, err := readLine(r)
		if errors.Is(err, io.EOF) {
			j.cut = size
			return nil
		}
		if err != nil {
			return err
		}
		if err := j.note(number, line); err != nil {
			return err
		}
		j.size += size
	}
}

// MaxLine is the longest line that is written or read, in bytes: a report far larger than any real node's. A journal may come from
// elsewhere, and its lines are held one at a time.
const MaxLine = 64 << 20

// readLine reads a line and how long it is. Of one that is longer than MaxLine only the beginning is kept.
func readLine(r *bufio.Reader) (line []byte, size int64, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		size += int64(len(piece))
		if room := MaxLine + 1 - len(line); len(piece) > room {
			piece = piece[:room]
		}
		line = append(line, piece...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, size, err
		}
	}
}

// tooLong says so of a line that was not kept whole, or that must not be written.
func tooLong(line []byte) error {
	if len(line) > MaxLine {
		return fmt.Errorf("longer than %d MiB", MaxLine>>20)
	}
	return nil
}

// note takes one whole line. Without a header in front nothing of a journal means anything.
func (j *Journal) note(number int, line []byte) error {
	if number == 1 || isHeader(line) {
		var h Header
		err := tooLong(line)
		if err == nil {
			h, err = parseHeader(line)
		}
		switch {
		case err == nil:
			j.header = h
		case number == 1:
			return fmt.Errorf("line 1: the header cannot be used: %w", err)
		default:
			j.damaged = append(j.damaged, Damage{Line: number, Why: err.Error()})
		}
		return nil
	}
	var e Entry
	err := tooLong(line)
	if err == nil {
		e, err = parseLine(line)
	}
	if err != nil {
		j.damaged = append(j.damaged, Damage{Line: number, Host: hostIn(line), Why: err.Error()})
		return nil
	}
	j.index[e.Host] = place{j.size, len(line), e.Attempt, e.Outcome, e.Where}
	return nil
}

func parseLine(line []byte) (Entry, error) {
	open, err := unseal(line)
	if err != nil {
		return Entry{}, err
	}
	return parseEntry(open)
}

// Entry reads a host's last entry; false: it has none.
func (j *Journal) Entry(host string) (Entry, bool, error) {
	j.mu.Lock()
	p, ok := j.index[host]
	j.mu.Unlock()
	if !ok {
		return Entry{}, false, nil
	}
	line := make([]byte, p.length)
	if _, err := j.file.ReadAt(line, p.offset); err != nil {
		return Entry{}, false, fmt.Errorf("journal %s: read %s: %w", j.path, host, err)
	}
	open, err := unseal(line)
	if err != nil {
		return Entry{}, false, fmt.Errorf("journal %s: read %s: %w", j.path, host, err)
	}
	e, err := parseEntry(open)
	return e, err == nil, err
}

// Entries hands over every host's last entry, one at a time, by the hosts' names.
func (j *Journal) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, host := range j.Hosts() {
			e, _, err := j.Entry(host)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
