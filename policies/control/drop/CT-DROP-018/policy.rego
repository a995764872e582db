# METADATA
# title: An INVALID drop covers one uplink and not another
# description: |
#   A rule drops INVALID packets that come in by one uplink. Another interface carries a default route too, and replies that arrive
#   there are answered with a reset.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/issues/117924
# custom:
#   severity: medium
#   remediation: |
#     Drop INVALID packets on every uplink, or without naming an interface.
package control.drop["CT-DROP-018"]

import data.lib.drops
import data.lib.fix
import data.lib.path
import data.lib.text

found := [{"exposure": e, "shadows": shadows} |
	some e in path.uplinks
	shadows := [s |
		some s in e.shadowed
		s.reason == "other-interface"
		some u in input.uplinks
		u.name != e.interface
		some pattern in drops.of(s).inInterfaces
		drops.matches(pattern, u.name)
	]
	count(shadows) > 0
]

results contains drops.clear("No INVALID drop leaves out an uplink.") if count(found) == 0

results contains drops.judge(f.exposure, {
	"message": sprintf("%s drops INVALID packets of another uplink (%s), not those that come in by %s.", [drops.named_shadow(f.shadows), text.some_of(drops.of(f.shadows[0]).inInterfaces), f.exposure.interface]),
	"severity": "medium",
	"evidence": drops.shadow_evidence(f.shadows),
	"fix": fix.drop_invalid(f.exposure.family, f.shadows[0].rule),
}) if {
	some f in found
}
