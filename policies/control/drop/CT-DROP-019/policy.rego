# METADATA
# title: One family is protected, the other is not
# description: |
#   IPv4 and IPv6 are both source-NATed, and the ruleset protects one of them only. iptables rules do nothing for IPv6, and ip tables
#   of nft neither.
# related_resources:
#   - ref: https://github.com/kubernetes/kubernetes/issues/117924
# custom:
#   severity: high
#   remediation: |
#     Add the missing half: ip6tables beside iptables, or an inet table in native nft.
package control.drop["CT-DROP-019"]

import data.lib.drops
import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result
import data.lib.text

# What a family comes to: its worst uplink, or why there is nothing to ask.
state(f) := worst if {
	states := [path.rank[path.verdict(e).state] | some e in path.uplinks; e.family == f]
	worst := min(states)
} else := path.rank.unknown if {
	path.egress[f].is == "unknown"
} else := path.rank["not-applicable"]

other := {"ip": "ip6", "ip6": "ip"}

open := [f |
	some f in path.families
	state(f) == path.rank.exposed
	state(other[f]) == path.rank.protected
]

undecided := [f | some f in path.families; state(f) == path.rank.unknown]

both if {
	some f in path.families
	every g in path.families {
		state(g) == path.rank.protected
	}
}

results contains result.fail(
	text.family[f],
	sprintf("%s is protected and %s is not: INVALID %s replies that arrive by %s are answered with a reset.", [text.protocol[other[f]], text.protocol[f], text.protocol[f], text.some_of(exposed(f))]),
	{"severity": node.base_severity, "evidence": evidence(f), "fix": remedy(f)},
) if {
	some f in open
}

exposed(f) := [e.interface | some e in path.uplinks; e.family == f; path.verdict(e).state == "exposed"]

evidence(f) := [x |
	some g in [other[f], f]
	some e in path.uplinks
	e.family == g
	some x in text.rule_evidence(e.decidedBy)
]

# In the language of the rules that protect the other family.
remedy(f) := fix.drop_invalid(f, ref) if {
	ref := [e.decidedBy | some e in path.uplinks; e.family == other[f]][0]
}

results contains result.pass("node", "IPv4 and IPv6 are both protected by the ruleset.", []) if both

results contains result.unknown("node", sprintf("Whether %s is protected is not known, so the families cannot be compared.", [text.protocol[undecided[0]]]), drops.unknown_hint) if {
	count(open) == 0
	not settled
	count(undecided) > 0
}

# Nothing to compare: a family without translation, be_liberal, or neither family protected.
results contains result.not_applicable("node", "The families do not differ: one of them is not source-NATed, be_liberal guards both, or neither is protected.") if {
	count(open) == 0
	not both
	settled
}

results contains result.not_applicable("node", "The families do not differ: one of them is not source-NATed, be_liberal guards both, or neither is protected.") if {
	count(open) == 0
	not both
	count(undecided) == 0
	not settled
}

# One family that is known to have no such flows, or to be exposed, settles it whatever the other is.
settled if {
	some f in path.families
	state(f) in {path.rank["not-applicable"], path.rank.liberal}
}
