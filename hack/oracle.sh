#!/bin/sh
# Holds the packet-path evaluator against this kernel for ORACLETIME for each of the two questions, and says which
# part of the evaluator's statements that reached (Go counts statements, not branches). Needs root.
set -eu
GO=${GO:-go}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

status=0
$GO test -count=1 -timeout 12h -v -run '^(TestDirectedCases|TestRandomRulesetsAgreeWithTheKernel|TestKernelCases)$' \
	-coverpkg=./internal/packetpath -coverprofile="$dir/cover" \
	./internal/lab/oracle -oracle.duration="${ORACLETIME:-5m}" -oracle.seed="${ORACLESEED:-1}" >"$dir/out" 2>&1 || status=$?
grep -v -e '^=== ' -e '^ *--- PASS: TestDirectedCases/' -e '^coverage:' "$dir/out" || true
if [ -s "$dir/cover" ]; then
	echo "statements of internal/packetpath, functions that were not covered whole:"
	$GO tool cover -func="$dir/cover" | grep -v '100.0%$'
fi
echo "disagreements: $(grep -c 'replay with -oracle.seed' "$dir/out" || true)"
exit $status
