package replay_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
)

// TestRecording replays what the kernel did in a recorded run of internal/lab/oracle. It is how mutants of the evaluator
// are tried: see TestMutants there.
func TestRecording(t *testing.T) {
	file := os.Getenv("CTAUDIT_RECORDING")
	if file == "" {
		t.Skip("no recording: go test ./internal/lab/oracle -oracle.record FILE, then CTAUDIT_RECORDING=FILE")
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var total replay.Tally
	cases := 0
	for d := json.NewDecoder(bufio.NewReaderSize(f, 1<<20)); ; cases++ {
		var c replay.Case
		if err := d.Decode(&c); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if err := total.Check(&c); err != nil {
			t.Fatalf("disagreement in case %d: %v", cases+1, err)
		}
	}
	if cases == 0 {
		t.Fatal("the recording is empty")
	}
	t.Logf("%d cases, %d segments, %d undecided", cases, total.Packets, total.Undecided)
}
