package registry_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
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

// A live run of all collectors on this node ends in a document of its own making, with an account of each.
func TestRunHere(t *testing.T) {
	if _, err := os.Stat("/proc/self/ns/net"); err != nil {
		t.Skip("not Linux")
	}
	doc, _, err := collect.Run(t.Context(), host.Local(host.LocalOptions{}), registry.All(), collect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Collectors) != len(registry.All()) {
		t.Fatalf("%d accounts", len(doc.Collectors))
	}
	for _, c := range doc.Collectors {
		for _, m := range c.Missing {
			if strings.Contains(m.Why, "internal error") {
				t.Errorf("%s: %s: %s", c.Name, m.What, m.Why)
			}
		}
		t.Logf("%-10s %s %v", c.Name, c.Status, c.Missing)
	}
}

// dockerRules are what Docker 20 loads on a node with one published port, by iptables-nft.
const dockerRules = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
`

// load gives the namespace rules of each backend that is named.
func load(t testing.TB, ns *lab.Netns, backends ...string) {
	t.Helper()
	for _, b := range backends {
		var err error
		switch b {
		case "nft":
			_, err = ns.Pipe("table inet own { set s { type ipv4_addr; elements = { 192.0.2.1 }; }; chain c { type filter hook prerouting priority -150; ct state invalid drop; }; }", "nft", "-f", "-")
		default:
			_, err = ns.Pipe(dockerRules, b+"-restore")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An audit leaves the namespace as it was: no table of any backend more or less, the same rules, the same generation of
// nf_tables, the same parameters, the same links.
func TestRunChangesNothing(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "iptables", "iptables-legacy", "ip")
	for name, backends := range map[string][]string{
		"empty": nil, "native": {"nft"}, "iptables-nft": {"iptables-nft"}, "legacy": {"iptables-legacy"},
		"all": {"nft", "iptables-nft", "iptables-legacy"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := labtest.NewNetns(t)
			load(t, ns, backends...)
			before := stateOf(t, ns)
			doc, ev, err := collect.Run(t.Context(), host.Local(host.LocalOptions{Namespace: ns.Path()}), registry.All(), collect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if after := stateOf(t, ns); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			for _, c := range doc.Collectors {
				for _, m := range c.Missing {
					t.Errorf("%s: %s: %s", c.Name, m.What, m.Why)
				}
			}
			if len(ev.Answers) != len(collect.NeedsOf(registry.All())) {
				t.Errorf("%d answers", len(ev.Answers))
			}
		})
	}
}

func stateOf(t *testing.T, ns *lab.Netns) string {
	t.Helper()
	var all strings.Builder
	for _, argv := range [][]string{
		{"cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"},
		{"nft", "-a", "list", "ruleset"}, {"ip", "-o", "link"}, {"ip", "netns", "list-id"},
		{"sh", "-c", "grep -rs . /proc/sys/net/netfilter /proc/sys/net/ipv4 /proc/sys/net/ipv6 || true"},
	} {
		out, err := ns.Output(argv...)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "/ipv4/neigh/") && !strings.Contains(line, "nf_conntrack_count") {
				all.WriteString(line)
			}
		}
	}
	return all.String()
}

// BenchmarkRun is the reading part of a scan of an ordinary Docker node.
func BenchmarkRun(b *testing.B) {
	labtest.Require(b, "root", "netns", "iptables")
	ns := labtest.NewNetns(b)
	load(b, ns, "iptables-nft")
	h := host.Local(host.LocalOptions{Namespace: ns.Path()})
	for name, run := range map[string]func() error{
		"fetch": func() error {
			_, err := h.Fetch(b.Context(), host.Request{Needs: collect.NeedsOf(registry.All())})
			return err
		},
		"whole": func() error {
			_, _, err := collect.Run(b.Context(), h, registry.All(), collect.Options{})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
