package oracle_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath/replay"
)

const casesFolder = "../../packetpath/testdata/cases"

// TestKernelCases loads the rulesets of the evaluator's own cases. Those that say what a kernel did to a packet are sent
// that packet; the others are sent random ones.
func TestKernelCases(t *testing.T) {
	labtest.Require(t, "root", "netns", "afpacket", "nft", "iptables", "iptables-legacy")
	files, _ := filepath.Glob(casesFolder + "/*.txtar")
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if replay.IsCase(ar) {
				kernelCase(t, file, ar)
				return
			}
			paperCase(t, ar)
		})
	}
}

// kernelCase sends the packets of a case and compares with what it says. CTAUDIT_UPDATE=1 writes the node as it is read now.
func kernelCase(t *testing.T, file string, ar *txtar.Archive) {
	c, err := replay.Parse(ar)
	if err != nil {
		t.Fatal(err)
	}
	b, err := freshBench()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	loaded := oracle.Case{Reflect: c.Reflect}
	for _, d := range c.Documents {
		loaded.Documents = append(loaded.Documents, oracle.Document(d))
	}
	if err := loaded.Exactly(b.Node); err != nil {
		t.Fatal(err)
	}
	for i := range c.Asked {
		asked := &c.Asked[i]
		u := oracle.Universe{Family: asked.Query.Family, Through: asked.Query.Out != ""}
		fates, err := put(b.Bench, u, probesOf(b.Bench, asked))
		if err != nil {
			t.Fatal(err)
		}
		for k, f := range fates {
			if p := &asked.Packets[k]; p.Fate != replay.Fate(f.String()) {
				t.Errorf("%s:%d: the kernel: %s, want %s", p.Segment.Src, p.Segment.Sport, f, p.Fate)
			}
		}
	}
	doc, err := b.read()
	if err != nil {
		t.Fatal(err)
	}
	c.Node = facts.Of(doc).Evaluated()
	if err := new(replay.Tally).Check(c); err != nil {
		t.Error(err)
	}
	if err := recorded.add(c); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CTAUDIT_UPDATE") != "" {
		text, err := replay.Format(c)
		if err == nil {
			err = os.WriteFile(file, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func probesOf(b *lab.Bench, asked *replay.Asked) []lab.Probe {
	var out []lab.Probe
	for i := range asked.Packets {
		g := &asked.Packets[i].Segment
		p := lab.Probe{Segment: lab.Segment{
			Src: netip.AddrPortFrom(g.Src, g.Sport), Dst: netip.AddrPortFrom(g.Dst, g.Dport), Flags: g.Bits, Seq: g.Seq, Ack: g.Ack,
		}}
		for port := range b.Range.Ports {
			if b.Interface(port) == g.In {
				p.Port = port
			}
		}
		out = append(out, p)
	}
	return out
}

// elsewhere are the interfaces of the paper cases' node, which the bench calls u0 and u1.
var elsewhere = regexp.MustCompile(`\b(eth0|docker0|cali1)\b`)

// paperCase puts random packets to a case's ruleset, with the bench's interfaces in place of the case's.
func paperCase(t *testing.T, ar *txtar.Archive) {
	c := oracle.Case{Family: netfilter.IP}
	for _, f := range ar.Files {
		name, family, _ := strings.Cut(f.Name, ".")
		backend := map[string]netfilter.Backend{"legacy": netfilter.Legacy, "nft": netfilter.IPTablesNFT}[name]
		if backend == "" {
			continue
		}
		text := elsewhere.ReplaceAllStringFunc(string(f.Data), func(s string) string {
			return map[string]string{"eth0": "u0"}[s] + map[bool]string{true: "u1"}[s != "eth0"]
		})
		c.Documents = append(c.Documents, oracle.Document{Backend: backend, Family: netfilter.Family(family), Text: text})
	}
	for _, family := range families {
		for _, through := range []bool{false, true} {
			b, err := freshBench()
			if err != nil {
				t.Fatal(err)
			}
			u := oracle.NewUniverse(b.Bench, family)
			u.Through = through
			total := tally{}
			if err := total.runCase(b, c, u); err != nil || total.refused > 0 {
				t.Errorf("%d refused: %v", total.refused, err)
			}
			b.Close()
		}
	}
}
