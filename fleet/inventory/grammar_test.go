package inventory

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// spellings are what testdata/grammar.py is asked.
type spellings struct {
	Words    []string    `json:"words"`
	Literals []string    `json:"literals"`
	Globs    [][2]string `json:"globs"`
	Hosts    []string    `json:"hosts"`
	Lists    []string    `json:"lists"`
}

// TestGrammarAgrees compares the small grammars with Python's and Ansible's own, over drawn text: how a line is cut into words, what a
// value of an INI file is, which names a glob matches, what a host pattern expands to, how a limit is cut.
func TestGrammarAgrees(t *testing.T) {
	labtest.Require(t, "ansible")
	const drawn = 3000
	draw := func(alphabet string, most int) []string {
		gen := rapid.StringOfN(rapid.SampledFrom([]rune(alphabet)), 1, most, -1)
		var out []string
		for i := range drawn {
			out = append(out, gen.Example(i+1))
		}
		return out
	}
	q := spellings{
		Words:    draw(`ab #'"\=`+"\t", 12),
		Literals: draw(`a01x"'\# TrueFalsN-`, 7),
		Hosts:    draw(`a0129:[].-_f`, 14),
		Lists:    draw(`ab1:,[]!&* .~-`, 14),
	}
	q.Literals = append(q.Literals, "True", "False", "None", "True # x", `"a#b"`, `'it\'s'`, "0x10", "010", "-5", "1_0", `"a" "b"`, `"a\tb"`, "22 # ssh", "a # b")
	q.Hosts = append(q.Hosts, "a[1:3]", "a[01:03]", "a[0:9:3]", "a[a:c]b[1:2]", "a[1:3]:22", "[::1]:22", "fe80::[1:3]", "1.2.3.[4:6]:7", "a_:22", "a-b:22", "-a:22",
		"a[a:f:2]", "[1:3]", "a[:3]", "a.b[1:2].c:1", "x[A:C]", "::1", "1::2:3", "a::b", "dead::beef")
	names := draw("ab-]1", 4)
	for i, p := range draw("ab*?[]!-]1", 8) {
		q.Globs = append(q.Globs, [2]string{p, names[i]})
	}
	in, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "testdata/grammar.py")
	cmd.Stdin = bytes.NewReader(in)
	cmd.Env = append(cmd.Environ(), "ANSIBLE_CONFIG=testdata/ansible.cfg", "LANG=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs struct {
		Words, Hosts, Lists [][]string
		Literals            []*string
		Globs               []bool
	}
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	for i, s := range q.Words {
		if words, err := split(s, true); (err != nil) != (theirs.Words[i] == nil) || !slices.Equal(words, theirs.Words[i]) {
			t.Errorf("words of %q: %q %v, Python has %q", s, words, err, theirs.Words[i])
		}
	}
	for i, s := range q.Literals {
		if strings.Contains(s, "- ") || strings.Contains(s, `\0`) { // an expression, a NUL: no values of ours
			continue
		}
		if v := literal(strings.TrimSpace(s)); theirs.Literals[i] != nil && (v.kind != kindText || v.text != *theirs.Literals[i]) {
			t.Errorf("value %q: %q (%d), Python has %q", s, v.text, v.kind, *theirs.Literals[i])
		}
	}
	for i, p := range q.Globs {
		if re, err := regexp.Compile(glob(p[0])); err != nil || re.MatchString(p[1]) != theirs.Globs[i] {
			t.Errorf("glob %q with %q: Python has %v (%v)", p[0], p[1], theirs.Globs[i], err)
		}
	}
	for i, s := range q.Hosts {
		if strings.Index(s, "]") < strings.Index(s, "[") { // Ansible takes any bracket that closes
			continue
		}
		names, port, err := expand(s)
		if err == nil {
			names = append(names, strings.TrimPrefix(strconv.Itoa(port), "0"))
		}
		if theirs.Hosts[i] == nil && err == nil || theirs.Hosts[i] != nil && err == nil && !slices.Equal(names, theirs.Hosts[i]) {
			t.Errorf("hosts of %q: %q, Ansible has %q", s, names, theirs.Hosts[i])
		}
		if theirs.Hosts[i] != nil && err != nil && !strings.Contains(err.Error(), "port") {
			t.Errorf("hosts of %q: %v, Ansible has %q", s, err, theirs.Hosts[i])
		}
	}
	for i, s := range q.Lists {
		if parts := splitPatterns(s); !slices.Equal(parts, theirs.Lists[i]) {
			t.Errorf("patterns of %q: %q, Ansible has %q", s, parts, theirs.Lists[i])
		}
	}
}
