package sshhost

import (
	"bufio"
	"context"
)

// lightAnswer is how many bytes of an answer, unpacked, every host may hold: more than a node with a hundred thousand iptables
// rules has. Hosts with more than that wait for each other, heavyAnswers at a time, so that bombs do not cost the memory of one
// for each slot, and one that stalls does not hold up every large node.
const (
	lightAnswer  = 32 << 20
	heavyAnswers = 2
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

// done makes room.
func (w *weighed) done() {
	if w.heavy {
		<-w.room
	}
}
