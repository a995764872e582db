# METADATA
# title: Something could not be read
# description: |
#   A part of the evidence is missing. Every control that needs it is unknown rather than passed, and the audit is incomplete.
# custom:
#   severity: medium
#   remediation: |
#     Follow the hint beside each missing part; most often: run as root, in the node's own network namespace.
package control.meta["CT-META-080"]

import data.lib.result

# One result for each thing, however often it is listed.
missing[subject] contains m if {
	some m in input.missing
	subject := sprintf("%s: %s", [m.collector, m.what])
}

results contains result.pass("node", "Everything was read.", []) if count(missing) == 0

results contains result.unknown(subject, sprintf("%s could not be read: %s.", [first.what, concat("; ", {m.why | some m in ms})]), first.hint) if {
	some subject, ms in missing
	first := [m | some m in ms][0]
}
