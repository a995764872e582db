package sysctl

import "testing"

func TestNamedModulesBlankLine(t *testing.T) {
	got := namedModules(confFile{path: "/etc/modules", data: []byte("\f\n \t\v\nnf_conntrack\thashsize=1\n")}, true)
	if len(got) != 1 || got[0].Module != "nf_conntrack" {
		t.Errorf("modules %v, want nf_conntrack alone", got)
	}
}
