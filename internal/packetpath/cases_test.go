package packetpath

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata/cases")

// TestCases runs the rulesets in testdata/cases. Files: legacy.ip, legacy.ip6, nft.ip, nft.ip6 hold iptables-save text;
// tables.json holds native tables; ask holds one question a line; want the answers.
func TestCases(t *testing.T) {
	files, _ := filepath.Glob("testdata/cases/*.txtar")
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), "kernel-") {
			continue // TestKernelCases
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, want := runCase(t, ar)
			if *update {
				ar.Files[len(ar.Files)-1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func runCase(t *testing.T, ar *txtar.Archive) (got, want string) {
	node := testNode()
	ask := ""
	for _, f := range ar.Files {
		text := string(f.Data)
		name, fam, _ := strings.Cut(f.Name, ".")
		switch name {
		case "legacy", "nft":
			b := nf.Legacy
			if name == "nft" {
				b = nf.IPTablesNFT
			}
			node.Ruleset.Tables = append(node.Ruleset.Tables, parseSave(text, b, nf.Family(fam))...)
		case "ask":
			ask = text
		case "want":
			want = text
		default:
			t.Fatalf("file %s", f.Name)
		}
	}
	e := Compile(node)
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(ask), "\n") {
		writeAnswer(t, &b, e, line)
	}
	for _, d := range e.Drops() {
		fmt.Fprintf(&b, "drop: %s hooks %v priority %d %s %s limited %q in %v catastrophic %v\n",
			refText(&d.Rule), d.Hooks, d.Priority, d.Action, d.With, d.Limited, d.InInterfaces, d.Catastrophic)
	}
	return b.String(), want
}

// writeAnswer asks "A ip eth0" or "B ip eth0 cali1".
func writeAnswer(t *testing.T, b *strings.Builder, e *Evaluator, line string) {
	f := strings.Fields(line)
	q := Query{Question: Question(f[0]), Family: nf.Family(f[1]), In: f[2]}
	if len(f) > 3 {
		q.Out = f[3]
	}
	a, err := e.Evaluate(q)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(b, "%s: %s, reset %s, by %s", line, a.Verdict, a.Reset, refText(a.DecidedBy))
	if a.Implicit {
		b.WriteString(", implicit")
	}
	if a.ByReset {
		b.WriteString(", the RST is dropped")
	}
	b.WriteString("\n")
	for _, o := range a.Outcomes {
		fmt.Fprintf(b, "  %s [%s] %s:%d > %s:%d %s by %s %v\n", o.Fate, o.Region, o.Witness.Src, o.Witness.Sport, o.Witness.Dst, o.Witness.Dport, o.Witness.Flags, refText(o.By), o.Assuming)
	}
	for _, s := range a.Shadowed {
		fmt.Fprintf(b, "  no help: %s: %s %s", refText(&s.Rule), s.Reason, s.Detail)
		if s.By != nil {
			b.WriteString(" by " + refText(s.By))
		}
		b.WriteString("\n")
	}
	for _, d := range a.DependsOn {
		fmt.Fprintf(b, "  depends on %s\n", d)
	}
}

func refText(r *nf.RuleRef) string {
	if r == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s %s %s/%s/%d %q", r.Backend, r.Family, r.Table, r.Chain, r.Number, r.Text)
}
