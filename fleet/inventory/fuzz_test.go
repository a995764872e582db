package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// seeds are the inventories of testdata, and a few others.
func seeds(f *testing.F) {
	for _, glob := range []string{"testdata/agree/*", "testdata/agree/*/*"} {
		paths, err := filepath.Glob(glob)
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range paths {
			if text, err := os.ReadFile(p); err == nil {
				f.Add(string(text))
			}
		}
	}
	f.Add("root@[::1]:22\nb[1:3]\n")
	f.Add("version: 1\ndefaults: {user: a, become: true, jump: j, timeout: 3s}\ngroups: {g: {labels: {a: b}, hosts: [x, {name: y, port: 2}]}}\n")
	f.Add(`{"kind": "List", "items": [{"kind": "Node", "metadata": {"name": "n"}}]}`)
	f.Add(`{"_meta": {"hostvars": {"a": {"ansible_port": 2}}}, "g": {"hosts": ["a"], "children": ["h"]}, "l": ["c"]}`)
	f.Add("a: &a {children: {b: *a}}\n")
	f.Add("a ansible_ssh_common_args='-J j -o \"ProxyCommand x\" -p2'\n")
}

// check is what holds for whatever is read: no panic, every host printable and reachable by a port that there is, and whatever is
// wrong named with its place.
func check(t *testing.T, inv *Inventory, err error) {
	t.Helper()
	if err == nil {
		for _, g := range inv.grouped {
			if g != inv.all && g.depth < 1 {
				t.Fatalf("group %q hangs nowhere", g.name)
			}
		}
		targets, selectErr := inv.Select("")
		err = selectErr
		for _, h := range targets {
			for _, s := range []string{h.Name, h.Address, h.User, h.Become.User} {
				if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
					t.Fatalf("%q can be printed", s)
				}
			}
			if h.Port < 0 || h.Port > 65535 || h.Name == "" || strings.HasPrefix(h.Address, "-") || strings.HasPrefix(h.User, "-") {
				t.Fatalf("%+v", h)
			}
		}
	}
	for _, e := range Errors(err) {
		if strings.TrimSpace(e.Error()) == "" {
			t.Fatal("a mistake without words")
		}
	}
}

func fuzzWith(f *testing.F, read func(l *loader, text []byte)) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		l := &loader{inv: newInventory(), file: "f"}
		read(l, []byte(text))
		l.reconcile()
		if len(l.problems) > 0 {
			check(t, l.inv, l.problems[0])
			return
		}
		l.inv.resolve()
		check(t, l.inv, nil)
	})
}

func FuzzAny(f *testing.F)  { fuzzWith(f, (*loader).parse) }
func FuzzINI(f *testing.F)  { fuzzWith(f, (*loader).parseINI) }
func FuzzYAML(f *testing.F) { fuzzWith(f, (*loader).parseYAML) }
func FuzzJSON(f *testing.F) { fuzzWith(f, (*loader).parseJSON) }

func FuzzNative(f *testing.F) {
	fuzzWith(f, func(l *loader, text []byte) { l.parseYAML(append([]byte("version: 1\n"), text...)) })
}

func FuzzNodes(f *testing.F) {
	fuzzWith(f, func(l *loader, text []byte) { l.parseNodes(text, "List") })
}

func FuzzLimit(f *testing.F) {
	for _, q := range written() {
		for _, p := range q.Patterns {
			f.Add(p)
		}
	}
	f.Fuzz(func(t *testing.T, limit string) {
		if strings.Contains(limit, "@") { // names files
			return
		}
		inv, err := Load([]string{"testdata/agree/groups.ini"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		hosts, err := inv.limited(limit)
		if (err == nil) != (len(hosts) > 0) {
			t.Fatalf("%d hosts, %v", len(hosts), err)
		}
	})
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{`a "b c" 'd\e' f\ g # h`, `""`, `a#b`, `'x`, `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := split(s, true)
		if err == nil && len(strings.Join(words, "")) > len(s) {
			t.Fatalf("%q is longer than %q", words, s)
		}
		literal(s)
	})
}
