# METADATA
# title: Connections that predate the conntrack table are INVALID
# description: |
#   With nf_conntrack_tcp_loose=0 a connection that conntrack did not see begin is INVALID from then on. After a flush, a firewall
#   restart or a failover every live connection is, and on an exposed node each is answered with a reset. be_liberal does not help.
# related_resources:
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: medium
#   remediation: |
#     Set net.netfilter.nf_conntrack_tcp_loose=1, or drop INVALID packets so that such connections stall instead of being reset.
package control.sys["CT-SYS-052"]

import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result
import data.lib.text

evidence := [{"kind": "sysctl", "name": node.loose, "value": "0"}]

strict if node.number(node.loose) == 0

results contains result.not_applicable("node", "conntrack has no such key here.") if node.absent(node.loose)

results contains result.pass("node", "Connections that conntrack did not see begin are picked up.", [{"kind": "sysctl", "name": node.loose, "value": input.sysctl[node.loose].value}]) if node.number(node.loose) != 0

results contains result.unknown("node", sprintf("%s.", [node.key_gap(node.loose).why]), node.hint([node.key_gap(node.loose)])) if {
	not node.absent(node.loose)
	not node.numeric(node.loose)
}

states := [{"exposure": e, "verdict": path.ruleset_verdict(e)} | some e in path.all]

of_state(state) := [s | some s in states; s.verdict.state == state]

results contains result.fail(
	"node",
	sprintf("nf_conntrack_tcp_loose=0: live connections that lose their entry become INVALID, and on %s each is answered with a reset.", [text.some_of([path.subject(s.exposure) | some s in of_state("exposed")])]),
	{"evidence": evidence, "fix": fix.sysctl(node.loose, 1)},
) if {
	strict
	count(of_state("exposed")) > 0
}

results contains result.unknown("node", sprintf("nf_conntrack_tcp_loose=0; whether the node answers INVALID packets is not known: %s.", [v.why]), v.hint) if {
	strict
	count(of_state("exposed")) == 0
	v := of_state("unknown")[0].verdict
}

results contains result.pass("node", sprintf("nf_conntrack_tcp_loose=0, and the ruleset drops what that makes INVALID: %s.", [of_state("protected")[0].verdict.why]), evidence) if {
	strict
	count(of_state("exposed")) == 0
	count(of_state("unknown")) == 0
	count(of_state("protected")) > 0
}

results contains result.not_applicable("node", "nf_conntrack_tcp_loose=0, and nothing is source-NATed or translated for Services here.") if {
	strict
	every s in states {
		s.verdict.state == "not-applicable"
	}
}
