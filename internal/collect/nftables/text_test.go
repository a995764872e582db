package nftables

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/hosttest"
	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/lab/labtest"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// readBoth reads the namespace over netlink and as a shell on it would.
func readBoth(t *testing.T, ns *lab.Netns) (wire, text *snapshot.Document) {
	t.Helper()
	local := host.Local(host.LocalOptions{Namespace: ns.Path()})
	var docs []*snapshot.Document
	for _, h := range []host.Host{local, hosttest.Shell(local)} {
		doc, _, err := collect.Run(t.Context(), h, []collect.Collector{New()}, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	return docs[0], docs[1]
}

// TestTextReadsNativeRules: of two hundred rules of every kind, the text's steps are netlink's, but for those that nft does
// not print whole, which are unread.
func TestTextReadsNativeRules(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	ns := labtest.NewNetns(t)
	if _, err := ns.Pipe(nativeDocument(t), "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	wire, text := readBoth(t, ns)
	recorded, missing := textDocument(printed(file(t, "testdata/octets.out"))) // of nft 1.1.7, libnftnl 1.3.2
	for name, read := range map[string]struct {
		doc     *snapshot.Document
		missing []snapshot.Missing
	}{"the installed nft": {text, text.Collectors[0].Missing}, "octets": {recorded, missing}} {
		t.Run(name, func(t *testing.T) {
			if len(read.missing) != 0 || read.doc.NFTables.Tables[0].Incomplete != "" {
				t.Errorf("missing %v, incomplete %q", read.missing, read.doc.NFTables.Tables[0].Incomplete)
			}
			sameButUnread(t, wire, read.doc)
		})
	}
}

// sameButUnread compares two readings of testdata/native.rules, but for the rules that the second one says it did not read.
func sameButUnread(t *testing.T, wire, text *snapshot.Document) {
	t.Helper()
	a, b := wire.NFTables.Tables[0].Chain("c").Rules, text.NFTables.Tables[0].Chain("c").Rules
	var unread []string
	for i := range min(len(a), len(b)) {
		if text := b[i].Text; strings.Contains(text, "unread") || strings.Contains(text, " expr ") || strings.HasPrefix(text, "synproxy mss") {
			unread = append(unread, a[i].Text)
			b[i] = a[i]
		}
	}
	t.Logf("not printed whole: %s", strings.Join(unread, "\n"))
	if len(unread) > len(a)/8 {
		t.Errorf("%d of %d rules are not read", len(unread), len(a))
	}
	options := cmp.Options{cmpopts.IgnoreFields(nf.Rule{}, "Counters"), cmpopts.IgnoreFields(nf.Set{}, "Types", "DataTypes", "Dynamic")}
	if d := cmp.Diff(wire.NFTables.Tables, text.NFTables.Tables, options); d != "" {
		t.Errorf("-netlink +text:\n%s", d)
	}
}

// What the JSON of nft 1.0.6 leaves out or prints wrongly comes from elsewhere, or is said to be unknown.
func TestTextKnowsWhatJSONLacks(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft")
	ns := labtest.NewNetns(t)
	_, err := ns.Pipe(`table netdev d {
	chain i {
		type filter hook ingress devices = { lo } priority 5; policy drop;
		counter packets 3 bytes 4 accept comment "a ] [ b"
	}
}
table inet asleep {
	flags dormant
	chain c {
		type filter hook input priority 0; policy accept;
		drop
	}
}
table inet t {
	set seen { type ipv4_addr; flags dynamic, timeout; timeout 1m; }
	set whole { type ipv4_addr; flags interval; elements = { 0.0.0.0/0 } }
	chain c {
		iifname { "lo", "eth*" } update @seen { ip saddr }
		iifname "eth1a" oifname "lo"
		iifname "eth1a*"
		ip saddr { 0.0.0.0/0 } drop
		ip daddr { 0.0.0.0 } drop
		log prefix "x ] [ immediate reg 0 accept" level err
	}
}
`, "nft", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	wire, text := readBoth(t, ns)
	asleep := slices.IndexFunc(text.NFTables.Tables, func(t *nf.Table) bool { return t.Name == "asleep" })
	if len(text.Collectors[0].Missing) == 0 { // else the flags ended the JSON
		if why := text.NFTables.Tables[asleep].Incomplete; why == "" && !text.NFTables.Tables[asleep].Dormant {
			t.Error("a dormant table passes for one that runs")
		}
		text.NFTables.Tables[asleep] = wire.NFTables.Tables[asleep]
	} else {
		t.Logf("missing %v", text.Collectors[0].Missing)
		return
	}
	if d := cmp.Diff(wire.NFTables.Tables, text.NFTables.Tables); d != "" {
		t.Errorf("-netlink +text:\n%s", d)
	}
	if !text.NFTables.HookOrder.IsAbsent() || !text.NFTables.Generation.IsUnreadable() {
		t.Errorf("hook order %v, generation %v", text.NFTables.HookOrder, text.NFTables.Generation)
	}
}

// An iptables-nft table plays the wire's part: rules with nameless extensions make it incomplete until the tool's text is
// there, what nft added keeps its steps.
func TestTextOfIPTables(t *testing.T) {
	labtest.Require(t, "root", "netns", "nft", "iptables")
	ns := labtest.NewNetns(t)
	for _, args := range [][]string{
		{"iptables-nft", "-A", "INPUT", "-i", "eth1a+", "-p", "tcp", "--dport", "80", "-j", "DROP"},
		{"iptables-nft", "-A", "INPUT", "-m", "conntrack", "!", "--ctstate", "RELATED", "-j", "DROP"},
		{"iptables-nft", "-t", "raw", "-A", "PREROUTING", "-j", "CT", "--notrack"},
		{"nft", "add", "rule", "ip", "filter", "INPUT", "tcp", "dport", "{ 80, 90 }", "drop"},
	} {
		if _, err := ns.Output(args...); err != nil {
			t.Fatal(err)
		}
	}
	_, text := readBoth(t, ns)
	for _, tb := range text.NFTables.Tables {
		if tb.Backend != nf.IPTablesNFT || tb.Incomplete != snapshot.ToolOnly {
			t.Errorf("table %s: %s, %q", tb.Name, tb.Backend, tb.Incomplete)
		}
		var lines []string
		for _, c := range tb.Chains {
			for _, r := range c.Rules {
				lines = append(lines, r.Text)
				if native := strings.Contains(r.Text, "{"); native != (len(r.Ops) > 0) {
					t.Errorf("rule %s has steps %v", r.Text, r.Ops)
				}
			}
		}
		want := map[string][]string{
			"raw":    {"-j CT-unread --opaque-revision-2 unread-3"},
			"filter": {"-i eth1a+ -p tcp -m tcp --dport 80 -j DROP", "-m conntrack --opaque-revision-3 unread-1 -j DROP", "tcp dport { 80, 90 } drop"},
		}[tb.Name]
		for i, l := range lines {
			if before, _, ok := strings.Cut(l, " unread-"); ok {
				lines[i] = before
			}
			if before, _, ok := strings.Cut(want[i], " unread-"); ok {
				want[i] = before
			}
		}
		if d := cmp.Diff(want, lines); d != "" {
			t.Errorf("table %s: %s", tb.Name, d)
		}
	}
}

// printed is the evidence of a shell host with that output of nft.
func printed(out []byte) *host.Evidence {
	answers := map[string]*host.Answer{
		rulesetNeed().Key(): {Data: out}, machineNeed().Key(): {Data: []byte("x86_64\n")}, chainsNeed().Key(): {},
	}
	for _, d := range append(dumps(), host.DumpNFGen, host.DumpNFHooks) {
		answers[need(d).Key()] = &host.Answer{Err: host.NoNetlink}
	}
	return &host.Evidence{Answers: answers}
}

func textDocument(ev *host.Evidence) (*snapshot.Document, []snapshot.Missing) {
	doc := &snapshot.Document{}
	return doc, New().Collect(ev, doc)
}

func printedRules(t testing.TB) []byte { return file(t, "testdata/shell.out") }

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// nft 1.0.6 can end its JSON anywhere and exit with 0: whatever is cut, something is missing, and no rule counts as read.
func TestTextNoticesEveryCut(t *testing.T) {
	t.Run("words", func(t *testing.T) { everyCut(t, printedRules(t), 400) })
	t.Run("octets", func(t *testing.T) { everyCut(t, file(t, "testdata/octets.out"), 40) })
}

func everyCut(t *testing.T, whole []byte, times int) {
	t.Helper()
	if _, missing := textDocument(printed(whole)); len(missing) != 0 {
		t.Fatal(missing)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range times {
		n := r.IntN(len(whole) - 2) // the last byte is a line feed
		if doc, missing := textDocument(printed(whole[:n])); len(missing) == 0 {
			t.Fatalf("cut at %d of %d: nothing is missing of %d tables", n, len(whole), len(doc.NFTables.Tables))
		}
	}
	start := bytes.Index(whole, []byte(jsonStart))
	blocks := bytes.Index(whole, []byte(" @")) // newer ones print chains and sets, too
	same, _ := textDocument(printed(whole))
	for range times / 4 { // lines of the debug output left out
		from := blocks + r.IntN(start-blocks)
		to := from + bytes.IndexByte(whole[from:], '\n') + 1
		doc, missing := textDocument(printed(slices.Concat(whole[:from], whole[to:])))
		idle := len(bytes.TrimSpace(whole[from:to])) < 3 || bytes.Contains(whole[from:to], []byte("userdata"))
		if !idle && len(missing) == 0 && cmp.Equal(same.NFTables.Tables, doc.NFTables.Tables) {
			t.Errorf("nothing is different without %q", whole[from:to])
		}
	}
}

func TestTextSaysWhatIsMissing(t *testing.T) {
	absent := func(keys ...string) func(*host.Evidence) {
		return func(ev *host.Evidence) {
			for _, k := range keys {
				ev.Answers[k] = &host.Answer{Absent: true}
			}
		}
	}
	nft, machine := rulesetNeed().Key(), machineNeed().Key()
	for name, tt := range map[string]struct {
		change func(*host.Evidence)
		want   string // of the one thing that is missing
		hint   string
	}{
		"no nf_tables": {absent(nft, machine, chainsNeed().Key()), "", ""},
		"no nft":       {absent(nft, chainsNeed().Key()), "nf_tables tables: no nft on the node", hintInstall},
		"denied": {func(ev *host.Evidence) {
			ev.Answers[nft] = &host.Answer{Err: "exit status 1: Operation not permitted", Denied: true}
		}, "nf_tables tables: exit status 1: Operation not permitted", hintRoot},
		"cut":       {func(ev *host.Evidence) { ev.Answers[nft].Truncated = true }, "nf_tables tables: nft prints more than is read", hintPush},
		"mainframe": {func(ev *host.Evidence) { ev.Answers[machine].Data = []byte("s390x\n") }, `nf_tables tables: nft's output on "s390x" machines is not understood`, hintPush},
		"newer": {func(ev *host.Evidence) {
			ev.Answers[nft].Data = bytes.Replace(ev.Answers[nft].Data, []byte(`"version": "1.0.6"`), []byte(`"version": "1.1.8"`), 1)
		}, `nf_tables tables: nft's JSON is cut or garbled: written by nft "1.1.8", whose way to print expressions is not known`, hintPush},
		"deep": {func(ev *host.Evidence) {
			ev.Answers[nft].Data = []byte(jsonStart + strings.Repeat("[", 1<<20))
		}, "nf_tables tables: nft's JSON is cut or garbled: ", hintPush},
		"nothing": {func(ev *host.Evidence) { ev.Answers[nft].Data = nil }, "nf_tables tables: nft printed no JSON", hintPush},
	} {
		ev := printed(printedRules(t))
		tt.change(ev)
		doc, missing := textDocument(ev)
		if tt.want == "" {
			if len(missing) != 0 || len(doc.NFTables.Tables) != 0 || !doc.NFTables.Generation.IsAbsent() {
				t.Errorf("%s: %v", name, missing)
			}
			continue
		}
		if len(missing) == 0 || !strings.HasPrefix(missing[0].What+": "+missing[0].Why, tt.want) || missing[0].Hint != tt.hint {
			t.Errorf("%s: %v", name, missing)
		}
		for _, tb := range doc.NFTables.Tables {
			if tb.Incomplete == "" {
				t.Errorf("%s: table %s passes for whole", name, tb.Name)
			}
		}
	}
}

// nft 1.1.3 with libnftnl 1.3.2 prints the bytes of values in order. Neither 1.0.0.10 nor "nothing is missing" may come of it
// where nothing shows the order.
func TestTextKnowsTheFormOfValues(t *testing.T) {
	load := func(what string) string { return "  [ " + what + " => reg 1 ]\n" }
	address, port := load("payload load 4b @ network header + 12"), load("payload load 2b @ transport header + 2")
	is := func(value string) string { return "  [ cmp eq reg 1 " + value + " ]\n" }
	masked := func(value string) string { return "  [ bitwise reg 1 = ( reg 1 & " + value + " ) ^ 0x00000000 ]\n" }
	for name, tt := range map[string]struct {
		lines, right string
		want         string // the rule; empty: everything is missing
	}{
		"words":             {address + is("0x0100000a"), `"10.0.0.1"`, "ip saddr 10.0.0.1"},
		"octets":            {address + is("0x0a000001"), `"10.0.0.1"`, "ip saddr 10.0.0.1"},
		"nothing says it":   {address + is("0x0a000001"), `"x"`, ""},
		"both":              {address + is("0x0a000001") + address + is("0x0100000a"), `["10.0.0.1", "1.0.0.10"]`, ""},
		"contradiction":     {load("meta load l4proto") + is("0x00000006") + address + is("0x0a000001"), `"10.0.0.1"`, ""},
		"short octets":      {port + is("0x0016"), "22", "th dport 22"},
		"short word":        {port + is("0x00001600") + address + is("0x0100000a"), `22`, "th dport 22 ip saddr 10.0.0.1"},
		"not filled up":     {port + is("0x16000000"), "22", ""},
		"odd":               {port + is("0x016"), "22", ""},
		"a palindrome":      {address + is("0x00000000"), `"0.0.0.0"`, "ip saddr 0.0.0.0"},
		"a mark in words":   {load("meta load mark") + is("0x00000005"), "5", "meta mark 0x00000005"},
		"a mark in octets":  {load("meta load mark") + is("0x05000000"), "5", "meta mark 0x00000005"},
		"bits in octets":    {load("meta load mark") + masked("0x00400000") + is("0x00400000"), `["mark", 16384]`, "meta mark & 0x4000 == 0x00004000"},
		"states in words":   {load("ct load state") + masked("0x00000006") + "  [ cmp neq reg 1 0x00000000 ]\n", `["established", "related"]`, "ct state established,related"},
		"states in octets":  {load("ct load state") + masked("0x06000000") + "  [ cmp neq reg 1 0x00000000 ]\n", `["established", "related"]`, "ct state established,related"},
		"states not named":  {load("ct load state") + masked("0x06000000") + "  [ cmp neq reg 1 0x00000000 ]\n", `"related"`, ""},
		"a name":            {load("meta load iifname") + is("0x30687465 0x00000000 0x00000000 0x00000000"), `"eth0"`, `iifname "eth0"`},
		"a name in octets":  {load("meta load iifname") + is("0x65746830 0x00000000 0x00000000 0x00000000"), `"eth0"`, `iifname "eth0"`},
		"a prefix":          {load("meta load iifname") + is("0x65746830"), `"eth0*"`, `iifname "eth0*"`},
		"a prefix, swapped": {load("meta load iifname") + is("0x30687465"), `"eth0*"`, `iifname "eth0*"`},
		"filled in between": {load("payload load 16b @ network header + 8") + is("0xfe80 0x00000000"), `1`, "<unread cmp eq reg 1 0xfe80 0x00000000 #1>"},
	} {
		out := "ip t c 1\n" + tt.lines + jsonStart + ` [{"metainfo": {"version": "1.1.3"}}, {"table": {"family": "ip", "name": "t"}}, ` +
			`{"chain": {"family": "ip", "table": "t", "name": "c"}}, {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 1, ` +
			`"expr": [{"match": {"op": "==", "right": ` + tt.right + `}}]}}]}` + "\n"
		doc, missing := textDocument(printed([]byte(out)))
		if (len(missing) == 0) != (tt.want != "") {
			t.Errorf("%s: missing %v", name, missing)
		}
		if have := doc.NFTables.Tables[0].Chains[0].Rules[0].Text; tt.want != "" && have != tt.want {
			t.Errorf("%s: %q, want %q", name, have, tt.want)
		}
	}
}

// Lines that no nft writes, or that say less than the kernel knows, end as unread.
func TestTextLines(t *testing.T) {
	p := newParser()
	w := &p.walker
	w.family, w.parser = nf.IP, p
	for line, want := range map[string]string{
		"immediate reg 0 drop":                                "drop",
		"immediate reg 0 jump -> x":                           "jump x",
		"limit rate 10/second burst 5 type packets flags 0x1": "limit rate over 10/second",
		"reject type 1 code 0":                                "reject with tcp reset",
		"queue num 1-5 bypass":                                "queue flags bypass to 1-5",
		"queue num 3":                                         "queue to 3",
		"notrack":                                             "notrack",
		"notrack now":                                         "<unread notrack now #1> unread #1",
		"immediate reg 0 steal":                               "<unread immediate reg 0 steal #1> unread #1",
		"osf dreg 1":                                          "<unread osf dreg 1 #1>",
		"cmp eq reg 1 0x00000006":                             "<register == 0x06000000>",
		"cmp almost reg 1 0x00000006":                         "<unread cmp almost reg 1 0x00000006 #1>",
		"queue num 3 bypass always":                           "<unread queue num 3 bypass always #1> unread #1",
		"counter pkts 1 bytes 2 more":                         "<unread counter pkts 1 bytes 2 more #1> unread #1",
		"flow_offload flowtable ft":                           "flow add @ft",
		"tproxy ip addr reg 1 port reg 2":                     "tproxy to register :register ",
		"log prefix a level 4 level 5 tcpseq ipopt":           `log prefix "a level 4" level notice flags tcp sequence flags ip options`,
		"": "<unread #1> unread #1",
	} {
		w.reset()
		p.unread = 0
		w.block([]byte("  [ " + line + " ]\n"))
		w.complete()
		if have := p.shared.keep(w.items).Text(nf.TextHints{}); have != want {
			t.Errorf("%q is %q, want %q", line, have, want)
		}
	}
}

// FuzzText feeds the text reader; the seed is a real ruleset. Whatever comes, it ends, and a document comes of it.
func FuzzText(f *testing.F) {
	f.Add(printedRules(f))
	f.Add([]byte("ip t @s\n\telement 0a000000 0016 - 0affffff 0016 : drop \n\telement  : jump -> x flags 2 \n\nip t c 1\n" +
		"  [ payload load 2b @ transport header + 2 => reg 1 ]\n  [ range eq reg 1 0x0016 0x0020 ]\n\n" + jsonStart +
		` [{"table": {"family": "ip", "name": "t"}}, {"chain": {"family": "ip", "table": "t", "name": "c"}}, ` +
		`{"map": {"family": "ip", "table": "t", "name": "s", "type": ["ipv4_addr", "inet_service"], "map": "verdict"}}, ` +
		`{"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 1}}]}`))
	f.Add([]byte("ip t c 1\n  [ lookup reg 1 set __set0 dreg 0 0x0 ]\n\n" + jsonStart +
		` [{"table": {"family": "ip", "name": "t"}}, {"chain": {"family": "ip", "table": "t", "name": "c"}}, {"rule": {"family": "ip", "table": "t", "chain": "c", "handle": 1}}]}`))
	f.Fuzz(func(t *testing.T, out []byte) {
		doc, _ := textDocument(printed(out))
		for _, tb := range doc.NFTables.Tables {
			for _, c := range tb.Chains {
				for _, r := range c.Rules {
					_ = r.Excerpt()
				}
			}
		}
	})
}
