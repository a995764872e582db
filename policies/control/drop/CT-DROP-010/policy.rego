# METADATA
# title: An INVALID drop stands behind a rule that accepts first
# description: |
#   A rule that drops INVALID packets exists in the right chain, but an earlier rule of the same base chain accepts the packet. It
#   never arrives at the drop.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/issues/117924
#   - ref: https://wiki.nftables.org/wiki-nftables/index.php/Netfilter_hooks
# custom:
#   severity: high
#   remediation: |
#     Move the drop to the first place of its chain, or drop INVALID packets in mangle PREROUTING, before every accept.
package control.drop["CT-DROP-010"]

import data.lib.drops
import data.lib.fix
import data.lib.node
import data.lib.text

found := drops.shadowed({"shadowed"})

results contains drops.clear("No INVALID drop stands behind an accept of its own chain.") if count(found) == 0

results contains drops.judge(f.exposure, {
	"message": sprintf("%s drops INVALID packets, but %s accepts them first.", [drops.named_shadow(f.shadows), front(f.shadows[0])]),
	"severity": node.base_severity,
	"evidence": drops.shadow_evidence(f.shadows),
	"fix": fix.drop_invalid(f.exposure.family, f.shadows[0].rule),
}) if {
	some f in found
}

front(s) := text.rule(s.by) if {
	object.get(s, "by", null) != null
} else := "an earlier rule"
