# METADATA
# title: be_liberal is set inside a container only
# description: |
#   The setting belongs to a network namespace, and the address translation happens in the node's. Set inside the container it does
#   nothing for the connections that leave the node.
# related_resources:
#   - ref: https://github.com/moby/libnetwork/issues/1090
#   - ref: https://docs.kernel.org/networking/nf_conntrack-sysctl.html
# custom:
#   severity: high
#   remediation: |
#     Set net.netfilter.nf_conntrack_tcp_be_liberal=1 on the node, or drop INVALID packets there; take the setting out of the container.
package control.lib["CT-LIB-033"]

import data.lib.fix
import data.lib.node
import data.lib.path
import data.lib.result

liberal_inside := [c | some c in input.containers; c.liberal.known; c.liberal.value != 0]

unread_inside := [c | some c in input.containers; not c.liberal.known]

# What the node itself is like: the worst of its uplinks.
host := v if {
	worst := min({path.rank[path.verdict(e).state] | some e in path.uplinks})
	v := sort([x | some e in path.uplinks; x := path.verdict(e); path.rank[x.state] == worst])[0]
} else := {"state": "unknown", "why": path.egress[f].why, "hint": path.egress[f].hint} if {
	some f in ["ip", "ip6"]
	path.egress[f].is == "unknown"
} else := {"state": "not-applicable", "why": "no uplink carries source-NATed flows", "hint": ""}

results contains result.not_applicable("node", "No other network namespace was found on this node.") if {
	count(input.containers) == 0
	count(unread_namespaces) == 0
}

unread_namespaces := [gap |
	some m in input.missing
	m.collector in {"topology", "sysctl"}
	regex.match(`(?i)namespace|container`, m.what)
	gap := {"why": sprintf("%s: %s", [m.what, m.why]), "hint": m.hint}
]

results contains result.unknown("node", sprintf("Containers' namespaces could not be looked for: %s.", [node.why(unread_namespaces)]), node.hint(unread_namespaces)) if {
	count(input.containers) == 0
	count(unread_namespaces) > 0
}

results contains result.pass("node", sprintf("No container of %d sets be_liberal for itself alone.", [count(input.containers)]), []) if {
	count(input.containers) > 0
	count(liberal_inside) == 0
	settled
}

# A setting that could not be read matters only where it would be a finding.
settled if count(unread_inside) == 0

settled if host.state in {"liberal", "protected", "not-applicable"}

results contains result.unknown(
	"node",
	sprintf("be_liberal could not be read in %d of %d containers; %s.", [count(unread_inside), count(input.containers), node.gap(c.name, c.liberal).why]),
	node.hint([node.gap(c.name, c.liberal)]),
) if {
	count(liberal_inside) == 0
	not settled
	c := unread_inside[0]
}

results contains judge(c) if some c in liberal_inside

subject(c) := sprintf("container %s", [c.name])

evidence(c) := [{"kind": "sysctl", "name": sprintf("%s in %s", [node.be_liberal, c.name]), "value": sprintf("%d", [c.liberal.value])}]

judge(c) := result.fail(
	subject(c),
	sprintf("be_liberal=%d in %s does nothing for its connections: the node translates them, and there it is 0.", [c.liberal.value, c.name]),
	{"evidence": array.concat(evidence(c), node.window_checks_evidence), "fix": fix.be_liberal},
) if {
	host.state == "exposed"
} else := result.unknown(subject(c), sprintf("be_liberal=%d in %s; whether the node is exposed is not known: %s.", [c.liberal.value, c.name, host.why]), host.hint) if {
	host.state == "unknown"
} else := result.not_applicable(subject(c), sprintf("be_liberal=%d in %s has nothing to do: %s.", [c.liberal.value, c.name, host.why])) if {
	host.state == "not-applicable"
} else := result.pass(subject(c), sprintf("be_liberal=%d in %s does nothing, and the node is guarded: %s.", [c.liberal.value, c.name, host.why]), evidence(c))
