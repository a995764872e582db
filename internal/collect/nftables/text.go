package nftables

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/host"
	nf "github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// The text reader stands in for netlink on a host that has a shell only. `nft --debug=netlink -j list ruleset` prints what
// it fetched twice: first each set's elements and each rule's expressions as the kernel has them, then the whole as JSON.
// The expressions are the program that the walker runs over on the wire, so both readers make the same operations of a
// rule. Its values come in two forms (text_values.go). The JSON alone would not do: what nft 1.0.6 says there of a rule is its
// own translation back, without the matches that it takes for granted, and what it cannot translate it leaves out.
//
// The JSON of 1.0.6 also prints other words in the place of a table's flags (addTable).
//
// From the JSON come the tables, chains, types of sets and objects, each rule's place and its comment, and whether the
// output is whole. `nft list chains` has the devices of ingress and egress chains, which the JSON of 1.0.6 lacks.

// whereNFTables is where the commands are run: they would load the module where it is not.
const whereNFTables = host.WithoutNetlink + ",module:nf_tables"

// textNeeds are the commands that stand in for the dumps. uname runs wherever nf_tables is, so it tells a node without it
// from one without nft; and the byte order of what nft prints is the machine's.
func textNeeds() []host.Need {
	return []host.Need{rulesetNeed(), chainsNeed(), machineNeed()}
}

func rulesetNeed() host.Need {
	return textNeed(rulesLimit, "nft", "--debug=netlink", "-j", "list", "ruleset")
}

func chainsNeed() host.Need { return textNeed(0, "nft", "list", "chains") }

func machineNeed() host.Need { return textNeed(1<<10, "uname", "-m") }

func textNeed(limit int64, argv ...string) host.Need {
	return host.Need{Kind: host.Command, Args: argv, Limit: limit, Only: whereNFTables}
}

// speechless reports whether the host speaks no netlink.
func speechless(ev *host.Evidence) bool {
	return ev.Answer(need(host.DumpNFTables)).Err == host.NoNetlink
}

const (
	hintInstall = "install nft on the node, or read it with --push"
	hintPush    = "read the node with --push"
)

// parseText returns the ruleset of a host without netlink. What keeps the output from being whole may have cost any table, so
// it is the list of tables that is missing: every question about the rules is then unknown.
func parseText(ev *host.Evidence) *parser {
	p := newParser()
	out, machine := ev.Answer(rulesetNeed()), ev.Answer(machineNeed())
	switch {
	case out.Absent && machine.Absent && machine.Err == "":
		return p // no nf_tables in this kernel
	case out.Absent:
		p.lack(host.DumpNFTables, "no nft on the node", hintInstall)
		return p
	case out.Err != "" && !out.Denied && strings.Contains(out.Stderr, "JSON support not compiled"):
		p.lack(host.DumpNFTables, "nft on the node was built without JSON", hintPush)
	case out.Err != "":
		p.lack(host.DumpNFTables, out.Err, hintFor(out))
	case out.Truncated:
		p.lack(host.DumpNFTables, "nft prints more than is read", hintPush)
	}
	if m := strings.TrimSpace(string(machine.Data)); !littleEndian(m) {
		p.lack(host.DumpNFTables, fmt.Sprintf("nft's output on %q machines is not understood", m), hintPush)
	}
	r := &textReader{parser: p, devices: chainDevicesOf(ev.Answer(chainsNeed()))}
	r.read(out.Data)
	p.finish()
	return p
}

// littleEndian reports whether a machine, as uname -m calls it, prints the words of a register in the order that is read here.
func littleEndian(machine string) bool {
	for _, prefix := range []string{"x86_64", "aarch64", "riscv", "loongarch64", "ppc64le"} {
		if strings.HasPrefix(machine, prefix) {
			return true
		}
	}
	i86 := len(machine) == 4 && machine[0] == 'i' && strings.HasSuffix(machine, "86")
	arm := strings.HasPrefix(machine, "arm") && !strings.HasSuffix(machine, "b")
	mips := strings.HasPrefix(machine, "mips") && strings.HasSuffix(machine, "el")
	return i86 || arm || mips
}

// textReader reads one output of nft.
type textReader struct {
	parser  *parser
	index   textIndex
	rules   []textRule // in the JSON's order
	json    []byte
	devices map[chainKey][]string
	// flagsHold: this nft prints a table's flags, and not what stood in memory before them.
	flagsHold bool
	// newer: this nft runs with no libnftnl that prints values as words.
	newer bool
}

type chainKey struct {
	table tableKey
	name  string
}

// jsonStart is where the JSON begins, behind what --debug printed.
const jsonStart = `{"nftables":`

func (r *textReader) read(out []byte) {
	debug, start := []byte(nil), 0
	if !bytes.HasPrefix(out, []byte(jsonStart)) {
		i := bytes.Index(out, []byte("\n"+jsonStart))
		if i < 0 {
			r.parser.lack(host.DumpNFTables, "nft printed no JSON", hintPush)
			return
		}
		debug, start = out[:i+1], i+1
	}
	r.json = out[start:]
	if err := r.readJSON(); err != nil {
		r.parser.lack(host.DumpNFTables, "nft's JSON is cut or garbled: "+err.Error(), hintPush)
	}
	r.index.read(debug)
	r.checkForm()
	r.sets()
	for i := range r.rules {
		r.rule(&r.rules[i])
	}
	r.surplus()
}

// sets gives the sets their elements, in the kernel's order. An anonymous set has no type in the JSON: the rule that looks
// something up in it says what its keys are.
func (r *textReader) sets() {
	p := r.parser
	for _, b := range r.index.sets {
		t := p.info[b.table]
		if t == nil {
			continue
		}
		s := t.sets[b.name]
		if s == nil {
			s = &setInfo{set: &nf.Set{Name: p.shared.text([]byte(b.name))}}
			t.sets[b.name] = s
		}
		if s.listed {
			continue
		}
		s.listed = true
		t.table.Sets = append(t.table.Sets, s.set)
		if s.types == nil {
			s.set.Incomplete = "its keys are not understood"
		}
		r.elements(t, s, b.body)
	}
	for _, t := range p.tables {
		info := p.info[tableKey{t.Family, t.Name}]
		for _, name := range sortedNames(info.sets) {
			if s := info.sets[name]; !s.listed {
				s.set.Incomplete = "nft did not print its elements"
				t.Sets = append(t.Sets, s.set)
			}
		}
	}
}

func sortedNames(sets map[string]*setInfo) []string {
	out := make([]string, 0, len(sets))
	for name := range sets {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// surplus marks the tables of rules that --debug printed and the JSON did not.
func (r *textReader) surplus() {
	for _, b := range r.index.rules {
		if b.used {
			continue
		}
		why := "nft's JSON lacks rules that it printed before"
		if t := r.parser.info[b.table]; t != nil && !slices.Contains(t.ruleWhy, why) {
			t.ruleWhy = append(t.ruleWhy, why)
		}
		r.parser.lack(host.DumpNFRules, why, "collect again")
	}
}

// chainDevicesOf reads the devices of base chains from `nft list chains`.
func chainDevicesOf(a *host.Answer) map[chainKey][]string {
	out := map[chainKey][]string{}
	if a.Err != "" || a.Truncated {
		return out
	}
	var at chainKey
	for line := range strings.Lines(string(a.Data)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 4 && f[0] == "table" && f[3] == "{":
			at.table = tableKey{nf.Family(f[1]), f[2]}
		case len(f) == 3 && f[0] == "chain" && f[2] == "{":
			at.name = f[1]
		case len(f) > 5 && f[0] == "type" && f[2] == "hook":
			if list := deviceList(line); list != nil {
				out[at] = list
			}
		}
	}
	return out
}

// deviceList reads `device "lo"` or `devices = { d1, lo }` in front of a chain's priority.
func deviceList(line string) []string {
	line, _, _ = strings.Cut(line, " priority ")
	if _, list, ok := strings.Cut(line, " devices = { "); ok {
		list, _, _ = strings.Cut(list, " }")
		var out []string
		for _, d := range strings.Split(list, ", ") {
			out = append(out, strings.Trim(d, `"`))
		}
		slices.Sort(out)
		return out
	}
	if _, d, ok := strings.Cut(line, " device "); ok {
		return []string{strings.Trim(d, `"`)}
	}
	return nil
}

// generationOf is the generation of the evidence: nft does not print it.
func generationOf(ev *host.Evidence) snapshot.Value[uint32] {
	if !speechless(ev) {
		return generation(ev.Answer(need(host.DumpNFGen)))
	}
	if ev.Answer(machineNeed()).Absent {
		return snapshot.Absent[uint32]()
	}
	return snapshot.Unreadable[uint32]("nft does not print it", "")
}
