# METADATA
# title: The conntrack table is filling up
# description: |
#   The table of the node's own namespace is at least 70 % full. At 100 % new connections are dropped. The severity rises with the share:
#   low from 70 %, medium from 85 %, high from 95 %.
# related_resources:
#   - ref: https://github.com/kubernetes/node-problem-detector
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: medium
#   remediation: |
#     Raise net.netfilter.nf_conntrack_max together with nf_conntrack_buckets, or shorten the timeouts of idle entries.
package control.tab["CT-TAB-040"]

import data.lib.node
import data.lib.result
import data.lib.table

results contains result.not_applicable("node", "conntrack has no table here.") if table.none

results contains result.unknown("node", sprintf("%s.", [node.why(table.gaps)]), node.hint(table.gaps)) if {
	not table.none
	count(table.gaps) > 0
}

results contains result.not_applicable("node", "nf_conntrack_max=0: the table has no limit.") if {
	not table.none
	count(table.gaps) == 0
	not table.limited
}

results contains result.pass("node", sprintf("The conntrack table is %s %% full.", [table.percent]), table.evidence) if table.usage < 0.7

results contains result.fail(
	"node",
	sprintf("The conntrack table is %s %% full (%d of %d entries).", [table.percent, input.conntrack.count.value, input.conntrack.max.value]),
	{
		"severity": severity,
		"evidence": table.evidence,
		"fix": sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d net.netfilter.nf_conntrack_buckets=%d", [input.conntrack.max.value * 2, input.conntrack.max.value]),
	},
) if {
	table.usage >= 0.7
}

severity := "high" if {
	table.usage >= 0.95
} else := "medium" if {
	table.usage >= 0.85
} else := "low"
