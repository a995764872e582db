package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

var interrupts = flag.Int("interrupts", 10, "how often to interrupt each command")

const shapes = "../../internal/facts/testdata/"

func decodeShape(t *testing.T, name string) *snapshot.Document {
	t.Helper()
	return readSnapshot(t, shapes+name+".json")
}

// save writes a snapshot for the command.
func save(t *testing.T, doc *snapshot.Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := snapshot.Encode(&b, doc); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "node.json")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// proveFile runs the command and returns its exit code and what it printed.
func proveFile(t *testing.T, path string) (code int, text string) {
	t.Helper()
	var out, talk bytes.Buffer
	ctx := context.Background()
	err := run(ctx, []string{"prove", "--snapshot", path}, nil, streams{nil, &out, &talk})
	code = exitCode(ctx, err, &talk)
	return code, out.String() + talk.String()
}

// wrong are answers that foretell the opposite.
func wrong(answers []packetpath.Answer) []packetpath.Answer {
	answers = slices.Clone(answers)
	for i := range answers {
		answers[i].Outcomes = slices.Clone(answers[i].Outcomes)
		for k := range answers[i].Outcomes {
			o := &answers[i].Outcomes[k]
			o.Fate = map[string]string{"dropped": "reset", "reset": "dropped"}[o.Fate]
		}
	}
	return answers
}

// A prediction that is wrong is reported, with an exit code of its own.
func TestTwinContradicts(t *testing.T) {
	requireTwin(t)
	for _, shape := range []string{"dualstack", "router"} {
		doc := decodeShape(t, shape)
		node := facts.Of(doc)
		j := judgedOf(doc, node)
		j.answers = wrong(j.answers)
		r, err := j.confirm(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range r.Questions {
			if q.Agreement != twin.Differs {
				t.Errorf("%s: %+v", shape, q)
			}
		}
		var exit *exitError
		if err := disagreement([]twin.Result{*r}); !errors.As(err, &exit) || exit.code != exitDiffers {
			t.Errorf("%s: %v", shape, err)
		}
		if text := twinText(&twin.Document{Nodes: []twin.Result{*r}}); !strings.Contains(text, "\ndiffers: in ") {
			t.Errorf("%s: %s", shape, text)
		}
	}
}

// input appends rules to the snapshot's filter INPUT of iptables.
func input(doc *snapshot.Document, texts ...string) {
	for _, table := range doc.IPTables.Tables {
		if table.Name != "filter" || table.Family != netfilter.IP {
			continue
		}
		c := table.Chain("INPUT")
		for _, text := range texts {
			c.Rules = append(c.Rules, &netfilter.Rule{Number: len(c.Rules) + 1, Text: text})
		}
	}
}

// What cannot be rebuilt is named, and no question that may meet it gets a verdict.
func TestTwinNamesWhatItLacks(t *testing.T) {
	requireTwin(t)
	mark := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(doc *snapshot.Document)
		code   int
		want   string
	}{
		"unchanged":   {func(*snapshot.Document) {}, 0, "agrees"},
		"other arch":  {func(d *snapshot.Document) { d.Kernel.Release = snapshot.Known("5.10.0-28-arm64") }, 0, "(Linux 5.10.0-28-arm64)"},
		"no ipset":    {func(d *snapshot.Document) { input(d, "-m set --match-set blocklist src -j DROP") }, 3, "of chain INPUT (-m set --match-set blocklist src -j DROP)"},
		"no match":    {func(d *snapshot.Document) { input(d, "-m nosuchmatch --with it -j DROP", "-j ACCEPT") }, 3, "of chain INPUT (-m nosuchmatch"},
		"no target":   {func(d *snapshot.Document) { input(d, "-j NOSUCHTARGET") }, 3, "of chain INPUT (-j NOSUCHTARGET)"},
		"second line": {func(d *snapshot.Document) { input(d, "-j ACCEPT\n-A INPUT -j DROP") }, 3, "it holds a control character"},
		"a program":   {func(d *snapshot.Document) { input(d, "-m nosuchmatch --modp="+program+" -j DROP") }, 3, "it names a program to run"},
		"shortened":   {func(d *snapshot.Document) { input(d, "-M "+program+" -m nosuchmatch -j DROP") }, 3, "it names a program to run"},
		"incomplete": {func(d *snapshot.Document) {
			d.IPTables.Tables[0].Incomplete = "it changed while it was read"
		}, 3, "it was not read whole"},
		"odd name": {func(d *snapshot.Document) {
			d.IPTables.Tables[0].Chains = append(d.IPTables.Tables[0].Chains, &netfilter.Chain{Name: "a\nCOMMIT"})
		}, 3, "cannot be written"},
		"nat alone": {func(d *snapshot.Document) {
			for _, table := range d.IPTables.Tables {
				if table.Name == "nat" {
					c := table.Chain("POSTROUTING")
					c.Rules = append(c.Rules, &netfilter.Rule{Number: len(c.Rules) + 1, Text: "-m nosuchmatch -j MASQUERADE"})
				}
			}
		}, 0, "(no stray segment meets it)"},
		"vrf": {func(d *snapshot.Document) {
			links := slices.Clone(d.Topology.Links.Or(nil))
			links[1].Kind = "vrf"
			d.Topology.Links = snapshot.Known(links)
		}, 3, "a VRF is not rebuilt"},
	}
	t.Cleanup(func() {
		if _, err := os.Stat(mark); err == nil {
			t.Error("a program that a snapshot names was run")
		}
	})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := decodeShape(t, "calico")
			doc.NFTables.Tables = nil // what the tool read is all there is
			tt.change(doc)
			code, text := proveFile(t, save(t, doc))
			if code != tt.code || !strings.Contains(text, tt.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tt.code, tt.want, text)
			}
		})
	}
}

// A native rule whose words say something else than its steps does not get a verdict: the twin is read back.
func TestTwinIsReadBack(t *testing.T) {
	requireTwin(t)
	tests := map[string]struct {
		text, want string
	}{
		"other verdict": {"ct state invalid accept", "the twin's differs: rule 4"},
		"two commands":  {`ct state invalid drop; include "/etc/passwd"`, "it holds ';'"},
		"a file":        {"ct state invalid drop\ninclude \"/etc/passwd\"", "it holds a control character"},
		"no words":      {"<bpf 7> drop", "nft has no words for it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := decodeShape(t, "firewalld")
			doc.NFTables.Tables[0].Chain("filter_INPUT").Rules[3].Text = tt.text
			code, text := proveFile(t, save(t, doc))
			if code != exitIncomplete || !strings.Contains(text, tt.want) || strings.Contains(text, "root:") {
				t.Errorf("exit code %d, want %q:\n%s", code, tt.want, text)
			}
		})
	}
}

// Names and words of a snapshot end up in a script for nft: none may be more than that.
func TestTwinRefusesNamesThatAreScripts(t *testing.T) {
	requireTwin(t)
	const script = "x\"; }\ninclude \"/etc/passwd\"\n#"
	tests := map[string]func(*netfilter.Table){
		"table":  func(t *netfilter.Table) { t.Name = script },
		"family": func(t *netfilter.Table) { t.Family = script },
		"chain":  func(t *netfilter.Table) { t.Chains[0].Name = script },
		"device": func(t *netfilter.Table) { t.Chains[0].Base.Devices = []string{script} },
		"policy": func(t *netfilter.Table) { t.Chains[0].Base.Policy = script },
		"hook":   func(t *netfilter.Table) { t.Chains[0].Base.Hook = script },
		"type":   func(t *netfilter.Table) { t.Chains[0].Base.Type = script },
		"set":    func(t *netfilter.Table) { t.Sets = append(t.Sets, &netfilter.Set{Name: script}) },
		"key":    func(t *netfilter.Table) { t.Sets = append(t.Sets, &netfilter.Set{Name: "s", Types: []string{script}}) },
		"jump": func(t *netfilter.Table) {
			to := &netfilter.Verdict{Kind: netfilter.Jump, Chain: script}
			t.Sets = append(t.Sets, &netfilter.Set{
				Name: "s", Types: []string{"inet_service"}, Map: true, Verdicts: true,
				Elements: []netfilter.Element{{Key: []netfilter.Interval{netfilter.Nums(1, 1)}, Verdict: to}},
			})
		},
		"object": func(t *netfilter.Table) {
			t.Objects = append(t.Objects, netfilter.Object{Kind: "counter", Name: script})
		},
		"flowtable": func(t *netfilter.Table) {
			t.Objects = append(t.Objects, netfilter.Object{Kind: "flowtable", Name: "f", Text: script})
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc := decodeShape(t, "firewalld")
			change(doc.NFTables.Tables[0])
			code, text := proveFile(t, save(t, doc))
			if code != exitIncomplete && name != "flowtable" && name != "object" || strings.Contains(text, "root:") || !strings.Contains(text, "not rebuilt: ") && code != exitUsage {
				t.Errorf("exit code %d:\n%s", code, text)
			}
		})
	}
}

// The answers of a node with more than one question, of which a gap concerns one.
func TestGapConcernsItsOwn(t *testing.T) {
	requireTwin(t)
	doc := decodeShape(t, "calico")
	for _, table := range doc.IPTables.Tables {
		if table.Name == "filter" {
			c := table.Chain("FORWARD")
			c.Rules = append(c.Rules, &netfilter.Rule{Number: len(c.Rules) + 1, Text: "-m nosuchmatch -j DROP"})
		}
	}
	doc.NFTables.Tables = nil // the tool's word is all there is
	doc.NFTables.HookOrder = snapshot.Absent[[]snapshot.HookEntry]()
	r := confirm(t, doc)
	for _, q := range r.Questions {
		want := map[string]twin.Agreement{"A": twin.Agrees, "B": twin.Undecided}[q.Question]
		if q.Agreement != want {
			t.Errorf("%s %s: %s, want %s: %v", q.Question, q.Interface, q.Agreement, want, q.Why)
		}
	}
}

func TestTwinWithoutRoot(t *testing.T) {
	cmd := asNobody(t, "--snapshot", "node.json")
	text, err := os.ReadFile(shapes + "bare.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cmd.Dir, "node.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exitIncomplete || !strings.Contains(string(out), "hint: run it as root") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTwinUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--this-node", "--snapshot", shapes + "bare.json"},
		{"--snapshot", shapes + "bare.json", "--pcap", "."},
		{"--snapshot", "no such file"},
		{"--netns", "x"},
		{"--snapshot", shapes + "bare.json", "--netns", "x"},
		{"--snapshot", shapes + "bare.json", "--question", "C"},
	} {
		var out, talk bytes.Buffer
		ctx := context.Background()
		err := run(ctx, append([]string{"prove"}, args...), nil, streams{nil, &out, &talk})
		if code := exitCode(ctx, err, &talk); code != exitUsage || out.Len() > 0 {
			t.Errorf("%v: exit code %d: %s%s", args, code, out.String(), talk.String())
		}
	}
}

// leftOver are the processes that carry a mark in their environment.
func leftOver(mark string) (left []string) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left = nil
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil && bytes.Contains(text, []byte(mark)) {
				left = append(left, f)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// A signal at any moment leaves nothing behind: no interface, no named namespace, no process.
func TestTwinInterrupted(t *testing.T) {
	requireTwin(t)
	program := ctauditCommand(t).Path
	node := scenarioNode(t)
	before := traces(t)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, seed))
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
	codes := map[syscall.Signal]int{syscall.SIGINT: exitInterrupt, syscall.SIGTERM: exitTerminate, syscall.SIGKILL: -1}
	commands := [][]string{
		{"prove", "--snapshot", shapes + "kubeproxy-iptables.json", "--snapshot", shapes + "ufw.json"},
		{"prove", "--this-node", "--netns", node.Path()},
		{"scan", "--prove", "--exit-zero", "--netns", node.Path()},
	}
	interrupted := 0
	for i := range *interrupts {
		sig, args := signals[i%len(signals)], commands[i%len(commands)]
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "CTAUDIT_TEST_MARK=twin-interrupted")
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(700 * time.Millisecond))))
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait() // the state says more
		code := cmd.ProcessState.ExitCode()
		if stdout.Len() > 0 {
			continue // done before the signal came
		}
		interrupted++
		if code != codes[sig] && code != -1 {
			t.Errorf("seed %d: %v: exit code %d after %s", seed, args, code, sig)
		}
		if left := leftOver("CTAUDIT_TEST_MARK=twin-interrupted"); len(left) > 0 {
			t.Errorf("seed %d: %v: %v are left", seed, args, left)
		}
	}
	if interrupted == 0 {
		t.Errorf("seed %d: none of %d runs was interrupted", seed, *interrupts)
	}
	if after := traces(t); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}
