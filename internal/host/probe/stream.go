package probe

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
)

// What can come in place of an answer.
var (
	// ErrNoAnswer is wrapped by the error about output without the marker; its text is what came instead, escaped.
	ErrNoAnswer = errors.New("the script's answer did not begin")
	// ErrCut: the output ended before the answer did. Nothing of it is used.
	ErrCut = errors.New("the answer was cut")
	// ErrTooLong: the answer is longer than the limit.
	ErrTooLong = errors.New("the answer is too long")
)

const (
	maxNoise  = 1 << 20 // before the marker
	maxHeader = 8 << 10 // a record's words: a path and some numbers
)

// markerOf begins the line before the answer; the codec follows.
func markerOf(nonce string) string { return fmt.Sprintf("ctaudit-probe %d %s ", protocol, nonce) }

// open skips what stands before the answer, and returns the answer unpacked, at most limit bytes of it.
func open(r io.Reader, nonce string, limit int64) (*stream, error) {
	in := bufio.NewReaderSize(r, 32<<10)
	codec, err := findMarker(in, nonce)
	if err != nil {
		return nil, err
	}
	s := &stream{data: []byte("CT=" + nonce + "\x00"), end: []byte("END=" + nonce + "\x00")}
	switch codec {
	case "plain":
		s.in = bufio.NewReaderSize(&bounded{r: host.Weighed(in, r), left: limit}, 64<<10)
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, cutOr(err)
		}
		z.Multistream(false)
		s.packed = true
		s.in = bufio.NewReaderSize(&bounded{r: host.Weighed(z, r), left: limit}, 64<<10)
	default:
		return nil, fmt.Errorf("the answer is packed with %.20q, which nobody asked for", codec)
	}
	return s, nil
}

// findMarker reads up to the end of the marker's line and returns the codec that it names.
func findMarker(in *bufio.Reader, nonce string) (string, error) {
	marker := []byte(markerOf(nonce))
	var noise []byte
	for skipped := 0; ; {
		line, err := in.ReadSlice('\n')
		if i := bytes.Index(line, marker); i >= 0 && err == nil {
			return strings.TrimSpace(string(line[i+len(marker):])), nil
		} else if i >= 0 {
			return "", cutOr(err)
		}
		skipped += len(line)
		if noise = append(noise, line...); len(noise) > 2*maxHeader {
			noise = append(noise[:0], noise[len(noise)-maxHeader:]...)
		}
		switch {
		case skipped > maxNoise:
			return "", fmt.Errorf("%w: %d bytes of something else came: %s", ErrNoAnswer, skipped, excerpt(noise))
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return "", fmt.Errorf("%w: %s", ErrNoAnswer, excerpt(noise))
		default:
			return "", err
		}
	}
}

// excerpt is the last lines of what came, quoted so that nothing in it reaches a terminal.
func excerpt(noise []byte) string {
	const lines, width = 3, 200
	text := strings.TrimSpace(string(noise))
	if text == "" {
		return "nothing came"
	}
	all := strings.Split(text, "\n")
	all = all[max(0, len(all)-lines):]
	for i, l := range all {
		all[i] = fmt.Sprintf("%.*q", width, strings.TrimSpace(l))
	}
	return strings.Join(all, ", ")
}

// bounded ends with ErrTooLong where more than left bytes come.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, ErrTooLong
	}
	return n, err
}

// cutOr turns the ends that an incomplete stream has into ErrCut.
func cutOr(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}

// stream is the records of an answer.
type stream struct {
	in        *bufio.Reader
	packed    bool   // with gzip, which checks it
	data, end []byte // what ends data
	piece     []byte // what is being read
}

// words reads a record's words up to its NUL. The last of n words takes the rest, blanks included.
func (s *stream) words() (string, error) {
	var b []byte
	for {
		part, err := s.in.ReadSlice(0)
		b = append(b, part...)
		switch {
		case len(b) > maxHeader:
			return "", fmt.Errorf("a record without an end: %.80q", b)
		case err == nil:
			return string(b[:len(b)-1]), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", cutOr(err)
		}
	}
}

// segment reads data up to its end, and says whether it was the last of several. More than limit bytes are a lie, since the
// script stops there.
func (s *stream) segment(limit int64) (b []byte, last bool, err error) {
	s.piece = s.piece[:0]
	for {
		part, err := s.in.ReadSlice(0)
		s.piece = append(s.piece, part...)
		switch {
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, cutOr(err)
		case err == nil && bytes.HasSuffix(s.piece, s.data):
			return within(s.piece[:len(s.piece)-len(s.data)], false, limit)
		case err == nil && bytes.HasSuffix(s.piece, s.end):
			return within(s.piece[:len(s.piece)-len(s.end)], true, limit)
		case int64(len(s.piece)) > limit+int64(len(s.end)):
			return nil, false, fmt.Errorf("more than %d bytes where the script stops", limit)
		}
	}
}

// within is data as it stays: a copy of its own size, since what it was read into is used again.
func within(b []byte, last bool, limit int64) ([]byte, bool, error) {
	if int64(len(b)) > limit {
		return nil, false, fmt.Errorf("%d bytes where the script stops at %d", len(b), limit)
	}
	return append(make([]byte, 0, len(b)), b...), last, nil
}

// only reads data that is one piece.
func (s *stream) only(limit int64) ([]byte, error) {
	b, last, err := s.segment(limit)
	if err == nil && !last {
		err = errors.New("data in pieces where one was due")
	}
	return b, err
}

// drain reads what is packed to its end, so that the checksum is verified; nothing may be left. What a login prints behind a
// plain answer is no part of it.
func (s *stream) drain() error {
	if !s.packed {
		return nil
	}
	n, err := io.Copy(io.Discard, s.in)
	if err == nil && n > 0 {
		err = fmt.Errorf("%d bytes behind the end", n)
	}
	return cutOr(err)
}

// output is what a program left.
type output struct {
	data   []byte
	stderr string
	status int
	asks   bool   // the kernel was asked although nobody knew whether it has the module
	name   string // which of the alternatives
}

// output reads a program's output: data, then the end of its complaints with ":status" in the last line.
func (s *stream) output(limit int64) (*output, error) {
	data, err := s.only(limit)
	if err != nil {
		return nil, err
	}
	tail, err := s.tail()
	if err != nil {
		return nil, err
	}
	o := &output{data: data}
	i := strings.LastIndexByte(tail, ':')
	if i < 0 {
		return nil, fmt.Errorf("a program without a status: %.80q", tail)
	}
	if o.status, err = strconv.Atoi(tail[i+1:]); err != nil || o.status < 0 {
		return nil, fmt.Errorf("a program without a status: %.80q", tail[i:])
	}
	o.stderr = strings.TrimSuffix(tail[:i], "\n")
	return o, nil
}

// tail reads words that may be somewhat longer than others.
func (s *stream) tail() (string, error) {
	b, err := s.in.ReadBytes(0)
	if err != nil {
		return "", cutOr(err)
	}
	if len(b) > maxHeader+2 {
		return "", fmt.Errorf("complaints of %d bytes", len(b))
	}
	return string(b[:len(b)-1]), nil
}
