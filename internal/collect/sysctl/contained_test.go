package sysctl

import (
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// TestContained: a container is what neither shows the kernel's threads nor was booted; who may not look knows nothing.
func TestContained(t *testing.T) {
	text := func(s string) *host.Answer { return &host.Answer{Data: []byte(s)} }
	absent, hidden := &host.Answer{Absent: true}, &host.Answer{Err: "hidden from this process"}
	for name, c := range map[string]struct {
		first, threads *host.Answer
		want           snapshot.Value[string]
	}{
		"a node":                    {text("systemd\n"), text("kthreadd\n"), snapshot.Absent[string]()},
		"a node with another init":  {text("myinit\n"), text("kthreadd\n"), snapshot.Absent[string]()},
		"a container like a node":   {text("systemd\n"), text("(sd-pam)\n"), snapshot.Absent[string]()},
		"a pod":                     {text("sshd\n"), absent, snapshot.Known("sshd")},
		"a pod of more processes":   {text("s6-svscan\n"), text("s6-supervise\n"), snapshot.Known("s6-svscan")},
		"no first process to see":   {absent, absent, snapshot.Value[string]{}},
		"the first cannot be read":  {hidden, text("kthreadd\n"), snapshot.Value[string]{}},
		"the second cannot be read": {text("sshd\n"), hidden, snapshot.Value[string]{}},
	} {
		ev := &host.Evidence{Answers: map[string]*host.Answer{file(pathInit).Key(): c.first, file(pathThreads).Key(): c.threads}}
		r := &reader{ev: ev}
		if got := r.contained(); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if _, contained := c.want.Get(); (len(r.missing) == 1) != contained {
			t.Errorf("%s: missing %+v", name, r.missing)
		}
	}
	if got := (&reader{ev: &host.Evidence{}}).contained(); got != (snapshot.Value[string]{}) {
		t.Errorf("nothing was asked: %+v", got)
	}
}
