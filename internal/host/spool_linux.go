package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spool gathers an answer of unknown length outside the Go heap and hands it over as one slice of the exact size. A
// growing slice would copy 16 MB of rules several times and leave the old copies to the collector; here each piece is
// given back to the system as soon as it is copied, so the peak is little more than the answer itself.
//
// With to set it hands each piece over there instead, and keeps one: size still counts everything.
type spool struct {
	chunks [][]byte
	fill   []int // bytes used of each chunk
	size   int
	to     func([]byte)
}

const (
	firstChunk = 256 << 10
	maxChunk   = 4 << 20
)

// space returns room for at least want bytes, to be filled from its start and then reported to grow.
func (s *spool) space(want int) ([]byte, error) {
	if k := len(s.chunks) - 1; k >= 0 && len(s.chunks[k])-s.fill[k] >= want {
		return s.chunks[k][s.fill[k]:], nil
	}
	if s.to != nil {
		s.handOver()
	}
	if k := len(s.chunks) - 1; k >= 0 && s.to != nil && len(s.chunks[k]) >= want {
		return s.chunks[k], nil
	}
	size := firstChunk
	if k := len(s.chunks) - 1; k >= 0 {
		size = min(4*len(s.chunks[k]), maxChunk)
	}
	chunk, err := unix.Mmap(-1, 0, max(size, want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("allocate %d bytes: %w", max(size, want), err)
	}
	s.chunks, s.fill = append(s.chunks, chunk), append(s.fill, 0)
	return chunk, nil
}

func (s *spool) grow(n int) {
	s.fill[len(s.fill)-1] += n
	s.size += n
}

// write appends a copy of b.
func (s *spool) write(b []byte) error {
	p, err := s.space(len(b))
	if err != nil {
		return err
	}
	s.grow(copy(p, b))
	return nil
}

// handOver gives away what is there.
func (s *spool) handOver() {
	for k, chunk := range s.chunks {
		if s.fill[k] > 0 {
			s.to(chunk[:s.fill[k]])
		}
		s.fill[k] = 0
	}
}

// cut drops everything behind the first size bytes. With to set no more can be dropped than what was written last.
func (s *spool) cut(size int) {
	for k := len(s.fill) - 1; s.size > size && k >= 0; k-- {
		drop := min(s.fill[k], s.size-size)
		s.fill[k] -= drop
		s.size -= drop
		if s.fill[k] == 0 {
			unix.Munmap(s.chunks[k])
			s.chunks, s.fill = s.chunks[:k], s.fill[:k]
		}
	}
}

// take returns what was gathered and empties the spool.
func (s *spool) take() []byte {
	out := make([]byte, 0, s.size)
	for k, chunk := range s.chunks {
		out = append(out, chunk[:s.fill[k]]...)
		unix.Munmap(chunk)
	}
	*s = spool{}
	return out
}

func (s *spool) drop() { s.cut(0); s.take() }
