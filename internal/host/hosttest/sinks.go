package hosttest

import (
	"encoding/binary"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
)

// Taken is a sink that keeps what it is given.
type Taken struct {
	Began int
	Data  []byte
}

// Begin forgets everything.
func (s *Taken) Begin() { s.Began, s.Data = s.Began+1, nil }

// Piece keeps a copy, and spoils the host's bytes afterwards: they may hold anything by then.
func (s *Taken) Piece(b []byte) {
	s.Data = append(s.Data, b...)
	clear(b)
}

// sinks wants every need's answer to be the same with a sink as without: in the sink, or in the answer as usual.
func sinks(t *testing.T, h host.Host, needs []host.Need, want *host.Evidence) {
	taken := map[string]host.Sink{}
	for _, n := range needs {
		taken[n.Key()] = &Taken{}
	}
	ev, err := h.Fetch(t.Context(), host.Request{Needs: needs, Sinks: taken})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range needs {
		have, whole := ev.Answer(n), want.Answer(n)
		data := have.Data
		if have.Sink != nil {
			s, ok := have.Sink.(*Taken)
			if !ok || have.Sink != taken[n.Key()] || have.Data != nil || s.Began == 0 {
				t.Errorf("%s: not the sink of the request, or data besides it", n.Key())
				continue
			}
			data = s.Data
		}
		if have.Absent != whole.Absent || have.Err != whole.Err || have.Truncated != whole.Truncated {
			t.Errorf("%s: have %+v, want %+v", n.Key(), have, whole)
		}
		if n.Kind == host.Netlink && !sameMessages(data, whole.Data) {
			t.Errorf("%s: %d bytes in pieces differ from %d bytes whole", n.Key(), len(data), len(whole.Data))
		}
	}
}

// sameMessages compares types and lengths: sequence and port numbers differ, and counters grow.
func sameMessages(a, b []byte) bool {
	for len(a) >= 16 && len(b) >= 16 {
		size := (int(binary.NativeEndian.Uint32(a)) + 3) &^ 3
		if string(a[:6]) != string(b[:6]) || size < 16 || size > len(a) || size > len(b) {
			return false
		}
		a, b = a[size:], b[size:]
	}
	return len(a) == 0 && len(b) == 0
}
