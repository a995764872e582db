# METADATA
# title: Connections were refused because a hash chain was too long
# description: |
#   Since Linux 5.15 conntrack refuses a new entry when its hash chain is too long (chaintoolong). Connections fail although the table is
#   not full: it has too few buckets.
# related_resources:
#   - ref: https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id=d7e7747ac5c2
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: high
#   remediation: |
#     Raise net.netfilter.nf_conntrack_buckets to nf_conntrack_max.
package control.tab["CT-TAB-043"]

import data.lib.counters
import data.lib.node
import data.lib.result
import data.lib.table
import data.lib.text

name := "chaintoolong"

# The counter came with 5.15; release numbers are compared by their first two parts.
too_old if {
	input.kernel.release.known
	parts := regex.find_all_string_submatch_n(`^([0-9]{1,4})\.([0-9]{1,4})`, input.kernel.release.value, 1)
	count(parts) == 1
	(to_number(parts[0][1]) * 1000) + to_number(parts[0][2]) < 5015
}

results contains result.not_applicable("node", "conntrack has no table here.") if table.none

results contains judged if not table.none

judged := result.fail(
	"node",
	sprintf("%d new entries were refused for a hash chain that was too long (%s).", [counters.value(name), node.span]),
	{
		"severity": severity,
		"evidence": text.counter(name, counters.value(name)),
		"fix": remedy,
	},
) if {
	counters.value(name) > 0
} else := result.pass("node", sprintf("No entry was refused for a long hash chain (%s).", [node.span]), text.counter(name, counters.value(name))) if {
	counters.value(name)
} else := result.unknown("node", sprintf("%s.", [counters.missing.why]), node.hint([counters.missing])) if {
	not counters.read
} else := result.not_applicable("node", sprintf("Linux %s does not limit the length of a hash chain.", [input.kernel.release.value])) if {
	too_old
} else := result.unknown("node", "The kernel's counter chaintoolong was not there to read.", "run as root: it is read over netlink")

severity := "high" if {
	input.conntrack.sampled
} else := "medium"

remedy := sprintf("sysctl -w net.netfilter.nf_conntrack_buckets=%d", [input.conntrack.max.value]) if {
	input.conntrack.max.known
	table.limited
} else := ""
