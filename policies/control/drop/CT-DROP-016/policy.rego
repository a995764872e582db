# METADATA
# title: An INVALID drop at conntrack's own priority
# description: |
#   A rule drops INVALID packets in a chain at priority -200 exactly, where conntrack stands. Which of the two runs first depends on
#   which was registered last: after the next reload the rule may see every packet as INVALID.
# related_resources:
#   - ref: https://wiki.nftables.org/wiki-nftables/index.php/Netfilter_hooks
# custom:
#   severity: high
#   remediation: |
#     Move the chain to priority -150 (mangle), safely behind conntrack.
package control.drop["CT-DROP-016"]

import data.lib.drops
import data.lib.fix
import data.lib.result

tied := [d |
	some d in input.drops
	d.priority == -200
	some hook in {"prerouting", "output"}
	hook in d.hooks
]

results contains drops.clear("No INVALID drop stands at conntrack's own priority.") if count(tied) == 0

results contains result.fail(
	place,
	sprintf("%s stands at priority -200, where conntrack stands too: whether it sees only INVALID packets or all of them depends on the order of registration.", [drops.named(ds)]),
	{
		"severity": severity(ds),
		"evidence": drops.evidence(ds),
		"fix": fix.lines([
			drops.delete(ds),
			drops.remedy(ds),
		]),
	},
) if {
	some place, ds in drops.by_place(tied)
}

# Measured on 6.18: a chain that is added while conntrack is in use runs first and drops every packet; one that was there before
# conntrack's first user is harmless until the next reload. Catastrophic: the evaluator knows the order, and it is the wrong one.
severity(ds) := "critical" if {
	some d in ds
	d.catastrophic
} else := "high"
