# METADATA
# title: INVALID packets are dropped in INPUT only, on a node with Services
# description: |
#   A rule drops INVALID packets that arrive at the node itself, while replies of Service backends are forwarded to client pods and
#   never pass INPUT.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/issues/74839
#   - ref: https://github.com/kubernetes/kubernetes/pull/120412
# custom:
#   severity: medium
#   remediation: |
#     Drop INVALID packets in mangle PREROUTING, or those of the pod network in FORWARD, or set be_liberal.
package control.drop["CT-DROP-012"]

import data.lib.drops
import data.lib.fix
import data.lib.path
import data.lib.text

found := [{"exposure": e, "drops": ds} |
	some e in path.services
	ds := [d |
		some d in input.drops
		d.action == "drop"
		e.family in d.families
		"input" in d.hooks
		d.chainType != "nat"
	]
	count(ds) > 0
	not drops.stands_at(e.family, {"prerouting", "forward", "ingress"})
]

results contains drops.clear("No INVALID drop stands in INPUT alone on a node with Services.") if count(found) == 0

results contains drops.judge(f.exposure, {
	"message": sprintf("%s drops INVALID packets that arrive at the node, but %s replies of Service backends are forwarded.", [drops.named(f.drops), text.protocol[f.exposure.family]]),
	"severity": "medium",
	"evidence": array.concat(drops.evidence(f.drops), path.evidence(f.exposure)),
	"fix": fix.be_liberal,
}) if {
	some f in found
}
