package oracle_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
)

var recordFile = flag.String("oracle.record", "", "write what the kernel did to this file, one replay.Case a line")

// recorder writes the cases of a run that went as foretold.
type recorder struct {
	mu sync.Mutex
	w  *bufio.Writer
}

var recorded recorder

func (r *recorder) add(c *replay.Case) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return nil
	}
	return json.NewEncoder(r.w).Encode(c)
}

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // the heap is small
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if *recordFile == "" {
		return m.Run()
	}
	f, err := os.Create(*recordFile)
	if err != nil {
		panic(err)
	}
	recorded.w = bufio.NewWriterSize(f, 1<<20)
	code := m.Run()
	if recorded.w.Flush() != nil || f.Close() != nil {
		return 1
	}
	return code
}
