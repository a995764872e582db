package archive

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// A whole download serves until it is too old; what another one left is gone before the next one begins, and one that fails is
// never taken for whole.
func TestEarlierDownloads(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no apt: no archive
	dir := t.TempDir()
	deb, list := filepath.Join(dir, "a_1_amd64.deb"), filepath.Join(dir, complete)
	for name, content := range map[string]string{deb: "", list: "a_1_amd64.deb\n"} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := Request{Suite: "bookworm", Package: "nftables", Wanted: regexp.MustCompile(`^nftables$`), MaxAge: time.Hour}
	if debs, err := Fetch(t.Context(), r, dir); err != nil || len(debs) != 1 || debs[0] != deb {
		t.Errorf("a whole download gives %v, %v", debs, err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(list, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(t.Context(), r, dir); !errors.Is(err, ErrNone) {
		t.Errorf("an old download without an archive: %v, want %v", err, ErrNone)
	}
	for _, name := range []string{deb, list} {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	r.MaxAge = 0
	if _, err := Fetch(t.Context(), r, dir); !errors.Is(err, ErrNone) {
		t.Errorf("a download that failed is taken for whole: %v", err)
	}
}
