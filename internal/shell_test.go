package internal_test

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// TestShellScripts: no script of the repository has what shellcheck warns of.
func TestShellScripts(t *testing.T) {
	labtest.Require(t, "shellcheck")
	scripts := []string{"../.ci/run"}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case strings.HasSuffix(path, ".sh"):
			scripts = append(scripts, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(scripts) < 7 {
		t.Fatalf("only %q were found", scripts)
	}
	if out, err := exec.Command("shellcheck", scripts...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
