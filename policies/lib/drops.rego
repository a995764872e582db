# METADATA
# description: |
#   What the CT-DROP controls share: rules meant to drop INVALID packets that do not help. Such a rule is a finding only where
#   it leaves something exposed. Behind a drop that works it is at most dead weight (info), so that no report says "protected"
#   and "high" about one packet.
package lib.drops

import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result
import data.lib.text

# What of the ruleset could not be read: a drop may stand in the part that is not known. Families are named by their source NAT
# rules, parts by the readers that missed them.
unreadable := array.concat(
	[node.gap(sprintf("the %s ruleset", [text.protocol[f]]), object.get(input.snat, f, {})) |
		some f in path.families
		not input.snat[f].known
	],
	array.concat(node.unread("iptables"), node.unread("nftables")),
)

# What a control says when it found nothing of its kind.
clear(message) := result.not_applicable("node", "No rule drops INVALID packets.") if {
	count(input.drops) == 0
	count(unreadable) == 0
} else := result.pass("node", message, []) if {
	count(unreadable) == 0
} else := result.unknown("node", sprintf("The ruleset could not be read whole: %s.", [node.why(unreadable)]), node.hint(unreadable))

# The exposures that list a rule as shadowed for one of the reasons, with those rules.
shadowed(reasons) := [{"exposure": e, "shadows": found} |
	some e in path.all
	found := [s | some s in e.shadowed; s.reason in reasons]
	count(found) > 0
]

# The result for one exposure. finding: message, fix, severity, evidence.
judge(e, finding) := result.fail(path.subject(e), finding.message, {
	"severity": finding.severity,
	"evidence": finding.evidence,
	"fix": finding.fix,
}) if {
	path.verdict(e).state == "exposed"
} else := harmless(path.subject(e), finding, path.verdict(e))

harmless(subject, finding, v) := result.unknown(subject, sprintf("%s Whether that leaves the node exposed is not known: %s.", [finding.message, v.why]), v.hint) if {
	v.state == "unknown"
} else := result.not_applicable(subject, sprintf("%s It leaves nothing exposed: %s.", [finding.message, v.why])) if {
	v.state == "not-applicable"
} else := result.pass(subject, sprintf("%s It leaves nothing exposed: %s.", [finding.message, v.why]), finding.evidence)

# The result for rules that do nothing where they stand, by chain: a finding where something is exposed, else dead weight, which
# "tidy" takes away.
weigh(place, ds, finding) := result.fail(place, finding.message, {
	"severity": finding.severity,
	"evidence": finding.evidence,
	"fix": finding.fix,
}) if {
	relevance(ds, {"A", "B"}).state == "exposed"
} else := result.unknown(place, sprintf("%s Whether that leaves the node exposed is not known: %s.", [finding.message, v.why]), v.hint) if {
	v := relevance(ds, {"A", "B"})
	v.state == "unknown"
} else := result.fail(place, sprintf("%s It leaves nothing exposed: %s.", [finding.message, relevance(ds, {"A", "B"}).why]), {
	"severity": "info",
	"evidence": finding.evidence,
	"fix": finding.tidy,
})

# The commands that take rules of a chain away, the last first: numbers count from the top.
delete(ds) := fix.lines([fix.delete(d.rule) |
	some n in array.reverse(sort({d.rule.number | some d in ds}))
	some d in ds
	d.rule.number == n
])

# The commands that drop what the rules were meant to drop.
remedy(ds) := fix.drop_invalid(lead(ds).families[0], lead(ds).rule) if {
	count(lead(ds).families) > 0
} else := ""

# Whether an interface pattern (eth0, eth+, eth*) covers a name.
matches(pattern, name) if pattern == name

matches(pattern, name) if {
	some wildcard in {"+", "*"}
	endswith(pattern, wildcard)
	startswith(name, trim_suffix(pattern, wildcard))
}

unknown_hint := node.hint(unreadable) if {
	count(unreadable) > 0
} else := "read the undecided part with ctaudit trace"

# The worst that the exposures to the questions come to for the families of some drops; "not-applicable" where nobody asks.
relevance(ds, questions) := {"state": "not-applicable", "why": "no source NAT and no Service on this node", "hint": ""} if {
	count(states(ds, questions)) == 0
} else := v if {
	worst := min({path.rank[s.state] | some s in states(ds, questions)})
	v := sort([s | some s in states(ds, questions); path.rank[s.state] == worst])[0]
}

states(ds, questions) := {path.verdict(e) |
	some d in ds
	some e in path.all
	e.question in questions
	e.family in d.families
}

# Drops by the place of their chain.
by_place(ds) := {place: here |
	some d in ds
	place := text.place(d.rule)
	here := [x | some x in ds; text.place(x.rule) == place]
}

# The first rule of a chain stands for the others.
lead(ds) := [d | some d in ds; d.rule.number == lowest][0] if {
	lowest := min({d.rule.number | some d in ds})
}

named(ds) := sprintf("%s%s", [text.rule(lead(ds).rule), text.others(count(ds), "rule")])

evidence(ds) := [x | some d in array.slice(ds, 0, 5); some x in text.rule_evidence(d.rule)]

# The first of some shadows, and the evidence of them all.
named_shadow(shadows) := sprintf("%s%s", [text.rule(shadows[0].rule), text.others(count(shadows), "rule")])

shadow_evidence(shadows) := [x |
	some s in array.slice(shadows, 0, 5)
	some ref in [s.rule, object.get(s, "by", null)]
	some x in text.rule_evidence(ref)
]

# The drop that a shadow speaks of.
of(s) := d if {
	some d in input.drops
	text.same(d.rule, s.rule)
}

# Whether some rule is meant to drop INVALID packets of the family at one of the hooks.
stands_at(f, hooks) if {
	some d in input.drops
	d.action == "drop"
	f in d.families
	some hook in d.hooks
	hook in hooks
	object.get(d, "chainType", "") != "nat"
}
