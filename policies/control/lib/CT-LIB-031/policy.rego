# METADATA
# title: be_liberal on a conntrack table under pressure
# description: |
#   be_liberal is set while the table is at least 70 % full and established entries live for a day or longer. Segments that were INVALID
#   refresh entries now, so a tight table can fill.
# related_resources:
#   - ref: https://github.com/Azure/aks-engine/pull/1073
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: medium
#   remediation: |
#     Raise nf_conntrack_max and the buckets, or shorten nf_conntrack_tcp_timeout_established, and watch the count.
package control.lib["CT-LIB-031"]

import data.lib.node
import data.lib.result
import data.lib.table

timeout := "net.netfilter.nf_conntrack_tcp_timeout_established"

gaps := array.concat(
	[node.gap(node.be_liberal, input.liberal) | node.window_checks == "unknown"],
	array.concat(table.gaps, [node.key_gap(timeout) | not node.numeric(timeout); not node.absent(timeout)]),
)

quiet if node.window_checks == "on"

quiet if table.none

results contains result.not_applicable("node", "be_liberal is not set, or there is no conntrack table.") if quiet

results contains result.unknown("node", sprintf("%s.", [node.why(gaps)]), node.hint(gaps)) if {
	not quiet
	count(gaps) > 0
}

pressed if {
	table.usage >= 0.7
	node.number(timeout) >= 86400
}

results contains result.fail(
	"node",
	sprintf("be_liberal is set, the conntrack table is %s %% full and established entries live for %d s.", [table.percent, node.number(timeout)]),
	{
		"evidence": array.concat(table.evidence, [{"kind": "sysctl", "name": timeout, "value": sprintf("%d", [node.number(timeout)])}]),
		"fix": sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d net.netfilter.nf_conntrack_buckets=%d", [input.conntrack.max.value * 2, input.conntrack.max.value]),
	},
) if {
	not quiet
	count(gaps) == 0
	pressed
}

results contains result.pass("node", "be_liberal is set, and the conntrack table has room.", table.evidence) if {
	not quiet
	count(gaps) == 0
	not pressed
}
