#!/bin/sh
# Runs every native fuzz target of the module, one after the other, for FUZZTIME each.
set -eu
GO=${GO:-go}
FUZZTIME=${FUZZTIME:-60s}
$GO list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while read -r pkg; do
	$GO test -list '^Fuzz' "$pkg" 2>/dev/null | grep '^Fuzz' | while read -r target; do
		echo "== $pkg $target"
		$GO test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10x "$pkg" </dev/null
	done
done
