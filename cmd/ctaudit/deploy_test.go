package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// manifest is what the tests need of a workload.
type manifest struct {
	Spec struct {
		Completions int
		Template    struct {
			Spec struct {
				Containers []struct{ Command []string }
			}
		}
	}
}

func readManifest(t *testing.T, name string) manifest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := yaml.Unmarshal(text, &m); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if n := len(m.Spec.Template.Spec.Containers); n != 1 {
		t.Fatalf("%s: %d containers", name, n)
	}
	return m
}

// asNode makes pid, mount and network namespaces of the node's own, whose first process is this script. $1 is an image's root
// folder, $2 the container's script, which runs there as a container with hostPID does: another root, the node's processes.
const asNode = `
unshare --mount sh -c 'mount -t proc proc "$1/proc" && chroot "$1" /bin/sh -c "$2"' container "$1" "$2"
`

// TestDaemonSetAuditsTheNodeAndNotItsPod runs the manifest's command in a root folder with busybox and ctaudit, beside a node
// that is exposed.
func TestDaemonSetAuditsTheNodeAndNotItsPod(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "busybox")
	n := newTestNode(t)
	n.must(n.router.Load(netfilter.NFTables, netfilter.INET, "table ip nat { chain post { type nat hook postrouting priority 100; oifname \"eth0\" masquerade; }; }"))
	image := newImage(t)
	command := readManifest(t, "kubernetes/node-daemonset.yaml").Spec.Template.Spec.Containers[0].Command
	script, forever := command[2], "while :; do sleep 3600; done\n"
	if !strings.HasSuffix(script, forever) {
		t.Fatalf("the pod's script does not wait at its end:\n%s", script)
	}
	script = strings.TrimSuffix(script, forever)
	out := runAsNode(t, n.router, image, script)
	var r report.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("the log is no report: %v\n%s", err, out)
	}
	if len(r.Hosts) != 1 || r.Hosts[0].Name != "node-7" {
		t.Fatalf("have %d hosts, %q", len(r.Hosts), r.Hosts[0].Name)
	}
	if have := outcomeOf(r.Hosts[0].Results, "CT-RST-001"); have != report.Fail {
		t.Errorf("CT-RST-001: %s, want fail: the node's own rules are not those that were read", have)
	}
}

func outcomeOf(results []report.Result, control string) report.Outcome {
	for _, r := range results {
		if r.Control == control {
			return r.Outcome
		}
	}
	return ""
}

// newImage is a root folder as deploy/Containerfile makes it.
func newImage(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	bin := filepath.Join(root, "bin")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"mkdir", bin, filepath.Join(root, "proc")},
		{"cp", busybox, filepath.Join(bin, "busybox")},
		{busybox, "--install", "-s", bin},
		{"cp", binary(t), filepath.Join(bin, "ctaudit")},
		{"ln", "-sf", "/bin/busybox", filepath.Join(bin, "sh")},
		{"ln", "-sf", "/bin/busybox", filepath.Join(bin, "nsenter")},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	return root
}

func runAsNode(t *testing.T, ns *lab.Netns, image, script string) []byte {
	t.Helper()
	cmd := ns.Command("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", asNode, "node", image, script)
	cmd.Env = append(os.Environ(), "NODE_NAME=node-7")
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // findings
	if talk.Len() > 0 {
		t.Logf("stderr: %s", talk.Bytes())
	}
	return out.Bytes()
}

// TestSystemdUnits has systemd read the units, and audits with no more capabilities than the service leaves.
func TestSystemdUnits(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "systemd-analyze", "setpriv")
	program := binary(t)
	dir := t.TempDir()
	var service string
	for _, name := range []string{"ctaudit.service", "ctaudit.timer"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		unit := strings.ReplaceAll(string(text), "/usr/local/bin/ctaudit", program)
		service += unit
		if err := os.WriteFile(filepath.Join(dir, name), []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, "ctaudit.service"), filepath.Join(dir, "ctaudit.timer")).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte(dir)) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	bounding := "-all"
	for c := range strings.FieldsSeq(unitSetting(t, service, "CapabilityBoundingSet")) {
		bounding += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	n := newTestNode(t)
	n.must(n.router.Load(netfilter.NFTables, netfilter.INET, "table ip nat { chain post { type nat hook postrouting priority 100; oifname \"eth0\" masquerade; }; }"))
	argv := strings.Fields(unitSetting(t, service, "ExecStart"))
	argv = append([]string{"setpriv", "--bounding-set=" + bounding, "--inh-caps=-all", "--no-new-privs"}, append(argv, "-f", "json")...)
	cmd := n.router.Command(argv...)
	var doc bytes.Buffer
	cmd.Stdout = &doc
	n.must(n.router.Start(cmd))
	_ = cmd.Wait() // exit 1: the node is exposed
	var r report.Report
	if err := json.Unmarshal(doc.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Exit.Code != 1 || len(r.Hosts[0].Missing) > 0 || outcomeOf(r.Hosts[0].Results, "CT-RST-001") != report.Fail {
		t.Errorf("exit %v, missing %v", r.Exit, r.Hosts[0].Missing)
	}
}

func unitSetting(t *testing.T, unit, key string) string {
	t.Helper()
	for line := range strings.Lines(unit) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return value
		}
	}
	t.Fatalf("no %s= in the units", key)
	return ""
}

// TestShardedManifests runs the shards as processes, by the words of the Job and of the CI matrix, and merges as they say: that is one
// run's report. The hosts are recordings.
func TestShardedManifests(t *testing.T) {
	job := readManifest(t, "kubernetes/fleet-job.yaml")
	jobScript := job.Spec.Template.Spec.Containers[0].Command[2]
	matrix := readMatrix(t)
	for name, shard := range map[string]struct {
		shell  string
		script string
		count  int
		merge  string
	}{
		"job":    {"sh", jobScript, job.Spec.Completions, "ctaudit merge -o json=merged.json journals/first-*.jsonl"},
		"matrix": {"bash -e", matrix.shard, matrix.count, matrix.merge + " -o json=merged.json"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newShardFolder(t)
			if shard.count != 8 {
				t.Errorf("%d shards", shard.count)
			}
			run := func(i int, job string) (string, int) {
				script := strings.NewReplacer("/inventory/", dir+"/", "/journals/", dir+"/journals/", "${{ matrix.shard }}", strconv.Itoa(i)).Replace(shard.script)
				return inShell(t, dir, shard.shell, script, "RUN="+job, "SHARDS="+strconv.Itoa(shard.count), "JOB_COMPLETION_INDEX="+strconv.Itoa(i))
			}
			for i := range shard.count {
				if out, code := run(i, "first"); code != 0 {
					t.Fatalf("shard %d: exit %d: %s", i, code, out)
				}
			}
			if out, code := inShell(t, dir, "sh", shard.merge); code != exitFindings {
				t.Fatalf("merge: exit %d: %s", code, out)
			}
			inShell(t, dir, "sh", "ctaudit fleet -q -i hosts.yaml -o json=single.json")
			if got, want := timeless(t, filepath.Join(dir, "merged.json")), timeless(t, filepath.Join(dir, "single.json")); got != want {
				t.Errorf("the shards differ from a single run:\n%s", cmp.Diff(want, got))
			}
			if name == "job" { // which keeps its journals: the next one must not take them for its own
				out, code := run(0, "second")
				first, _ := os.ReadFile(filepath.Join(dir, "journals/first-0.jsonl"))
				if second, err := os.ReadFile(filepath.Join(dir, "journals/second-0.jsonl")); code != 0 || bytes.Count(second, []byte("\n")) != bytes.Count(first, []byte("\n")) {
					t.Errorf("the next job: exit %d: %s, %v", code, out, err)
				}
			}
		})
	}
}

// newShardFolder has an inventory of recordings, and a ctaudit that plays them.
func newShardFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	hosts, err := os.ReadFile(inventoryOf(t, mixed(24)...))
	if err != nil {
		t.Fatal(err)
	}
	played := playedProgram(t)()
	wrapper := "#!/bin/sh\nRECORDINGS=" + recordingsFolder(t) + " exec " + played.Path + " \"$@\"\n"
	for name, text := range map[string]string{"hosts.yaml": string(hosts), "ctaudit": wrapper, "ssh-agent": "#!/bin/sh\n", "ssh-add": "#!/bin/sh\ncat >/dev/null\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "journals"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func recordingsFolder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/fleet")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func inShell(t *testing.T, dir, shell, script string, env ...string) (output string, code int) {
	t.Helper()
	argv := append(strings.Fields(shell), "-c", script)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// matrix is what the CI example runs.
type matrix struct {
	shard, merge string
	count        int
}

func readMatrix(t *testing.T) matrix {
	t.Helper()
	text, err := os.ReadFile("../../deploy/ci/github-matrix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type step struct{ Name, Run string }
	var workflow struct {
		Jobs map[string]struct {
			Strategy struct{ Matrix struct{ Shard []int } }
			Steps    []step
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	audit, gate := workflow.Jobs["audit"], workflow.Jobs["gate"]
	run := func(steps []step, name string) string {
		i := slices.IndexFunc(steps, func(s step) bool { return s.Name == name })
		if i < 0 {
			t.Fatalf("no step %q", name)
		}
		return strings.TrimSpace(steps[i].Run)
	}
	return matrix{run(audit.Steps, "audit the shard"), run(gate.Steps, "judge the whole fleet"), len(audit.Strategy.Matrix.Shard)}
}
