package host_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/ctaudit/ctaudit/internal/host"
)

func record(t testing.TB, ev *host.Evidence) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := host.Record(&b, ev); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(path string) host.Need { return host.Need{Kind: host.File, Args: []string{path}} }

// all is everything that a recording holds.
func all(t testing.TB, b []byte, keys []string) *host.Evidence {
	t.Helper()
	h, err := host.OpenRecording(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, b)
	}
	var needs []host.Need
	for _, k := range keys {
		kind, arg, _ := strings.Cut(k, " ")
		needs = append(needs, host.Need{Kind: host.Kind(kind), Args: []string{arg}})
	}
	ev, err := h.Fetch(t.Context(), host.Request{Needs: needs})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func sample() *host.Evidence {
	return &host.Evidence{
		Host: "node7", Tool: "ctaudit 1.2.3", Taken: time.Date(2026, 11, 23, 14, 0, 0, 5, time.UTC), Interval: 1002 * time.Millisecond,
		Answers: map[string]*host.Answer{
			"file /proc/version":      {Data: []byte("Linux version 6.18\n")},
			"file /etc/none":          {Absent: true},
			"file /root/x":            {Err: "permission denied", Denied: true},
			"file /proc/uptime":       {Data: []byte("1.0 2.0\n"), Second: &host.Answer{Data: []byte("2.0 4.0\n")}},
			"file /a":                 {Data: []byte("no newline"), Truncated: true},
			"command nft list":        {Data: []byte{}, Exit: 1, Err: "exit status 1: bad\x1b", Stderr: "bad\x1b\n"},
			"netlink rtnl/links":      {Data: []byte("\x10\x00\x00\x00-- x --\n\xff")},
			"file /markers":           {Data: []byte("a\n-- 0001/answer.json --\nb\n")},
			"glob /etc/sysctl.d/*":    {Files: map[string][]byte{"/etc/sysctl.d/b": []byte("b"), "/etc/sysctl.d/a\n-- x --": []byte("\r\n")}},
			"glob /proc/sys/net/*":    {Files: map[string][]byte{}, Failed: map[string]string{"/proc/sys/net/x": "permission denied"}, Err: "x", Denied: true},
			"file ../../etc/passwd\n": {Data: []byte("path of a hostile name\n")},
		},
	}
}

func TestRecordingGolden(t *testing.T) {
	have := record(t, sample())
	const golden = "testdata/recording.txtar"
	if os.Getenv("CTAUDIT_UPDATE") != "" {
		if err := os.WriteFile(golden, have, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(have)); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
	for _, f := range txtar.Parse(have).Files {
		if f.Name != "end" && (len(f.Name) < 6 || strings.Trim(f.Name[:4], "0123456789") != "" || f.Name[4] != '/' || strings.ContainsAny(f.Name[5:], "/\\")) {
			t.Errorf("section %q would not stay where it is unpacked", f.Name)
		}
	}
	if diff := cmp.Diff(sample(), all(t, have, slices.Collect(maps.Keys(sample().Answers)))); diff != "" {
		t.Errorf("played back (-want +have):\n%s", diff)
	}
}

// Whatever was read comes back, byte for byte, and is written the same way each time.
func TestRecordingKeepsEverything(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "\n", "a\n", "a\r\n", "-- x --\n", "\n-- x --", "-- ", "\x00", "\u0085", "\xff\n", strings.Repeat("long ", 100)}))
	data := rapid.Custom(func(t *rapid.T) []byte {
		return rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(text, func(s string) []byte { return []byte(s) }), rapid.Just[[]byte](nil)).Draw(t, "data")
	})
	plain := rapid.Custom(func(t *rapid.T) *host.Answer {
		a := &host.Answer{Data: data.Draw(t, "data"), Absent: rapid.Bool().Draw(t, "absent"), Err: strings.ToValidUTF8(text.Draw(t, "err"), "?"), Exit: rapid.Int().Draw(t, "exit"), Stderr: text.Draw(t, "stderr")}
		if rapid.Bool().Draw(t, "glob") {
			a.Files = map[string][]byte{}
			for range rapid.IntRange(0, 3).Draw(t, "files") {
				a.Files[text.Draw(t, "path")] = data.Draw(t, "file")
			}
		}
		return a
	})
	rapid.Check(t, func(rt *rapid.T) {
		ev := &host.Evidence{Host: "h", Tool: "t", Taken: time.Unix(1, 0).UTC(), Answers: map[string]*host.Answer{}}
		for range rapid.IntRange(0, 4).Draw(rt, "answers") {
			a := plain.Draw(rt, "answer")
			if rapid.Bool().Draw(rt, "twice") {
				a.Second = plain.Draw(rt, "second")
			}
			ev.Answers["file "+strings.ToValidUTF8(text.Draw(rt, "key"), "?")] = a
		}
		b := record(t, ev)
		back := all(t, b, slices.Collect(maps.Keys(ev.Answers)))
		if diff := cmp.Diff(ev, back); diff != "" {
			rt.Fatalf("(-recorded +played):\n%s", diff)
		}
		if !bytes.Equal(record(t, back), b) {
			rt.Fatal("recorded again it differs")
		}
	})
}

func TestRecordingLacksNeeds(t *testing.T) {
	h, err := host.OpenRecording(bytes.NewReader(record(t, sample())))
	if err != nil {
		t.Fatal(err)
	}
	n := file("/etc/other")
	ev, err := h.Fetch(t.Context(), host.Request{Needs: []host.Need{n}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&host.Answer{Err: "not in the recording"}, ev.Answer(n)); diff != "" {
		t.Error(diff)
	}
	if a := ev.Answer(file("/proc/version")); a.Err != "not collected" {
		t.Errorf("a need that was not asked for: %+v", a)
	}
}

func TestOpenRecordingRefuses(t *testing.T) {
	good := string(record(t, sample()))
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the recording", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"empty":           {"", "this is no ctaudit recording"},
		"a snapshot":      {`{"version":1}`, "this is no ctaudit recording"},
		"another version": {replace("recording 1\n", "recording 2\n"), `version "2" of the format is unknown; this ctaudit reads 1`},
		"cut at the end":  {good[:strings.Index(good, "-- end --")], `cut before section "0012/answer.json"`},
		"cut in a header": {good[:30], `header: want "host:"`},
		"cut in an entry": {good[:strings.Index(good, "-- 0003/")], `cut before section "0003/answer.json"`},
		"wrong count":     {replace("-- end --\n11\n", "-- end --\n12\n"), `section "end": states "12" answers, there are 11`},
		"no time":         {replace("taken: 2026", "taken: x2026"), "header: taken: not a time"},
		"bad interval":    {replace("interval: 1.002s", "interval: -1s"), "header: interval: not a duration"},
		"another header":  {replace("interval: 1.002s\n", "interval: 1.002s\nmood: fine\n"), `header: unknown line "mood: fine\n"`},
		"twice":           {replace(`{"key":"file /etc/none"`, `{"key":"file /a"`), `key "file /a" is there twice`},
		"unknown field":   {replace(`"absent":true`, `"absence":true`), `unknown field "absence"`},
		"two values":      {replace(`"absent":true}`, `"absent":true}{}`), "more than one value"},
		"wrong type":      {replace(`"absent":true`, `"absent":"yes"`), "cannot unmarshal"},
		"no key":          {replace(`{"key":"file /etc/none",`, `{`), "no key"},
		"escaping name":   {replace("-- 0002/data --", "-- ../../etc/passwd --"), `want "0002/data", have "../../etc/passwd"`},
		"out of order":    {replace("-- 0002/", "-- 0003/"), `want "0002/`},
		"bad base64":      {replace("EAAAAC0", "EAA!AC0"), "illegal base64 data"},
		"unknown form":    {replace(`"data":"base64"`, `"data":"hex"`), `unknown form "hex"`},
		"behind the end":  {good + "-- more --\n", `section "more" behind the end`},
	} {
		_, err := host.OpenRecording(strings.NewReader(tt.text))
		if err == nil || !strings.HasPrefix(err.Error(), "read recording: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: want %q, have %v", name, tt.want, err)
		}
	}
}

type fullDisk struct{ left int }

var errFull = errors.New("no space left on device")

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.left -= len(b); d.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestRecordReportsAFullDisk(t *testing.T) {
	ev := sample()
	ev.Answers["file /big"] = &host.Answer{Data: bytes.Repeat([]byte("line\n"), 100_000)}
	for _, left := range []int{0, 100, 70_000, 400_000} {
		if err := host.Record(&fullDisk{left}, ev); !errors.Is(err, errFull) {
			t.Errorf("%d bytes free: %v", left, err)
		}
	}
}

func FuzzOpenRecording(f *testing.F) {
	good := record(f, sample())
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(bytes.Replace(good, []byte("\n"), []byte("\r\n"), -1))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := host.OpenRecording(bytes.NewReader(b))
		if err != nil {
			return
		}
		if _, err := h.Fetch(t.Context(), host.Request{Needs: []host.Need{file("/proc/version")}}); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzReadNamespaces(f *testing.F) {
	f.Add([]byte(`{"inode":4026531840,"netnsID":3,"names":["/run/netns/x"],"pids":[7],"processes":1,"command":{"text":"sleep"},"cgroup":{"base64":"AA=="},"files":{"/proc/net/dev":{"absent":true}},"links":{"data":{"base64":"AAE="}},"addresses":{"err":"x","denied":true}}`))
	f.Add([]byte("{\"inode\":1}\n{\"inode\":2}\n"))
	f.Add([]byte("{\"inode\":2}\n{\"inode\":1}\n"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := host.ReadNamespaces(&host.Answer{Data: b})
		if err != nil && list != nil {
			t.Fatalf("%v with %d namespaces", err, len(list))
		}
		for i := 1; i < len(list); i++ {
			if list[i].Inode <= list[i-1].Inode {
				t.Fatal("out of order")
			}
		}
	})
}

func TestReadNamespacesSaysWhatItLacks(t *testing.T) {
	one := []byte(`{"inode":7}`)
	for name, tt := range map[string]struct {
		answer host.Answer
		count  int
		err    string
	}{
		"absent":    {host.Answer{Absent: true}, 0, ""},
		"whole":     {host.Answer{Data: one}, 1, ""},
		"partly":    {host.Answer{Data: one, Err: "2 processes in other network namespaces: permission denied", Denied: true}, 1, "2 processes in other network namespaces: permission denied"},
		"truncated": {host.Answer{Data: one, Truncated: true}, 1, "more than 4096 namespaces, or too much in them"},
		"unknown":   {host.Answer{Data: []byte(`{"inode":7,"mood":1}`)}, 0, `decode namespaces: json: unknown field "mood"`},
		"order":     {host.Answer{Data: append(append([]byte{}, one...), one...)}, 0, "decode namespaces: 7 behind 7"},
		"cut":       {host.Answer{Data: one[:5]}, 0, "decode namespaces: unexpected EOF"},
	} {
		list, err := host.ReadNamespaces(&tt.answer)
		if len(list) != tt.count || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: %d namespaces, %v", name, len(list), err)
		}
	}
}
