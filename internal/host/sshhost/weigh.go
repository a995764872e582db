package sshhost

import (
	"bufio"
	"context"
	"runtime/debug"
)

// lightAnswer is how many bytes of an answer, unpacked, every host may hold; hosts with more than that wait for each other,
// heavyAnswers at a time. An ordinary node has a hundredth of it, and a bomb costs what one node does, and not one for each slot.
const (
	lightAnswer  = 8 << 20
	heavyAnswers = 1
)

// weighed is an answer that is weighed while it is unpacked (see [host.Weigher]).
type weighed struct {
	*bufio.Reader
	ctx   context.Context
	room  chan struct{}
	bytes int64
	heavy bool
}

func (c *Client) weigh(ctx context.Context, answer *bufio.Reader) *weighed {
	return &weighed{Reader: answer, ctx: ctx, room: c.room}
}

// Weigh waits for room once the answer is heavy, within the time of the reading.
func (w *weighed) Weigh(n int) error {
	w.bytes += int64(n)
	if w.heavy || w.bytes <= lightAnswer {
		return nil
	}
	select {
	case w.room <- struct{}{}:
		w.heavy = true
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// done makes room. What a bomb left is garbage, which is collected before the next heavy answer comes on top of it.
func (w *weighed) done() {
	if w.heavy {
		debug.FreeOSMemory()
		<-w.room
	}
}
