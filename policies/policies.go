// Package policies holds the embedded controls: Rego that judges the facts of one node (internal/facts), and the page of
// each control. internal/policy compiles and runs them; nothing else reads them.
//
// Tests stand beside what they test; fixture_test.rego holds the nodes they share. main.rego is the one entry point, lib/ what several controls share, control/AREA/ID one folder a control with its
// policy, its tests and its README. The folder's name, the package control.AREA["ID"], the page and the rule ids of the
// reports are one name.
package policies

import (
	"embed"
	"io/fs"
)

// Tests stay out of the binary.
//
//go:embed main.rego lib/*.rego control/*/*/policy.rego control/*/*/README.md
var files embed.FS

// Files returns the embedded policies and pages: main.rego, lib/NAME.rego, control/AREA/ID/policy.rego and
// control/AREA/ID/README.md.
func Files() fs.FS { return files }
