package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ctaudit/ctaudit/policies"
)

// Bounds of a user's policy folder: far above any real one, low enough that a wrong path ("--policy /") ends soon.
const (
	maxFiles    = 1000
	maxFileSize = 1 << 20
)

// embeddedSource is where the controls of this build come from (report.Control.Source).
const embeddedSource = "embedded"

// module is one Rego file, parsed.
type module struct {
	file   string
	ast    *ast.Module
	help   string // the README beside it
	user   bool
	area   string // empty: a library
	id     string
	source string // report.Control.Source
}

var controlID = regexp.MustCompile(`^[A-Z][A-Z0-9]*(-[A-Z0-9]+)+$`)

// embedded parses the policies of this build.
func embedded(caps *ast.Capabilities) ([]*module, error) {
	var out []*module
	files := policies.Files()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".rego" {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		m, err := parse("policies/"+name, text, caps)
		if err != nil {
			return err
		}
		m.source = embeddedSource
		if m.id != "" {
			help, err := fs.ReadFile(files, path.Join(path.Dir(name), "README.md"))
			if err != nil {
				return err
			}
			m.help = string(help)
		}
		out = append(out, m)
		return nil
	})
	return out, err
}

// userModules parses the Rego files below dir, tests aside, in the order of their paths.
func userModules(dir string, caps *ast.Capabilities) ([]*module, error) {
	var out []*module
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read %s: %w", name, errors.Unwrap(err))
		}
		if d.IsDir() || filepath.Ext(name) != ".rego" || strings.HasSuffix(name, "_test.rego") {
			return nil
		}
		if len(out) == maxFiles {
			return fmt.Errorf("read %s: more than %d Rego files", dir, maxFiles)
		}
		m, err := readUser(name, caps)
		out = append(out, m)
		return err
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("read %s: no .rego file in it", dir)
	}
	return out, err
}

func readUser(name string, caps *ast.Capabilities) (*module, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, errors.Unwrap(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", name)
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("read %s: larger than %d bytes", name, maxFileSize)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, errors.Unwrap(err))
	}
	m, err := parse(name, text, caps)
	if err != nil {
		return nil, err
	}
	m.user, m.source = true, name
	if help, err := os.ReadFile(filepath.Join(filepath.Dir(name), "README.md")); err == nil && m.id != "" {
		m.help = string(help)
	}
	return m, nil
}

// parse reads one module with its METADATA. The package decides what it is: control.AREA["ID"], or a library.
func parse(name string, text []byte, caps *ast.Capabilities) (*module, error) {
	parsed, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{
		Capabilities:      caps,
		ProcessAnnotation: true,
		RegoVersion:       ast.RegoV1,
	})
	if err != nil {
		return nil, explain(err)
	}
	m := &module{file: name, ast: parsed}
	parts := refParts(parsed.Package.Path)
	if len(parts) == 0 || parts[0] != "control" {
		return m, nil
	}
	if len(parts) != 3 || !controlID.MatchString(parts[2]) {
		return nil, fmt.Errorf("%s: %s is not the package of a control\n"+
			`hint: write package control.AREA["ID"], as in control.site["ORG-SITE-001"]`, parsed.Package.Location, parsed.Package)
	}
	m.area, m.id = parts[1], parts[2]
	return m, nil
}

// refParts returns the parts of a package's path after "data".
func refParts(ref ast.Ref) []string {
	var parts []string
	for _, term := range ref[1:] {
		s, ok := term.Value.(ast.String)
		if !ok {
			return nil
		}
		parts = append(parts, string(s))
	}
	return parts
}

// merge puts the user's modules over the embedded ones: a control of the same id takes the embedded control's place,
// whatever its area; everything else is added. A user's file may not add to the packages of the embedded libraries.
func merge(base, user []*module) ([]*module, error) {
	byID, libs := map[string]*module{}, map[string]bool{}
	for _, m := range base {
		if m.id == "" {
			libs[m.ast.Package.Path.String()] = true
		}
	}
	for _, m := range user {
		if libs[m.ast.Package.Path.String()] {
			return nil, fmt.Errorf("%s: %s belongs to ctaudit\nhint: import it, and put your own helpers into a package of another name",
				m.ast.Package.Location, m.ast.Package)
		}
		if m.id == "" {
			continue
		}
		if other := byID[m.id]; other != nil {
			return nil, fmt.Errorf("%s: control %s is in %s too\nhint: one file a control; share helpers through a package outside control",
				m.ast.Package.Location, m.id, other.file)
		}
		byID[m.id] = m
	}
	var out []*module
	for _, m := range base {
		if byID[m.id] == nil {
			out = append(out, m)
		}
	}
	return append(out, user...), nil
}
