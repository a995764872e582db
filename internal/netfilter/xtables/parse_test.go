package xtables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

func m(f netfilter.Field, from, to uint64) netfilter.Match {
	return netfilter.Match{Fields: []netfilter.Operand{{Field: f}}, In: []netfilter.Interval{netfilter.Nums(from, to)}}
}

func masked(f netfilter.Field, mask, v uint64) netfilter.Match {
	n := netfilter.Num(mask)
	return netfilter.Match{Fields: []netfilter.Operand{{Field: f, Mask: &n}}, In: []netfilter.Interval{netfilter.Nums(v, v)}}
}

func not(x netfilter.Match) netfilter.Match {
	x.Invert = true
	return x
}

func names(f netfilter.Field, pattern string) netfilter.Match {
	return netfilter.Match{Fields: []netfilter.Operand{{Field: f}}, In: []netfilter.Interval{netfilter.Names(pattern)}}
}

func in(f netfilter.Field, v ...netfilter.Interval) netfilter.Match {
	return netfilter.Match{Fields: []netfilter.Operand{{Field: f}}, In: v}
}

func ext(name, args string) netfilter.Ext { return netfilter.Ext{Name: name, Args: args} }
func noExt(name, args string) netfilter.Ext {
	return netfilter.Ext{Name: name, Args: args, Invert: true}
}
func stmt(name, args string) netfilter.Stmt { return netfilter.Stmt{Name: name, Args: args} }
func jump(chain string) netfilter.Verdict {
	return netfilter.Verdict{Kind: netfilter.Jump, Chain: chain}
}

func reject(with string) netfilter.Verdict {
	return netfilter.Verdict{Kind: netfilter.Reject, With: with}
}
func steps(ops ...netfilter.Op) netfilter.Ops { return ops }

func computed(f netfilter.Field, mask uint64) netfilter.Assign {
	return netfilter.Assign{Field: f, From: Computed, And: netfilter.Num(mask)}
}

func setMark(and, xor uint64) netfilter.Assign {
	return netfilter.Assign{Field: netfilter.Mark, And: netfilter.Num(and), Xor: netfilter.Num(xor)}
}

var (
	tcp    = m(netfilter.L4Proto, 6, 6)
	udp    = m(netfilter.L4Proto, 17, 17)
	accept = netfilter.Verdict{Kind: netfilter.Accept}
	drop   = netfilter.Verdict{Kind: netfilter.Drop}
)

// A case is one rule and what it means. Load is how to load it when iptables-save prints it differently, table the table
// to load it into (empty: mangle), only the family that knows it.
type ruleCase struct {
	text, load, table string
	only              netfilter.Family
	want              netfilter.Ops
}

func TestParse(t *testing.T) {
	for _, c := range ruleCases() {
		for _, family := range []netfilter.Family{netfilter.IP, netfilter.IP6} {
			if c.only != "" && c.only != family {
				continue
			}
			got, err := Parse(family, c.text)
			if err != nil {
				t.Errorf("%s %s: %v", family, c.text, err)
				continue
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s %s: (-want +got)\n%s", family, c.text, diff)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, word := range map[string]string{
		"-s 10.0.0.1.2/32 -j DROP":    "-s",
		"-s fe80::1%eth0 -j DROP":     "-s",
		"-s 10.0.0.0/33 -j DROP":      "-s",
		"-i abcdefghijklmnop -j DROP": "-i",
		"-i  -j DROP":                 "DROP",
		"-p nonsense -j DROP":         "-p",
		"! -p all -j DROP":            "-p",
		"-j":                          "target",
		"-g a b":                      "-g",
		"! -j DROP":                   "!",
		"! -m tcp":                    "!",
		"!":                           `""`,
		"-m":                          "-m",
		"stray -j DROP":               "stray",
		"-q -j DROP":                  "-q",
		`-m comment --comment "never closed -j DROP`: "quoted",
		`-m comment --comment "closed\" -j DROP`:     "quoted",
		`-m comment --comment "a"b -j DROP`:          "quoted",
		`-j LOG --log-prefix "x`:                     "quoted",
		`"-j" DROP`:                                  "-j",
		"-c 1":                                       "-c",
		strings.Repeat("x", maxRule+1):               "bytes",
	} {
		ops, err := Parse(netfilter.IP, text)
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("Parse(%.60q) = %v, %v; want an error about %q", text, ops, err, word)
		}
	}
	if _, err := Parse(netfilter.INET, "-j DROP"); err == nil {
		t.Error("an inet table has no iptables rules")
	}
}

func TestOpsNeverFails(t *testing.T) {
	table := &netfilter.Table{Backend: netfilter.Legacy, Family: netfilter.IP}
	got := Ops(table, &netfilter.Rule{Text: "-p nonsense -j DROP"})
	want := steps(ext(Unparsed, "-p nonsense -j DROP"), stmt(Unparsed, "-p nonsense -j DROP"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	decoded := steps(accept)
	if got := Ops(table, &netfilter.Rule{Text: "-j DROP", Ops: decoded}); len(got) != 1 || got[0] != accept {
		t.Errorf("decoded steps were not kept: %v", got)
	}
	native := &netfilter.Table{Backend: netfilter.NFTables, Family: netfilter.INET}
	if got := Ops(native, &netfilter.Rule{Text: "counter"}); got != nil {
		t.Errorf("a native rule was parsed: %v", got)
	}
}
