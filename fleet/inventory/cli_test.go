package inventory

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

func command(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG=testdata/ansible.cfg", "LANG=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, &stderr)
	}
	return string(out)
}

// What ansible-inventory --list prints says the same as the inventory that it read.
func TestListJSONAgreesWithItsInventory(t *testing.T) {
	labtest.Require(t, "ansible")
	for _, name := range []string{"groups.ini", "aliases.ini", "beside/hosts.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", "agree", name)
			list := command(t, "ansible-inventory", "-i", path, "--list")
			direct := ours(t, question{Sources: []string{path}})
			inv, err := Load([]string{"-"}, strings.NewReader(list))
			if err != nil {
				t.Fatal(err)
			}
			targets, err := inv.Select("")
			if err != nil {
				t.Fatal(err)
			}
			listed := answer{Limits: [][]string{}}
			groups := map[string][]string{}
			for _, h := range targets {
				listed.Hosts = append(listed.Hosts, asReached(h))
				groups[h.Name] = h.Groups
				if h.Line == 0 || h.File != "-" {
					t.Errorf("%s is at %s:%d", h.Name, h.File, h.Line)
				}
			}
			sortAnswer(&direct)
			sortAnswer(&listed)
			if diff := cmp.Diff(direct.Hosts, listed.Hosts); diff != "" {
				t.Errorf("hosts (-file +list):\n%s", diff)
			}
			again, _ := Load([]string{path}, nil)
			for _, h := range again.order {
				if diff := cmp.Diff(h.target.Groups, groups[h.name]); diff != "" {
					t.Errorf("groups of %s (-file +list):\n%s", h.name, diff)
				}
			}
		})
	}
}

func TestCommandLineAgrees(t *testing.T) {
	labtest.Require(t, "ansible")
	for _, limit := range []string{"site,!both"} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			out := command(t, "ansible", "all", "-i", "testdata/agree/groups.ini", "--list-hosts", "--limit", limit)
			var theirs []string
			for _, line := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
				theirs = append(theirs, strings.TrimSpace(line))
			}
			var mine []string
			inv, err := Load([]string{"testdata/agree/groups.ini"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			targets, err := inv.Select(limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range targets {
				mine = append(mine, h.Name)
			}
			slices.Sort(theirs)
			slices.Sort(mine)
			if len(mine) == 0 || !slices.Equal(theirs, mine) {
				t.Errorf("ansible %v, ours %v", theirs, mine)
			}
		})
	}
}

func TestGraphAgrees(t *testing.T) {
	labtest.Require(t, "ansible")
	for _, name := range []string{"nested.yaml"} {
		path := filepath.Join("testdata", "agree", name)
		inv, err := Load([]string{path}, nil)
		if err != nil {
			t.Fatal(err)
		}
		graph, err := inv.Graph("")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(command(t, "ansible-inventory", "-i", path, "--graph"), graph); diff != "" {
			t.Errorf("%s (-ansible +ours):\n%s", name, diff)
		}
	}
}
