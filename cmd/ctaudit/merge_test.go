package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/report"
)

// edited writes a report of one host that was changed by hand.
func edited(t *testing.T, edit func(*report.Report)) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "r.json")
	if _, stderr, code := openRecordings(t).run(t, "fleet", "-q", "-i", inventoryOf(t, "docker-1"), "-o", "json="+path); code != exitFindings {
		t.Fatal(stderr)
	}
	var r report.Report
	readJSON(t, path, &r)
	edit(&r)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMergeKeepsContradictions: an audit that the node's kernel contradicted is incomplete, and counts all the same before a complete one
// that did not ask the kernel.
func TestMergeKeepsContradictions(t *testing.T) {
	contradicted := edited(t, func(r *report.Report) {
		r.Hosts[0].Results[0].Outcome = report.Unknown
		r.Hosts[0].Proof = &report.Proof{Twin: []report.ProofTwin{{Question: "A", Agreement: "differs"}}}
	})
	complete := edited(t, func(r *report.Report) { r.Hosts[0].Taken = r.Hosts[0].Taken.AddDate(1, 0, 0) })
	for _, args := range [][]string{{contradicted, complete}, {complete, contradicted}} {
		if _, stderr, code := openRecordings(t).run(t, append([]string{"merge"}, args...)...); code != exitDiffers {
			t.Errorf("exit %d: %s", code, stderr)
		}
	}
}

// TestMergeNeedsControls: a report without controls has nothing that its hosts could lack, and is not one that ctaudit writes.
func TestMergeNeedsControls(t *testing.T) {
	none := edited(t, func(r *report.Report) { r.Controls, r.Hosts[0].Results = []report.Control{}, nil })
	_, stderr, code := openRecordings(t).run(t, "merge", none)
	if code != exitUsage || !strings.Contains(stderr, "it has no controls") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
