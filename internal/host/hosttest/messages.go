package hosttest

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
)

// messages wants whole netlink messages of one type, in which each of the texts occurs.
func messages(typ uint16, texts ...string) func(*testing.T, *host.Answer) {
	return func(t *testing.T, a *host.Answer) {
		t.Helper()
		if a == nil || a.Err != "" || a.Absent || a.Truncated || len(a.Data) == 0 {
			t.Fatalf("want messages, have %+v", a)
		}
		for rest := a.Data; len(rest) > 0; {
			if len(rest) < 16 {
				t.Fatalf("%d bytes behind the last message", len(rest))
			}
			size := (int(binary.NativeEndian.Uint32(rest)) + 3) &^ 3
			if size < 16 || size > len(rest) {
				t.Fatalf("message of %d bytes in %d", size, len(rest))
			}
			if have := binary.NativeEndian.Uint16(rest[4:]); have != typ {
				t.Fatalf("message of type %#x, want %#x", have, typ)
			}
			rest = rest[size:]
		}
		for _, s := range texts {
			if !bytes.Contains(a.Data, []byte(s)) {
				t.Errorf("%q is in no message", s)
			}
		}
	}
}
