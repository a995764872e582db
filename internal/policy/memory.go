package policy

import (
	"context"
	"errors"
	"runtime/metrics"
	"time"
)

const (
	// maxMemory is far more than any real control needs, and less than a node can spare.
	maxMemory   = 1 << 30
	memoryPause = 20 * time.Millisecond
)

var errMemory = errors.New("too much memory")

// withMemoryLimit ends the context, with the cause errMemory, once the heap has grown by more than limit bytes. Rego is
// interrupted between two expressions only: a single builtin that makes one huge text is not stopped in the middle.
func withMemoryLimit(parent context.Context, limit uint64) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	start := heapBytes()
	go func() {
		tick := time.NewTicker(memoryPause)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if now := heapBytes(); now > start && now-start > limit {
					cancel(errMemory)
				}
			}
		}
	}()
	return ctx
}

// heapBytes is the heap in use, dead objects that were not swept included.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
