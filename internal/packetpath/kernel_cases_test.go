package packetpath_test

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
)

// TestKernelCases replays on paper the cases that say what a kernel did; internal/lab/oracle replays them in the kernel.
// A disagreement that the oracle prints is such a case.
func TestKernelCases(t *testing.T) {
	files, _ := filepath.Glob("testdata/cases/kernel-*.txtar")
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := replay.Parse(ar)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var total replay.Tally
		if err := total.Check(c); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if total.Packets == 0 {
			t.Errorf("%s: no packets", file)
		}
	}
}
