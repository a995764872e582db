package inventory

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// folder is where an inventory lies, with the variables of its group_vars and host_vars.
type folder struct {
	dir    string
	groups map[string]vars
	hosts  map[string]vars
}

// suffixes of the files in group_vars and host_vars, in the order that Ansible tries them.
func suffixes() []string { return []string{"", ".yml", ".yaml", ".json"} }

// readFolders reads group_vars and host_vars beside every source, once.
func (l *loader) readFolders() {
	read := map[string]*folder{}
	for i, f := range l.inv.folders {
		dir := filepath.Clean(f.dir)
		if before, ok := read[dir]; ok {
			l.inv.folders[i] = before
			continue
		}
		read[dir] = f
		var groups, hosts []string
		for _, g := range l.inv.grouped {
			groups = append(groups, g.name)
		}
		for _, h := range l.inv.order {
			hosts = append(hosts, h.name)
		}
		f.groups = l.varsFolder(filepath.Join(f.dir, "group_vars"), groups)
		f.hosts = l.varsFolder(filepath.Join(f.dir, "host_vars"), hosts)
	}
}

func (l *loader) varsFolder(dir string, names []string) map[string]vars {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if _, statErr := os.Stat(dir); statErr == nil {
			l.file = dir
			l.fail(0, "", "read folder: %v", plain(err))
		}
		return nil
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	out := map[string]vars{}
	for _, name := range names {
		for _, suffix := range suffixes() {
			if !there[name+suffix] { // what has a slash in it is not there: no name leads out of the folder
				continue
			}
			out[name] = vars{}
			l.varsEntry(out[name], filepath.Join(dir, name+suffix), 0)
			break
		}
	}
	return out
}

// varsEntry reads a file of variables, or all those of a folder.
func (l *loader) varsEntry(into vars, path string, depth int) {
	l.file = path
	info, err := os.Stat(path)
	if err != nil || depth > maxDepth {
		l.fail(0, "", "read variables: %v", plain(err))
		return
	}
	if !info.IsDir() {
		l.varsFile(into, path)
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		l.fail(0, "", "read folder: %v", plain(err))
	}
	for _, e := range entries {
		name := e.Name()
		inner, err := os.Stat(filepath.Join(path, name))
		suffix := filepath.Ext(name)
		switch {
		case err != nil, strings.HasPrefix(name, "."), strings.HasSuffix(name, "~"):
		case inner.IsDir() && suffix == "", inner.Mode().IsRegular() && slices.Contains(suffixes(), suffix):
			l.varsEntry(into, filepath.Join(path, name), depth+1)
		}
	}
}

func (l *loader) varsFile(into vars, path string) {
	l.file = path
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		l.fail(0, "", "read variables: %v", plain(err))
		return
	case len(text) > maxYAML:
		l.fail(0, "", "larger than %d MiB", maxYAML>>20)
		return
	case bytes.HasPrefix(text, []byte("$ANSIBLE_VAULT;")):
		l.warn(1, "encrypted as a whole: variables in it that say how a host is reached are not known")
		return
	}
	root := l.document(text)
	if root == nil {
		return
	}
	if root.Kind != yaml.MappingNode {
		l.fail(root.Line, "", "want a mapping of variables, got %s", kindOf(root))
		return
	}
	for key, v := range l.variables(root, 0) {
		if key == priorityKey {
			l.warn(v.line, "%s is passed over, as in Ansible: it counts in the inventory itself only", priorityKey)
			continue
		}
		into[key] = v
	}
}
