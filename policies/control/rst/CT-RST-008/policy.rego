# METADATA
# title: INVALID packets and resets are being counted on an exposed node
# description: |
#   The node is exposed, conntrack counts INVALID packets, and its TCP sends resets in the same span: the symptom, not only the
#   possibility. Over two readings it is happening now; since boot it has probably happened.
# related_resources:
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: high
#   remediation: |
#     Fix what CT-RST-001 to CT-RST-003 name, then take two readings again. net.netfilter.nf_conntrack_log_invalid=6 for a minute
#     names the class of each packet in the kernel log.
package control.rst["CT-RST-008"]

import data.lib.counters
import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result
import data.lib.text

open := [e | some e in path.uplinks; path.verdict(e).state == "exposed"]

undecided := [e | some e in path.uplinks; path.verdict(e).state == "unknown"]

invalid := counters.value("invalid")

resets := counters.value("Tcp.OutRsts")

results contains result.not_applicable("node", "No uplink is exposed, so INVALID packets that are counted are not answered.") if {
	count(open) == 0
	count(undecided) == 0
}

results contains result.unknown("node", sprintf("Whether an uplink is exposed is not known: %s.", [path.verdict(e).why]), path.verdict(e).hint) if {
	count(open) == 0
	e := undecided[0]
}

results contains result.unknown("node", sprintf("%s.", [counters.missing.why]), node.hint([counters.missing])) if {
	count(open) > 0
	not counters.read
}

results contains result.unknown("node", "The kernel's counters invalid and Tcp.OutRsts were not both there to read.", counters.resample) if {
	count(open) > 0
	counters.read
	not both
}

both if {
	is_number(invalid)
	is_number(resets)
}

happening if {
	invalid > 0
	resets > 0
}

results contains result.pass("node", sprintf("Exposed, but %d INVALID packets and %d resets were counted %s.", [invalid, resets, node.span]), evidence) if {
	count(open) > 0
	both
	not happening
}

results contains result.fail(
	"node",
	sprintf("%d INVALID packets came and %d resets went out %s, while %s lets such packets reach the node's own TCP.", [invalid, resets, node.span, path.subject(open[0])]),
	{"severity": severity, "evidence": evidence, "fix": fix.drop_invalid(open[0].family, open[0].decidedBy)},
) if {
	count(open) > 0
	both
	happening
}

evidence := array.concat(text.counter("invalid", invalid), text.counter("Tcp.OutRsts", resets))

# Port scans raise both counters too, so that totals since boot say little unless there are many.
severity := "high" if {
	input.conntrack.sampled
} else := "medium" if {
	node.invalid_active
} else := "low"
