package kernels

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/lab/archive"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/proof"
	"github.com/ctaudit/ctaudit/internal/report"
)

var (
	series = flag.String("kernels", "", "the kernel series to boot, separated by commas, or all")
	cache  = flag.String("kernels.cache", "", "where kernel packages are kept (default: ctaudit/kernels in the user's cache folder)")
	update = flag.Bool("kernels.update", false, "rewrite testdata/*.txt with what the kernels do")
)

// TestKernels boots each kernel and holds what ctaudit says there against testdata, against what is known of the kernels, and
// its own parts against each other.
func TestKernels(t *testing.T) {
	if *series == "" {
		t.Skip("make kernels boots them: -kernels names none")
	}
	labtest.Require(t, "qemu")
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	programs := build(t)
	for _, name := range strings.Split(*series, ",") {
		known := false
		for _, k := range All() {
			if name == "all" || name == k.Series {
				known = true
				t.Run(k.Series, func(t *testing.T) { check(t, k, boot(ctx, t, k, programs)) })
			}
		}
		if !known {
			t.Errorf("-kernels: no series %q", name)
		}
	}
}

// build makes the static programs that run in the machines: ctaudit, and the proof's own tests.
func build(t *testing.T) []Program {
	t.Helper()
	dir := t.TempDir()
	programs := []Program{{"ctaudit", filepath.Join(dir, "ctaudit")}, {"proof.test", filepath.Join(dir, "proof.test")}}
	for i, args := range [][]string{
		{"build", "-o", programs[0].Path, "../../../cmd/ctaudit"},
		{"test", "-c", "-o", programs[1].Path, "../proof"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", programs[i].Name, err, out)
		}
	}
	return programs
}

// boot returns what the machine left. An archive that cannot be reached is no fault of ours: the test is skipped.
func boot(ctx context.Context, t *testing.T, k Kernel, programs []Program) map[string][]byte {
	t.Helper()
	dir, err := *cache, error(nil)
	if dir == "" {
		if dir, err = archive.CacheDir("kernels"); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	image, err := Fetch(ctx, k, dir)
	if errors.Is(err, archive.ErrNone) && ctx.Err() == nil {
		t.Skipf("Linux %s was not tried: %v", k.Series, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	fetched := time.Since(start)
	interrupted(t, image)
	start = time.Now()
	files, err := patiently(ctx, t, image, programs)
	if err != nil {
		t.Skipf("Linux %s was not tried: the emulated machine did not come to its end: %v", k.Series, err)
	}
	t.Logf("%s: packages %.1f s, machine %.1f s", image.Release, fetched.Seconds(), time.Since(start).Seconds())
	if release := strings.TrimSpace(string(files["release"])); release != image.Release || !strings.HasPrefix(release, k.Series+".") {
		t.Fatalf("the machine runs %q, want %q of series %s", release, image.Release, k.Series)
	}
	return files
}

// patiently boots again where an emulator that is too slow for its guest's timers may be why there is no result: what two machines do
// is no accident.
func patiently(ctx context.Context, t *testing.T, image *Image, programs []Program) (map[string][]byte, error) {
	t.Helper()
	files, err := Boot(ctx, image, programs)
	if ctx.Err() == nil && (err != nil || strings.TrimSpace(string(files["prove.exit"])) != "0" || strings.TrimSpace(string(files["proof.test.exit"])) != "0") {
		t.Logf("%s: a second machine, as the first one gave no result: %v\n%s", image.Release, err, files["prove.err"])
		files, err = Boot(ctx, image, programs)
	}
	if ctx.Err() != nil {
		t.Fatal(ctx.Err())
	}
	return files, err
}

// interrupted: a machine that is told to stop while it boots is gone at once, with its files.
func interrupted(t *testing.T, image *Image) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	if _, err := Boot(ctx, image, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a machine that was stopped: %v", err)
	}
	left, err := os.ReadDir(tmp)
	if took := time.Since(start); err != nil || len(left) > 0 || took > 20*time.Second {
		t.Errorf("a machine that was stopped took %s and left %v, %v", took, left, err)
	}
}

// check holds the machine's files against everything that is known.
func check(t *testing.T, k Kernel, files map[string][]byte) {
	t.Helper()
	for name, want := range map[string]string{"prove.exit": "0", "scan.exit": "1", "proof.test.exit": "0", "init.log": ""} {
		if got := strings.TrimSpace(string(files[name])); got != want {
			t.Errorf("%s: %q, want %q\n%s%s", name, got, want, files["prove.err"], files["scan.err"])
		}
	}
	if log := string(files["proof.test.log"]); t.Failed() || strings.Count(log, "--- PASS: ") != 2 {
		t.Errorf("the proof's tests in the machine:\n%s", log)
	}
	var d proof.Document
	if err := json.Unmarshal(files["prove.json"], &d); err != nil {
		t.Fatalf("prove: %v", err)
	}
	path := filepath.Join("testdata", k.Series+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(Table(&d)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), Table(&d)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
	laws(t, k, &d)
	scanAgrees(t, files["scan.json"], d.KernelFix)
}

// laws are what must hold whatever testdata says: Linux 6.1 mended the stale ACK, old segments and small overshoots and no
// more, and both workarounds cure everything where they reach.
func laws(t *testing.T, k Kernel, d *proof.Document) {
	t.Helper()
	mended := []string{proof.StaleAck, "old SEQ", "SEQ over, near"}
	never := []string{proof.Control, proof.OutsideRST}
	fix := "partial"
	if k.Series == "5.10" {
		fix, mended = "none", nil
	}
	if d.KernelFix != fix || len(d.Runs) != 2*2*len(proof.Workarounds())*len(proof.Injections()) {
		t.Errorf("kernel fix %s, %d runs; want %s", d.KernelFix, len(d.Runs), fix)
	}
	for _, r := range d.Runs {
		cured := []string{"be_liberal", "both", "mangle", "INPUT"}
		if r.Question == proof.QuestionB {
			cured[3] = "FORWARD"
		}
		want := !slices.Contains(append(mended, never...), r.Injection) && !slices.Contains(cured, r.Workaround)
		if got := r.Reset != nil; got != want {
			t.Errorf("%s %s, %s, %s: a RST: %t, want %t", r.Question, r.Family, r.Workaround, r.Injection, got, want)
		}
	}
}

// scanAgrees: what the scan concludes from the version is what the proof has measured, and the finding weighs accordingly.
func scanAgrees(t *testing.T, document []byte, fix string) {
	t.Helper()
	var scan struct {
		Hosts []struct {
			Kernel  string          `json:"kernel"`
			Results []report.Result `json:"results"`
		} `json:"hosts"`
	}
	if err := json.Unmarshal(document, &scan); err != nil || len(scan.Hosts) != 1 {
		t.Fatalf("scan: %v, %d hosts", err, len(scan.Hosts))
	}
	severity := map[string]string{"none": "high", "partial": "medium"}[fix]
	found := false
	for _, r := range scan.Hosts[0].Results {
		if r.Outcome == report.Unknown {
			t.Errorf("%s is unknown: %s", r.Control, r.Message)
		}
		if r.Control != "CT-RST-001" || r.Outcome != report.Fail {
			continue
		}
		for _, e := range r.Evidence {
			found = found || e.Name == "kernel_fix "+fix
		}
		if got := string(r.Severity); got != severity {
			t.Errorf("the reset by the masquerading node is of severity %s, want %s", got, severity)
		}
	}
	if !found {
		t.Errorf("no finding of CT-RST-001 with kernel_fix %s", fix)
	}
}
