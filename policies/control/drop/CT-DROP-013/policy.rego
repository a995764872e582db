# METADATA
# title: An INVALID drop that no packet reaches
# description: |
#   A rule that drops INVALID packets stands in a chain that no base chain leads to, in a dormant table, or behind a match that
#   needs a conntrack entry, which no INVALID packet has. It does nothing.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/issues/117924
#   - ref: https://wiki.nftables.org/wiki-nftables/index.php/Configuring_tables
# custom:
#   severity: high
#   remediation: |
#     Jump to the chain from the hook, wake the table, or put the drop into mangle PREROUTING; otherwise delete the rule.
package control.drop["CT-DROP-013"]

import data.lib.drops
import data.lib.node
import data.lib.text

# A dead rule has no hook, or the evaluator says that it can never match. "unreferenced" can also mean that no packet of one
# question gets to a rule which serves another; then somebody else explains it.
dead := [d | some d in input.drops; is_dead(d)]

is_dead(d) if count(d.hooks) == 0

is_dead(d) if {
	some reason in told(d)
	reason in {"dormant", "needs-entry"}
}

is_dead(d) if {
	"unreferenced" in told(d)
	count(told(d) - {"unreferenced", "other-hook", "other-family"}) == 0
	not decides(d)
}

# What the exposures say of a rule.
told(d) := {s.reason |
	some s in input.exposure[_].shadowed
	text.same(s.rule, d.rule)
}

decides(d) if {
	some e in input.exposure
	e.decidedBy != null
	text.same(e.decidedBy, d.rule)
}

results contains drops.clear("Every INVALID drop can be reached.") if count(dead) == 0

results contains drops.weigh(place, ds, {
	"message": sprintf("No packet reaches %s: %s.", [drops.named(ds), why(ds)]),
	"severity": node.base_severity,
	"evidence": drops.evidence(ds),
	"fix": drops.remedy(ds),
	"tidy": drops.delete(ds),
}) if {
	some place, ds in drops.by_place(dead)
}

explanation := {
	"dormant": "its table is dormant",
	"needs-entry": "it matches only packets with a conntrack entry, and INVALID ones have none",
}

why(ds) := explanation[reason] if {
	reason := min({r | some r in told(drops.lead(ds)); explanation[r]})
} else := "no base chain leads to it" if {
	count(drops.lead(ds).hooks) == 0
} else := "what leads to it matches none of them"
