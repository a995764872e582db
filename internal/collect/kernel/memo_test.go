package kernel

import (
	"fmt"
	"strings"
	"testing"
)

// TestMemo: what was parsed before is not parsed again, mistakes are never kept, and what is kept is bounded.
func TestMemo(t *testing.T) {
	var m memo[[]string]
	calls := 0
	parse := m.parse(func(b []byte) ([]string, error) {
		calls++
		if len(b) == 0 {
			return nil, fmt.Errorf("empty")
		}
		return []string{string(b)}, nil
	})
	for _, step := range []struct {
		text  string
		calls int
	}{{"a", 1}, {"a", 1}, {"b", 2}, {"a", 2}, {"", 3}, {"", 4}, {strings.Repeat("x", maxSize+1), 5}, {strings.Repeat("x", maxSize+1), 6}, {"b", 6}} {
		got, err := parse([]byte(step.text))
		if (err != nil) != (step.text == "") || err == nil && got[0] != step.text || calls != step.calls {
			t.Errorf("%.20q: %.20q, %v, %d calls, want %d", step.text, got, err, calls, step.calls)
		}
	}
	for i := range 10 * maxKept {
		if _, err := parse(fmt.Append(nil, i)); err != nil || len(m.known) > maxKept {
			t.Fatalf("%v, %d kept", err, len(m.known))
		}
	}
	var none *memo[[]string]
	if got, err := none.parse(parseBuiltin)([]byte("kernel/net/netfilter/nf_conntrack.ko\n")); err != nil || len(got) != 1 {
		t.Errorf("without a memo: %v, %v", got, err)
	}
}
