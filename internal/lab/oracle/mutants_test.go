package oracle_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

var (
	allMutants    = flag.Bool("oracle.mutants", false, "try every mutant of testdata/mutants.txtar, not a few")
	oneMutant     = flag.String("oracle.mutant", "", "try the mutant of this name alone")
	recordedFile  = flag.String("oracle.recorded", "", "try mutants on this recording (-oracle.record) instead of a new one")
	recordingTime = flag.Duration("oracle.recording", 20*time.Second, "how long to record random rulesets for the mutants, for each question")
)

// fewMutants are tried in every run of the tests, on the directed cases of fewCases alone.
var fewMutants = []string{"goto as jump", "notrack ignored", "policy ignored"}

const fewCases = "^TestDirectedCases$/(goto|notrack|policy)"

// mutant is the evaluator with one mistake in it.
type mutant struct {
	name, file string
	old, new   string
}

// TestMutants proves that the oracle sees mistakes: the evaluator is built with one mistake at a time and must contradict
// what the kernel was recorded to do. The sources stay as they are: the compiler is given an overlay.
func TestMutants(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	if *recordFile != "" {
		t.Skip("recording")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	mutants, err := readMutants(root)
	if err != nil {
		t.Fatal(err)
	}
	recording := record(t)
	replayed(t, root, recording, nil)
	tried := 0
	t.Cleanup(func() { t.Logf("%d mutants", tried) })
	for _, m := range mutants {
		if *oneMutant != "" && m.name != *oneMutant || *oneMutant == "" && !*allMutants && !slices.Contains(fewMutants, m.name) {
			continue
		}
		tried++
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			replayed(t, root, recording, &m)
		})
	}
	if tried == 0 {
		t.Error("no mutant of that name")
	}
}

// readMutants reads the patches, each of which must fit its file in exactly one place.
func readMutants(root string) ([]mutant, error) {
	ar, err := txtar.ParseFile("testdata/mutants.txtar")
	if err != nil {
		return nil, err
	}
	var out []mutant
	for _, f := range ar.Files {
		file, hunk, _ := strings.Cut(string(f.Data), "\n")
		m := mutant{name: f.Name, file: filepath.Join(root, file)}
		for line := range strings.Lines(hunk) {
			if line[0] != '+' {
				m.old += line[1:]
			}
			if line[0] != '-' {
				m.new += line[1:]
			}
		}
		source, err := os.ReadFile(m.file)
		if err != nil {
			return nil, err
		}
		if n := strings.Count(string(source), m.old); n != 1 || m.old == m.new {
			return nil, fmt.Errorf("mutant %q: its hunk stands %d times in %s", m.name, n, file)
		}
		out = append(out, m)
	}
	return out, nil
}

// record runs this test binary once more and keeps what the kernel did.
func record(t *testing.T) string {
	t.Helper()
	if *recordedFile != "" {
		return *recordedFile
	}
	file := filepath.Join(t.TempDir(), "recording")
	cases := fewCases
	if *allMutants || *oneMutant != "" {
		cases = "^(TestDirectedCases|TestRangeEnds|TestKernelCases|TestHookOrderAgreesWithTheKernel|TestRejectedStates|TestUnreadAgreesWithTheKernel|TestRandomRulesetsAgreeWithTheKernel)$"
	}
	cmd := exec.Command(os.Args[0], "-test.run", cases, "-oracle.record", file, "-oracle.packets", "48",
		"-oracle.duration", recordingTime.String(), "-oracle.workers", fmt.Sprint(*workers), "-oracle.seed", fmt.Sprint(*seed))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("recording: %v\n%s", err, out)
	}
	return file
}

// replayed holds the evaluator, with the mutant's mistake in it where there is one, against the recording.
func replayed(t *testing.T, root, recording string, m *mutant) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "replay.test")
	build := exec.Command("go", "test", "-c", "-ldflags=-s -w", "-o", binary)
	if m != nil {
		build.Args = append(build.Args, "-overlay", m.overlay(t, dir))
	}
	build.Args = append(build.Args, "./internal/packetpath/replay")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := exec.Command(binary, "-test.run", "^TestRecording$", "-test.v", "-test.timeout", "2m")
	run.Env = append(os.Environ(), "CTAUDIT_RECORDING="+recording)
	out, err := run.CombinedOutput()
	switch text := string(out); {
	case m == nil && err != nil:
		t.Fatalf("the evaluator as it is: %v\n%s", err, out)
	case m == nil:
		t.Logf("%s", out)
	case err == nil:
		t.Errorf("survives:\n%s", out)
	case !strings.Contains(text, "disagreement in case"):
		t.Errorf("fails without a disagreement:\n%s", out)
	default:
		_, text, _ = strings.Cut(text, "disagreement in ")
		line, _, _ := strings.Cut(text, "\n")
		t.Logf("caught: %s", line)
	}
}

// overlay writes the changed source and the file that tells the compiler to take it.
func (m *mutant) overlay(t *testing.T, dir string) string {
	t.Helper()
	source, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	changed, list := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {m.file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{changed: []byte(strings.Replace(string(source), m.old, m.new, 1)), list: text} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return list
}
