# METADATA
# title: Packets were dropped because the conntrack table was full
# description: |
#   The kernel counts packets that it dropped for want of an entry (drop), and entries that it gave up to make room (early_drop). Both mean
#   lost or broken connections.
# related_resources:
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
#   - ref: https://github.com/kubernetes/node-problem-detector
# custom:
#   severity: high
#   remediation: |
#     Raise net.netfilter.nf_conntrack_max together with nf_conntrack_buckets.
package control.tab["CT-TAB-041"]

import data.lib.counters
import data.lib.node
import data.lib.result
import data.lib.table
import data.lib.text

what := {
	"drop": "packets were dropped because there was no room for an entry",
	"early_drop": "entries were given up to make room",
}

severity_now := {"drop": "high", "early_drop": "medium"}

subject(name) := sprintf("counter %s", [name])

results contains result.not_applicable("node", "conntrack has no table here.") if table.none

results contains judge(name) if {
	not table.none
	some name, _ in what
}

judge(name) := result.fail(
	subject(name),
	sprintf("%d %s (%s, %s).", [counters.value(name), what[name], name, node.span]),
	{
		"severity": counters.severity(severity_now[name]),
		"evidence": text.counter(name, counters.value(name)),
		"fix": remedy,
	},
) if {
	counters.value(name) > 0
} else := result.pass(subject(name), sprintf("No %s (%s, %s).", [what[name], name, node.span]), text.counter(name, counters.value(name))) if {
	counters.value(name)
} else := result.unknown(subject(name), "The kernel's counter was not there to read.", node.default_hint) if {
	counters.read
} else := result.unknown(subject(name), sprintf("%s.", [counters.missing.why]), node.hint([counters.missing]))

remedy := sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d net.netfilter.nf_conntrack_buckets=%d", [input.conntrack.max.value * 2, input.conntrack.max.value]) if {
	count(table.gaps) == 0
} else := ""
