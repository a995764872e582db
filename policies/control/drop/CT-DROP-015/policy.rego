# METADATA
# title: An INVALID drop before conntrack takes the node off the network
# description: |
#   A rule drops INVALID packets at a place that packets pass before conntrack has looked at them (raw, a priority below -200, an
#   ingress hook). There every packet is INVALID: new connections to the node die, and with them the way in to repair it.
# related_resources:
#   - ref: https://wiki.nftables.org/wiki-nftables/index.php/Netfilter_hooks
# custom:
#   severity: critical
#   remediation: |
#     Move the drop behind conntrack: mangle PREROUTING, or a native chain at prerouting priority -150.
package control.drop["CT-DROP-015"]

import data.lib.drops
import data.lib.fix
import data.lib.result

before := [d |
	some d in input.drops
	d.catastrophic
	count(d.hooks) > 0
	early(d)
]

early(d) if d.priority < -200

early(d) if {
	some hook in {"ingress", "egress"}
	hook in d.hooks
}

results contains drops.clear("No INVALID drop stands before conntrack.") if count(before) == 0

results contains result.fail(
	place,
	sprintf("%s runs before conntrack (priority %d), where every packet is INVALID: it drops new and established connections alike.", [drops.named(ds), drops.lead(ds).priority]),
	{
		"evidence": drops.evidence(ds),
		"fix": fix.lines([
			drops.delete(ds),
			drops.remedy(ds),
		]),
	},
) if {
	some place, ds in drops.by_place(before)
}
