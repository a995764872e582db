package registry_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// Every folder beside this one that has a constructor of a collector is in the registry under the folder's name, and the
// registry has nothing else.
func TestEveryCollectorIsRegistered(t *testing.T) {
	folders, err := filepath.Glob("../*")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, dir := range folders {
		if constructs(t, dir) {
			want = append(want, filepath.Base(dir))
		}
	}
	if len(want) == 0 {
		t.Fatal("found no collectors beside the registry")
	}
	var have []string
	for _, c := range registry.All() {
		have = append(have, c.Name())
	}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("registered: %v\nin folders: %v", have, want)
	}
}

// constructs says whether the package has a func New() collect.Collector.
func constructs(t *testing.T, dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "New" && fn.Recv == nil {
				return true
			}
		}
	}
	return false
}

// The needs of all collectors fit together, are the same each time, and write nothing: only known ways of reading, only
// absolute paths.
func TestNeedsAreSound(t *testing.T) {
	once, again := collect.NeedsOf(registry.All()), collect.NeedsOf(registry.All())
	if len(once) == 0 {
		t.Fatal("nobody needs anything")
	}
	for i, n := range once {
		if n.Key() != again[i].Key() {
			t.Errorf("need %d is %q, then %q", i, n.Key(), again[i].Key())
		}
		switch n.Kind {
		case host.File, host.Glob:
			if len(n.Args) != 1 || !filepath.IsAbs(n.Args[0]) {
				t.Errorf("%s: want one absolute path", n.Key())
			}
		case host.Command:
			if len(n.Args) == 0 || n.Only == "" && !slices.Contains(n.Args, "-V") {
				t.Errorf("%s: a command that asks the kernel needs a condition, or it may load modules", n.Key())
			}
		case host.Netlink:
			if len(n.Args) != 1 {
				t.Errorf("%s: want one dump", n.Key())
			}
		case host.Namespaces:
		default:
			t.Errorf("%s: unknown kind", n.Key())
		}
	}
}

// mute answers nothing at all.
type mute struct{}

func (mute) Fetch(context.Context, host.Request) (*host.Evidence, error) {
	return &host.Evidence{Host: "mute", Answers: map[string]*host.Answer{}}, nil
}

// denied refuses everything.
type denied struct{}

func (denied) Fetch(_ context.Context, req host.Request) (*host.Evidence, error) {
	ev := &host.Evidence{Host: "denied", Answers: map[string]*host.Answer{}}
	for _, n := range req.Needs {
		ev.Answers[n.Key()] = &host.Answer{Err: "permission denied", Denied: true}
	}
	return ev, nil
}

// With nothing answered, or all of it refused, no collector may claim to have read anything.
func TestSilenceIsNotAPass(t *testing.T) {
	for name, h := range map[string]host.Host{"mute": mute{}, "denied": denied{}} {
		doc, _, err := collect.Run(t.Context(), h, registry.All(), collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range doc.Collectors {
			if c.Status != snapshot.StatusUnreadable || len(c.Missing) == 0 {
				t.Errorf("%s: %s is %s with %d missing", name, c.Name, c.Status, len(c.Missing))
			}
		}
	}
}
