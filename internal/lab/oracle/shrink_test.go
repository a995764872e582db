package oracle_test

import (
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/oracle"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// A case shrinks to the rules that the failure takes, and to the chain that they stand in.
func TestShrinkKeepsWhatFails(t *testing.T) {
	c := oracle.Case{Documents: []oracle.Document{
		{Backend: netfilter.Legacy, Text: "*mangle\n:INPUT ACCEPT [0:0]\n-A INPUT -j LOG\nCOMMIT\n" +
			"*filter\n:INPUT ACCEPT [0:0]\n:C0 - [0:0]\n:C1 - [0:0]\n-A INPUT -p tcp -j C0\n-A INPUT -j LOG\n-A C0 -j DROP\n-A C1 -j LOG\nCOMMIT\n"},
		{Backend: netfilter.NFTables, Text: "table ip t {\n\tset s { type mark; }\n\tchain a {\n\t\ttype filter hook input priority 0;\n\t\taccept\n\t}\n}\n"},
	}}
	tries := 0
	got := oracle.Shrink(c, func(c oracle.Case) bool {
		tries++
		text := c.String()
		return strings.Contains(text, "-j C0") && strings.Contains(text, "-A C0 -j DROP") && strings.Contains(text, ":C0 -")
	})
	want := "*filter\n:INPUT ACCEPT [0:0]\n:C0 - [0:0]\n-A INPUT -p tcp -j C0\n-A C0 -j DROP\nCOMMIT\n"
	if len(got.Documents) != 1 || got.Documents[0].Text != want {
		t.Errorf("%d documents, the first:\n%s", len(got.Documents), got.Documents[0].Text)
	}
	if tries > 60 {
		t.Errorf("%d tries", tries)
	}
}

func TestShrinkLeavesWhatDoesNotFail(t *testing.T) {
	c := oracle.Case{Documents: []oracle.Document{{Text: "*filter\n-A INPUT -j DROP\nCOMMIT\n"}}}
	if got := oracle.Shrink(c, func(oracle.Case) bool { return false }); got.Documents[0].Text != c.Documents[0].Text {
		t.Error(got)
	}
}
