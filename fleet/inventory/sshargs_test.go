package inventory

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/lab/labtest"
)

// What ssh understands by the arguments of an inventory is what it understands by the target's options: ssh -G says both.
func TestArgumentsMeanTheSameToSSH(t *testing.T) {
	labtest.Require(t, "ssh")
	keys := t.TempDir()
	for _, name := range []string{"one", "two words"} { // ssh leaves out what is not there
		if err := os.WriteFile(filepath.Join(keys, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range []string{
		"",
		"-o ProxyJump=bastion",
		"-J user@jump:2222,other",
		"-Jjump",
		"-o 'ProxyCommand=ssh -W %h:%p -q bastion'",
		`-o ProxyCommand="nc -X connect -x proxy:3128 %h %p"`,
		"-oPort=2222 -l someone",
		"-p2200",
		"-p 2200 -o User=a",
		"-i " + keys + "/one -i '" + keys + "/two words'",
		"-o 'IdentityFile /keys/three'",
		"-o 'IdentitiesOnly = yes'",
		"-C -4",
		"-6 -q -v",
		"-qC4",
		"-qp 2022",
		"-c aes128-ctr -m hmac-sha2-256",
		"-b 127.0.0.1",
		"-o ConnectTimeout=7 -o ServerAliveInterval=5 -o ServerAliveCountMax=2",
		"-o HostKeyAlgorithms=ssh-ed25519 -o KexAlgorithms=curve25519-sha256",
		"-o UserKnownHostsFile=/some/file",
		"-o HostKeyAlias=alias",
		"-o Hostname=10.0.0.9",
	} {
		theirs, err := split(args, false)
		if err != nil {
			t.Fatal(err)
		}
		inv, err := Load([]string{"-"}, strings.NewReader("h ansible_ssh_common_args="+strconv.Quote(args)+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		targets, err := inv.Select("")
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		h := targets[0]
		mine := []string{}
		for _, o := range h.Options {
			mine = append(mine, "-o", o)
		}
		if h.Port != 0 {
			mine = append(mine, "-p", strconv.Itoa(h.Port))
		}
		if h.User != "" {
			mine = append(mine, "-l", h.User)
		}
		if diff := cmp.Diff(meaning(t, theirs), meaning(t, mine)); diff != "" {
			t.Errorf("%s (-ssh +ours %q):\n%s", args, mine, diff)
		}
	}
}

func meaning(t *testing.T, args []string) []string {
	t.Helper()
	out := command(t, slices.Concat([]string{"ssh", "-F", "none", "-G"}, args, []string{"h"})...)
	return slices.DeleteFunc(strings.Split(out, "\n"), func(line string) bool { // -q and -v say how loud ssh is
		return strings.HasPrefix(line, "loglevel ")
	})
}

func TestArgumentsThatDoNotCount(t *testing.T) {
	for args, want := range map[string]string{
		"-o StrictHostKeyChecking=no":            "StrictHostKeyChecking=no is passed over",
		"-o stricthostkeychecking=accept-new":    "is passed over",
		"-oUserKnownHostsFile=/dev/null":         "are checked against the usual known_hosts",
		"-o GlobalKnownHostsFile=none":           "is passed over",
		"-o ForwardAgent=yes":                    "nothing is forwarded",
		"-A":                                     "nothing is forwarded",
		"-qX":                                    "nothing is forwarded",
		"-o ControlMaster=auto":                  "",
		"-o ControlPath=/tmp/x -o ForwardX11=no": "",
	} {
		inv, err := Load([]string{"-"}, strings.NewReader("# one\nh ansible_ssh_extra_args='"+args+"'\n"))
		if err != nil {
			t.Fatal(err)
		}
		targets, err := inv.Select("")
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		if len(targets[0].Options) != 0 {
			t.Errorf("%s: options %q", args, targets[0].Options)
		}
		warnings := inv.Warnings()
		switch {
		case want == "" && len(warnings) == 0:
		case len(warnings) != 1 || !strings.Contains(warnings[0].Text, want) || warnings[0].Line != 2:
			t.Errorf("%s: warnings %v, want %q", args, warnings, want)
		}
	}
}
