package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/fleet/journal"
	"github.com/ctaudit/ctaudit/internal/report"
)

// TestResumeElsewhere: what was found on one machine is never shown as another's that has its name, however the run ends.
func TestResumeElsewhere(t *testing.T) {
	r := openRecordings(t)
	for name, lines := range map[string][2]string{
		"address": {"ansible_host=192.0.2.1", "ansible_host=192.0.2.2"},
		"port":    {"ansible_port=22", "ansible_port=2222"},
		"jump":    {"ansible_ssh_common_args='-J a'", "ansible_ssh_common_args='-J b'"},
		"local":   {"", "ansible_connection=local"},
	} {
		t.Run(name, func(t *testing.T) {
			path, dir := filepath.Join(t.TempDir(), "j"), t.TempDir()
			was, is := inventoryOf(t, "bare-1", "docker-1 "+lines[0]), inventoryOf(t, "bare-1", "docker-1 "+lines[1])
			if _, stderr, code := r.run(t, "fleet", "-i", was, "--journal", path); code != exitFindings {
				t.Fatal(stderr)
			}
			resume := []string{"fleet", "-i", is, "--journal", path, "--resume", "-o", "json=" + filepath.Join(dir, "r.json")}
			ended, end := context.WithCancel(t.Context())
			end()
			var errs bytes.Buffer
			a := &app{streams: streams{strings.NewReader(""), &errs, &errs}, env: map[string]string{}, reach: r.reach}
			if code := exitCode(ended, a.run(ended, resume), &errs); code != exitIncomplete || !strings.Contains(errs.String(), "docker-1 is reached otherwise") {
				t.Fatalf("exit %d: %s", code, errs.String())
			}
			var rep report.Report
			readJSON(t, filepath.Join(dir, "r.json"), &rep)
			if h := rep.Hosts[1]; h.Status != report.HostError || len(h.Results) > 0 || !strings.Contains(h.Error, "not audited again yet") {
				t.Errorf("%+v", h)
			}
			if name == "local" {
				return // it would audit this machine
			}
			if _, stderr, code := r.run(t, resume...); code != exitFindings {
				t.Errorf("exit %d: %s", code, stderr)
			}
			j, err := journal.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			first, _ := j.Done("bare-1")
			if attempt, outcome := j.Done("docker-1"); attempt != 3 || outcome != string(report.Complete) || first != 1 {
				t.Errorf("attempt %d at docker-1, %s; %d at bare-1", attempt, outcome, first)
			}
		})
	}
}

// TestResumeAsAnother: as whom a host is read moves nothing.
func TestResumeAsAnother(t *testing.T) {
	r := openRecordings(t)
	path := filepath.Join(t.TempDir(), "j")
	if _, stderr, code := r.run(t, "fleet", "-i", inventoryOf(t, "bare-1"), "--journal", path); code != report.ExitClean {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := inventoryOf(t, "bare-1 ansible_user=audit ansible_become=true ansible_ssh_private_key_file=/k")
	if _, stderr, code := r.run(t, "fleet", "-i", other, "--journal", path, "--resume"); code != report.ExitClean || strings.Contains(stderr, "otherwise") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%v; the journal has changed", err)
	}
}
