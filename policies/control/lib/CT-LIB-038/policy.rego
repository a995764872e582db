# METADATA
# title: tcp_ignore_invalid_rst is set and does not help
# description: |
#   nf_conntrack_tcp_ignore_invalid_rst only stops conntrack from giving up an entry for a reset outside the window. The node still answers
#   INVALID segments with resets of its own.
# related_resources:
#   - ref: https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/commit/?id=1da4cd82dd18
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: low
#   remediation: |
#     Drop INVALID packets or set be_liberal; tcp_ignore_invalid_rst can stay.
package control.lib["CT-LIB-038"]

import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result
import data.lib.text

key := "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst"

evidence := [{"kind": "sysctl", "name": key, "value": input.sysctl[key].value}]

results contains result.not_applicable("node", "nf_conntrack_tcp_ignore_invalid_rst is not set.") if off

off if node.absent(key)

off if node.number(key) == 0

on if node.number(key) != 0

results contains result.unknown("node", sprintf("%s.", [gap.why]), node.hint([gap])) if {
	not off
	not on
	gap := node.key_gap(key)
}

open := [e | some e in path.all; path.verdict(e).state == "exposed"]

undecided := [e | some e in path.all; path.verdict(e).state == "unknown"]

results contains result.fail(
	"node",
	sprintf("nf_conntrack_tcp_ignore_invalid_rst=1 does not keep the node from resetting connections: %s is exposed.", [text.some_of([path.subject(e) | some e in open])]),
	{"evidence": evidence, "fix": fix.drop_invalid(open[0].family, open[0].decidedBy)},
) if {
	on
	count(open) > 0
}

results contains result.unknown("node", sprintf("nf_conntrack_tcp_ignore_invalid_rst=1; whether the node is exposed is not known: %s.", [path.verdict(undecided[0]).why]), path.verdict(undecided[0]).hint) if {
	on
	count(open) == 0
	count(undecided) > 0
}

results contains result.pass("node", "nf_conntrack_tcp_ignore_invalid_rst=1, and nothing is exposed.", evidence) if {
	on
	count(open) == 0
	count(undecided) == 0
}
