package host_test

import (
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
)

// TestAnswerByKey: an answer is found by the key that it stands under, however long that is.
func TestAnswerByKey(t *testing.T) {
	for _, args := range [][]string{nil, {""}, {"/proc/sys/net"}, {"nft", "-j", "list"}, {strings.Repeat("x", 1000), "y"}} {
		n := host.Need{Kind: host.Command, Args: args}
		want := &host.Answer{}
		ev := &host.Evidence{Answers: map[string]*host.Answer{n.Key(): want}}
		if got := ev.Answer(n); got != want {
			t.Errorf("%.40q: %+v", n.Key(), got)
		}
	}
}
