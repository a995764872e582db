package xtables

import "testing"

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		text, name string
		isGoto     bool
	}{
		{"-m conntrack --ctstate INVALID -j DROP", "DROP", false},
		{"-j KUBE-SVC-X --to x", "KUBE-SVC-X", false},
		{"-p tcp -g CHAIN", "CHAIN", true},
		{`-m comment --comment "a -j DROP" -j ACCEPT`, "ACCEPT", false},
		{`-m comment --comment "a \" -j DROP" -j LOG --log-prefix "x -j DROP"`, "LOG", false},
		{`-m comment --comment "never closed -j DROP`, "", false},
		{"-m comment --comment -j -j DROP", "DROP", false},
		{"-m comment --comment -g", "", false},
		{"-p tcp", "", false},
		{"", "", false},
		{"-j ", "", false},
	} {
		name, isGoto := Target(c.text)
		if name != c.name || isGoto != c.isGoto {
			t.Errorf("Target(%q) = %q, %v; want %q, %v", c.text, name, isGoto, c.name, c.isGoto)
		}
	}
}
