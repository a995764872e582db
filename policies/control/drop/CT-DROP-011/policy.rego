# METADATA
# title: INVALID packets are dropped in FORWARD only
# description: |
#   A rule drops INVALID packets that are forwarded, while replies to source-NATed flows arrive at the node itself and never pass
#   FORWARD. The node looks fixed and is not.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/issues/117924
#   - ref: https://docs.docker.com/engine/network/packet-filtering-firewalls/
# custom:
#   severity: high
#   remediation: |
#     Drop INVALID packets in mangle PREROUTING, which covers FORWARD and INPUT, or in INPUT as well.
package control.drop["CT-DROP-011"]

import data.lib.drops
import data.lib.fix
import data.lib.node
import data.lib.path

# Uplinks that list a forward drop which never sees the reply, with no drop on the reply's own way.
found := [{"exposure": e, "shadows": shadows} |
	some e in path.uplinks
	shadows := [s |
		some s in e.shadowed
		s.reason == "other-hook"
		"forward" in drops.of(s).hooks
	]
	count(shadows) > 0
	not drops.stands_at(e.family, {"prerouting", "input", "ingress"})
]

results contains drops.clear("No INVALID drop stands in FORWARD alone.") if count(found) == 0

results contains drops.judge(f.exposure, {
	"message": sprintf("%s drops INVALID packets that are forwarded, but replies that arrive by %s go to INPUT.", [drops.named_shadow(f.shadows), f.exposure.interface]),
	"severity": node.base_severity,
	"evidence": array.concat(drops.shadow_evidence(f.shadows), path.evidence(f.exposure)),
	"fix": fix.drop_invalid(f.exposure.family, f.shadows[0].rule),
}) if {
	some f in found
}
