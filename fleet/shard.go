package fleet

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Shard is one of several parts of an inventory, Index from 0 to Of-1. The zero Shard is all of it.
type Shard struct{ Index, Of int }

// ParseShard reads "3/8": the fourth of eight parts. Empty is all.
func ParseShard(s string) (Shard, error) {
	if s == "" {
		return Shard{}, nil
	}
	index, of, _ := strings.Cut(s, "/")
	i, err1 := strconv.Atoi(index)
	n, err2 := strconv.Atoi(of)
	if err1 != nil || err2 != nil || n < 1 || i < 0 || i >= n {
		return Shard{}, fmt.Errorf("shard %q: want i/n, with i from 0 to n-1", s)
	}
	return Shard{i, n}, nil
}

// String is what ParseShard reads.
func (s Shard) String() string {
	if s.Of == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.Index, s.Of)
}

// Has reports whether a host belongs to the part. That follows from its inventory name and the number of parts alone (the first eight
// bytes of the name's SHA-256, big endian, modulo n): hosts that come and go move no other host.
func (s Shard) Has(name string) bool {
	if s.Of <= 1 {
		return true
	}
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:])%uint64(s.Of) == uint64(s.Index)
}

// Select returns the targets of the part, in their order.
func (s Shard) Select(targets []Target) []Target {
	var out []Target
	for _, t := range targets {
		if s.Has(t.Name) {
			out = append(out, t)
		}
	}
	return out
}
