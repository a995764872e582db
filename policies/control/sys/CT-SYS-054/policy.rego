# METADATA
# title: Conntrack is there, but tracks nothing
# description: |
#   The conntrack keys exist, but no rule of this namespace needs conntrack, so its hooks are not registered. Nothing is INVALID here, the
#   exposures do not apply, and settings such as be_liberal have no effect.
# related_resources:
#   - ref: https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id=0c66dc1ea3f0
# custom:
#   severity: info
#   remediation: |
#     Nothing, on a node without NAT. A node that should translate is missing its rules.
package control.sys["CT-SYS-054"]

import data.lib.node
import data.lib.path
import data.lib.result

gap := node.gap("whether conntrack is used", object.get(input, "conntrackUsed", {}))

results contains result.unknown("node", sprintf("%s.", [gap.why]), node.hint([gap])) if not input.conntrackUsed.known

results contains result.not_applicable("node", "conntrack is in use.") if {
	input.conntrackUsed.known
	not path.idle
}

results contains result.pass("node", "conntrack tracks nothing here, and nothing was set for it.", []) if {
	path.idle
	node.window_checks != "off"
}

results contains result.fail(
	"node",
	"be_liberal is set, but conntrack tracks nothing here: no rule needs it, and the setting has no effect.",
	{"evidence": node.window_checks_evidence},
) if {
	path.idle
	node.window_checks == "off"
}
