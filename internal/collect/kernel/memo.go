package kernel

import (
	"crypto/sha256"
	"sync"
)

// memo keeps what the last few different files were parsed to. The nodes of a fleet have few kernels among them, and a kernel's
// configuration is the largest of all that is read of an ordinary node. What comes of a file depends on its bytes alone, so that no
// node can say anything for another. The values are shared: nobody may change them.
type memo[T configured | []string] struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]T
}

// A node can send what it likes: these bound what is kept of it. Where there are more kernels than that, the memo begins anew.
const (
	maxKept = 32
	maxSize = 256 << 10 // bytes of names and values; what a distribution's kernel has about netfilter are some 15 KiB
)

// parse is a parser that asks the memo first; a nil memo knows nothing.
func (m *memo[T]) parse(parse func([]byte) (T, error)) func([]byte) (T, error) {
	if m == nil {
		return parse
	}
	return func(b []byte) (T, error) {
		sum := sha256.Sum256(b)
		m.mu.Lock()
		v, ok := m.known[sum]
		m.mu.Unlock()
		if ok {
			return v, nil
		}
		v, err := parse(b)
		if err == nil && size(v) <= maxSize {
			m.keep(sum, v)
		}
		return v, err
	}
}

func size[T configured | []string](v T) int {
	n := 0
	switch v := any(v).(type) {
	case configured:
		for name, value := range v.options {
			n += len(name) + len(value)
		}
	case []string:
		for _, name := range v {
			n += len(name)
		}
	}
	return n
}

func (m *memo[T]) keep(sum [sha256.Size]byte, v T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxKept {
		m.known = map[[sha256.Size]byte]T{}
	}
	m.known[sum] = v
}
