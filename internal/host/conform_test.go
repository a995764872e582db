package host_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func local(_ *testing.T, node *hosttest.Node, _ []host.Need) host.Host {
	return host.Local(host.LocalOptions{Namespace: node.Netns.Path()})
}

// recorded plays back what Local reads.
func recorded(t *testing.T, node *hosttest.Node, needs []host.Need) host.Host {
	ev, err := local(t, node, needs).Fetch(t.Context(), host.Request{Needs: needs})
	if err != nil {
		t.Fatal(err)
	}
	return hosttest.Playback(t, ev)
}

func TestConformance(t *testing.T) {
	t.Run("local", func(t *testing.T) { hosttest.Run(t, local) })
	t.Run("recorded", func(t *testing.T) { hosttest.Run(t, recorded) })
}
