# METADATA
# title: An INVALID drop that is rate-limited or random
# description: |
#   A rule drops INVALID packets only up to a rate, a quota, or by chance. What goes past it is answered with a reset, and one such
#   segment is enough to kill a connection.
# related_resources:
#   - ref: https://ipset.netfilter.org/iptables-extensions.man.html
# custom:
#   severity: medium
#   remediation: |
#     Drop INVALID packets without a limit; limit a LOG rule before it instead.
package control.drop["CT-DROP-021"]

import data.lib.drops
import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result
import data.lib.text

limited := [d |
	some d in input.drops
	d.action == "drop"
	object.get(d, "limited", "") != ""
	count(d.hooks) > 0
	d.chainType != "nat"
]

results contains drops.clear("No INVALID drop is limited.") if count(limited) == 0

results contains judge(place, ds) if some place, ds in drops.by_place(limited)

judge(place, ds) := result.fail(
	place,
	sprintf("%s drops INVALID packets only within its limit (%s): the rest is answered with a reset.", [drops.named(ds), drops.lead(ds).limited]),
	{"evidence": drops.evidence(ds), "fix": fix.lines([drops.remedy(ds)])},
) if {
	leaks(ds)
} else := drops.harmless(
	place,
	{"message": sprintf("%s drops INVALID packets only within its limit.", [drops.named(ds)]), "evidence": drops.evidence(ds)},
	drops.relevance(ds, {"A", "B"}),
)

leaks(ds) if drops.relevance(ds, {"A", "B"}).state == "exposed"

# The limit itself can be what the evaluator calls undecided.
leaks(ds) if {
	node.window_checks == "on"
	some e in path.all
	path.premise(e.question, e.family).is == "yes"
	not e.protected
	some s in e.shadowed
	s.reason == "limited"
	some d in ds
	text.same(s.rule, d.rule)
}
