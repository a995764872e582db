# METADATA
# title: INVALID packets are rejected instead of dropped
# description: |
#   A rule rejects INVALID packets. With a TCP reset it does itself what the host would do: the peer's connection dies. With ICMP the
#   peer sees a soft error instead, which an established connection survives.
# related_resources:
#   - ref: https://ipset.netfilter.org/iptables-extensions.man.html
#   - ref: https://www.rfc-editor.org/rfc/rfc1122
# custom:
#   severity: high
#   remediation: |
#     Write DROP instead of REJECT for INVALID packets.
package control.drop["CT-DROP-020"]

import data.lib.drops
import data.lib.fix
import data.lib.node
import data.lib.result

rejecting := [d |
	some d in input.drops
	d.action == "reject"
	count(d.hooks) > 0
	d.chainType != "nat"
]

is_reset(d) if d["with"] in {"tcp-reset", "tcp reset"}

resetting := [d | some d in rejecting; is_reset(d)]

soft := [d | some d in rejecting; not is_reset(d)]

results contains drops.clear("INVALID packets are dropped, not rejected.") if count(rejecting) == 0

results contains judge(place, ds, drops.relevance(ds, questions(ds))) if some place, ds in drops.by_place(resetting)

# Whose packets pass the rule.
questions(ds) := {question |
	some d in ds
	some hook in d.hooks
	question := {"prerouting": "A", "input": "A", "ingress": "A", "forward": "B"}[hook]
}

judge(place, ds, v) := result.unknown(place, sprintf("%s answers INVALID packets with a reset; whether they reach it is not known: %s.", [drops.named(ds), v.why]), v.hint) if {
	v.state == "unknown"
} else := result.fail(place, sprintf("%s would answer INVALID packets with a reset, but gets none that matter: %s.", [drops.named(ds), v.why]), {
	"severity": "info",
	"evidence": drops.evidence(ds),
	"fix": drops.delete(ds),
}) if {
	v.state == "protected"
} else := result.fail(place, sprintf("%s answers INVALID packets with a TCP reset and so kills the connection itself.", [drops.named(ds)]), {
	"severity": severity(v.state),
	"evidence": drops.evidence(ds),
	"fix": remedy(ds),
})

# Without NAT and Services the rule still resets the connections of the node itself; with be_liberal little is INVALID.
severity("liberal") := "low"

severity(state) := node.base_severity if state != "liberal"

remedy(ds) := fix.lines([drops.delete(ds), drops.remedy(ds)])

results contains result.fail(
	sprintf("%s icmp", [place]),
	sprintf("%s answers INVALID packets with an ICMP error (%s): no reset, but the peer is told of a connection that lives.", [drops.named(ds), object.get(drops.lead(ds), "with", "port unreachable")]),
	{"severity": soft_severity(drops.relevance(ds, questions(ds)).state), "evidence": drops.evidence(ds), "fix": remedy(ds)},
) if {
	some place, ds in drops.by_place(soft)
}

soft_severity("protected") := "info"

soft_severity(state) := "low" if state != "protected"
