# METADATA
# title: An INVALID drop scoped away from the packet
# description: |
#   A rule drops INVALID packets, but only those of the container subnet, of a bridge interface or of other addresses or ports. The
#   untranslated reply carries the node's own address and comes in by the uplink, so the rule does not match it.
# related_resources:
#   - ref: https://github.com/moby/libnetwork/pull/1129
# custom:
#   severity: high
#   remediation: |
#     Drop INVALID packets without naming the container subnet or the bridge; scope by uplink at most.
package control.drop["CT-DROP-017"]

import data.lib.drops
import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.text

found := [{"exposure": e, "shadows": shadows} |
	some e in path.uplinks
	shadows := [s | some s in e.shadowed; scoped_away(s)]
	count(shadows) > 0
]

scoped_away(s) if s.reason == "scoped"

scoped_away(s) if {
	s.reason == "other-interface"
	not names_uplink(s)
}

# A rule for another uplink is CT-DROP-018's.
names_uplink(s) if {
	some pattern in drops.of(s).inInterfaces
	some u in input.uplinks
	drops.matches(pattern, u.name)
}

results contains drops.clear("No INVALID drop is scoped away from the replies it is meant for.") if count(found) == 0

results contains drops.judge(f.exposure, {
	"message": sprintf("%s drops INVALID packets, but not these: %s.", [drops.named_shadow(f.shadows), scope(f.shadows[0], f.exposure)]),
	"severity": node.base_severity,
	"evidence": drops.shadow_evidence(f.shadows),
	"fix": fix.drop_invalid(f.exposure.family, f.shadows[0].rule),
}) if {
	some f in found
}

scope(s, e) := sprintf("they come in by %s and carry the node's own %s address", [e.interface, text.protocol[e.family]]) if {
	s.reason == "other-interface"
} else := s.detail if {
	object.get(s, "detail", "") != ""
} else := "its addresses or ports do not cover a reply to the node's own address"
