# METADATA
# title: The protection is only implicit
# description: |
#   INVALID replies are dropped by a policy or a catch-all rule that does not name them. The next accept that somebody adds, for a
#   port range or a peer, opens the node again without anyone noticing.
# related_resources:
#   - ref: https://github.com/moby/libnetwork/issues/1090
# custom:
#   severity: low
#   remediation: |
#     Name INVALID in a drop of its own, before every accept.
package control.rst["CT-RST-007"]

import data.lib.fix
import data.lib.path
import data.lib.result
import data.lib.text

results contains judge(e) if some e in path.uplinks

results contains result.not_applicable("node", "No uplink was evaluated, so there is no protection to judge; CT-RST-001 and CT-RST-002 say why.") if {
	count(path.uplinks) == 0
}

judge(e) := result.fail(
	path.subject(e),
	sprintf("INVALID %s replies by %s are dropped only in passing: %s, and does not name INVALID.", [text.protocol[e.family], e.interface, path.verdict(e).why]),
	{"evidence": path.evidence(e), "fix": fix.drop_invalid(e.family, e.decidedBy)},
) if {
	path.verdict(e).state == "protected"
	e.implicit
} else := result.pass(
	path.subject(e),
	sprintf("INVALID %s replies by %s are dropped on purpose: %s.", [text.protocol[e.family], e.interface, path.verdict(e).why]),
	path.evidence(e),
) if {
	path.verdict(e).state == "protected"
} else := result.unknown(
	path.subject(e),
	sprintf("Whether the ruleset protects is not known: %s.", [path.verdict(e).why]),
	path.verdict(e).hint,
) if {
	path.verdict(e).state == "unknown"
} else := result.not_applicable(
	path.subject(e),
	sprintf("The ruleset does not protect this uplink: %s.", [path.verdict(e).why]),
) if {
	path.verdict(e).state == "exposed"
} else := result.not_applicable(path.subject(e), sprintf("Nothing to protect: %s.", [path.verdict(e).why]))
