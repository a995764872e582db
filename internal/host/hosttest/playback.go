package hosttest

import (
	"bytes"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
)

// Playback records evidence and returns the host that plays the recording back.
func Playback(t testing.TB, ev *host.Evidence) host.Host {
	t.Helper()
	var tape bytes.Buffer
	if err := host.Record(&tape, ev); err != nil {
		t.Fatal(err)
	}
	h, err := host.OpenRecording(&tape)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
