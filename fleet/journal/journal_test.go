package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

func header() Header {
	return Header{
		Tool: "ctaudit 1", Inventory: "sha256:aa", Controls: "sha256:bb", Options: map[string]string{"become": "sudo"},
		Hosts: []string{"a", "b", "c"}, Head: json.RawMessage(`{"controls":[]}`),
	}
}

func entry(host string, attempt int) Entry {
	return Entry{host, attempt, "complete", "0123abcd", json.RawMessage(fmt.Sprintf(`{"name":%q,"n":%d}`, host, attempt))}
}

func create(t testing.TB, entries ...Entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run.journal")
	j, err := Create(path, header())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func entries(t testing.TB, j *Journal) map[string]Entry {
	t.Helper()
	got := map[string]Entry{}
	for e, err := range j.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		got[e.Host] = e
	}
	return got
}

func TestRoundTrip(t *testing.T) {
	odd := Entry{"web\n,\"report\":\x1b\"ü", 2, "error", "", json.RawMessage(`{"error":",\"report\": \u0000"}`)}
	path := create(t, entry("a", 1), odd, entry("a", 2))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	want := header()
	want.Journal = Version
	if got := j.Header(); !reflect.DeepEqual(got, want) {
		t.Errorf("header %+v", got)
	}
	if got, want := entries(t, j), (map[string]Entry{"a": entry("a", 2), odd.Host: odd}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n, outcome := j.Done("a"); n != 2 || outcome != "complete" {
		t.Errorf("done %d %s", n, outcome)
	}
	if a, none := j.Where("a"), j.Where(odd.Host)+j.Where("nobody"); a != "0123abcd" || none != "" {
		t.Errorf("where %q, %q", a, none)
	}
	if err := j.Append(entry("b", 1)); err == nil {
		t.Error("a journal that was opened to be read takes an entry")
	}
	text, _ := os.ReadFile(path)
	for line := range bytes.Lines(text) {
		if !json.Valid(line) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestRefuses(t *testing.T) {
	path := create(t, entry("a", 1))
	for name, open := range map[string]func(string, Header) (*Journal, error){"create": Create, "resume": Resume} {
		if _, err := open(os.DevNull, header()); !errors.Is(err, ErrNoFile) {
			t.Errorf("%s a device: %v", name, err)
		}
	}
	if _, err := Create(path, header()); !errors.Is(err, ErrExists) {
		t.Errorf("create over a journal: %v", err)
	}
	j, err := Resume(path, header())
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (*Journal, error){
		"resume": func() (*Journal, error) { return Resume(path, header()) },
		"create": func() (*Journal, error) { return Create(path, header()) },
		"open":   func() (*Journal, error) { return Open(path) },
	} {
		if _, err := open(); !errors.Is(err, ErrInUse) {
			t.Errorf("%s of a journal in use: %v", name, err)
		}
	}
	if err := j.Append(Entry{"b", 1, "complete", "", json.RawMessage("{\n}")}); err == nil {
		t.Error("an entry of two lines")
	}
	_ = j.Close()
	if _, err := Create("/proc/self/none", header()); err == nil {
		t.Error("created in /proc")
	}
	if _, err := Create(t.TempDir(), header()); err == nil {
		t.Error("created over a folder")
	}
	for name, text := range map[string]string{"empty": "", "other": "{}\n", "text": "hello\nworld\n"} {
		file := filepath.Join(t.TempDir(), name)
		_ = os.WriteFile(file, []byte(text), 0o644)
		if _, err := Open(file); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	newer := strings.Replace(string(must(headerLine(header()))), `"journal":1`, `"journal":2`, 1)
	open := strings.TrimSuffix(newer, newer[len(newer)-sumSize-1:])
	_ = os.WriteFile(path, seal([]byte(open)), 0o600)
	if _, err := Resume(path, header()); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("newer version: %v", err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestDamage changes every byte of a journal, in several ways: what is read is right, what is lost is named, and the run goes on.
func TestDamage(t *testing.T) {
	path := create(t, entry("a", 1), entry("b", 1), entry("c", 1))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	headerEnd := bytes.IndexByte(good, '\n')
	for at := range good {
		for _, with := range []byte{'\n', 0, good[at] ^ 0x20, good[at] + 1} {
			bad := bytes.Clone(good)
			if bad[at] == with {
				continue
			}
			bad[at] = with
			checkDamaged(t, path, bad, at <= headerEnd)
		}
	}
}

func checkDamaged(t *testing.T, path string, text []byte, inHeader bool) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := Resume(path, header())
	if err != nil {
		if !inHeader {
			t.Fatalf("%q: %v", text, err)
		}
		return
	}
	defer j.Close()
	if inHeader {
		t.Fatalf("a damaged header passes: %q", text)
	}
	missing := 0
	got := entries(t, j)
	for _, host := range []string{"a", "b", "c"} {
		if e, ok := got[host]; !ok {
			missing++
			if err := j.Append(entry(host, 2)); err != nil {
				t.Fatal(err)
			}
		} else if !reflect.DeepEqual(e, entry(host, 1)) {
			t.Fatalf("%s: %+v from %q", host, e, text)
		}
	}
	if missing == 0 || len(j.Damaged()) == 0 && j.Cut() == 0 {
		t.Fatalf("%d hosts missing, damage %v, cut %d: %q", missing, j.Damaged(), j.Cut(), text)
	}
	if len(entries(t, j)) != 3 {
		t.Fatalf("not whole after going on: %q", text)
	}
}

// TestTorn cuts a journal off at every byte, as a kill or a power cut may.
func TestTorn(t *testing.T) {
	path := create(t, entry("a", 1), entry("b", 1))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range good {
		if err := os.WriteFile(path, good[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Resume(path, header())
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		want := max(0, bytes.Count(good[:at], []byte("\n"))-1)
		if got := len(entries(t, j)); got != want || len(j.Damaged()) != 0 {
			t.Fatalf("cut at %d: %d entries, want %d; damage %v", at, got, want, j.Damaged())
		}
		for _, host := range []string{"a", "b"} {
			if n, _ := j.Done(host); n == 0 {
				if err := j.Append(entry(host, 1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = j.Close()
		if now, _ := os.ReadFile(path); !bytes.Equal(now, good) {
			t.Fatalf("cut at %d, gone on: %q", at, now)
		}
	}
}

// TestTogether appends from many goroutines; every entry is there afterwards, at its place.
func TestTogether(t *testing.T) {
	path := create(t)
	j, err := Resume(path, header())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			host := fmt.Sprintf("host-%d", i)
			if err := j.Append(entry(host, 1)); err != nil {
				t.Error(err)
			}
			if e, ok, err := j.Entry(host); !ok || err != nil || e.Host != host {
				t.Errorf("%s is not done after Append: %v", host, err)
			}
		})
	}
	wg.Wait()
	_ = j.Close()
	j, err = Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if got := entries(t, j); len(got) != 200 || !reflect.DeepEqual(got["host-77"], entry("host-77", 1)) {
		t.Errorf("%d entries", len(got))
	}
}

func TestRehead(t *testing.T) {
	path := create(t, entry("a", 1))
	j, err := Resume(path, header())
	if err != nil {
		t.Fatal(err)
	}
	h := header()
	h.Tool = "ctaudit 2"
	if err := j.Rehead(h); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(entry("b", 1)); err != nil {
		t.Fatal(err)
	}
	_ = j.Close()
	j, err = Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if j.Header().Tool != "ctaudit 2" || len(entries(t, j)) != 2 {
		t.Errorf("%+v, %d entries", j.Header(), len(entries(t, j)))
	}
}

func TestTemporary(t *testing.T) {
	dir := t.TempDir()
	j, err := Temporary(dir, header())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(entry("a", 1)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if len(entries(t, j)) != 1 || j.Close() != nil {
		t.Error("the entry is not there")
	}
}

// TestFullDisk fills a small file system: the error says so, what was done stays done, and the journal can be gone on with.
func TestFullDisk(t *testing.T) {
	labtest.Require(t, "root")
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread, and its mounts, end with this goroutine
		dir := t.TempDir()
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")); err != nil {
			t.Error(err)
			return
		}
		defer unix.Unmount(dir, unix.MNT_DETACH)
		fill(t, filepath.Join(dir, "run.journal"))
	}()
	<-done
}

func fill(t *testing.T, path string) {
	j, err := Create(path, header())
	if err != nil {
		t.Error(err)
		return
	}
	big := func(i int) Entry {
		noise := make([]byte, 3000)
		for k := range noise {
			noise[k] = byte('a' + rand.IntN(26))
		}
		return Entry{fmt.Sprintf("host-%d", i), 1, "complete", "", json.RawMessage(`"` + string(noise) + `"`)}
	}
	kept := map[string]Entry{}
	var full error
	for i := range 100 {
		e := big(i)
		if full = j.Append(e); full != nil {
			break
		}
		kept[e.Host] = e
	}
	var write *WriteError
	if !errors.As(full, &write) || !errors.Is(full, unix.ENOSPC) || full.Error() != "journal "+path+": no space left on device" {
		t.Errorf("full disk: %v", full)
	}
	if err := j.Append(entry("small", 1)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("after the full disk: %v", err)
	}
	_ = j.Close()
	j, err = Resume(path, header())
	if err != nil {
		t.Error(err)
		return
	}
	defer j.Close()
	if got := entries(t, j); !reflect.DeepEqual(got, kept) || j.Cut() != 0 || len(kept) < 10 {
		t.Errorf("%d entries of %d, cut %d", len(got), len(kept), j.Cut())
	}
}
