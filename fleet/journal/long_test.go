package journal

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// endless is a line without an end, up to so many bytes.
type endless int

func (e *endless) Read(p []byte) (int, error) {
	if *e <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), int(*e))
	copy(p, bytes.Repeat([]byte("x"), n))
	*e -= endless(n)
	return n, nil
}

// TestLongLine: of a line that never ends no more is held than MaxLine, and the next one is read.
func TestLongLine(t *testing.T) {
	long := endless(3 * MaxLine)
	r := bufio.NewReaderSize(io.MultiReader(&long, strings.NewReader("\nnext\n")), 1<<18)
	line, size, err := readLine(r)
	if len(line) != MaxLine+1 || size != 3*MaxLine+1 || err != nil || tooLong(line) == nil {
		t.Errorf("%d of %d bytes, %v", len(line), size, err)
	}
	if line, size, err := readLine(r); string(line) != "next\n" || size != 5 || err != nil || tooLong(line) != nil {
		t.Errorf("%q, %d, %v", line, size, err)
	}
	if line, size, err := readLine(r); len(line) != 0 || size != 0 || err != io.EOF {
		t.Errorf("%q, %d, %v", line, size, err)
	}
}

// TestJournalWithALongLine: it costs that line, which is named, and not the journal nor the memory.
func TestJournalWithALongLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, err := Create(path, header())
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(entry("a", 1)); err != nil {
		t.Fatal(err)
	}
	_ = j.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"host":"b","attempt":1,"report":"`); err != nil {
		t.Fatal(err)
	}
	end, _ := f.Seek(0, io.SeekEnd)
	if err := f.Truncate(end + 4*MaxLine); err != nil { // a hole: nothing of it is on the disk
		t.Fatal(err)
	}
	if _, err := f.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	j, err = Resume(path, header())
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	runtime.ReadMemStats(&after)
	if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 6*MaxLine>>20 {
		t.Errorf("%d MiB", mib)
	}
	d := j.Damaged()
	if len(d) != 1 || d[0].String() != "line 3: longer than 64 MiB (probably of b)" || len(entries(t, j)) != 1 {
		t.Errorf("%v", d)
	}
	if err := j.Append(entry("c", 1)); err != nil || len(entries(t, j)) != 2 {
		t.Errorf("%v, %d entries", err, len(entries(t, j)))
	}
}

// TestLongEntry: what could not be read back is not written, and the journal goes on.
func TestLongEntry(t *testing.T) {
	j, err := Temporary(t.TempDir(), header())
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	e := entry("a", 1)
	e.Report = append(append([]byte(`"`), bytes.Repeat([]byte("x"), MaxLine)...), '"')
	if err := j.Append(e); err == nil {
		t.Error("no error")
	}
	if err := j.Append(entry("b", 1)); err != nil || len(entries(t, j)) != 1 {
		t.Errorf("%v, %d entries", err, len(entries(t, j)))
	}
}
