package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/report"
)

func TestParseSettings(t *testing.T) {
	got, err := ParseSettings([]byte("fail-on: high\noutput:\n  - sarif=a.sarif\n  - junit=b.xml\n"), []string{"fail-on", "output"})
	want := map[string]Setting{"fail-on": {[]string{"high"}, 1}, "output": {[]string{"sarif=a.sarif", "junit=b.xml"}, 2}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("settings: %v\n%s", err, diff)
	}
	for text, want := range map[string]string{
		"fail_on: high":           `line 1: no flag is called "fail_on"; did you mean "fail-on"?`,
		"fail-on: high\nxyzzy: 1": `line 2: no flag is called "xyzzy"`,
		"- a":                     "line 1: want a mapping",
		"fail-on: {a: b}":         "line 1: fail-on: want a value",
		"fail-on: [[a]]":          "plain values",
		"fail-on: a\nfail-on: b":  "set twice",
		"a: [":                    "yaml",
	} {
		if _, err := ParseSettings([]byte(text), []string{"fail-on"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if got, err := ParseSettings(nil, nil); err != nil || len(got) != 0 {
		t.Errorf("empty file: %v, %v", got, err)
	}
}

const waivers = `version: 1
waivers:
  - control: CT-TAB-*
    host: "edge-*"
    reason: agreed
    expires: 2027-03-31
  - control: CT-RST-007
    subject: ipv4 eth0
    reason: policy drop is our way
    expires: 2026-01-01
`

func TestParseWaivers(t *testing.T) {
	today := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	active, expired, err := ParseWaivers([]byte(waivers), today)
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)
	if diff := cmp.Diff([]report.Waiver{{Control: "CT-TAB-*", Host: "edge-*", Reason: "agreed", Expires: day}}, active); diff != "" {
		t.Error(diff)
	}
	if len(expired) != 1 || expired[0].Control != "CT-RST-007" {
		t.Errorf("expired %v", expired)
	}
	if active, _, err := ParseWaivers([]byte(waivers), day.Add(23*time.Hour)); err != nil || len(active) != 1 {
		t.Errorf("a waiver holds on its last day: %v, %v", active, err)
	}
}

func TestParseWaiversRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"version: 2\nwaivers: []":                                             "version 2",
		"version: 1\nwaiver: []":                                              `unknown key "waiver"; did you mean "waivers"?`,
		"version: 1\nwaivers:\n  - control: X":                                "line 3: a waiver needs a control and a reason",
		"version: 1\nwaivers:\n  - control: X\n    reason: y\n    expired: 1": `unknown key "expired"; did you mean "expires"?`,
		"version: 1\nwaivers:\n  - control: X\n    reason: y\n    expires: 1": "want a day",
		"version: 1\nwaivers:\n  - control: \"[\"\n    reason: y":             "syntax error in pattern",
		"version: 1\nwaivers:\n  - x":                                         "want a mapping",
	} {
		if _, _, err := ParseWaivers([]byte(text), time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func FuzzParseWaivers(f *testing.F) {
	f.Add([]byte(waivers))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _, _ = ParseWaivers(text, time.Now()) })
}
