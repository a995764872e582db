package main

import (
	"cmp"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/host/probe"
	"github.com/ctaudit/ctaudit/internal/host/sshhost/sshtest"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

var (
	speedHosts  = flag.Int("speed.hosts", 0, "TestFleetSpeed: how many hosts ctaudit reads (1000; 0: no measurement)")
	speedOthers = flag.Int("speed.others", 150, "TestFleetSpeed: how many of them the slower tools read")
	speedRounds = flag.Int("speed.rounds", 3, "TestFleetSpeed: how often everybody runs, one after the other")
	speedOnly   = flag.String("speed.only", "", "TestFleetSpeed: only who has one of these in the name, with commas")
	speedRuns   = flag.Int("speed.runs", 0, "TestOneHostSpeed: how often a single host is read (20; 0: no measurement)")
	speedForks  = flag.Int("speed.forks", 64, "TestFleetSpeed: hosts at once, of the slower tools")
)

// side is a program under measurement.
type side struct {
	name  string
	hosts int
	argv  []string
	env   []string
	stdin string // a file
	kept  string // a folder with what the hosts said; "-": it prints that
	exits []int  // what it may exit with; none: 0
	took  []pass
}

// pass is one run over all hosts of a side.
type pass struct {
	wall, cpu time.Duration
	resident  float64 // MiB; of the largest process
}

// TestFleetSpeed measures, with -speed.hosts, how fast fleets are read, beside the tools that people run a script with on many hosts.
// All ask the same servers the same, one after the other, and again. The servers are a process of their own, which gives what the
// probe printed on real nodes.
func TestFleetSpeed(t *testing.T) {
	if *speedHosts == 0 {
		t.Skip("a measurement: make bench-fleet")
	}
	labtest.Require(t, "root", "netns", "nft", "iptables", "ssh", "ansible")
	f := newSpeedFleet(t)
	var sides []*side
	for _, s := range f.sides() {
		if slices.ContainsFunc(strings.Split(*speedOnly, ","), func(only string) bool { return strings.Contains(s.name, only) }) {
			sides = append(sides, s)
		}
	}
	inTurns(t, *speedRounds, sides)
	if path := filepath.Join(f.dir, "r.json"); slices.ContainsFunc(sides, func(s *side) bool { return s.name == "audit" }) {
		var rep report.Report
		if readJSON(t, path, &rep); rep.Summary.Hosts != *speedHosts || rep.Summary.Errors > 0 {
			t.Errorf("%+v", rep.Summary)
		}
	}
}

// TestOneHostSpeed measures, with -speed.runs, an audit of one host behind a real server, beside ssh that runs the same script there.
func TestOneHostSpeed(t *testing.T) {
	if *speedRuns == 0 {
		t.Skip("a measurement: make bench-fleet")
	}
	labtest.Require(t, "root", "sshd")
	s, dir := sshtest.StartSSHD(t, sshtest.Options{}), t.TempDir()
	script, config, port := filepath.Join(dir, "probe.sh"), s.Config(t), fmt.Sprint(s.Port)
	if err := os.WriteFile(script, probeScript(), 0o600); err != nil {
		t.Fatal(err)
	}
	inventory := inventoryOf(t, "node ansible_host=127.0.0.1 ansible_port="+port)
	inTurns(t, *speedRuns, []*side{
		{name: "ssh", hosts: 1, stdin: script, argv: []string{"ssh", "-F", config, "-p", port, "127.0.0.1", "sh -s"}},
		{name: "fleet", hosts: 1, exits: []int{0, exitFindings}, argv: []string{binary(t), "fleet", "-q", "-i", inventory, "--ssh-config", config}},
	})
}

// inTurns lets the sides run one after the other, again and again, and logs what came of it.
func inTurns(t *testing.T, rounds int, sides []*side) {
	t.Helper()
	for range rounds {
		for _, s := range sides {
			s.took = append(s.took, s.run(t))
		}
	}
	t.Log("\n" + speedTable(sides))
}

func probeScript() []byte { return probe.Script((&fleetFlags{}).request(), strings.Repeat("0", 32)) }

func (s *side) run(t *testing.T) pass {
	t.Helper()
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	if s.stdin != "" {
		in, err := os.Open(s.stdin)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		cmd.Stdin = in
	}
	begun := time.Now()
	err = cmd.Run()
	p := pass{wall: time.Since(begun)}
	if code := cmd.ProcessState.ExitCode(); code != 0 && len(s.exits) == 0 || len(s.exits) > 0 && !slices.Contains(s.exits, code) {
		text, _ := os.ReadFile(said.Name())
		t.Fatalf("%s: %v: %s", s.name, err, text[max(0, len(text)-2000):])
	}
	if n := s.said(t, said); s.kept != "" && n < int64(s.hosts)*probeAnswer {
		t.Fatalf("%s: answers of no more than %d bytes came", s.name, n)
	}
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage) // with the children that it waited for
	p.cpu, p.resident = cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), float64(usage.Maxrss)/1024
	return p
}

// probeAnswer is less than any answer has, packed. (clush prints some of it only: it takes it for lines of text.)
const probeAnswer = 10 << 10

// said is how many bytes a side has kept.
func (s *side) said(t *testing.T, printed *os.File) (n int64) {
	files := []string{printed.Name()}
	if s.kept != "-" {
		files, _ = filepath.Glob(s.kept + "/*") // the pattern is right
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// speedTable is a side a line: medians over the rounds.
func speedTable(sides []*side) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s %6s %12s %12s %14s %10s\n", "", "hosts", "hosts/s", "ms/host", "cpu-ms/host", "MiB")
	for _, s := range sides {
		wall := median(s.took, func(p pass) time.Duration { return p.wall })
		cpu := median(s.took, func(p pass) time.Duration { return p.cpu })
		each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(s.hosts) }
		fmt.Fprintf(&b, "%-10s %6d %12.1f %12.2f %14.2f %10.0f\n", s.name, s.hosts, 1000/each(wall), each(wall), each(cpu),
			median(s.took, func(p pass) float64 { return p.resident }))
	}
	return b.String()
}

func median[T cmp.Ordered](all []pass, of func(pass) T) T {
	var values []T
	for _, p := range all {
		values = append(values, of(p))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// speedFleet are hosts that all lead to one server, an address of the loopback each.
type speedFleet struct {
	t                              testing.TB
	dir, config, script, key, port string
	public                         string
}

func newSpeedFleet(t *testing.T) *speedFleet {
	f := &speedFleet{t: t, dir: t.TempDir()}
	f.script = f.file("probe.sh", string(probeScript()))
	for i, shape := range speedShapes() {
		f.file(fmt.Sprintf("answer%d", i), string(shape.answer(t, f.script)))
	}
	f.serve()
	return f
}

func (f *speedFleet) file(name, text string) string {
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// hosts writes so many to files: as Ansible's inventory, as "address:port", as addresses.
func (f *speedFleet) hosts(n int) (inventory, addresses, bare string) {
	var a, b, c strings.Builder
	for i := range n {
		fmt.Fprintf(&a, "node-%05d ansible_host=%s ansible_port=%s\n", i, speedAddress(i), f.port)
		fmt.Fprintf(&b, "%s:%s\n", speedAddress(i), f.port)
		fmt.Fprintln(&c, speedAddress(i))
	}
	name := fmt.Sprint(n)
	return f.file(name+".ini", a.String()), f.file(name+".addresses", b.String()), f.file(name+".bare", c.String())
}

// sides are who is measured. What they print, or keep of the answers, goes to files.
func (f *speedFleet) sides() []*side {
	inventory, addresses, _ := f.hosts(*speedHosts)
	few, fewAddresses, fewBare := f.hosts(*speedOthers)
	forks, out := fmt.Sprint(*speedForks), func(name string) string { return filepath.Join(f.dir, name) }
	raw := "echo " + base64.StdEncoding.EncodeToString(probeScript()) + " | base64 -d | sh"
	bare := []string{os.Args[0], "-test.run", "^TestSpeedRole$"}
	role := func(name string) []string {
		return []string{
			"SPEED_ROLE=" + name, "SPEED_KEY=" + f.key, "SPEED_PUBLIC=" + f.public,
			"SPEED_SCRIPT=" + f.script, "SPEED_INVENTORY=" + inventory, "SPEED_ADDRESSES=" + addresses, "SPEED_CONFIG=" + f.config,
		}
	}
	audit := []string{
		"fleet", "-q", "-i", inventory, "--ssh-config", f.config, "-f", "text", "-o", "json=" + out("r.json"),
		"-o", "sarif=" + out("r.sarif"), "-o", "junit=" + out("r.xml"),
	}
	if os.Getenv("SPEED_PROFILE") != "" { // ours alone, in this program, which writes profiles
		return []*side{
			{name: "audit", hosts: *speedHosts, argv: bare, env: append(role("audit"), "SPEED_ARGS="+strings.Join(append(audit, "--journal", out("journal")), "\n"))},
			{name: "collect", hosts: *speedHosts, argv: bare, env: role("collect")},
			{name: "bare", hosts: *speedHosts, argv: bare, env: role("bare")},
		}
	}
	journal := `rm -f "$0"; exec "$@" --journal "$0"`
	return []*side{
		{name: "bare", hosts: *speedHosts, argv: bare, env: role("bare")},
		{name: "collect", hosts: *speedHosts, argv: bare, env: role("collect")},
		{name: "audit", hosts: *speedHosts, exits: []int{exitFindings}, argv: append([]string{"sh", "-c", journal, out("journal"), binary(f.t)}, audit...)},
		{name: "pssh", hosts: *speedOthers, stdin: f.script, kept: out("pssh"), argv: []string{
			"parallel-ssh", "-I", "-h", fewAddresses, "-p", forks, "-t", "0",
			"-o", out("pssh"), "-x", "-F " + f.config, "sh -s",
		}},
		{name: "clush", hosts: *speedOthers, stdin: f.script, kept: "-", argv: []string{
			"clush", "--hostfile", fewBare, "-f", forks, "-q", "-S",
			"-o", "-p " + f.port + " -F " + f.config, "sh -s",
		}},
		{
			name: "ansible", hosts: *speedOthers, argv: []string{"ansible", "-i", few, "all", "-f", forks, "-m", "raw", "-a", raw, "-t", out("ansible")},
			// A connection that is kept for more commands would cost it more.
			env: []string{"ANSIBLE_SSH_ARGS=-F " + f.config, "ANSIBLE_CONFIG=" + f.file("ansible.cfg", "[defaults]\n"), "ANSIBLE_SSH_USETTY=false"},
		},
	}
}

// speedShape is a kind of node.
type speedShape struct {
	backend netfilter.Backend
	rules   string
}

func speedShapes() []speedShape {
	const snat = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n"
	return []speedShape{
		{netfilter.IPTablesNFT, ""}, // Docker's own
		{netfilter.Legacy, snat + "*mangle\n-A PREROUTING -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"},
		{netfilter.NFTables, "table ip nat {\n chain post { type nat hook postrouting priority 100; ip saddr 172.17.0.0/16 masquerade; }\n}\n"},
	}
}

// answer is what the script prints on a node of that shape, with two containers and no processes besides.
func (s speedShape) answer(t testing.TB, script string) []byte {
	ns, family := speedNode(t), netfilter.IP
	if s.backend == netfilter.NFTables {
		family = ""
	}
	if s.rules == "" {
		text, err := os.ReadFile("testdata/docker.save")
		if err != nil {
			t.Fatal(err)
		}
		s.rules = string(text)
	}
	if err := ns.Load(s.backend, family, s.rules); err != nil {
		t.Fatal(err)
	}
	// Namespaces that somebody else has at the moment are none of the node's; the containers are there once they have left its own.
	// The first process has an init's name, as on a node.
	const inside = `echo init >/proc/1/comm && mkdir -p /run/netns && mount -t tmpfs none /run/netns || exit
for i in 1 2; do
	unshare -n sleep 60 &
	until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
done
PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -s <"$0"`
	out, err := ns.Output("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", inside, script)
	if err != nil {
		t.Fatalf("the probe: %v: %s", err, out)
	}
	return out
}

func speedNode(t testing.TB) *lab.Netns {
	ns := labtest.NewNetns(t)
	for _, line := range []string{
		"ip link add eth0 type veth peer name wire0", "ip addr add 198.51.100.1/24 dev eth0", "ip link set wire0 up", "ip link set eth0 up",
		"ip route add default dev eth0", "ip link add docker0 type bridge", "ip addr add 172.17.0.1/16 dev docker0", "ip link set docker0 up",
		"sysctl -qw net.ipv4.ip_forward=1",
	} {
		if err := ns.Run(strings.Fields(line)...); err != nil {
			t.Fatal(err)
		}
	}
	return ns
}
