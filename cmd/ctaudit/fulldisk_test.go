package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/report"
)

// smallDisk runs the program where the folder "small" of dir has so much room, and moves what is left there to "kept".
func smallDisk(t *testing.T, dir, size string, inner *exec.Cmd) (code int, stderr string) {
	t.Helper()
	if err := os.MkdirAll(dir+"/small", 0o700); err != nil {
		t.Fatal(err)
	}
	const script = `mount -t tmpfs -o "size=$1" tmpfs "$0/small" && shift && "$@" >"$0/stdout"; code=$?; cp -a "$0/small" "$0/kept"; exit $code`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, dir, size}, inner.Args...)...)
	cmd.Env = inner.Env
	var errs strings.Builder
	cmd.Stderr = &errs
	return exitOf(cmd.Run()), errs.String()
}

// TestSnapshotsOnFullDisk: where the snapshots find no more room, the run ends and says so. What has a snapshot is in the journal, and
// the rest is not, so that going on makes what is missing. No host is said to have failed.
func TestSnapshotsOnFullDisk(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "root")
	program, dir := playedProgram(t), t.TempDir()
	i := inventoryOf(t, named("docker", 20)...)
	code, stderr := smallDisk(t, dir, "200k", program("fleet", "-q", "-i", i, "--snapshots", dir+"/small", "--journal", dir+"/j", "-o", "json="+dir+"/r.json", "--forks", "2"))
	for _, words := range []string{
		"ctaudit: keep snapshot " + dir + "/small/docker-0", ".json: no space left on device\nhint: make room there, or name another folder by --snapshots; ",
		"go on with --resume\nexit 1: ",
	} {
		if !strings.Contains(stderr, words) {
			t.Errorf("no %q in %s", words, stderr)
		}
	}
	var rep report.Report
	readJSON(t, dir+"/r.json", &rep)
	good := rep.Summary.Hosts - rep.Summary.Errors
	if code != exitFindings || rep.Summary.Hosts != 20 || good < 2 || good > 10 {
		t.Errorf("exit %d, report: %+v", code, rep.Summary)
	}
	for _, h := range rep.Hosts {
		if h.Status == report.HostError && h.Error != "the run ended before this host was audited" {
			t.Errorf("%s is blamed: %s", h.Name, h.Error)
		}
	}
	onceEach(t, dir+"/j", good)
	if got := snapshotsIn(t, dir+"/kept"); got < good || got > good+2 { // one that is there without an entry is written again
		t.Errorf("%d snapshots of %d hosts", got, good)
	}
	if out, err := program("fleet", "-q", "-i", i, "--snapshots", dir+"/kept", "--journal", dir+"/j", "--resume").CombinedOutput(); exitOf(err) != exitFindings {
		t.Errorf("going on: %v: %s", err, out)
	}
	onceEach(t, dir+"/j", 20)
	if got := snapshotsIn(t, dir+"/kept"); got != 20 {
		t.Errorf("%d snapshots in the end", got)
	}
}

// snapshotsIn counts the whole snapshots in a folder, in which there is nothing else.
func snapshotsIn(t *testing.T, dir string) int {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		readSnapshot(t, filepath.Join(dir, f.Name()))
	}
	return len(files)
}

// TestReportOnFullDisk: a report that finds no room is named once, with what to do; the others and the journal are whole, and so is
// what stood in its place.
func TestReportOnFullDisk(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "root")
	program, dir := playedProgram(t), t.TempDir()
	i := inventoryOf(t, named("docker", 20)...)
	full := dir + "/small/r.json"
	lost := "ctaudit: write " + full + ": no space left on device\nhint: "
	both := []string{"-o", "json=" + full, "-o", "json=" + dir + "/r.json"}

	code, stderr := smallDisk(t, dir, "64k", program(append([]string{"fleet", "-q", "-i", i, "--journal", dir + "/j"}, both...)...))
	want := lost + "the audits are kept: make room there, or name another file, and write the report with: ctaudit merge " + dir + "/j\nexit 1: "
	if code != exitFindings || !strings.HasPrefix(stderr, want) {
		t.Errorf("exit %d: %s", code, stderr)
	}
	var rep report.Report
	readJSON(t, dir+"/r.json", &rep)
	if rep.Summary.Hosts != 20 || rep.Summary.Errors != 0 {
		t.Errorf("the other report: %+v", rep.Summary)
	}
	onceEach(t, dir+"/j", 20)
	if left, err := os.ReadDir(dir + "/kept"); err != nil || len(left) > 0 {
		t.Errorf("left on the full disk: %v, %v", left, err)
	}

	for name, args := range map[string][]string{
		"without a journal": {"fleet", "-q", "-i", i}, "merge": {"merge", "-q", dir + "/j"}, "exit 3": {"fleet", "-q", "-i", i, "--fail-on", "none"},
	} {
		code, stderr := smallDisk(t, dir, "64k", program(append(args, both...)...))
		if want := map[bool]int{true: exitIncomplete, false: exitFindings}[name == "exit 3"]; code != want || !strings.HasPrefix(stderr, lost+"make room") {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
	}
}

// TestEverythingOnFullDisk: the journal and the report are lost by one cause, and each is named.
func TestEverythingOnFullDisk(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "root")
	program, dir := playedProgram(t), t.TempDir()
	i := inventoryOf(t, named("docker", 30)...)
	code, stderr := smallDisk(t, dir, "200k", program("fleet", "-q", "-i", i, "--journal", dir+"/small/j", "-o", "json="+dir+"/small/r.json"))
	for _, words := range []string{
		"ctaudit: journal " + dir + "/small/j: no space left on device\nhint: what was noted before is kept",
		"ctaudit: write " + dir + "/small/r.json: no space left on device\nhint: ",
	} {
		if !strings.Contains(stderr, words) {
			t.Errorf("no %q in %s", words, stderr)
		}
	}
	if code != exitFindings {
		t.Errorf("exit %d", code)
	}
}
