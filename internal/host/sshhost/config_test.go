package sshhost_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host/sshhost"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// TestSharedConfigurations holds what hosts share of one another's ssh -G against an ssh -G of their own.
func TestSharedConfigurations(t *testing.T) {
	labtest.Require(t, "sshd")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("more.conf", "Host web*\n  User www\nHost *.example.com !db*\n  Port 2222\n")
	for name, tt := range map[string]struct {
		text    string
		options []string
		runs    int // at most, for the twelve hosts below; one more is for the defaults
	}{
		"nothing":          {"", nil, 2},
		"blocks":           {"Include " + dir + "/more.conf\nHost db? web1\n User=postgres\n IdentityFile ~/.ssh/db\nHost *\n IdentitiesOnly yes\n ControlPath ~/.ssh/%C\n", nil, 8},
		"name in a file":   {"Host db*\n UserKnownHostsFile ~/known_%h\n", nil, 6},
		"host name":        {"Host db*\n HostName %h.internal\nHost DB2\n HostName = other\n", nil, 8},
		"match":            {"Match host web*\n User matched\n", nil, 13},
		"match all":        {"Host web*\n User www\nHost DB2\n User two\nMatch final all\n Compression yes\nMatch all\n IdentitiesOnly yes\n", nil, 6},
		"match final host": {"Match final host web1\n User matched\n", nil, 13},
		"option":           {"", []string{"HostName=%h.internal"}, 13},
		"plain option":     {"", []string{"User=me", "Port=23"}, 2},
		"quoted patterns":  {"Host \"web1\"\n User quoted\n", nil, 13},
		"jump":             {"Host db*\n ProxyJump gate,%h-gate\nHost web*\n ProxyJump gate\n", nil, 8},
	} {
		t.Run(name, func(t *testing.T) {
			file := write("config", tt.text)
			c := client(t, sshhost.Options{ConfigFile: file})
			for i, host := range []string{"web1", "web2", "web3.example.com", "db1", "db2", "DB2", "db.example.com", "other", "Other.example.com", "10.0.0.1", "a", "b"} {
				args := []string{"-G", "-F", file}
				for _, o := range tt.options {
					args = append(args, "-o", o)
				}
				out, err := exec.Command("ssh", append(args, host)...).Output()
				if err != nil {
					t.Fatal(err)
				}
				have, err := c.Resolved(t.Context(), sshhost.Target{Name: fmt.Sprint(i), Address: host, Options: tt.options})
				if err != nil {
					t.Fatal(err)
				}
				want := strings.Split(strings.TrimSpace(string(out)), "\n")
				for _, line := range want {
					if key, value, _ := strings.Cut(line, " "); key != "host" && key != "loglevel" && key != "controlpath" && !strings.Contains("\n"+have+"\n", "\n"+strings.ToLower(key)+" "+value+"\n") {
						t.Errorf("%s: ssh says %q, which is not in\n%s", host, line, have)
						break
					}
				}
			}
			if n := c.Runs(); n > tt.runs {
				t.Errorf("ssh -G ran %d times, want at most %d", n, tt.runs)
			}
		})
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true},
		{"*", "a", true},
		{"a*", "abc", true},
		{"*c", "abc", true},
		{"a*c*e", "abcde", true},
		{"a*c*e", "abcd", false},
		{"?", "a", true},
		{"?", "", false},
		{"a?c", "abc", true},
		{"a", "A", false},
		{"", "", true},
		{"", "a", false},
		{"**b", "ab", true},
		{"[127.0.*]:22", "[127.0.0.1]:22", true},
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 1000), false},
	} {
		if have := sshhost.MatchPattern(tt.pattern, tt.s); have != tt.want {
			t.Errorf("%.20q, %.20q: have %v", tt.pattern, tt.s, have)
		}
	}
}

// TestWithoutSSH logs in where there is no ssh to ask.
func TestWithoutSSH(t *testing.T) {
	s := sshtest.Serve(t, sshtest.Shell)
	known := "alias " + sshtest.Public(s.HostKey) + "\n"
	block := fmt.Sprintf("Host node\n HostName 127.0.0.1\n Port %d\n HostKeyAlias alias\n", s.Port)
	c := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s.Key.Path, known, block)})
	c.WithoutSSH()
	root(t, c, sshhost.Target{Name: "node"})
	match := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s.Key.Path, known, "Match host x\n User y")})
	match.WithoutSSH()
	refused(t, match, sshhost.Target{Name: "node"}, sshhost.StageConfig, "Match")
	proxy := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, s.Key.Path, known, "ProxyCommand nc %h %p")})
	proxy.WithoutSSH()
	refused(t, proxy, sshhost.Target{Name: "node"}, sshhost.StageConfig, "ProxyCommand needs the ssh program")
	if _, err := sshhost.New(sshhost.Options{HostKeyPolicy: "off"}); err == nil {
		t.Error("a policy that checks nothing was taken")
	}
}

func TestTargetsThatAreRefused(t *testing.T) {
	c := client(t, sshhost.Options{ConfigFile: sshtest.Config(t, "/nonexistent", "")})
	for _, tt := range []sshhost.Target{
		{Name: "a", Address: "-oProxyCommand=touch /tmp/x"},
		{Name: "b", Address: "x;touch /tmp/x"},
		{Name: "c", Address: "$(touch x)"},
		{Name: "d", Address: "a b"},
		{Name: "e", Address: "a\nb"},
		{Name: "f", Address: "x", User: "-l"},
		{Name: "g", Address: "x", User: "`id`"},
		{Name: "h", Address: "x", Port: 70000},
		{Name: "i", Address: "x", Options: []string{"User=a\nProxyCommand=touch x"}},
		{Name: "j", Address: "x", Options: []string{"NoSuchOption=1"}},
	} {
		refused(t, c, tt, sshhost.StageConfig)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            "plain",
		"\x1b[31mred\x07":  `\x1b[31mred\x07`,
		"\u202eevil\u0085": `\xe2\x80\xaeevil\xc2\x85`,
		"\xff\xfe":         `\xff\xfe`,
		"äöü":              "äöü",
	} {
		if have := sshhost.Printable(in, 100); have != want {
			t.Errorf("%q: have %q, want %q", in, have, want)
		}
	}
	if have := sshhost.Printable(strings.Repeat("a", 50), 10); have != "aaaaaaaaaa..." {
		t.Errorf("have %q", have)
	}
}
