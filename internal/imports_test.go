package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ctaudit/ctaudit/"

// walls is the import table of docs/architecture.md: which of our packages a package (and those below it) may import, itself
// and its own subpackages aside. Tests are free to import what they check.
var walls = map[string][]string{
	"internal/netfilter":     {},
	"internal/host":          {},
	"internal/host/hosttest": {"internal/host", "internal/lab"},
	"internal/report":        {"internal/netfilter"},
	"internal/snapshot":      {"internal/netfilter"},
	"internal/packetpath":    {"internal/netfilter"},
	"internal/collect":       {"internal/host", "internal/snapshot", "internal/netfilter"},
	"internal/facts":         {"internal/snapshot", "internal/packetpath", "internal/netfilter"},
	"internal/config":        {"internal/report"},
	"internal/policy":        {"internal/facts", "internal/report", "policies"},
	"internal/render":        {"internal/report", "internal/netfilter"},
	"internal/lab":           {"internal/host", "internal/netfilter"},
	"policies":               {},
	"fleet":                  {"internal/host"},
	"cmd":                    {"internal", "policies", "fleet"},
}

// kept are modules and standard packages that only some rooms may import.
var kept = map[string][]string{
	"github.com/open-policy-agent/opa": {"internal/policy"},
	"github.com/google/nftables":       {"internal/collect", "internal/host", "internal/lab"},
	"github.com/coreos/go-iptables":    {"internal/collect", "internal/host", "internal/lab"},
	"github.com/vishvananda":           {"internal/collect", "internal/host", "internal/lab"},
	"github.com/mdlayher":              {"internal/collect", "internal/host", "internal/lab"},
	"github.com/jsimonetti/rtnetlink":  {"internal/collect", "internal/host", "internal/lab"},
	"gopkg.in/yaml.v3":                 {"internal/config", "fleet"},
	"os/exec":                          {"internal/host", "internal/lab"},
}

func TestImportsKeepTheWalls(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return err
		}
		files++
		return checkFile(t, p)
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("only %d Go files were seen: the test does not look where the code is", files)
	}
}

func checkFile(t *testing.T, file string) error {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(file)), "../")
	room := roomOf(dir)
	if room == "" {
		t.Errorf("%s: no room in the import table for %s", file, dir)
	}
	for _, imp := range f.Imports {
		name, _ := strconv.Unquote(imp.Path.Value)
		if ours, ok := strings.CutPrefix(name, module); ok && !within(ours, append(walls[room], room)) {
			t.Errorf("%s imports %s: %s may import %v", file, ours, room, walls[room])
		}
		for _, k := range slices.Sorted(maps.Keys(kept)) {
			if (name == k || strings.HasPrefix(name, k+"/")) && !within(dir, kept[k]) {
				t.Errorf("%s imports %s, which only %v may", file, name, kept[k])
			}
		}
	}
	return nil
}

func roomOf(dir string) string {
	for d := dir; d != "."; d = path.Dir(d) {
		if _, ok := walls[d]; ok {
			return d
		}
	}
	return ""
}

func within(dir string, rooms []string) bool {
	for _, r := range rooms {
		if dir == r || strings.HasPrefix(dir, r+"/") {
			return true
		}
	}
	return false
}
