#!/bin/sh
# Holds the packet-path evaluator against this kernel for ORACLETIME for each of the two questions, and says which part of
# the evaluator was reached by that: first by what the kernel decided, then together with the evaluator's own tests, which
# reach what no kernel here can (a damaged document, a question that lacks something, a budget that is used up). Counted are
# statements, and the blocks between branches that Go counts them by; an "if" without "else" is one block. Needs root.
set -eu
GO=${GO:-go}
dir=$(mktemp -d)
# The test binary is a child that is ended with this script: "go test" would leave it behind.
child=
trap 'rm -rf "$dir"' EXIT
# shellcheck disable=SC2317 # it is the traps that call it
end() {
	{ kill "$child" && wait "$child"; } 2>/dev/null || true
	exit "$1"
}
trap 'end 130' INT
trap 'end 143' TERM
tests='^(TestDirectedCases|TestRangeEnds|TestKernelCases|TestHookOrderAgreesWithTheKernel|TestRejectedStates|TestUnreadAgreesWithTheKernel|TestStatesAgreeWithTheKernel|TestRandomRulesetsAgreeWithTheKernel)$'

# reached PROFILE... says how much of the evaluator any of the profiles reached.
reached() {
	awk '/^mode:/ { next }
	{ n[$1] = $2; if ($3 > 0) hit[$1] = 1 }
	END {
		for (b in n) { blocks++; all += n[b]; if (b in hit) { met++; got += n[b] } }
		printf "%.1f %% of %d statements, %.1f %% of %d blocks\n", 100 * got / all, all, 100 * met / blocks, blocks
	}' "$@"
}

$GO test -c -coverpkg=./internal/packetpath -o "$dir/oracle.test" ./internal/lab/oracle
status=0
(cd internal/lab/oracle && exec "$dir/oracle.test" -test.timeout 12h -test.v -test.run "$tests" -test.coverprofile="$dir/cover" \
	-oracle.duration="${ORACLETIME:-5m}" -oracle.seed="${ORACLESEED:-1}") >"$dir/out" 2>&1 &
child=$!
wait $child || status=$?
grep -v -e '^=== ' -e '^ *--- PASS: TestDirectedCases/' -e '^coverage:' "$dir/out" || true
if [ -s "$dir/cover" ]; then
	echo "functions of internal/packetpath that were not covered whole:"
	$GO tool cover -func="$dir/cover" | grep -v -e '100.0%$' -e '^total:'
	$GO test -count=1 -coverpkg=./internal/packetpath -coverprofile="$dir/paper" ./internal/packetpath >/dev/null || status=$?
	echo "reached where the kernel decides: $(reached "$dir/cover")"
	echo "with the evaluator's own tests: $(reached "$dir/cover" "$dir/paper")"
fi
echo "disagreements: $(grep -c -e 'replay with -oracle.seed' "$dir/out" || true)"
exit $status
