package journal

import (
	"errors"
	"fmt"
	"io"
)

// batch is lines that are written and synced together.
type batch struct {
	lines   []byte
	noted   map[string]place // offsets from the batch's start
	written bool
	err     error
}

// WriteError is that the journal can take no more: what it took before is kept.
type WriteError struct {
	Path string
	Err  error
}

// Error names the file and the cause.
func (e *WriteError) Error() string { return fmt.Sprintf("journal %s: %v", e.Path, e.Err) }

// Unwrap is the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// Append notes what came of a host, and returns once that is on the disk. After an error, a [WriteError], the host is not done,
// nothing of it is in the file, and every later Append fails as well.
func (j *Journal) Append(e Entry) error {
	line, err := entryLine(e)
	if err == nil {
		err = tooLong(line)
	}
	if err != nil {
		return err
	}
	b := j.join(e, line)
	j.io.Lock()
	defer j.io.Unlock()
	if !b.written { // the first of the batch writes for all of it
		j.leave(b)
		b.err = j.write(b.lines)
		b.written = true
		j.settle(b)
	}
	return b.err
}

// join puts a line into the batch that will be written next.
func (j *Journal) join(e Entry, line []byte) *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.batch == nil {
		j.batch = &batch{noted: map[string]place{}}
	}
	b := j.batch
	b.noted[e.Host] = place{int64(len(b.lines)), len(line), e.Attempt, e.Outcome, e.Where}
	b.lines = append(b.lines, line...)
	return b
}

// leave closes the batch: who comes now goes with the next one.
func (j *Journal) leave(b *batch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.batch == b {
		j.batch = nil
	}
}

// settle makes a written batch's hosts done.
func (j *Journal) settle(b *batch) {
	if b.err != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	start := j.size - int64(len(b.lines))
	for host, p := range b.noted {
		p.offset += start
		j.index[host] = p
	}
}

// Rehead writes a new header, for a journal that goes on under other conditions.
func (j *Journal) Rehead(h Header) error {
	j.io.Lock()
	defer j.io.Unlock()
	return j.writeHeader(h)
}

func (j *Journal) writeHeader(h Header) error {
	line, err := headerLine(h)
	if err != nil {
		return err
	}
	if err := j.write(line); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.header = h
	j.header.Journal = Version
	return nil
}

// write puts lines behind the last one, all of them or none: what a full disk took of them is taken back.
func (j *Journal) write(lines []byte) error {
	if j.broken != nil {
		return j.broken
	}
	n, err := j.file.WriteAt(lines, j.size)
	if err == nil && n < len(lines) {
		err = io.ErrShortWrite
	}
	if err == nil && j.keep {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = &WriteError{j.path, errors.Join(cause(err), j.file.Truncate(j.size))}
		return j.broken
	}
	j.size += int64(len(lines))
	return nil
}

// cause leaves out the operation and the path, which the WriteError says.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
