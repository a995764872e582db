# METADATA
# description: The conntrack table of the node's own namespace, how full it is and how it is hashed.
package lib.table

import data.lib.node

gaps := [node.gap(what, fact) |
	some what, fact in {
		"conntrack's count": input.conntrack.count,
		"conntrack's max": input.conntrack.max,
	}
	not fact.known
]

# There is no table: conntrack is not in the kernel, or not loaded.
none if input.conntrack.max.absent

none if input.conntrack.count.absent

# nf_conntrack_max=0 sets no limit (nf_conntrack_core.c, __nf_conntrack_alloc).
limited if input.conntrack.max.value > 0

# The share in use, 0 to 1; not defined without both numbers or without a limit.
usage := input.conntrack.count.value / input.conntrack.max.value if {
	count(gaps) == 0
	not none
	limited
}

percent := sprintf("%d", [round(usage * 100)])

evidence := [
	{"kind": "counter", "name": "nf_conntrack_count", "value": sprintf("%d", [input.conntrack.count.value])},
	{"kind": "sysctl", "name": "net.netfilter.nf_conntrack_max", "value": sprintf("%d", [input.conntrack.max.value])},
]
