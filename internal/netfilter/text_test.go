package netfilter

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOpsString(t *testing.T) {
	tcp := Match{Fields: []Operand{{Field: L4Proto}}, In: []Interval{Nums(6, 6)}}
	for want, ops := range map[string]Ops{
		`iifname "eth0" ct state invalid counter drop`: {
			Match{Fields: []Operand{{Field: IIFName}}, In: []Interval{Names("eth0")}},
			Match{Fields: []Operand{{Field: CTState, Mask: ptr(Num(1))}}, In: []Interval{Nums(0, 0)}, Invert: true},
			Stmt{Name: "counter"},
			Verdict{Kind: Drop},
		},
		`tcp dport { 22, 80-90 } accept`:              {tcp, Match{Fields: []Operand{{Field: Dport}}, In: []Interval{Nums(22, 22), Nums(80, 90)}}, Verdict{Kind: Accept}},
		`meta l4proto tcp drop`:                       {tcp, Verdict{Kind: Drop}},
		`ip saddr != 10.0.0.0/8 jump "x y"`:           {Match{Fields: []Operand{{Field: IPSaddr}}, In: []Interval{prefix("10.0.0.0/8")}, Invert: true}, Verdict{Kind: Jump, Chain: `"x y"`}},
		`ip saddr . th dport @pairs return`:           {Match{Fields: []Operand{{Field: IPSaddr}, {Field: Dport}}, Set: "pairs"}, Verdict{Kind: Return}},
		`meta mark set meta mark & 0xff | 0x100`:      {Assign{Field: Mark, And: Num(0xff), Xor: Num(0x100)}},
		`<not recent --name x> reject with tcp reset`: {Ext{Name: "recent", Args: "--name x", Invert: true}, Verdict{Kind: Reject, With: "tcp-reset"}},
		`queue flags bypass to 1-3`:                   {Verdict{Kind: Queue, Queue: "1-3", Bypass: true}},
		``:                                            {},
	} {
		if got := ops.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestExcerpt: reports repeat a rule's text, so a list of thousands in it is cut, between two characters.
func TestExcerpt(t *testing.T) {
	short := &Rule{Text: "-m comment --comment \u00fc -j DROP"}
	if got := short.Excerpt(); got != short.Text {
		t.Errorf("a short text became %q", got)
	}
	long := &Rule{Text: "x" + strings.Repeat("\u00fc", longestExcerpt)}
	got := long.Excerpt()
	if len(got) > longestExcerpt+40 || !utf8.ValidString(got) || !strings.HasSuffix(got, "... (8193 bytes)") {
		t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-20:])
	}
}
