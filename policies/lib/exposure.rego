# METADATA
# description: What CT-RST-001 to 003 share. They ask the same of another question or family.
package lib.exposure

import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result
import data.lib.text

# The results of question A for a family: one an uplink.
egress(f) := {result.not_applicable(text.family[f], sprintf("Not exposed to replies of source-NATed %s flows: %s.", [text.protocol[f], path.egress[f].why]))} if {
	path.egress[f].is == "no"
} else := {result.unknown(text.family[f], sprintf("No %s uplink was found, and routes could not be read: %s.", [text.protocol[f], node.why(gaps)]), node.hint(gaps))} if {
	count(asked_or_known(f)) == 0
	gaps := node.unread("topology")
	count(gaps) > 0
} else := {result.not_applicable(text.family[f], sprintf("No interface with a global %s address leads anywhere but to containers, so there is no uplink to ask about.", [text.protocol[f]]))} if {
	count(asked_or_known(f)) == 0
} else := asked(f) | unasked(f)

asked_or_known(f) := {e.interface | some e in path.uplinks; e.family == f} | {name | some name in path.uplink_names(f)}

# A snapshot may name two links alike, so a name can have more than one answer.
asked(f) := {judged(e) | some e in path.uplinks; e.family == f}

unasked(f) := {result.unknown(
	sprintf("%s %s", [text.family[f], name]),
	sprintf("The ruleset was not evaluated for the uplink %s.", [name]),
	node.default_hint,
) |
	some name in (asked_or_known(f) - {e.interface | some e in path.uplinks; e.family == f})
}

judged(e) := result.pass(
	path.subject(e),
	sprintf("%s.", [v.why]),
	node.window_checks_evidence,
) if {
	v := path.verdict(e)
	v.state == "liberal"
} else := result.pass(
	path.subject(e),
	sprintf("No reset answers %s: %s.", [packet(e), v.why]),
	path.evidence(e),
) if {
	v := path.verdict(e)
	v.state == "protected"
} else := result.fail(
	path.subject(e),
	sprintf("%s: %s.", [consequence(e), v.why]),
	{
		"severity": node.exposure_severity,
		"evidence": array.concat(path.evidence(e), array.concat(node.kernel_evidence, node.invalid_evidence)),
		"fix": remedy(e),
	},
) if {
	v := path.verdict(e)
	v.state == "exposed"
} else := result.unknown(
	path.subject(e),
	sprintf("Whether %s is answered by a reset is not known: %s.", [packet(e), path.verdict(e).why]),
	path.verdict(e).hint,
)

packet(e) := sprintf("an INVALID %s reply that arrives by %s", [text.protocol[e.family], e.interface]) if {
	e.question == "A"
} else := sprintf("an INVALID %s reply of a Service's backend", [text.protocol[e.family]])

consequence(e) := sprintf("An INVALID %s reply that arrives by %s is answered with a reset, which kills the container's connection", [text.protocol[e.family], e.interface]) if {
	e.question == "A"
} else := sprintf("An INVALID %s reply of a Service's backend is forwarded untranslated to the client pod (%s), whose reset kills the connection", [text.protocol[e.family], spread(e.family)])

# Which interfaces, for question B.
spread(f) := sprintf("by %s", [text.some_of(names)]) if {
	names := sort([e.interface |
		some e in input.exposure
		e.question == "B"
		e.family == f
		path.verdict(e).state == "exposed"
	])
}

remedy(e) := fix.drop_invalid(e.family, e.decidedBy) if {
	e.question == "A"
} else := fix.be_liberal

# The result of question B for a family.
services(f) := result.not_applicable(sprintf("%s services", [text.family[f]]), sprintf("No %s Service replies to judge: %s.", [text.protocol[f], path.service[f].why])) if {
	path.service[f].is == "no"
} else := judged(path.services[f]) if {
	path.services[f]
} else := result.unknown(sprintf("%s services", [text.family[f]]), sprintf("No container-facing %s interface was found, and links could not be read: %s.", [text.protocol[f], node.why(gaps)]), node.hint(gaps)) if {
	gaps := node.unread("topology")
	count(gaps) > 0
} else := result.not_applicable(sprintf("%s services", [text.family[f]]), sprintf("No container-facing %s interface is on this node.", [text.protocol[f]]))
