package probe_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
)

// small is a request with one need of most kinds, and what dash answered to it, unpacked.
type small struct {
	req    host.Request
	nonce  string
	packed []byte // as it came
	plain  []byte // the same with the codec "plain"
}

func newSmall(t testing.TB, needs ...host.Need) small {
	t.Helper()
	if needs == nil {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "a.conf"), []byte("text\x00more"), 0o644))
		needs = []host.Need{
			{Kind: host.File, Args: []string{"/proc/sys/kernel/ostype"}, Sampled: true},
			{Kind: host.File, Args: []string{"/nothing/there"}},
			{Kind: host.Glob, Args: []string{dir + "/*.conf"}},
			{Kind: host.Command, Args: []string{"echo", "hello"}, Sampled: true},
			{Kind: host.Command, Args: []string{"echo", "no"}, Only: "/nothing/there"},
			{Kind: host.Command, Args: []string{"no-such-program"}},
			{Kind: host.Netlink, Args: []string{host.DumpRules}},
		}
	}
	s := small{req: host.Request{Needs: needs, Sample: 1}, nonce: newNonce()}
	cmd := exec.Command("dash", "-s")
	cmd.Stdin = bytes.NewReader(probe.Script(s.req, s.nonce))
	var err error
	s.packed, err = cmd.Output()
	must(t, err)
	marker := s.marker("gzip")
	i := bytes.Index(s.packed, marker)
	if i < 0 {
		t.Fatalf("no marker in %.100q", s.packed)
	}
	z, err := gzip.NewReader(bytes.NewReader(s.packed[i+len(marker):]))
	must(t, err)
	body, err := io.ReadAll(z)
	must(t, err)
	s.plain = append(s.marker("plain"), body...)
	return s
}

func (s small) marker(codec string) []byte {
	return []byte("\nctaudit-probe 1 " + s.nonce + " " + codec + "\n")
}

func (s small) read(b []byte) (*host.Evidence, error) {
	return probe.Read(bytes.NewReader(b), s.req, s.nonce, testLimit)
}

// pack is the body behind another marker.
func (s small) pack(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.Write(s.marker("gzip"))
	z := gzip.NewWriter(&b)
	_, err := z.Write(body)
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

func (s small) body() []byte { return bytes.TrimPrefix(s.plain, s.marker("plain")) }

// TestCutAnywhere: what ended early is not used, wherever it ended.
func TestCutAnywhere(t *testing.T) {
	s := newSmall(t)
	for name, whole := range map[string][]byte{"gzip": s.packed, "plain": s.plain} {
		ev, err := s.read(whole)
		if err != nil || len(ev.Answers) != len(s.req.Needs) {
			t.Fatalf("%s: whole: %v", name, err)
		}
		for n := range whole {
			ev, err := s.read(whole[:n])
			if ev != nil || !errors.Is(err, probe.ErrCut) && !errors.Is(err, probe.ErrNoAnswer) {
				t.Fatalf("%s: cut at %d of %d: %v", name, n, len(whole), err)
			}
		}
	}
}

// TestFlippedAnywhere: gzip's checksum finds every changed byte behind its header that changes the answer.
func TestFlippedAnywhere(t *testing.T) {
	s := newSmall(t)
	whole, err := s.read(s.packed)
	must(t, err)
	start := bytes.Index(s.packed, s.marker("gzip")) + len(s.marker("gzip")) + 10
	for n := start; n < len(s.packed); n++ {
		b := bytes.Clone(s.packed)
		b[n] ^= 0x55
		if ev, err := s.read(b); err == nil && !cmp.Equal(ev, whole) {
			t.Fatalf("byte %d of %d: no error", n, len(b))
		}
	}
}

// TestNoise: what a login prints before the answer is skipped, up to a megabyte, whatever it looks like.
func TestNoise(t *testing.T) {
	s := newSmall(t)
	other := "ctaudit-probe 1 " + newNonce() + " gzip\n"
	for name, noise := range map[string]string{
		"nothing": "", "message of the day": "Welcome!\n\n  * Documentation\n", "no line break": "profile: hello",
		"control characters": "\x1b[2J\x00\xff\r\n", "another marker": other, "the script": string(probe.Script(s.req, s.nonce)),
		"long": strings.Repeat("x", 1<<20-100), "lines": strings.Repeat("x\n", 1<<19-100),
	} {
		if _, err := s.read(append([]byte(noise), s.packed...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.read(append(bytes.Repeat([]byte("x\n"), 1<<20), s.packed...)); !errors.Is(err, probe.ErrNoAnswer) {
		t.Errorf("too much noise: %v", err)
	}
	if _, err := s.read(append(s.packed, "logout: bye\n"...)); err != nil {
		t.Errorf("noise behind: %v", err)
	}
	if _, err := s.read(append(s.plain, "logout: bye\n"...)); err != nil {
		t.Errorf("noise behind a plain answer: %v", err)
	}
}

// TestNoAnswer: the error tells what came instead, and no byte of it can reach a terminal raw.
func TestNoAnswer(t *testing.T) {
	s := newSmall(t)
	for in, want := range map[string]string{
		"":                                    "nothing came",
		"sudo: a password is required\n":      "sudo: a password is required",
		"\x1b]0;title\x07This account is off": `\x1b]0;title\aThis account is off`,
		strings.Repeat("line\n", 5000):        `"line", "line", "line"`,
	} {
		_, err := s.read([]byte(in))
		if !errors.Is(err, probe.ErrNoAnswer) || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\x1b\x07\n") || len(err.Error()) > 1000 {
			t.Errorf("%.40q: %v", in, err)
		}
	}
}

// TestMarkersInFiles: a file may hold whatever the script prints, under any nonce but its own.
func TestMarkersInFiles(t *testing.T) {
	dir := t.TempDir()
	texts := map[string]string{
		"end": "CT=" + newNonce() + "\x00END=" + newNonce() + "\x00", "z": "Z 3\x00", "head": "head: cannot open '/x' for reading: Permission denied\n",
		"tail": "==> /etc/passwd <==\n", "nul": strings.Repeat("\x00", 70000), "break": "\n\nCT=", "script": string(probe.Script(host.Request{}, newNonce())),
	}
	var needs []host.Need
	for name, text := range texts {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		needs = append(needs, host.Need{Kind: host.File, Args: []string{filepath.Join(dir, name)}})
	}
	needs = append(needs, host.Need{Kind: host.Glob, Args: []string{dir + "/*"}})
	s := newSmall(t, needs...)
	ev, err := s.read(s.packed)
	must(t, err)
	glob := ev.Answer(needs[len(needs)-1])
	for name, text := range texts {
		path := filepath.Join(dir, name)
		a := ev.Answer(host.Need{Kind: host.File, Args: []string{path}})
		if string(a.Data) != text || a.Err != "" || string(glob.Files[path]) != text {
			t.Errorf("%s: have %.80q, %s", name, a.Data, a.Err)
		}
	}
}

// TestImitatedComplaint: a file whose content is the very complaint about itself counts as unreadable, never as absent.
func TestImitatedComplaint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	must(t, os.WriteFile(path, []byte("head: cannot open '"+path+"' for reading: No such file or directory\n"), 0o644))
	need := host.Need{Kind: host.File, Args: []string{path}}
	s := newSmall(t, need)
	ev, err := s.read(s.packed)
	must(t, err)
	if a := ev.Answer(need); a.Absent || a.Err == "" {
		t.Errorf("have %+v", a)
	}
}

// TestLies: an answer that contradicts itself or what was asked is an error that says so.
func TestLies(t *testing.T) {
	s := newSmall(t)
	for name, lie := range map[string]struct{ old, new, want string }{
		"index out of range":  {"F 2 ", "F 99 ", "no such slot"},
		"index below zero":    {"F 2 ", "F -1 ", "no such slot"},
		"no index":            {"F 2 ", "F x ", "no such slot"},
		"twice":               {"N 5 absent\x00", "N 5 absent\x00N 5 absent\x00", "answered twice"},
		"nothing about one":   {"N 5 absent\x00", "", "about slot"},
		"another path":        {"/proc/sys/kernel/ostype", "/etc/shadow", "not what was asked for"},
		"another condition":   {"C 4 a /nothing/there", "C 4 a /etc/shadow", "not what was asked for"},
		"a file of a command": {"O 1 ", "F 1 ", "record"},
		"a command of a file": {"F 0 ", "O 0 ", "not what was asked for"},
		"a list of a command": {"O 1 no echo", "S 1 no echo", "not what was asked for"},
		"unknown record":      {"N 5 ", "Q 5 ", "no such record"},
		"wrong count":         {"Z 10", "Z 11", "states"},
		"no status":           {"\x00:0\x00", "\x00:x\x00", "status"},
		"no mark":             {"T 1 ", "T 7 ", "no such mark"},
		"no uptime":           {"T 1 ", "T 1 x", "uptime"},
		"no files":            {"D\x00", "", ""},
		"files behind files":  {"hello\n", "hello\nCT=" + s.nonce + "\x00", "pieces"},
	} {
		body := bytes.Replace(s.body(), []byte(lie.old), []byte(lie.new), 1)
		if bytes.Equal(body, s.body()) {
			t.Errorf("%s: %q is not in %q", name, lie.old, s.body())
			continue
		}
		ev, err := s.read(s.pack(t, body))
		if err == nil || ev != nil || !strings.Contains(err.Error(), lie.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.read(s.pack(t, append(s.body(), 'x'))); err == nil {
		t.Error("bytes behind the end: no error")
	}
	if _, err := s.read(bytes.Replace(s.packed, []byte(" gzip\n"), []byte(" zstd\n"), 1)); err == nil {
		t.Error("unknown codec: no error")
	}
}

// endless counts what is taken of a stream without end.
type endless struct {
	piece []byte
	taken int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.piece)
	e.taken += int64(n)
	return n, nil
}

// TestEndless: garbage, an answer without end and a packed bomb are left at the limit, in bounded memory.
func TestEndless(t *testing.T) {
	const limit = 4 << 20
	s := newSmall(t)
	var bomb bytes.Buffer
	bomb.Write(s.marker("gzip"))
	z, err := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	must(t, err)
	zeros := make([]byte, 1<<20)
	head := s.body()[:bytes.Index(s.body(), []byte("D\x00"))+2]
	_, err = z.Write(head)
	must(t, err)
	for range 512 {
		_, err := z.Write(zeros)
		must(t, err)
	}
	garbage := &endless{piece: bytes.Repeat([]byte("garbage\n"), 4096)}
	record := &endless{piece: bytes.Repeat([]byte("x"), 32768)}
	data := &endless{piece: make([]byte, 32768)}
	for name, in := range map[string]struct {
		r    io.Reader
		most int64
		from *endless
		want error
	}{
		"garbage":         {garbage, 2 << 20, garbage, probe.ErrNoAnswer},
		"endless record":  {io.MultiReader(bytes.NewReader(s.marker("plain")), record), 1 << 20, record, nil},
		"endless data":    {io.MultiReader(bytes.NewReader(s.marker("plain")), bytes.NewReader(head), data), limit + 1<<20, data, nil},
		"packed half GiB": {&bomb, 0, nil, nil},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		ev, err := probe.Read(in.r, s.req, s.nonce, limit)
		runtime.ReadMemStats(&after)
		if ev != nil || err == nil || in.want != nil && !errors.Is(err, in.want) {
			t.Errorf("%s: %v", name, err)
		}
		if in.from != nil && in.from.taken > in.most {
			t.Errorf("%s: %d bytes were taken", name, in.from.taken)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8*limit {
			t.Errorf("%s: %d bytes were allocated", name, grown)
		}
	}
	big := host.Need{Kind: host.Command, Args: []string{"echo", "hello"}}
	s = newSmall(t, big)
	many := bytes.Replace(s.body(), []byte("hello\n"), bytes.Repeat([]byte("hello\n"), 1<<20), 1)
	if _, err := probe.Read(bytes.NewReader(s.pack(t, many)), s.req, s.nonce, limit); !errors.Is(err, probe.ErrTooLong) {
		t.Errorf("an answer over the limit: %v", err)
	}
}

// FuzzRead: whatever a node sends, Read ends without a panic, and evidence answers every need.
func FuzzRead(f *testing.F) {
	s := newSmall(f)
	f.Add(s.body())
	f.Add([]byte("B 1 x\x00M\x00END=" + s.nonce + "\x00Z 0\x00"))
	full := newSmall(f, everything()...)
	nonce := strings.Repeat("0", 32)
	for _, one := range []small{s, full} {
		f.Add(bytes.ReplaceAll(one.body(), []byte(one.nonce), []byte(nonce)))
	}
	requests := []host.Request{s.req, full.req}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, req := range requests {
			in := append([]byte("ctaudit-probe 1 "+nonce+" plain\n"), body...)
			ev, err := probe.Read(bytes.NewReader(in), req, nonce, 1<<24)
			if (ev == nil) == (err == nil) {
				t.Fatalf("evidence %v, error %v", ev, err)
			}
			if ev == nil {
				continue
			}
			for _, n := range req.Needs {
				if ev.Answers[n.Key()] == nil {
					t.Fatalf("no answer to %s", n.Key())
				}
			}
		}
	})
}
