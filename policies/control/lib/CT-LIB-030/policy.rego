# METADATA
# title: be_liberal and an INVALID drop are both set
# description: |
#   With be_liberal no segment is INVALID for being outside the window, so a rule that drops INVALID packets has little left to do: bad
#   flags and checksums. Both together are legitimate hygiene; one of them usually is a leftover.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/pull/120412
# custom:
#   severity: info
#   remediation: |
#     Keep one on purpose: the drop (window checks stay on), or be_liberal (asymmetric paths work), and write down which.
package control.lib["CT-LIB-030"]

import data.lib.drops
import data.lib.node
import data.lib.result

effective := [d |
	some d in input.drops
	d.action == "drop"
	count(d.hooks) > 0
	d.chainType != "nat"
]

results contains result.unknown("node", sprintf("%s.", [gap.why]), node.hint([gap])) if {
	node.window_checks == "unknown"
	gap := node.gap(node.be_liberal, input.liberal)
}

results contains result.not_applicable("node", "be_liberal is not set.") if node.window_checks == "on"

results contains result.unknown("node", sprintf("be_liberal is set; whether a rule drops INVALID packets too is not known: %s.", [node.why(drops.unreadable)]), node.hint(drops.unreadable)) if {
	node.window_checks == "off"
	count(effective) == 0
	count(drops.unreadable) > 0
}

results contains result.pass("node", "be_liberal is set, and no rule drops INVALID packets beside it.", node.window_checks_evidence) if {
	node.window_checks == "off"
	count(effective) == 0
	count(drops.unreadable) == 0
}

results contains result.fail(
	"node",
	sprintf("be_liberal is set, and %s drops INVALID packets too: only bad flags and checksums are left for it.", [drops.named(effective)]),
	{"evidence": array.concat(node.window_checks_evidence, drops.evidence(effective))},
) if {
	node.window_checks == "off"
	count(effective) > 0
}
