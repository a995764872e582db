# METADATA
# title: The conntrack table has too few buckets for its size
# description: |
#   nf_conntrack_max was raised without the number of hash buckets. Every lookup walks longer chains, and since Linux 5.15 a chain that
#   is too long refuses the entry. Above 4 entries a bucket: low; above 8: medium.
# related_resources:
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
#   - ref: https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id=d532bcd0b269
# custom:
#   severity: medium
#   remediation: |
#     Set net.netfilter.nf_conntrack_buckets to a quarter of nf_conntrack_max at least; since 5.15 the kernel makes both equal.
package control.tab["CT-TAB-044"]

import data.lib.node
import data.lib.result
import data.lib.table

gaps := [node.gap(what, fact) |
	some what, fact in {
		"nf_conntrack_max": input.conntrack.max,
		"nf_conntrack_buckets": input.conntrack.buckets,
	}
	not fact.known
]

results contains result.not_applicable("node", "conntrack has no table here.") if table.none

results contains result.unknown("node", sprintf("%s.", [node.why(gaps)]), node.hint(gaps)) if {
	not table.none
	count(gaps) > 0
}

results contains result.unknown("node", "The number of buckets was not there to read.", node.default_hint) if {
	not table.none
	count(gaps) == 0
	not input.conntrack.buckets.value > 0
}

ratio := input.conntrack.max.value / input.conntrack.buckets.value if {
	not table.none
	count(gaps) == 0
	input.conntrack.buckets.value > 0
}

evidence := [
	{"kind": "sysctl", "name": "net.netfilter.nf_conntrack_max", "value": sprintf("%d", [input.conntrack.max.value])},
	{"kind": "sysctl", "name": "net.netfilter.nf_conntrack_buckets", "value": sprintf("%d", [input.conntrack.buckets.value])},
]

results contains result.pass("node", "The conntrack table has a bucket for every 4 entries or fewer.", evidence) if ratio <= 4

results contains result.fail(
	"node",
	sprintf("A full conntrack table has more than %d entries in each bucket (%d in %d).", [limit, input.conntrack.max.value, input.conntrack.buckets.value]),
	{
		"severity": {8: "medium", 4: "low"}[limit],
		"evidence": evidence,
		"fix": sprintf("sysctl -w net.netfilter.nf_conntrack_buckets=%d", [ceil(input.conntrack.max.value / 4)]),
	},
) if {
	ratio > 4
}

limit := 8 if {
	ratio > 8
} else := 4
